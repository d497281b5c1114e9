"""A log file that is written to its end and renamed when it is full: `log` -> `log.1` -> ... -> `log.5`.

Windows does not rename a file that an editor, a virus scanner or `tail` holds open. Then the log goes on in the same file,
and the renaming is tried again later. No line is lost, and only the oldest file is ever overwritten.
"""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path

FILE_BYTES = 1_000_000
FILES_KEPT = 5
"""Number of full files that are kept besides the one that is being written."""

RETRY_SECONDS = 10.0
"""Time after which a renaming that failed is tried again."""


class LogFile:
    """Writes lines to `path`. All methods may block, and are called by one thread at a time.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, file_bytes: int = FILE_BYTES, kept: int = FILES_KEPT) -> None:
        self._path = path
        self._file_bytes = file_bytes
        self._kept = kept
        self._file: io.FileIO | None = self._open()
        self._rest = memoryview(b"")
        self._retry_at = 0.0

    def write(self, line: bytes) -> None:
        """Write a line.

        Raises:
            OSError: it could not be written, or not to its end. The same line is to be passed again later; what was
                written of it is not written twice.
        """
        if not self._rest:
            self._leave_if_moved()
            self._rotate_if_full(len(line))
            self._rest = memoryview(line)
        if self._file is None:
            self._file = self._open()
        while self._rest:
            self._rest = self._rest[self._file.write(self._rest) :]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> io.FileIO:
        return self._path.open("ab", buffering=0)

    def _leave_if_moved(self) -> None:
        """Go on in a new file where somebody has removed or renamed this one, as logrotate does.

        Windows lets nobody do that with a file that is open.
        """
        if sys.platform == "win32" or self._file is None:
            return
        try:
            moved = not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            moved = True
        if moved:
            self.close()

    def _rotate_if_full(self, more: int) -> None:
        now = time.monotonic()
        if now < self._retry_at or not self._path.is_file():  # `/dev/null` and the like are never full
            return
        if self._path.stat().st_size + more <= self._file_bytes:
            return
        self.close()
        try:
            self._rotate()
        except OSError:
            self._retry_at = now + RETRY_SECONDS

    def _rotate(self) -> None:
        """Rename the file to `log.0` and then move all of them on by one. Raises `OSError` where a file is held."""
        if self._backup(0).exists():  # the last attempt came only so far
            self._move_on()
        self._path.replace(self._backup(0))
        self._move_on()

    def _move_on(self) -> None:
        """Move each file on by one place, up to the first free place; without one the oldest file is overwritten."""
        places = range(1, self._kept + 1)
        free = next((place for place in places if not self._backup(place).exists()), self._kept)
        for place in range(free - 1, -1, -1):
            self._backup(place).replace(self._backup(place + 1))

    def _backup(self, place: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{place}")
