"""What the relay knows of a virtual serial port. The pty pair is one kind; a character device would be another."""

from __future__ import annotations

from typing import Protocol


class VirtualPortEvents(Protocol):
    """What a virtual serial port tells the relay; every call comes from the event loop."""

    def application_opened(self) -> None:
        """An application has the port open; until now none had."""

    def application_closed(self, unread: int) -> None:
        """The last application is gone and left `unread` bytes of the device unread; they are discarded."""

    def application_data(self, data: bytes) -> None:
        """The application wrote; never empty."""

    def pause_device(self) -> None:
        """The application does not read: write no more until `resume_device`. What was written is kept."""

    def resume_device(self) -> None:
        """There is room again."""


class VirtualPort(Protocol):
    """A serial port that applications open by its link."""

    @property
    def application_open(self) -> bool:
        """An application has the port open."""

    def write(self, data: bytes) -> None:
        """Hand bytes of the device to the application; only while one has the port open."""

    def pause_reading(self) -> None:
        """Take nothing more from the application: its writes block when the port's own buffer is full."""

    def resume_reading(self) -> None:
        """Take the application's bytes again."""

    def close(self) -> None:
        """Remove the port; an application that has it open sees a hang-up."""
