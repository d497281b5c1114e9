"""The log of one port, which neither a client nor a device can fill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from serial_host.plumbing.text import printable
from serial_monitor.log_budget import Budget


class PortLog(logging.LoggerAdapter[logging.Logger]):
    """Begins each message with the port's name, and writes a kind of message within its `Budget`.

    Messages of one format string are one kind. Text of others is escaped, so that it cannot make a line of its own.

    All calls are made on the event loop's thread.
    """

    def __init__(
        self, logger: logging.Logger, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(logger, {"name": name})
        self._name = printable(name)
        self._clock = clock
        self._budgets: dict[str, Budget] = {}

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """See `logging.LoggerAdapter`."""
        return f"{self._name}: {msg}", kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """See `logging.LoggerAdapter`."""
        if not self.isEnabledFor(level):
            return
        now = self._clock()
        kind = str(msg)
        budget = self._budgets.get(kind)
        if budget is None:
            budget = self._budgets[kind] = Budget(now)
        if budget.allows(now):
            if budget.left_out:
                kind += f" ({budget.left_out} more messages like this one were left out)"
                budget.left_out = 0
            texts = (printable(arg) if isinstance(arg, str | Exception) else arg for arg in args)
            super().log(level, kind, *texts, **kwargs)

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many messages of each kind were left out and not reported yet."""
        return {kind: budget.left_out for kind, budget in self._budgets.items() if budget.left_out}
