"""How several rounds become one number."""

from __future__ import annotations

from array import array

import pytest

from tests.benchmarks.comparison import median_ratio, megabytes_per_second, p50, p99, pooled, spread


def test_percentiles_are_microseconds() -> None:
    times = [1000 * number for number in range(1, 101)]
    assert p50(times) == 50.5
    assert p99(times) == 100


def test_a_disturbed_round_does_not_decide() -> None:
    theirs = [array("q", [100]), array("q", [100]), array("q", [100])]
    ours = [array("q", [90]), array("q", [5000]), array("q", [110])]
    assert median_ratio(ours, theirs, p50) == pytest.approx(1.1)


def test_half_of_the_rounds_lie_within_the_spread() -> None:
    theirs = [array("q", [100])] * 5
    ours = [array("q", [time]) for time in (5000, 90, 120, 100, 110)]
    assert spread(ours, theirs, p50) == pytest.approx((1.0, 1.2))
    assert spread(ours[:1], theirs[:1], p50) == (50, 50)


def test_throughput_is_that_of_the_median_round() -> None:
    rounds = [array("q", [1_000_000_000]), array("q", [500_000_000]), array("q", [4_000_000_000])]
    assert megabytes_per_second(rounds, 10_000_000) == pytest.approx(10)
    assert len(pooled(rounds)) == 3
