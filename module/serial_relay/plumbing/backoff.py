"""The time to wait before the next attempt: capped exponential back-off with full jitter. Pure, without a clock."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays in seconds: each drawn from 0 to a ceiling that doubles with each failure up to a cap.

    Full jitter spreads the ports of one relay, so that a host that returns is not hit by all of them at once.
    """

    def __init__(
        self, first: float, cap: float, draw: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first = first
        self._cap = cap
        self._draw = draw
        self._ceiling = first

    def next_delay(self) -> float:
        """Return the seconds to wait after one more failure."""
        ceiling = self._ceiling
        self._ceiling = min(self._cap, ceiling * 2)
        return self._draw(0.0, ceiling)

    def reset(self) -> None:
        """Start over: the connection has proved itself."""
        self._ceiling = self._first
