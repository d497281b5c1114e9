"""The one timer of a port, set to the earliest deadline of its rules of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

_TICK = 0.001
"""Seconds: the resolution of the event loop's clock (libuv). A timer set this much later never comes too early."""


class Rule(Protocol):
    """A rule of time: it knows when something is due."""

    @property
    def deadline(self) -> float | None:
        """The loop's time of the next thing that is due, None if there is none."""


class Alarm:
    """Calls its owner at each deadline, and lets one coroutine wait for a condition meanwhile."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rules: Callable[[], Sequence[Rule]],
        time_passed: Callable[[float], None],
    ) -> None:
        """Call `time_passed` with the loop's time when a deadline of one of the `rules` has come."""
        self._loop = loop
        self._rules = rules
        self._time_passed = time_passed
        self._timer: asyncio.TimerHandle | None = None
        self._awake = asyncio.Event()

    def set(self) -> None:
        """Look at the rules' deadlines again: one of them has changed."""
        deadlines = [rule.deadline for rule in self._rules() if rule.deadline is not None]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(deadlines) + _TICK, self._ring) if deadlines else None

    def wake(self) -> None:
        """Let `wait_for` look at its condition again, and look at the deadlines again."""
        self._awake.set()
        self.set()

    async def wait_for(self, condition: Callable[[float], bool]) -> None:
        """Return when a condition of the loop's time is true; it is looked at after `wake` and at each deadline."""
        while not condition(self._loop.time()):
            self.set()
            self._awake.clear()
            await self._awake.wait()

    def stop(self) -> None:
        """Make no calls until the next `set`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._time_passed(self._loop.time())
        self.wake()
