"""Whether a host that answers questions still does. Pure: `now` is an argument, in seconds of any steady clock.

A host that is cut off shows in TCP; one that merely hangs (its process is stopped or stuck) does not, as its kernel goes
on acknowledging. So it is asked something again and again, and judged by its silence: nothing at all, neither an answer
nor a byte of the device, for some seconds after a question. Silence is no sign while the answer may have to wait for
bytes that were sent before the question and are still on their way through the device's line.
"""

from __future__ import annotations

INTERVAL = 3.0
"""Seconds from one `beat` to the next."""

_STUCK_AFTER = 5.0
"""Seconds of silence; as it is looked at each 3 s, a host that hangs is noticed 6 to 9 s later."""

_BITS_ON_THE_LINE = 12
"""Of the longest byte: start, 8 data, parity, 2 stop."""


class Heartbeat:
    """Questions, answers and silence of one connection; nothing is judged before the first `beat`."""

    def __init__(self) -> None:
        self._asked: tuple[float, int] | None = None
        """When the question was asked that is not answered yet, and how much was sent before it."""
        self._silent_since: float | None = None
        """When it was first seen that nothing had come."""
        self._confirmed = 0

    def beat(self, now: float, sent: int) -> bool:
        """Look at the clock; True if it is time to ask. `sent` counts all bytes sent to the device so far."""
        if self._asked is None:
            self._asked = now, sent
            self._silent_since = now
            return True
        if self._silent_since is None:
            self._silent_since = now
        return False

    def heard(self) -> None:
        """Take note that something came."""
        self._silent_since = None

    def answered(self, now: float) -> float | None:
        """Take note of an answer, and give the seconds since its question; None if nothing was asked."""
        if self._asked is None:
            return None
        asked_at, self._confirmed = self._asked
        self._asked = self._silent_since = None
        return now - asked_at

    def forget(self) -> None:
        """Start anew: it could not be asked or heard for a while."""
        self._asked = self._silent_since = None

    def unconfirmed(self, sent: int) -> int:
        """Bytes sent to the device since the last question that was answered: no more than these can be lost."""
        return sent - self._confirmed

    def is_stuck(self, now: float, sent: int, baud_rate: int | None, *, flow_control: bool) -> bool:
        """Judge the silence; with flow control on, the device itself may hold back what was sent, for as long as it likes."""
        if self._asked is None or self._silent_since is None:
            return False
        unconfirmed = self.unconfirmed(sent)
        if unconfirmed and flow_control:
            return False
        on_the_line = unconfirmed * _BITS_ON_THE_LINE / (baud_rate or 300)
        return now - self._silent_since >= _STUCK_AFTER + on_the_line
