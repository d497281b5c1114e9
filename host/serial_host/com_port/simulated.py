"""A COM port without hardware, which is served exactly as a real one.

At its other end is a `Device`: a loopback plug, which is defined here, or the Modbus RTU device of `modbus_device`.
The timing of a serial line is not simulated: bytes take no time.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `port.ComPort`

from __future__ import annotations

from collections.abc import Callable

from serial_host.com_port.port import READ_SIZE, ComPort, ComPortEvents, OpenComPort
from serial_host.line import LineErrors, LineSettings, ModemLines

SIMULATED_BUFFER = 4096
"""Limit in bytes of what the simulated driver holds while it is not read; further bytes are lost and count as overruns."""

Answer = Callable[[bytes], None]
"""Takes bytes that the device sends, at any time after the call that passed this function."""

Device = Callable[[bytes, Answer], None]
"""Takes bytes that the device receives, and the function for its answers."""


def loopback_plug(data: bytes, answer: Answer) -> None:
    """Send back what arrives."""
    answer(data)


class SimulatedComPort:
    """A port that accepts any settings, and whose plug connects DTR to DSR and CD, and RTS to CTS."""

    def __init__(self, device: str, line: LineSettings, behaviour: Device, events: ComPortEvents) -> None:
        self._device = device
        self._line = line
        self._behaviour = behaviour
        self._events = events
        self._dtr = self._rts = True
        self._held = bytearray()
        self._overruns = 0
        self._breaks = 0
        self._reading_paused = False
        self._closed = False

    @property
    def device(self) -> str:
        return self._device

    @property
    def line(self) -> LineSettings:
        return self._line

    @property
    def latency_timer(self) -> int | None:
        return None

    @property
    def unsent(self) -> int:
        return 0

    @property
    def drained(self) -> bool:
        return True

    async def drain(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._behaviour(bytes(data), self._receive)

    def _receive(self, data: bytes) -> None:
        if self._closed:
            return
        if not self._reading_paused:
            self._events.data_received(data)
            return
        self._held += data
        self._overruns += max(0, len(self._held) - SIMULATED_BUFFER)
        del self._held[SIMULATED_BUFFER:]

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        while self._held and not self._reading_paused:
            data = bytes(self._held[:READ_SIZE])
            del self._held[: len(data)]
            self._events.data_received(data)

    def change_line(self, line: LineSettings) -> None:
        self._line = line

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001
        self._dtr = on

    def set_rts(self, on: bool) -> None:  # noqa: FBT001
        self._rts = on

    def set_break(self, on: bool) -> None:  # noqa: FBT001
        self._breaks += on

    def modem_lines(self) -> ModemLines:
        return ModemLines(cts=self._rts, dsr=self._dtr, cd=self._dtr)

    def line_errors(self) -> LineErrors:
        return LineErrors(overrun=self._overruns, breaks=self._breaks)

    def discard_received(self) -> int:
        discarded = len(self._held)
        self._held.clear()
        return discarded

    def discard_unsent(self) -> int:
        return 0

    async def close(self) -> None:
        self._closed = True


def simulated(name: str, line: LineSettings, behaviour: Device) -> OpenComPort:
    """Return the function that opens a simulated port."""

    async def open_port(events: ComPortEvents) -> ComPort:
        return SimulatedComPort(name, line, behaviour, events)

    return open_port
