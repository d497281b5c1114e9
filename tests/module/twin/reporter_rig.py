"""A reporter between ports and an edgeHub, in a time that runs as fast as it can."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable
from typing import Any

from serial_relay.twin.reported import ModuleFacts, fit, render
from serial_relay.twin.reporter import Reporter
from tests.edgehub.twin import ModuleTwin
from tests.module.statuses import MOMENT, connected

FACTS = ModuleFacts(version="1.0.0", started_at=MOMENT)
HOUR = 3600.0
DAY = 24 * HOUR

Change = Callable[[], None]


class Module:
    """A reporter between ports and an edgeHub, in a time that runs as fast as it can.

    `at` plans a change of a port; `run` lets time pass. Patches arrive at `hub`, which keeps edgeHub's rules, and in
    `patches` with their times.
    """

    def __init__(self, *ports: str) -> None:
        self.now = 0.0
        self.reporter = Reporter(FACTS)
        self.statuses = {name: connected(name) for name in ports}
        self.hub = ModuleTwin()
        self.available = True
        self.patches: list[tuple[float, dict[str, Any]]] = []
        self._planned: list[tuple[float, int, Change]] = []
        self._order = itertools.count()

    def at(self, when: float, change: Change) -> None:
        heapq.heappush(self._planned, (when, next(self._order), change))

    def change(self, name: str, **values: Any) -> Change:
        """Change a status, as a relay does."""

        def change() -> None:
            for key, value in values.items():
                setattr(self.statuses[name], key, value)
            self.reporter.mark_changed(self.now)

        return change

    def run(self, until: float) -> None:
        while True:
            due = self.reporter.next_due(self.now)
            planned = self._planned[0][0] if self._planned else None
            times = [moment for moment in (due, planned) if moment is not None]
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))
            if planned is not None and planned <= self.now:
                heapq.heappop(self._planned)[2]()
            self._report()

    def _report(self) -> None:
        patch = self.reporter.patch(self.statuses, self.now)
        if patch is None:
            return
        assert patch
        if self.available:
            self.hub.patch_reported(json.dumps(patch).encode())
            self.patches.append((self.now, patch))
            self.reporter.accepted()
        else:
            self.reporter.failed(self.now)

    @property
    def newest(self) -> dict[str, Any]:
        return fit(render(self.reporter.facts, self.statuses))[0]


def started(*ports: str) -> Module:
    """A module whose first report is stored."""
    module = Module(*ports)
    module.reporter.resend_all(0)
    module.run(1)
    assert module.hub.reported == module.newest
    module.patches.clear()
    return module
