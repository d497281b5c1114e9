"""inotify(7) on the event loop: it reports who opened a pty slave and which file was replaced.

One instance serves the whole process: the kernel allows 128 instances for each user by default
(`fs.inotify.max_user_instances`), but a practically unlimited number of watches.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

# include/uapi/linux/inotify.h
IN_CLOSE_WRITE = 0x0008
IN_CLOSE_NOWRITE = 0x0010
IN_OPEN = 0x0020
IN_MOVED_FROM = 0x0040
IN_MOVED_TO = 0x0080
IN_CREATE = 0x0100
IN_DELETE = 0x0200
IN_DELETE_SELF = 0x0400
IN_MOVE_SELF = 0x0800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000

_EVENT = struct.Struct("iIII")  # struct inotify_event without its name
_READ_SIZE = 4096
"""Bytes of events that are read in one turn of the event loop."""

_TURN_SECONDS = 0.001
"""Seconds that callbacks may take in one turn of the event loop, during which everything else waits."""

_MOST_WAITING = 32
"""Limit of the waiting events of one watch; when there are more, its callback is called once for all of them."""

_libc = ctypes.CDLL(None, use_errno=True)

Callback = Callable[[int, str], None]


class Inotify:
    """Watches paths and calls back with the event's mask and, for a directory, the file's name.

    The kernel merges identical events and drops events when its queue is full, so an event is a reason to look,
    never a fact by itself. After a dropped event every callback is called with mask 0.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Callback] = {}
        self._waiting: dict[int, deque[tuple[int, str]]] = {}
        """Events that are read and not yet called back for, by watch: mask and name. The watches take turns, so that a
        storm of events at one of them does not hold up the others."""
        self._scheduled = False
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        loop.add_reader(self._fd, self._readable)

    def watch(self, path: Path, mask: int, callback: Callback) -> int:
        """Call `callback` for events of `mask` on `path`; return the watch descriptor for `unwatch`.

        A path has one watch: two links to the same file share it, and the last callback wins.

        Raises:
            OSError: the path does not exist, or a limit of the kernel is reached.
        """
        descriptor = _checked(_libc.inotify_add_watch(self._fd, os.fsencode(path), mask), str(path))
        self._callbacks[descriptor] = callback
        return descriptor

    def unwatch(self, descriptor: int) -> None:
        """End a watch; unknown descriptors and those that the kernel has ended already are ignored."""
        if self._callbacks.pop(descriptor, None) is not None:
            _libc.inotify_rm_watch(self._fd, descriptor)

    def close(self) -> None:
        """End all watches."""
        self._callbacks.clear()
        self._waiting.clear()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def forget_events(self, descriptor: int) -> None:
        """Drop the events of a watch that have not been called back for, those of this very moment too.

        This does what ending the watch and beginning it again would do, but needs no right to read what is watched. What
        comes while it reads is left for later: somebody may open and close files faster than their events can be read.
        """
        left = int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        while left > 0 and (size := self._read_events()):
            left -= size
        if events := self._waiting.pop(descriptor, None):
            ended = [event for event in events if event[0] & IN_IGNORED]
            if ended:
                self._waiting[descriptor] = deque(ended)
        self._schedule()

    def _readable(self) -> None:
        self._read_events()
        if not self._scheduled:
            self._call_back()

    def _read_events(self) -> int:
        """Add what can be read at once to the events that wait; return its size in bytes, 0 if there is nothing."""
        try:
            events = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return 0
        offset = 0
        while offset < len(events):
            descriptor, mask, _cookie, length = _EVENT.unpack_from(events, offset)
            offset += _EVENT.size
            name = os.fsdecode(events[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & IN_Q_OVERFLOW:
                for watched in self._callbacks:
                    self._add(watched, 0, "")
            else:
                self._add(descriptor, mask, name)
        return len(events)

    def _add(self, descriptor: int, mask: int, name: str) -> None:
        events = self._waiting.setdefault(descriptor, deque())
        if len(events) >= _MOST_WAITING and not mask & IN_IGNORED:
            events.clear()
            mask, name = 0, ""
        events.append((mask, name))

    def _call_back(self) -> None:
        """Call back for one event of each watch in turn, for as long as a turn of the event loop may take."""
        self._scheduled = False
        until = time.monotonic() + _TURN_SECONDS
        while self._waiting:
            descriptor = next(iter(self._waiting))
            events = self._waiting.pop(descriptor)
            mask, name = events.popleft()
            if events:
                self._waiting[descriptor] = events  # at the end
            if callback := self._callbacks.get(descriptor):
                if mask & IN_IGNORED:
                    del self._callbacks[descriptor]
                callback(mask, name)
            if time.monotonic() >= until:
                break
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._call_back)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
