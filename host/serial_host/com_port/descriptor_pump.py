"""Moves bytes between the file descriptor of a terminal and the event loop, without threads (POSIX).

A message costs one wake-up of the event loop, where threads need three switches.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `pump.Pump`

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from serial_host.com_port.port import READ_SIZE, WRITE_HIGH, ComPortError, ComPortEvents
from serial_host.plumbing.text import described


class DescriptorPump:
    """Moves the bytes of a non-blocking descriptor; it does not close the descriptor."""

    def __init__(self, device: str, descriptor: int, events: ComPortEvents) -> None:
        self._device = device
        self._descriptor = descriptor
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self.written = False
        self._writing_paused = False
        self._reading = False
        self._stopped = False
        self.resume_reading()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = True
        if self._stopped:
            self._unsent += data
            return
        if not self._unsent:
            written = self._try_write(data)
            if written == len(data):
                return
            data = data[written:]
            if not self._stopped:
                self._loop.add_writer(self._descriptor, self._writable)
        self._unsent += data
        if len(self._unsent) > WRITE_HIGH and not self._writing_paused:
            self._writing_paused = True
            self._events.pause_writing()

    def discard_received(self, purge: Callable[[], int]) -> int:
        return purge()  # bytes are delivered as soon as they are read, so the pump never holds any

    def discard_unsent(self) -> int:
        discarded = len(self._unsent)
        self._unsent.clear()
        self._sent()
        return discarded

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        if not self._reading and not self._stopped:
            self._reading = True
            self._loop.add_reader(self._descriptor, self._readable)

    async def stop(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.pause_reading()
            self._loop.remove_writer(self._descriptor)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if data:
            self._events.data_received(data)
        else:
            self._lose(None)

    def _try_write(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            # The owner is told later, when the bytes that failed are in `unsent`, where it counts them.
            self._stop()
            self._loop.call_soon(self._tell_lost, error)
            return 0

    def _writable(self) -> None:
        del self._unsent[: self._try_write(self._unsent)]
        self._sent()

    def _sent(self) -> None:
        if not self._unsent and not self._stopped:
            self._loop.remove_writer(self._descriptor)
        if self._writing_paused and not self._unsent:
            self._writing_paused = False
            self._events.resume_writing()

    def _lose(self, error: OSError | None) -> None:
        self._stop()
        self._tell_lost(error)

    def _tell_lost(self, error: OSError | None) -> None:
        reason = "it hung up" if error is None else described(error)
        self._events.port_lost(ComPortError(f"{self._device} is gone: {reason}"))
