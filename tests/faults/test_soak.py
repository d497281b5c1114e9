"""A short soak with a seed that is printed, and what a soak says of programs that leak."""

from __future__ import annotations

import random

import pytest

from tests.faults.judge import Cost
from tests.faults.kinds import KINDS
from tests.faults.soak import Life, Outcome, leaks, look_at_the_end, look_at_the_programs, soak
from tests.faults.stage import Footprint, Stage
from tests.faults.table import table

SEED = 9


def test_thirty_seconds_of_faults() -> None:
    outcome = soak(30, SEED, print)
    print(table(outcome))
    assert not outcome.violations
    assert outcome.faults
    assert outcome.records
    assert (outcome.duplicates, outcome.reordered, outcome.foreign) == (0, 0, 0)


@pytest.mark.parametrize("peers", ["client: ", "turned away client: ", "server: "])
def test_storms_leave_nothing_that_takes_memory_or_time(peers: str) -> None:
    outcome = Outcome(SEED)
    with Stage(2) as stage:
        look_at_the_programs(stage, outcome)
        for kind in KINDS:
            if kind.name.startswith(peers):
                kind.happen(stage, stage.lines[1], random.Random(SEED))
        look_at_the_end(stage, outcome)
        print(outcome)
        assert not outcome.violations
        assert not [what for life in outcome.lives for what in leaks(life)]


@pytest.mark.parametrize(
    ("after", "what"),
    [
        pytest.param(Footprint(1, 80_000_000, 20, 3, 0.0), "memory", id="memory"),
        pytest.param(Footprint(1, 30_000_000, 40, 3, 0.0), "descriptors", id="descriptors"),
        pytest.param(Footprint(1, 30_000_000, 20, 30, 0.0), "threads", id="threads"),
    ],
)
def test_leak_is_a_violation(after: Footprint, what: str) -> None:
    before = Footprint(1, 30_000_000, 20, 3, 0.0)
    assert not list(leaks(Life("host", before, before, 5)))
    (violation,) = leaks(Life("host", before, after, 5))
    assert what in violation


def test_table_shows_costs_and_violations() -> None:
    footprint = Footprint(1, 30_000_000, 20, 3, 0.0)
    outcome = Outcome(
        SEED,
        costs={"host killed": Cost(2, 700, lost=120, counted=100, seconds=0.4)},
        lives=[Life("host", footprint, footprint, 2)],
        violations=["something"],
    )
    lines = table(outcome).splitlines()
    (row,) = (line for line in lines if line.startswith("host killed"))
    assert row.split() == ["host", "killed", "2", "700", "120", "100", "20", "0.40", "s"]
    assert lines[-2:] == ["1 violations", "  something"]
