"""When a host's silence means that it hangs: clock in hand."""

from __future__ import annotations

import pytest

from serial_relay.remote.heartbeat import INTERVAL, Heartbeat


def noticed(
    heartbeat: Heartbeat, sent: int = 0, baud_rate: int | None = 9600, flow_control: bool = False
) -> float:
    """Beat on without hearing anything, and give the time when the host is found to hang, infinity if it never is."""
    now = INTERVAL
    while now < 1000:
        asked = heartbeat.beat(now, sent)
        if not asked and heartbeat.is_stuck(now, sent, baud_rate, flow_control=flow_control):
            return now
        now += INTERVAL
    return float("inf")


def test_silence_is_noticed_within_nine_seconds_of_the_last_answer() -> None:
    heartbeat = Heartbeat()
    assert heartbeat.beat(0.0, 0)
    assert heartbeat.answered(0.1) == pytest.approx(0.1)
    assert noticed(heartbeat) <= 9.1


def test_a_host_that_hangs_right_after_a_question_is_noticed_sooner() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat(0.0, 0)
    assert noticed(heartbeat) == 6.0


def test_one_question_at_a_time_and_another_after_the_answer() -> None:
    heartbeat = Heartbeat()
    assert [heartbeat.beat(now, 0) for now in (0.0, 3.0, 6.0)] == [True, False, False]
    assert heartbeat.answered(7.0) == 7.0
    assert heartbeat.answered(7.1) is None
    assert heartbeat.beat(9.0, 0)


def test_bytes_of_the_device_are_a_sign_of_life() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat(0.0, 0)
    for now in range(3, 60, 3):
        heartbeat.heard()
        heartbeat.beat(float(now), 0)
        assert not heartbeat.is_stuck(float(now), 0, 9600, flow_control=False)


def test_what_may_still_be_on_the_line_gives_more_time() -> None:
    slow = Heartbeat()
    slow.beat(0.0, 1000)
    assert 40 + 5 <= noticed(slow, sent=1000, baud_rate=300) <= 40 + 5 + INTERVAL
    unknown = Heartbeat()
    unknown.beat(0.0, 1000)
    assert noticed(unknown, sent=1000, baud_rate=None) == pytest.approx(45, abs=INTERVAL)
    confirmed = Heartbeat()
    confirmed.beat(0.0, 1000)
    confirmed.answered(0.5)
    assert noticed(confirmed, sent=1000, baud_rate=300) <= 9.1


def test_a_device_that_holds_back_by_flow_control_is_no_sign_of_death() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat(0.0, 1)
    assert noticed(heartbeat, sent=1, flow_control=True) == float("inf")
    assert noticed(Heartbeat(), sent=0, flow_control=True) <= 9.1


def test_only_what_no_answer_confirms_can_be_lost() -> None:
    heartbeat = Heartbeat()
    assert heartbeat.unconfirmed(10) == 10
    heartbeat.beat(0.0, 10)
    assert heartbeat.unconfirmed(15) == 15
    heartbeat.answered(0.1)
    assert heartbeat.unconfirmed(15) == 5
    assert heartbeat.unconfirmed(10) == 0


def test_nothing_is_judged_over_a_time_in_which_nothing_could_be_heard() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat(0.0, 0)
    heartbeat.forget()
    assert not heartbeat.is_stuck(100.0, 0, 9600, flow_control=False)
    assert heartbeat.beat(100.0, 0)
    assert heartbeat.answered(100.2) == pytest.approx(0.2)
