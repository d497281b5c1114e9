"""A program's log by way of a pipe whose reader can stall, as a container's runtime may.

For: programs that must go on while nobody takes their log. The log stands in a file as always.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

FILL = b"." * 63 + b"\n"
"""Lines of this kind fill the pipe, and are left out of the log."""


class LogPipe:
    """Reads a named pipe and appends its lines to a file, until it is closed."""

    def __init__(self, pipe: Path, log: Path) -> None:
        os.mkfifo(pipe)
        pipe.chmod(0o666)
        self._pipe = pipe
        self._log = log
        self._stalled = threading.Event()
        self._closed = threading.Event()
        # Open for both, so that it stands while the program is away.
        self._descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, 4096)
        self._thread = threading.Thread(target=self._read_all, name=pipe.name, daemon=True)
        self._thread.start()

    @property
    def within(self) -> Sequence[str]:
        """What runs a command with this pipe as both of its output streams."""
        return "sh", "-c", 'exec "$@" >"$0" 2>&1', str(self._pipe)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Read nothing for a while, and fill the pipe, so that each write to it blocks."""
        self._stalled.set()
        try:
            with suppress(BlockingIOError):
                while True:
                    os.write(self._descriptor, FILL)
            yield
        finally:
            self._stalled.clear()

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        self._thread.join()
        os.close(self._descriptor)

    def _read_all(self) -> None:
        rest = b""
        while not self._closed.wait(0.02 if self._stalled.is_set() else 0):
            if self._stalled.is_set() or not select.select([self._descriptor], [], [], 0.1)[0]:
                continue
            *lines, rest = (rest + os.read(self._descriptor, 65536)).split(b"\n")
            kept = [line + b"\n" for line in lines if line + b"\n" != FILL]
            if kept:
                with self._log.open("ab") as log:
                    log.write(b"".join(kept))
