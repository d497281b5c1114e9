"""A short soak with a seed that is printed, and what a soak says of programs that leak."""

from __future__ import annotations

import pytest

from tests.faults.judge import Cost
from tests.faults.soak import Life, Outcome, _leaks, soak
from tests.faults.stage import Footprint
from tests.faults.table import table

SEED = 9


def test_thirty_seconds_of_faults() -> None:
    outcome = soak(30, SEED, print)
    print(table(outcome))
    assert not outcome.violations
    assert outcome.faults
    assert outcome.records
    assert (outcome.duplicates, outcome.reordered, outcome.foreign) == (0, 0, 0)


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
    assert not list(_leaks(Life("host", before, before, 5)))
    (violation,) = _leaks(Life("host", before, after, 5))
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
