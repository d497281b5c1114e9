"""One non-blocking file descriptor on the event loop: the step that every byte takes, at a pty as at a socket.

Reading and writing are plain `read` and `write` at the moment the kernel is ready. No buffer stands here but the
part of one write that the kernel did not take, so back-pressure reaches the source at once and, when a connection
dies, it is known to the byte what was not sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol

_LOOK_AGAIN = 1.0
"""Seconds after a read until reading is registered with the loop anew.

Each time that a socket has an error, uvloop calls the reader once and then no more (handles/poll.pyx, `_fatal_error`). If
that call reads the last bytes before a reset, the reset itself would never show.
"""

READ_SIZE = 4096
"""Bytes read at once; with a `write` of the same size left over, what stands here is bounded by it."""


class ChannelEvents(Protocol):
    """What a channel tells its owner; every call comes from the event loop."""

    def channel_ended(self, error: OSError | None) -> None:
        """No more will be read: the file has ended (None), or `read` or `write` has failed.

        Called once until it is reopened.
        """

    def pause_writing(self) -> None:
        """Stop writing until `resume_writing`, because the kernel takes nothing now. What was written is kept."""

    def resume_writing(self) -> None:
        """All is written, and the kernel takes more."""


class ByteChannel:
    """Reads from and writes to a descriptor that the caller owns and closes, after `stop`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        deliver: Callable[[bytes], None],
        events: ChannelEvents,
    ) -> None:
        """Call `deliver` with the bytes just read, which are never empty; report everything else to `events`."""
        self._loop = loop
        self._fd = fd
        self._deliver = deliver
        self._events = events
        self._reading = False
        self._unwritten = b""
        self._looking_again: asyncio.TimerHandle | None = None
        """Runs for 1 s after a read."""

    @property
    def reading(self) -> bool:
        """True while what arrives is delivered."""
        return self._reading

    @property
    def unwritten(self) -> int:
        """Bytes that were given to `write` and not yet taken by the kernel."""
        return len(self._unwritten)

    def deliver_to(self, deliver: Callable[[bytes], None]) -> None:
        """Call another function with the bytes that are read from now on."""
        self._deliver = deliver

    def resume_reading(self) -> None:
        """Deliver what arrives; calling it again does nothing."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def pause_reading(self) -> None:
        """Stop delivering until `resume_reading`."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def write(self, data: bytes) -> None:
        """Write now; the owner is told to pause when the kernel does not take all of it."""
        if self._unwritten:
            self._unwritten += data
            return
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._unwritten = data
            self._end(error)
            return
        if written < len(data):
            self._unwritten = data[written:]
            self._loop.add_writer(self._fd, self._writable)
            self._events.pause_writing()

    def wait_until_writable(self) -> None:
        """Pause the owner until the kernel signals that it takes more, although it has taken everything so far."""
        if not self._unwritten:
            self._loop.add_writer(self._fd, self._writable)
            self._events.pause_writing()

    def drop_unwritten(self) -> int:
        """Forget what the kernel has not taken, return its size in bytes, and let the owner write again."""
        dropped = len(self._unwritten)
        if dropped:
            self._unwritten = b""
            self._loop.remove_writer(self._fd)
            self._events.resume_writing()
        return dropped

    def stop(self) -> None:
        """Leave the descriptor alone from now on."""
        if self._looking_again is not None:
            self._looking_again.cancel()
            self._looking_again = None
        self.pause_reading()
        self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            if self._looking_again is None:
                self._looking_again = self._loop.call_later(_LOOK_AGAIN, self._look_again)
            self._deliver(data)
        else:
            self._end(None)

    def _look_again(self) -> None:
        self._looking_again = None
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._loop.add_reader(self._fd, self._readable)

    def _writable(self) -> None:
        if self._unwritten:
            try:
                written = os.write(self._fd, self._unwritten)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error)
                return
            self._unwritten = self._unwritten[written:]
        if not self._unwritten:
            self._loop.remove_writer(self._fd)
            self._events.resume_writing()

    def _end(self, error: OSError | None) -> None:
        self.stop()
        self._events.channel_ended(error)
