"""The writes of applications that wait for room. Pure."""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import dataclass

from tty_server.fuse_requests import WRITE_OUT
from tty_server.output_queue import OutputQueue
from tty_server.sides import Kernel


@dataclass(slots=True)
class _Write:
    unique: int
    data: bytes
    """The bytes for which there was no room yet."""
    taken: int


class Writes:
    """The writes of one port, answered in their order."""

    def __init__(self, kernel: Kernel, output: OutputQueue) -> None:
        self._kernel = kernel
        self._output = output
        self._waiting: deque[_Write] = deque()

    def __bool__(self) -> bool:
        """Return whether a write waits; bytes of later writes must not overtake its own."""
        return bool(self._waiting)

    def write(self, unique: int, data: bytes, *, nonblock: bool) -> None:
        """Take what there is room for; the rest waits, or is for the application to write again."""
        taken = 0 if self._waiting else self._output.accept(data)
        if taken == len(data) or (taken and nonblock):
            self._kernel.answer(unique, WRITE_OUT.pack(taken, 0))
        elif nonblock:
            self._kernel.fail(unique, errno.EAGAIN)
        else:
            self._waiting.append(_Write(unique, data[taken:], taken))

    def serve(self) -> None:
        """Take more of the writes that wait, and answer those of which all was taken."""
        while self._waiting:
            write = self._waiting[0]
            taken = self._output.accept(write.data)
            write.taken += taken
            write.data = write.data[taken:]
            if write.data:
                return
            self._waiting.popleft()
            self._kernel.answer(write.unique, WRITE_OUT.pack(write.taken, 0))

    def interrupt(self, unique: int) -> bool:
        """End a write because its caller got a signal; return False if none has this number."""
        for write in self._waiting:
            if write.unique == unique:
                self._waiting.remove(write)
                if write.taken:
                    self._kernel.answer(unique, WRITE_OUT.pack(write.taken, 0))
                else:
                    self._kernel.fail(unique, errno.EINTR)
                return True
        return False

    def hang_up(self) -> None:
        """Let every write fail."""
        for write in self._waiting:
            self._kernel.fail(write.unique, errno.EIO)
        self._waiting.clear()
