"""The applications that wait until what they wrote is at the device's host (tcdrain, TCSADRAIN). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LONGEST_DRAIN = 30.0
"""Seconds after which a drain is given up, as a UART's driver gives up at a close (`closing_wait`)."""


@dataclass(slots=True)
class _Drain:
    unique: int
    deadline: float
    then: Callable[[], None]
    number: int = 0
    """Of the message `DRAIN`; 0 while bytes stand before it."""


class Drains:
    """The drains of one port. `ask` asks the relay to confirm this number and all before it."""

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._waiting: list[_Drain] = []
        self._number = 0

    def add(self, unique: int, now: float, then: Callable[[], None]) -> None:
        """Call `then`, which answers the request, once the relay has confirmed it, or after `LONGEST_DRAIN`."""
        self._waiting.append(_Drain(unique, now + LONGEST_DRAIN, then))

    def all_sent(self) -> None:
        """Ask the relay to confirm the drains before which no bytes are left."""
        new = [one for one in self._waiting if not one.number]
        if new:
            self._number = self._number % 0xFFFFFFFF + 1
            for one in new:
                one.number = self._number
            self._ask(self._number)

    def confirmed(self, number: int) -> None:
        """Go on: the relay has answered a drain, and with it all earlier ones."""
        self._end([one for one in self._waiting if 0 < one.number <= number])

    def interrupt(self, unique: int) -> bool:
        """Forget a drain whose caller got a signal; return False if none has this number."""
        before = len(self._waiting)
        self._waiting = [one for one in self._waiting if one.unique != unique]
        return len(self._waiting) < before

    def hang_up(self) -> list[int]:
        """Forget all of them, and return their requests, which the caller answers."""
        forgotten, self._waiting = self._waiting, []
        return [one.unique for one in forgotten]

    @property
    def deadline(self) -> float | None:
        """When `time_passed` is due."""
        return min(one.deadline for one in self._waiting) if self._waiting else None

    def time_passed(self, now: float) -> None:
        """Give up those that have waited long enough."""
        self._end([one for one in self._waiting if one.deadline <= now])

    def _end(self, ended: list[_Drain]) -> None:
        for one in ended:
            self._waiting.remove(one)
            one.then()
