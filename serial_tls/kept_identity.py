"""The identity of one end in files: the present one, and the next one that waits until the other ends trust it.

identity.pem    key and certificate; made on first use
next.pem        those that `prepare` has made, until `activate`
"""

from __future__ import annotations

from pathlib import Path

from serial_tls.errors import IdentityError
from serial_tls.identity import Identity, load_identity, make_identity, own_identity, save_identity

_IDENTITY = "identity.pem"
_NEXT = "next.pem"


class KeptIdentity:
    """The two files in one folder; each call reads or writes them.

    All calls raise IdentityError if a file cannot be read, used or written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """`name` stands in the certificates, for people."""
        self._folder = folder
        self._name = name

    def exists(self) -> bool:
        """Return whether the present identity was made."""
        return (self._folder / _IDENTITY).exists()

    def identity(self) -> Identity:
        """Return the present identity; the first time, make it."""
        return own_identity(self._folder / _IDENTITY, self._name)

    def next_identity(self) -> Identity | None:
        """Return the identity that waits to be activated, if there is one."""
        try:
            return load_identity(self._folder / _NEXT)
        except FileNotFoundError:
            return None

    def prepare(self) -> Identity:
        """Return the identity that waits to be activated; make one if there is none."""
        waiting = self.next_identity()
        if waiting is None:
            waiting = make_identity(self._name)
            save_identity(waiting, self._folder / _NEXT)
        return waiting

    def activate(self) -> Identity:
        """Replace the present identity by the one that waits, and return that."""
        waiting = self.next_identity()
        if waiting is None:
            raise IdentityError("no new identity is prepared: run 'identity --renew' first")
        try:
            (self._folder / _NEXT).replace(self._folder / _IDENTITY)
        except OSError as error:
            raise IdentityError(f"cannot replace {self._folder / _IDENTITY}: {error.strerror}") from error
        return waiting
