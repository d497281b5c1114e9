"""Limits how many log lines of one kind are written, so that nobody outside can fill the log. Pure."""

from __future__ import annotations

import logging
from collections import OrderedDict

BURST = 20
"""Lines of one kind that are written without a pause."""

SECONDS_A_LINE = 30.0
"""Seconds for each further line of that kind, which says how many were left out."""

MOST_KINDS = 1000
"""Limit of the kinds that are remembered; the one that has not occurred for the longest time is forgotten first."""

Kind = tuple[str, str]


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


class Budgets:
    """One budget for each kind: a format string and its first argument, which names the port where there is one.

    Lines for debugging are not limited; somebody asked for them.
    """

    def __init__(self) -> None:
        self._budgets: OrderedDict[Kind, Budget] = OrderedDict()

    def left_out_before(self, record: logging.LogRecord, now: float) -> int | None:
        """Return how many lines of the record's kind were left out before it; None if it is to be left out too."""
        if record.levelno < logging.INFO:
            return 0
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        kind = str(record.msg), first if isinstance(first, str) else ""
        budget = self._budgets.get(kind)
        if budget is None:
            budget = self._budgets[kind] = Budget(now)
            if len(self._budgets) > MOST_KINDS:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(kind)
        if not budget.allows(now):
            return None
        left_out, budget.left_out = budget.left_out, 0
        return left_out
