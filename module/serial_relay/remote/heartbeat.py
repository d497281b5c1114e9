"""Notices that a host no longer answers questions. Pure: `now` is an argument, in seconds of any steady clock.

TCP shows that a host is cut off. It does not show that a host hangs because its process is stopped or stuck, as the
host's kernel goes on acknowledging. Therefore the host is asked a question at regular intervals. It hangs if nothing at
all, neither an answer nor a byte of the device, comes for some seconds after a question. Silence proves nothing while the
answer may have to wait for bytes that were sent before the question and are still on their way through the device's line.
"""

from __future__ import annotations

INTERVAL = 3.0
"""Seconds from one `beat` to the next."""

_STUCK_AFTER = 5.0
"""Seconds of silence. As it is checked each 3 s, a host that hangs is noticed after 6 to 9 s."""

_BITS_ON_THE_LINE = 12
"""The bits of the longest byte: start bit, 8 data bits, parity bit, 2 stop bits."""


class Heartbeat:
    """The questions, answers and silence of one connection. Nothing is judged before the first `beat`."""

    def __init__(self) -> None:
        self._asked: tuple[float, int] | None = None
        """The time of the question that is not answered yet, and the number of bytes that were sent before it."""
        self._silent_since: float | None = None
        """The time at which silence was first noticed."""
        self._confirmed = 0

    def beat(self, now: float, sent: int) -> bool:
        """Return True if it is time to ask. `sent` is the number of bytes that were sent to the device so far."""
        if self._asked is None:
            self._asked = now, sent
            self._silent_since = now
            return True
        if self._silent_since is None:
            self._silent_since = now
        return False

    def heard(self) -> None:
        """Record that something was received."""
        self._silent_since = None

    def answered(self, now: float) -> float | None:
        """Record an answer, and return the seconds since its question; None if nothing was asked."""
        if self._asked is None:
            return None
        asked_at, self._confirmed = self._asked
        self._asked = self._silent_since = None
        return now - asked_at

    def forget(self) -> None:
        """Start again, because the host could not be asked or heard for a while."""
        self._asked = self._silent_since = None

    def unconfirmed(self, sent: int) -> int:
        """Return the number of bytes that were sent since the last question that was answered.

        No more than these can be lost.
        """
        return sent - self._confirmed

    def is_stuck(self, now: float, sent: int, baud_rate: int | None, *, flow_control: bool) -> bool:
        """Return True if the silence means that the host hangs.

        With flow control on, the device may hold back what was sent for as long as it likes.
        """
        if self._asked is None or self._silent_since is None:
            return False
        unconfirmed = self.unconfirmed(sent)
        if unconfirmed and flow_control:
            return False
        on_the_line = unconfirmed * _BITS_ON_THE_LINE / (baud_rate or 300)
        return now - self._silent_since >= _STUCK_AFTER + on_the_line
