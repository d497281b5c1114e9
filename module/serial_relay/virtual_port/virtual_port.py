"""The type of a virtual serial port, as the relay uses it.

The pty pair is one kind; a character device would be another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from serial_relay.virtual_port.termios_map import ApplicationLine


class VirtualPortEvents(Protocol):
    """The events that a virtual serial port reports to the relay; every call comes from the event loop."""

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

    def nothing_to_read(self, *, nothing: bool) -> None:
        """Everything that applications wrote is read and none has the port open, so it must not be read; or it may."""

    def virtual_port_full(self, *, full: bool) -> None:
        """The application does not read: the port takes no more bytes, and keeps what was written; or it takes more."""


class VirtualPort(Protocol):
    """A serial port that applications open by its link."""

    @property
    def slave(self) -> Path:
        """The node that the link leads to; it is another one after an application has closed the port."""

    def set_owner(self, uid: int, gid: int, mode: int) -> None:
        """Set the owner, the group and the mode of the node; what the system refuses is a warning, not an error."""

    def write(self, data: bytes) -> None:
        """Hand bytes of the device to the application; only while one has the port open."""

    def look_for_flush(self) -> None:
        """Report at once a flush that the application has made and that was not reported yet."""

    def pause_reading(self) -> None:
        """Take nothing more from the application: its writes block when the port's own buffer is full."""

    def resume_reading(self) -> None:
        """Take the application's bytes again."""

    def close(self) -> None:
        """Remove the port; an application that has it open sees a hang-up."""
