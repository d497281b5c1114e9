"""What the server needs of a COM port: the type that a real port and a simulated one both are.

Not here: how a port is opened or driven; that is `serial_port` (pyserial) and `simulated`. Everything in these types
is called on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from serial_host.line import LineErrors, LineSettings, ModemLines

DEVICE_BOUND = 8192
"""At most this many bytes stand between a client's connection and the device's driver."""

WRITE_HIGH = DEVICE_BOUND // 2
"""More unsent bytes than this stop reading from the client; a read takes at most as much again."""

READ_SIZE = DEVICE_BOUND // 2
"""At most this many bytes are taken from the driver, or from a client, at once."""


class ComPortError(Exception):
    """The port cannot be opened, or was lost; the text is for people and names the port."""


class ComPortEvents(Protocol):
    """What an open port tells its owner."""

    def data_received(self, data: bytes) -> None:
        """Take bytes from the device."""

    def pause_writing(self) -> None:
        """Stop writing: more than `WRITE_HIGH` bytes wait for the device. What is written still is kept."""

    def resume_writing(self) -> None:
        """Write again."""

    def port_lost(self, error: ComPortError) -> None:
        """Close the port: it vanished or failed. Called once, and never after `close`."""


class ComPort(Protocol):
    """An open COM port."""

    @property
    def device(self) -> str:
        """The name that the operating system opened, `COM3` or `/dev/ttyUSB0`."""

    @property
    def line(self) -> LineSettings:
        """The settings that the driver really runs with."""

    @property
    def unsent(self) -> int:
        """Bytes written that the driver has not taken."""

    @property
    def drained(self) -> bool:
        """Whether nothing was written since `drain` last found that the device has it all."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take all of `data`, which may be reused after the call; may call `pause_writing` before it returns."""

    def pause_reading(self) -> None:
        """Leave further bytes with the driver, so that its flow control stops the device."""

    def resume_reading(self) -> None:
        """Deliver bytes again."""

    async def drain(self) -> None:
        """Wait until the device has what was written; not for ever, if flow control stops it. Never raises."""

    def change_line(self, line: LineSettings) -> None:
        """Set what the driver accepts; `line` tells afterwards what it made of it. Raises `ComPortError`.

        May block for as long as the driver does, and may be called from any one thread at a time.
        """

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001  # a line is on or off, and the name says which line
        """Drive DTR. Raises `ComPortError`."""

    def set_rts(self, on: bool) -> None:  # noqa: FBT001
        """Drive RTS. Raises `ComPortError`."""

    def set_break(self, on: bool) -> None:  # noqa: FBT001
        """Begin or end a break condition. Raises `ComPortError`."""

    def modem_lines(self) -> ModemLines:
        """Read the modem lines; all off where the port has none. Raises `ComPortError`."""

    def line_errors(self) -> LineErrors:
        """Read the driver's counts; all 0 where it keeps none. Raises `ComPortError`."""

    def discard_received(self) -> int:
        """Throw away what the driver has received; gives the number of bytes. Raises `ComPortError`."""

    def discard_unsent(self) -> int:
        """Throw away what the device has not been sent; gives the number of bytes. Raises `ComPortError`."""

    async def close(self) -> None:
        """Give the port back to the operating system; unsent bytes are lost. Never raises."""


OpenComPort = Callable[[ComPortEvents], Awaitable[ComPort]]
"""Opens one port; raises `ComPortError` when it cannot be had now."""
