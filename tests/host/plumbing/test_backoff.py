"""How long to wait before something is tried again."""

from __future__ import annotations

from serial_host.plumbing.backoff import Backoff


def test_delays_double_up_to_the_last() -> None:
    backoff = Backoff(0.1, 2.0, 5.0)
    assert [round(backoff.delay(), 1) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_only_a_lasting_success_begins_anew() -> None:
    backoff = Backoff(0.1, 2.0, 5.0)
    for _ in range(10):
        backoff.delay(4.9)
    assert backoff.delay(4.9) == 2.0
    assert backoff.delay(5.0) == 0.1
    assert backoff.delay(0.0) == 0.2
