"""Limits how many lines of one kind the log gets, so that nobody outside can fill it."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

from serial_monitor.log_budget import Budget
from serial_monitor.log_queue import QueuedHandler, Sink

MOST_KINDS = 1000
"""Limit of the kinds that are remembered; the one that has not occurred for the longest time is forgotten first."""

Kind = tuple[str, str]


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


class LimitedHandler(QueuedHandler):
    """Queues records within the budget of their kind."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._budgets = Budgets()

    def emit(self, record: logging.LogRecord) -> None:
        """See `QueuedHandler`; `logging` calls it in one thread at a time."""
        similar = self._budgets.left_out_before(record, time.monotonic())
        if similar is not None:
            remark = f" ({similar} more lines like this one were left out)" if similar else ""
            self.queue(record, remark)
