"""Moves bytes between a blocking COM port and the event loop with a reader and a writer thread.

A serial handle of Windows cannot be waited for together with sockets. So a thread blocks in a read for one byte and then
takes what else has arrived: no polling interval stands between a byte and its client. Another thread writes, since a driver
may block in a call that should only begin to write, and that is to hold up its own port alone. This works on every operating
system; POSIX has the quicker `descriptor_pump`.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `pump.Pump`

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from serial_host.com_port.port import DEVICE_BOUND, READ_SIZE, WRITE_HIGH, ComPortError, ComPortEvents
from serial_host.plumbing.text import described
from serial_host.plumbing.threads import call_in_thread

WRITE_CHUNK = 1024
"""Bytes given to one write. A purge or a close cannot take back more than this many that are on their way."""

PURGE_SECONDS = 0.05
"""Seconds that a purge waits at most for the reader to leave the driver; that takes microseconds unless the driver
hangs."""

_CANCEL_SECONDS = 0.001
_FIRST_JOIN_SECONDS, _LAST_JOIN_SECONDS = 0.01, 1.0


class BlockingPort(Protocol):
    """What the threads use of an open port. The two `cancel` methods may be called at any time, from any thread."""

    def read(self, size: int) -> bytes:
        """Wait for so many bytes and return them, or less if it is cancelled. Raises if the port is gone."""

    def write(self, data: bytes) -> int | None:
        """Wait until the driver has taken the bytes, and return their number.

        It is less if the write is cancelled; None means all. Raises if the port is gone.
        """

    def cancel_read(self) -> None:
        """Let a `read` that waits return at once. May raise if the port is gone."""

    def cancel_write(self) -> None:
        """Let a `write` that waits return at once. May raise if the port is gone."""


class ThreadPump:
    """Moves the bytes of a blocking port; it does not close the port.

    `received_waiting` returns the number of received bytes that the driver holds.
    """

    def __init__(
        self, device: str, port: BlockingPort, received_waiting: Callable[[], int], events: ComPortEvents
    ) -> None:
        self._device = device
        self._port = port
        self._received_waiting = received_waiting
        self._events = events
        self._loop = asyncio.get_running_loop()
        # This lock guards everything that both threads and the event loop touch: the attributes below. Each of the
        # conditions wakes one thread alone, since a thread that wakes for nothing delays the byte that woke it.
        self._lock = threading.Lock()
        self._reader = threading.Condition(self._lock)
        self._writer = threading.Condition(self._lock)
        self._reader_parked = threading.Condition(self._lock)
        self._stopped = False
        self._received: list[bytes] = []
        self._received_size = 0
        self._reading_paused = False
        self._purging = False
        self._parked = False
        """Whether the reader holds no byte and is not in the driver."""
        self._purged: list[bytes] = []
        """What the reader brought from the driver during a purge."""
        self._unsent = bytearray()
        self.written = False
        self._writing_paused = False
        self._generation = 0
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"{device} {name}", daemon=True)
            for name, work in (("reader", self._read_all), ("writer", self._write_all))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = True
        with self._lock:
            self._unsent += data
            pause = len(self._unsent) > WRITE_HIGH and not self._writing_paused
            if pause:
                self._writing_paused = True
            self._writer.notify()
        if pause:
            self._events.pause_writing()

    def discard_received(self, purge: Callable[[], int]) -> int:
        # The reader is brought out of the driver first. What it brings with it arrived before the purge, and what it
        # reads afterwards arrived later.
        with self._lock:
            self._purging = True
            deadline = time.monotonic() + PURGE_SECONDS
            while not self._parked and not self._stopped and time.monotonic() < deadline:
                # Repeated, because a read that begins just after the first cancellation does not notice it.
                self._cancel_read()
                self._reader_parked.wait(_CANCEL_SECONDS)
        try:
            discarded = purge()
        except Exception:
            # Nothing was discarded: what the reader brought meanwhile is delivered like everything else.
            self._end_purge(deliver=True)
            raise
        return discarded + self._end_purge(deliver=False)

    def _end_purge(self, *, deliver: bool) -> int:
        """Let the reader read again.

        Return the size of what it held, which is discarded unless it is to be delivered.
        """
        with self._lock:
            self._received += self._purged
            self._received_size += sum(map(len, self._purged))
            held = self._received_size
            self._purged.clear()
            if not deliver:
                self._received.clear()
                self._received_size = 0
            self._purging = False
            self._reader.notify()
        if deliver and held:
            self._loop.call_soon(self._deliver)
        return held

    def discard_unsent(self) -> int:
        with self._lock:
            discarded = len(self._unsent)
            self._unsent.clear()
            self._generation += 1
        self._port.cancel_write()
        self._resume_if_sent()
        return discarded

    def pause_reading(self) -> None:
        with self._lock:
            self._reading_paused = True

    def resume_reading(self) -> None:
        with self._lock:
            self._reading_paused = False
            self._reader.notify()
            pending = bool(self._received)
        if pending:
            self._loop.call_soon(self._deliver)

    async def stop(self) -> None:
        with self._lock:
            self._stop()
        await call_in_thread(f"{self._device} stop", self._join)

    def _stop(self) -> None:
        self._stopped = True
        self._reader.notify()
        self._writer.notify()

    def _join(self) -> None:
        for thread in self._threads:
            patience = _FIRST_JOIN_SECONDS
            while thread.is_alive():
                # Repeated, because a call that begins just after the first cancellation does not notice it.
                self._cancel_read()
                with contextlib.suppress(Exception):
                    self._port.cancel_write()
                thread.join(patience)
                patience = min(2 * patience, _LAST_JOIN_SECONDS)

    def _cancel_read(self) -> None:
        with contextlib.suppress(Exception):  # the port may be gone
            self._port.cancel_read()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # pyserial lets TypeError and others escape when a port goes away
            self._call_loop(self._lose, error)

    def _call_loop(self, callback: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, and there is nobody left to call
            self._loop.call_soon_threadsafe(callback, *args)

    def _read_all(self) -> None:
        while self._may_read():
            data = self._read_some()
            if not data:
                continue
            with self._lock:
                if self._purging:
                    self._purged.append(data)
                    continue
                first = not self._received
                self._received.append(data)
                self._received_size += len(data)
            if first:
                self._call_loop(self._deliver)

    def _may_read(self) -> bool:
        """Wait until the reader may go to the driver; return False when it is to end."""
        with self._lock:
            self._parked = True
            self._reader_parked.notify()
            while not self._stopped and (
                self._purging
                or self._received_size >= DEVICE_BOUND
                or (self._reading_paused and self._received)
            ):
                self._reader.wait()
            self._parked = False
            return not self._stopped

    def _read_some(self) -> bytes:
        """Wait for a byte, and return it with what else has arrived; b"" after a cancellation."""
        # Asked first, what arrived meanwhile comes in one read. While nothing has arrived, nobody waits for this question.
        data = b""
        waiting = self._received_waiting()
        if not waiting:
            data = self._port.read(1)
            if not data:
                return b""
            waiting = self._received_waiting()
        if waiting:
            data += self._port.read(min(waiting, READ_SIZE))
        return data

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if self._reading_paused or self._stopped or not self._received:
                    return
                data = self._received.pop(0)
                self._received_size -= len(data)
                self._reader.notify()
            self._events.data_received(data)

    def _write_all(self) -> None:
        while True:
            with self._lock:
                while not self._unsent and not self._stopped:
                    self._writer.wait()
                if self._stopped:
                    return
                chunk = bytes(self._unsent[:WRITE_CHUNK])
                generation = self._generation
            written = self._port.write(chunk)
            with self._lock:
                if generation == self._generation:
                    del self._unsent[: len(chunk) if written is None else written]
                resume = self._writing_paused and not self._unsent
            if resume:
                self._call_loop(self._resume_if_sent)

    def _resume_if_sent(self) -> None:
        with self._lock:
            resume = self._writing_paused and not self._unsent and not self._stopped
            if resume:
                self._writing_paused = False
        if resume:
            self._events.resume_writing()

    def _lose(self, error: Exception) -> None:
        with self._lock:
            if self._stopped:
                return
            self._stop()
        self._events.port_lost(ComPortError(f"{self._device} is gone: {described(error)}"))
