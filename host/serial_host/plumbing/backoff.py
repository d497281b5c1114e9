"""How long to wait before something is tried again. Pure: it knows no clock."""

from __future__ import annotations


class Backoff:
    """Delays that double from `first` to `last` seconds, and begin again after a success that lasted `stable` seconds.

    A success that ends sooner counts as a failure. Otherwise a device that is lost as soon as it is open would be opened
    again and again without a pause.
    """

    def __init__(self, first: float, last: float, stable: float) -> None:
        self._first = first
        self._last = last
        self._stable = stable
        self._next = first

    def delay(self, lasted: float = 0.0) -> float:
        """Return the seconds to wait after a success that lasted `lasted` seconds; 0 stands for a failure."""
        if lasted >= self._stable:
            self._next = self._first
        delay, self._next = self._next, min(2 * self._next, self._last)
        return delay
