"""The files for TLS in this host's folder: its own identity, the next one, and the clients that people have added.

identity.pem, next.pem    see `serial_tls.kept_identity`
trusted.json              fingerprints of clients
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from serial_tls.errors import IdentityError
from serial_tls.fingerprints import parse_fingerprint
from serial_tls.kept_identity import KeptIdentity
from serial_tls.private_file import write_private

_TRUSTED = "trusted.json"

MOST_TRUSTED = 1000
"""Limit of the clients that can be added."""


class Kept(KeptIdentity):
    """The folder; each call reads or writes files.

    All calls raise IdentityError if a file cannot be read, used or written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, f"serial_host {socket.gethostname()}")

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
