"""inotify(7) on the event loop: who opened a pty slave, which file was replaced. Nothing else is watched here.

One instance serves the whole process: the kernel allows 128 instances for each user by default
(`fs.inotify.max_user_instances`), but a practically unlimited number of watches.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
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
_READ_SIZE = 1024
"""Bytes of events that are read at once: a storm of them costs other ports at most some milliseconds a turn."""

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
        self._waiting: deque[tuple[int, int, str]] = deque()
        """Events that are read and not yet called back for: descriptor, mask and name."""
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        loop.add_reader(self._fd, self._readable)

    def watch(self, path: Path, mask: int, callback: Callback) -> int:
        """Call `callback` for events of `mask` on `path`; give the watch descriptor for `unwatch`.

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
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def forget_events(self, descriptor: int) -> None:
        """Drop the events of a watch that have not been called back for, those of this very moment too.

        This does what ending the watch and beginning it again would do, but needs no right to read what is watched.
        """
        while self._read_events():
            pass
        self._waiting = deque(
            event for event in self._waiting if event[0] != descriptor or event[1] & IN_IGNORED
        )
        if self._waiting:
            self._loop.call_soon(self._call_back)

    def _readable(self) -> None:
        if not self._waiting:
            self._read_events()
        self._call_back()

    def _read_events(self) -> bool:
        """Add what can be read at once to the events that wait; return False if that is nothing."""
        try:
            events = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return False
        offset = 0
        while offset < len(events):
            descriptor, mask, _cookie, length = _EVENT.unpack_from(events, offset)
            offset += _EVENT.size
            name = os.fsdecode(events[offset : offset + length].rstrip(b"\0"))
            offset += length
            self._waiting.append((descriptor, mask, name))
        return True

    def _call_back(self) -> None:
        for _ in range(_READ_SIZE // _EVENT.size):
            if not self._waiting:
                return
            descriptor, mask, name = self._waiting.popleft()
            if mask & IN_Q_OVERFLOW:
                for watching in tuple(self._callbacks.values()):
                    watching(0, "")
                continue
            if callback := self._callbacks.get(descriptor):
                if mask & IN_IGNORED:
                    del self._callbacks[descriptor]
                callback(mask, name)
        self._loop.call_soon(self._call_back)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
