"""The clients that watch a running program over its control channel: each has a bounded queue, and a slow one is cut.

What passes a port waits in the queue until the event loop has time, and goes out in batches. A watcher that does not
read fast enough is cut: it is told so in a last line and sees nothing more, and the link never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from serial_monitor.records import Record, encode
from serial_monitor.taps import Taps

MOST_WATCHERS = 16
BATCH_SECONDS = 0.03
"""Seconds that records wait for others, so that they are encoded after the bytes have passed."""
EARLY_BYTES = 64 * 1024
"""Bytes in the queue from which on nothing waits."""
LIMIT_BYTES = 4 * 1024 * 1024
"""Limit in bytes of the queue; with more, the watcher is cut."""
ALIVE_SECONDS = 5.0
"""Seconds after which an empty line is sent if nothing happens: on some channels only that shows that a watcher has
left."""
_RECORD_BYTES = 100
"""Bytes that a record counts for in addition to its data and its text."""


class WatchRefusedError(Exception):
    """Nothing can be shown; the text says why, for people."""


class TooManyWatchersError(WatchRefusedError):
    """There are `MOST_WATCHERS` already; the text is for people."""


class Watcher:
    """One client that watches; `lines` yields what is to be sent to it."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        """`limit` is the most that may wait, in bytes."""
        self._limit = limit
        self._waiting: deque[Record] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._early = asyncio.Event()
        self.cut = False
        """True when it was too slow; it takes nothing more."""

    def take(self, record: Record) -> None:
        """See `Sink`."""
        if self.cut:
            return
        self._size += _RECORD_BYTES + len(record.data) + len(record.text)
        if self._size > self._limit:
            self._cut(record)
            return
        self._waiting.append(record)
        self._arrived.set()
        if self._size > EARLY_BYTES:
            self._early.set()

    def _cut(self, record: Record) -> None:
        self.cut = True
        self._waiting.clear()
        lost = f"this watcher was too slow: {self._size} bytes waited for it; it sees nothing more, the port goes on"
        self._waiting.append(Record(time.time(), record.port, "cut", text=lost))
        self._arrived.set()
        self._early.set()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield batches of lines until the watcher is cut."""
        while not (self.cut and not self._waiting):
            try:
                async with asyncio.timeout(ALIVE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                yield b"\n"
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_SECONDS):
                    await self._early.wait()
            self._arrived.clear()
            self._early.clear()
            records, self._waiting, self._size = self._waiting, deque(), 0
            yield b"".join(map(encode, records))


class Watchers:
    """All who watch the ports of this process."""

    def __init__(self, taps: Taps) -> None:
        self._taps = taps
        self._watchers: set[Watcher] = set()

    async def watch(self, port: str | None, first: Iterable[Record] = ()) -> AsyncGenerator[bytes, None]:
        """Yield the lines of one port, or of all ports for None; those of `first`, which may be empty, come at once.

        Raises:
            TooManyWatchersError: there are `MOST_WATCHERS` already.
        """
        if len(self._watchers) >= MOST_WATCHERS:
            raise TooManyWatchersError(
                f"{MOST_WATCHERS} watchers are connected already: end one of them first"
            )
        watcher = Watcher()
        self._watchers.add(watcher)
        self._taps.watch(watcher, port)
        try:
            yield b"".join(map(encode, first))
            async for lines in watcher.lines():
                if watcher.cut:
                    self._taps.unwatch(watcher)
                yield lines
        finally:
            self._watchers.discard(watcher)
            self._taps.unwatch(watcher)
