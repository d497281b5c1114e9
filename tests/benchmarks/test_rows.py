"""The verdicts and numbers of the benchmarks' table."""

from __future__ import annotations

import pytest

from tests.benchmarks.rows import Row, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1.0, "1"),
        (1.049, "1.05"),
        (44.06, "44.1"),
        (812.3, "812"),
        (44000, "44000"),
    ],
)
def test_number_has_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_target_of_a_ratio() -> None:
    row = Row("p50", "µs", 50, "socat", 48, 1.04, at_most=1.05, of_ratio=True)
    assert row.reached
    assert row.cells() == ("p50", "50 µs", "48 µs (socat)", "1.04 x", "<= 1.05 x", "reached")


def test_a_ratio_is_shown_with_its_spread() -> None:
    row = Row("p50", "µs", 50, "socat", 48, 1.04, spread=(0.981, 1.1))
    assert row.cells()[3] == "1.04 x (0.981 to 1.1)"


def test_target_of_our_own_number() -> None:
    row = Row("throughput", "MB/s", 4.9, "socat", 200, 0.0245, at_least=5)
    assert row.reached is False
    assert row.cells()[-2:] == (">= 5 MB/s", "MISSED")


def test_peer_that_never_gets_there() -> None:
    row = Row("recovery", "s", 0.3, "socat", None, at_most=0.4)
    assert row.cells() == ("recovery", "0.3 s", "never (socat)", "", "<= 0.4 s", "reached")


def test_measure_without_target() -> None:
    assert Row("memory", "MB", 40).reached is None
    assert Row("memory", "MB", 40).cells() == ("memory", "40 MB", "", "", "", "")
