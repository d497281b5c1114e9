"""The reads of applications that wait for bytes, as VMIN and VTIME say (termios(3)), or for a line. Pure."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tty_server.input_queue import InputQueue
from tty_server.ioctl_numbers import VMIN, VTIME
from tty_server.sides import Kernel


@dataclass(slots=True)
class _Read:
    unique: int
    size: int
    deadline: float | None = None
    seen: int = 0
    """The bytes that were there when the timer between bytes began."""


class Reads:
    """The reads of one port, answered in their order."""

    def __init__(
        self,
        kernel: Kernel,
        received: InputQueue,
        now: Callable[[], float],
        characters: Callable[[], bytes],
        taken: Callable[[int], None],
    ) -> None:
        """`characters` returns the control characters in force, and `taken` is told how many bytes each read got."""
        self._kernel = kernel
        self._received = received
        self._now = now
        self._characters = characters
        self._taken = taken
        self._waiting: deque[_Read] = deque()

    def read(self, unique: int, size: int, *, nonblock: bool) -> None:
        """Answer a read now, or when there is enough for it."""
        read = _Read(unique, size)
        if not self._waiting and self._try(read):
            return
        if not nonblock:
            self._waiting.append(read)
        elif self._waiting or not self._received.readable:
            self._kernel.fail(unique, errno.EAGAIN)
        else:
            self._give(read)

    def serve(self) -> None:
        """Answer the reads for which there is enough now."""
        while self._waiting and self._try(self._waiting[0]):
            self._waiting.popleft()

    def interrupt(self, unique: int) -> bool:
        """End a read because its caller got a signal; return False if none has this number."""
        for read in self._waiting:
            if read.unique == unique:
                self._waiting.remove(read)
                self._kernel.fail(unique, errno.EINTR)
                self.serve()
                return True
        return False

    def hang_up(self) -> None:
        """Give every read an end of file."""
        for read in self._waiting:
            self._kernel.answer(read.unique, b"")
        self._waiting.clear()

    @property
    def deadline(self) -> float | None:
        """When `time_passed` is due."""
        return self._waiting[0].deadline if self._waiting else None

    def time_passed(self, now: float) -> None:
        """Answer the first read if its timer has run out."""
        if (due := self.deadline) is not None and due <= now:
            self._give(self._waiting.popleft())
            self.serve()

    def _try(self, read: _Read) -> bool:
        """Answer a read if it is due; if not, set its timer."""
        received = self._received
        if received.canonical:
            if not received.readable:
                return False
            self._give(read)
            return True
        characters = self._characters()
        minimum, tenths = characters[VMIN], characters[VTIME]
        available = received.size
        if available and available >= min(minimum, read.size):
            self._give(read)
            return True
        if not minimum and not tenths:
            self._kernel.answer(read.unique, b"")
            return True
        if tenths and (not minimum or available) and (read.deadline is None or available != read.seen):
            read.deadline, read.seen = self._now() + tenths / 10, available
        return False

    def _give(self, read: _Read) -> None:
        data = self._received.take(read.size)
        self._kernel.answer(read.unique, data)
        self._taken(len(data))
