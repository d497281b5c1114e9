"""The rules of time, with a clock that only moves when a test moves it."""

from __future__ import annotations

from serial_relay.plumbing.backoff import Backoff
from serial_relay.port.rules import Retry, Span


def longest(_low: float, high: float) -> float:
    """Draw the longest delay there is, instead of a random one."""
    return high


def retry() -> Retry:
    return Retry(Backoff(1.0, 8.0, longest))


def test_a_span_ends_once_and_by_itself() -> None:
    span = Span(3.0)
    assert not span.running
    assert not span.expire(100.0)
    span.begin(100.0)
    assert span.running
    assert span.deadline == 103.0
    assert not span.expire(102.9)
    assert span.expire(103.0)
    assert not span.expire(103.0)
    assert not span.running


def test_a_span_begins_anew_and_ends_early() -> None:
    span = Span(3.0)
    span.begin(100.0)
    span.begin(102.0)
    assert not span.expire(104.0)
    span.end()
    assert span.deadline is None
    assert not span.expire(1000.0)


def test_the_first_attempt_is_due_at_once_and_delays_grow_to_their_cap() -> None:
    rule = retry()
    now = 100.0
    assert rule.due(now)
    assert rule.deadline is None
    for delay in (1.0, 2.0, 4.0, 8.0, 8.0):
        rule.failed(now)
        assert rule.deadline == now + delay
        assert not rule.due(now + delay - 0.01)
        now += delay
        assert rule.due(now)


def test_only_a_connection_that_stood_resets_the_delays() -> None:
    rule = retry()
    for _ in range(4):
        rule.connected(100.0)
        rule.failed(104.9)
    assert rule.deadline == 104.9 + 8.0
    rule.connected(200.0)
    rule.failed(205.0)
    assert rule.deadline == 205.0 + 1.0
    rule.failed(300.0)  # an attempt that did not even connect
    assert rule.deadline == 302.0


def test_somebody_who_waits_makes_the_next_attempt_earlier_but_not_a_storm() -> None:
    rule = retry()
    rule.hurry()  # nothing to make earlier
    assert rule.due(100.0)
    rule.failed(100.0)
    rule.hurry()
    assert not rule.due(100.01)
    assert rule.due(100.05)
