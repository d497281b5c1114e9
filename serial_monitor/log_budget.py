"""Limits how many lines of one kind a log gets, so that nobody outside can fill it. Pure, without a clock."""

from __future__ import annotations

BURST = 20
"""Lines of one kind that are written without a pause."""

SECONDS_A_LINE = 30.0
"""Seconds for each further line of that kind, which says how many were left out."""


class Budget:
    """The lines of one kind; `now` is in seconds of any clock that only goes forward."""

    def __init__(self, now: float) -> None:
        self._lines = float(BURST)
        self._counted_at = now
        self.left_out = 0
        """Lines that were not allowed since the last one that was."""

    def allows(self, now: float) -> bool:
        """Return whether a line may be written now; if not, it is counted in `left_out`."""
        self._lines = min(BURST, self._lines + (now - self._counted_at) / SECONDS_A_LINE)
        self._counted_at = now
        if self._lines < 1:
            self.left_out += 1
            return False
        self._lines -= 1
        return True
