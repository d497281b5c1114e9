"""What an application discards of the device's bytes: also those that are on their way at that moment. Pure."""

from __future__ import annotations

LONGEST_PURGE = 5.0
"""Seconds after which the device's bytes are taken again although the relay has not answered."""


class Purges:
    """The purges of received bytes that one port's relay has not answered yet."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last purge; 0 before the first."""
        self.deadline: float | None = None
        """Until when an answer to the last purge is waited for; None while none is."""

    @property
    def waiting(self) -> bool:
        """True while the device's bytes are those from before the last purge."""
        return self.deadline is not None

    def begin(self, now: float) -> None:
        """Give the next purge its number."""
        self.number = self.number % 0xFFFFFFFF + 1
        self.deadline = now + LONGEST_PURGE

    def answered(self, number: int) -> None:
        """Take the relay's answer; that to an earlier purge changes nothing."""
        if number == self.number:
            self.deadline = None

    def time_passed(self, now: float) -> None:
        """Give up an answer that does not come."""
        if self.deadline is not None and self.deadline <= now:
            self.deadline = None
