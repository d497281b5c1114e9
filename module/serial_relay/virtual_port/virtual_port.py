"""The type of a virtual serial port, as the relay uses it: a pty pair or a character device (tty)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from serial_relay.config import LineSettings
from serial_relay.status import LineErrors, ModemState, VirtualPortKind
from serial_relay.virtual_port.termios_map import ApplicationLine, ModemOutputs


class VirtualPortEvents(Protocol):
    """The events that a virtual serial port reports to the relay; every call comes from the event loop.

    Modem lines, breaks and drains are reported by a tty alone.
    """

    def application_opened(self) -> None:
        """An application has the port open; until now none had."""

    def application_closed(self, unread: int) -> None:
        """The last application is gone and left `unread` bytes of the device unread; they are discarded."""

    def application_data(self, data: bytes) -> None:
        """The application wrote these bytes; they are never empty."""

    def application_set_line(self, line: ApplicationLine) -> None:
        """The application set the line, before it wrote what follows."""

    def application_flushed(self, *, received: bool, transmitted: bool) -> None:
        """The application discarded what it has not read, or what the port has not sent (`tcflush`)."""

    def application_set_outputs(self, outputs: ModemOutputs) -> None:
        """The application raised or dropped DTR and RTS, or its open or close did."""

    def application_set_break(self, *, on: bool) -> None:
        """The application began or ended a break, after it wrote what came before."""

    def application_drains(self, drained: Callable[[], None]) -> None:
        """The application waits: call `drained` when all that it wrote is at the device's host, or lost.

        A later call stands for the earlier ones as well.
        """

    def virtual_port_lost(self, reason: str) -> None:
        """The port is gone, and applications that had it open get errors; `close` is to follow. Said once."""

    def nothing_to_read(self, *, nothing: bool) -> None:
        """Everything that applications wrote is read and none has the port open, so it must not be read; or it may."""

    def virtual_port_full(self, *, full: bool) -> None:
        """The application does not read: the port takes no more bytes, and keeps what was written; or it takes more."""


class Left(NamedTuple):
    """The bytes that were in a port when it was closed, and are lost with it."""

    written: int = 0
    """Written by applications and not reported by `application_data`."""
    unread: int = 0
    """Of the device, and read by no application."""


class VirtualPort(Protocol):
    """A serial port that applications open by its link."""

    @property
    def kind(self) -> VirtualPortKind:
        """What it is."""

    @property
    def slave(self) -> Path:
        """The node that the link leads to; it is another one after an application has closed the port."""

    def set_owner(self, uid: int, gid: int, mode: int) -> None:
        """Set the owner, the group and the mode of the node; what the system refuses is a warning, not an error."""

    def write(self, data: bytes) -> None:
        """Hand bytes of the device to the application; only while one has the port open."""

    def look_for_flush(self) -> None:
        """Report at once a flush that the application has made and that was not reported yet."""

    def force_line(self, line: LineSettings) -> None:
        """Let the application read back these settings whatever it sets; None where it may set what it likes."""

    def set_inputs(self, modem: ModemState | None) -> None:
        """Show the application the device's modem lines; None: they are not known, and down."""

    def count_errors(self, errors: LineErrors) -> None:
        """Count errors on the device's line for the application."""

    def pause_reading(self) -> None:
        """Take nothing more from the application: its writes block when the port's own buffer is full."""

    def resume_reading(self) -> None:
        """Take the application's bytes again."""

    @property
    def has_written(self) -> bool:
        """True if applications have written something that was not reported yet."""

    def unread(self) -> int:
        """Return the number of the device's bytes that the application has not read, as far as it can be known."""

    def block_writes(self) -> None:
        """Let applications write nothing more, where that is possible: they wait, and get an error from `close`."""

    def close(self) -> Left:
        """Remove the port, and return what is lost with it; an application that has it open sees a hang-up."""
