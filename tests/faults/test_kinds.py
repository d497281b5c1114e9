"""Each kind of fault once: what it spoils, and that everything works again afterwards."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.judge import Judge
from tests.faults.kinds import KINDS, Kind
from tests.faults.stage import Stage

LINES = 4
"""Two of each protocol: a victim and one that must not notice."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_fault(kind: Kind) -> None:
    with Stage(LINES) as stage:
        if kind.needs_network and stage.network is None:
            pytest.skip("a network that can be cut needs root")
        judge = Judge(stage)
        for victim in stage.lines[:2]:
            stage.traffic.flow()
            kind.happen(stage, victim, random.Random(1))
            ended = time.monotonic()
            accounts = stage.settle()
            cost = judge.cost(kind, victim, time.monotonic() - ended, accounts)
            print(victim.name, cost)
            assert not cost.violations, stage.logs
        assert "Traceback" not in stage.logs
