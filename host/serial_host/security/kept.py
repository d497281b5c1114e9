"""The files for TLS in this host's folder: its own identity, the next one, and the clients that people have added.

identity.pem    key and certificate; made on first use
next.pem        those that `identity --renew` has made, until `identity --activate`
trusted.json    fingerprints of clients
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from serial_tls.errors import IdentityError
from serial_tls.fingerprints import parse_fingerprint
from serial_tls.identity import (
    Identity,
    load_identity,
    make_identity,
    own_identity,
    save_identity,
)
from serial_tls.private_file import write_private

_IDENTITY = "identity.pem"
_NEXT = "next.pem"
_TRUSTED = "trusted.json"

MOST_TRUSTED = 1000
"""Limit of the clients that can be added."""


class Kept:
    """The folder; each call reads or writes files.

    All calls raise IdentityError if a file cannot be read, used or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def identity(self) -> Identity:
        """Return this host's identity; the first time, make it."""
        return own_identity(self._folder / _IDENTITY, _name())

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
            waiting = make_identity(_name())
            save_identity(waiting, self._folder / _NEXT)
        return waiting

    def activate(self) -> Identity:
        """Replace the present identity by the one that waits."""
        waiting = self.next_identity()
        if waiting is None:
            raise IdentityError("no new identity is prepared: run 'identity --renew' first")
        try:
            (self._folder / _NEXT).replace(self._folder / _IDENTITY)
        except OSError as error:
            raise IdentityError(f"cannot replace {self._folder / _IDENTITY}: {error.strerror}") from error
        return waiting

    def trusted(self) -> set[str]:
        """Return the fingerprints of the clients that were added."""
        path = self._folder / _TRUSTED
        try:
            entries = json.loads(path.read_text("utf-8"))
            return {parse_fingerprint(entry) for entry in entries}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise IdentityError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError, IdentityError, RecursionError) as error:
            raise IdentityError(
                f"{path} does not contain a list of fingerprints; correct or remove the file"
            ) from error

    def save_trusted(self, fingerprints: set[str]) -> None:
        """Replace the fingerprints of the clients that were added."""
        if len(fingerprints) > MOST_TRUSTED:
            raise IdentityError(f"at most {MOST_TRUSTED} clients can be trusted: remove others first")
        path = self._folder / _TRUSTED
        try:
            write_private(path, json.dumps(sorted(fingerprints), indent=1).encode("ascii"))
        except OSError as error:
            raise IdentityError(f"cannot write {path}: {error.strerror or error}") from error


def _name() -> str:
    return f"serial_host {socket.gethostname()}"
