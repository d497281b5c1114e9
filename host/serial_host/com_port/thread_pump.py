"""Moves bytes between a blocking COM port and the event loop with a reader and a writer thread.

Windows has no selectable serial handle, so a thread blocks in a read for one byte and then takes what else has come:
no polling interval stands between a byte and its client. Works on every operating system; POSIX has the quicker
`descriptor_pump`.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `pump.Pump`

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from serial_host.com_port.port import DEVICE_BOUND, READ_SIZE, WRITE_HIGH, ComPortError, ComPortEvents

WRITE_CHUNK = 1024
"""Bytes given to one blocking write: what a purge or a close may find on its way."""


class BlockingPort(Protocol):
    """The part of pyserial's `Serial` that the threads use, opened without time-outs."""

    def read(self, size: int) -> bytes: ...
    def write(self, data: bytes) -> int | None: ...
    def cancel_read(self) -> None: ...
    def cancel_write(self) -> None: ...


class ThreadPump:
    """Drives a blocking port; does not close it.

    `received_waiting` gives the number of bytes that the driver holds.
    """

    def __init__(
        self, device: str, port: BlockingPort, received_waiting: Callable[[], int], events: ComPortEvents
    ) -> None:
        self._device = device
        self._port = port
        self._received_waiting = received_waiting
        self._events = events
        self._loop = asyncio.get_running_loop()
        # One lock for what both threads and the loop touch: everything below.
        self._changed = threading.Condition()
        self._stopped = False
        self._received: list[bytes] = []
        self._received_size = 0
        self._reading_paused = False
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
        with self._changed:
            self._unsent += data
            pause = len(self._unsent) > WRITE_HIGH and not self._writing_paused
            if pause:
                self._writing_paused = True
            self._changed.notify_all()
        if pause:
            self._events.pause_writing()

    def discard_unsent(self) -> int:
        with self._changed:
            discarded = len(self._unsent)
            self._unsent.clear()
            self._generation += 1
        self._port.cancel_write()
        self._resume_if_sent()
        return discarded

    def pause_reading(self) -> None:
        with self._changed:
            self._reading_paused = True

    def resume_reading(self) -> None:
        with self._changed:
            self._reading_paused = False
            self._changed.notify_all()
            pending = bool(self._received)
        if pending:
            self._loop.call_soon(self._deliver)

    async def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            while thread.is_alive():
                # Repeated, because a thread on its way into the driver does not feel the first one.
                with contextlib.suppress(Exception):
                    self._port.cancel_read()
                    self._port.cancel_write()
                thread.join(0.05)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # pyserial lets TypeError and others escape when a port goes away
            self._call_loop(self._lose, error)

    def _call_loop(self, callback: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(callback, *args)

    def _read_all(self) -> None:
        while not self._stopped:
            # Asked before each read, because pyserial's read asks too, and throws the error flags away.
            waiting = self._received_waiting()
            if not waiting:
                data = self._port.read(1)
                if not data:
                    continue
                waiting = self._received_waiting()
            else:
                data = b""
            if waiting:
                data += self._port.read(min(waiting, READ_SIZE))
            if not data:
                continue
            with self._changed:
                first = not self._received
                self._received.append(data)
                self._received_size += len(data)
            if first:
                self._call_loop(self._deliver)
            with self._changed:
                while (self._reading_paused or self._received_size >= DEVICE_BOUND) and not self._stopped:
                    self._changed.wait()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                if self._reading_paused or self._stopped or not self._received:
                    return
                data = self._received.pop(0)
                self._received_size -= len(data)
                self._changed.notify_all()
            self._events.data_received(data)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._unsent and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                chunk = bytes(self._unsent[:WRITE_CHUNK])
                generation = self._generation
            written = self._port.write(chunk)
            with self._changed:
                if generation == self._generation:
                    del self._unsent[: len(chunk) if written is None else written]
                resume = self._writing_paused and not self._unsent
            if resume:
                self._call_loop(self._resume_if_sent)

    def _resume_if_sent(self) -> None:
        with self._changed:
            resume = self._writing_paused and not self._unsent and not self._stopped
            if resume:
                self._writing_paused = False
        if resume:
            self._events.resume_writing()

    def _lose(self, error: Exception) -> None:
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            self._changed.notify_all()
        self._events.port_lost(ComPortError(f"{self._device} is gone: {error}"))
