from __future__ import annotations

from serial_relay.plumbing.backoff import Backoff


def ceiling(low: float, high: float) -> float:
    assert low == 0.0
    return high


def test_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(0.1, 1.0, draw=ceiling)
    assert [backoff.next_delay() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_reset_starts_over() -> None:
    backoff = Backoff(0.1, 1.0, draw=ceiling)
    for _ in range(5):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 0.1


def test_delays_are_spread_over_the_whole_range() -> None:
    backoff = Backoff(1.0, 1.0)
    delays = [backoff.next_delay() for _ in range(1000)]
    assert all(0.0 <= delay <= 1.0 for delay in delays)
    assert min(delays) < 0.1
    assert max(delays) > 0.9
