"""The type of an open COM port, which `serial_port` (pyserial) and `simulated` implement.

All methods in these types are called on the thread of the event loop, except where they say otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from serial_host.line import LineErrors, LineSettings, ModemLines

DEVICE_BOUND = 8192
"""The limit in bytes of what is held between the connection of a client and the driver of the device."""

WRITE_HIGH = DEVICE_BOUND // 2
"""With more unsent bytes than this, the client is no longer read; a last read brings at most as many again."""

READ_SIZE = DEVICE_BOUND // 2
"""The limit in bytes of one read from the driver or from a client."""


class ComPortError(Exception):
    """The port cannot be opened, cannot do something or was lost. The text is for people and names the port."""


class ComPortEvents(Protocol):
    """What an open port reports to its owner."""

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived from the device."""

    def pause_writing(self) -> None:
        """Stop writing, because more than `WRITE_HIGH` bytes wait for the device.

        Bytes that are written still are kept.
        """

    def resume_writing(self) -> None:
        """Writing may go on."""

    def discarded_late(self, *, received: int = 0, unsent: int = 0) -> None:
        """These bytes were discarded although `discard_received` or `discard_unsent` has raised an error."""

    def port_lost(self, error: ComPortError) -> None:
        """The port has vanished or failed, and is to be closed. Called once, and never after `close`."""


class ComPort(Protocol):
    """An open COM port."""

    @property
    def device(self) -> str:
        """The name under which the operating system opened the port: `COM3` or `/dev/ttyUSB0`."""

    @property
    def line(self) -> LineSettings:
        """The settings that the driver really uses."""

    @property
    def latency_timer(self) -> int | None:
        """Milliseconds for which the USB adapter may collect bytes before it sends them.

        It is None if the adapter has no such timer.
        """

    @property
    def unsent(self) -> int:
        """The number of bytes that were written and that the driver has not taken."""

    @property
    def drained(self) -> bool:
        """True if nothing was written since the last completed `drain`."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take all of `data`, which may be reused after the call. May call `pause_writing` before it returns."""

    def pause_reading(self) -> None:
        """Leave further bytes with the driver, so that its flow control stops the device."""

    def resume_reading(self) -> None:
        """Deliver bytes again."""

    async def drain(self) -> None:
        """Wait until the device has what was written, but not for ever if flow control stops it. Never raises."""

    def change_line(self, line: LineSettings) -> None:
        """Set the line as far as the driver accepts it; `line` holds the result afterwards. Raises `ComPortError`.

        It may block for as long as the driver does. It may be called from any thread, but from one at a time.
        """

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001  # a line is on or off, and the name says which line
        """Drive DTR. Raises `ComPortError`."""

    def set_rts(self, on: bool) -> None:  # noqa: FBT001
        """Drive RTS. Raises `ComPortError`."""

    def set_break(self, on: bool) -> None:  # noqa: FBT001
        """Begin or end a break condition. Raises `ComPortError`."""

    def modem_lines(self) -> ModemLines:
        """Return the modem lines, or the last known ones if the driver is slow; all are off if the port has none.

        Raises:
            ComPortError: they cannot be read.
        """

    def line_errors(self) -> LineErrors:
        """Return the counts of the driver, or the last known ones if it is slow; all are 0 if it keeps none.

        Raises:
            ComPortError: they cannot be read.
        """

    def discard_received(self) -> int:
        """Discard all bytes that have arrived and were not delivered; return their number.

        Raises:
            ComPortError: the bytes were not discarded. If the driver discards them later, `discarded_late` reports their number.
        """

    def discard_unsent(self) -> int:
        """Discard all bytes that were not sent to the device yet; return their number.

        Raises:
            ComPortError: the driver has not discarded what it had taken; `discarded_late` reports the number of bytes that
                were discarded nevertheless.
        """

    async def close(self) -> None:
        """Give the port back to the operating system.

        Unsent bytes are lost. Never raises, but may last as long as the driver.
        """


OpenComPort = Callable[[ComPortEvents], Awaitable[ComPort]]
"""Opens one port. Raises `ComPortError` if it cannot be opened now. May last as long as the driver."""
