"""How many messages a day the reported properties cost, whatever the ports do."""

from __future__ import annotations

import pytest

from serial_relay.status import ErrorCode, PortError, State
from serial_relay.twin.reporter import BURST, PER_HOUR, RESERVE, Reporter
from tests.module.statuses import MOMENT, connected
from tests.module.twin.reporter_rig import DAY, FACTS, HOUR, Module, started


def test_without_a_hub_each_change_goes_out_at_once() -> None:
    reporter, ports = Reporter(FACTS, limited=False), {"a": connected("a")}
    reporter.resend_all(0)
    for second in range(3 * BURST):
        ports["a"].state = State.CONNECTED if second % 2 else State.RETRYING
        reporter.mark_changed(second)
        due = reporter.next_due(second)
        assert due is not None
        assert due < second + 1
        assert reporter.patch(ports, due)
        reporter.accepted()


def test_twenty_changes_of_state_go_out_at_once_then_twelve_an_hour_and_the_newest_in_the_end() -> None:
    module = started("a")
    module.run(HOUR)  # what the start took is there again
    for second in range(100):
        state = State.CONNECTED if second % 2 else State.RETRYING
        module.at(HOUR + second, module.change("a", state=state, since=MOMENT + second))
    module.run(HOUR + 100)
    assert len(module.patches) == BURST
    assert all(moment - int(moment) < 1 for moment, _ in module.patches)
    module.run(3 * HOUR)
    assert len(module.patches) == BURST + 1
    assert module.hub.reported == module.newest


def test_a_flapping_port_costs_no_more_than_its_tokens_in_a_day() -> None:
    module = started("a", "b")
    for second in range(2, int(DAY), 5):
        state = State.CONNECTED if second % 2 else State.RETRYING
        module.at(second, module.change("a", state=state, since=MOMENT + second))
    module.run(DAY)
    assert len(module.patches) <= BURST + 24 * PER_HOUR + 24
    module.run(DAY + HOUR)
    assert module.hub.reported == module.newest


def open_and_close(module: Module, name: str, every: float, until: float) -> None:
    moment = 10.0
    while moment < until:
        module.at(moment, module.change(name, application_open=True))
        module.at(moment + every / 2, module.change(name, application_open=False))
        moment += every


PROBES = 96
"""Twin reads a day, which count as messages too: one each 15 minutes."""


def test_an_idle_module_costs_fewer_than_150_messages_a_day() -> None:
    module = started("a", "b", "c", "d")
    module.run(DAY)
    assert module.patches == []
    for hour in range(24, 48):
        module.at(hour * HOUR + 5, module.change("a", bytes_from_device=hour))
    module.run(2 * DAY)
    assert len(module.patches) <= 24
    assert 1 + len(module.patches) + PROBES < 150


def test_reconnects_for_new_tokens_replace_the_hourly_message() -> None:
    module = started("a", "b", "c", "d")
    for number in range(1, 25):
        module.at(number * (HOUR - 120), lambda: module.reporter.resend_all(module.now))
        module.at(number * HOUR - 500, module.change("a", bytes_from_device=number))
    module.run(DAY)
    assert 1 + len(module.patches) + PROBES + 24 < 150


@pytest.mark.parametrize("every", [1.0, 7.0, 60.0])
def test_an_application_that_opens_and_closes_costs_fewer_than_500_messages_a_day(every: float) -> None:
    module = started("a", "b")
    open_and_close(module, "a", every, DAY)
    for minute in range(1440):
        module.at(60 * minute + 30, module.change("b", bytes_to_device=minute))
    module.run(DAY)
    assert 1 + len(module.patches) + PROBES < 500
    module.run(DAY + HOUR)
    assert module.hub.reported == module.newest


def test_an_application_that_opens_an_idle_port_again_and_again_costs_no_more() -> None:
    module = started("a")
    for number in range(int(DAY) // 10):
        moment = 10.0 * number + 10
        module.at(moment, module.change("a", state=State.CONNECTING, application_open=True))
        module.at(moment + 0.1, module.change("a", state=State.CONNECTED, connects=number))
        module.at(moment + 2, module.change("a", application_open=False))
        module.at(moment + 7, module.change("a", state=State.IDLE))
    module.run(DAY)
    assert 1 + len(module.patches) + PROBES < 500


def test_applications_that_come_and_go_leave_tokens_for_faults() -> None:
    module = started("a", "b")
    open_and_close(module, "a", 1.0, 4 * HOUR)
    for number in range(RESERVE - 1):
        state = State.CONNECTED if number % 2 else State.RETRYING
        module.at(3 * HOUR + 10 * number, module.change("b", state=state))
        module.at(3 * HOUR + 10 * number + 1, lambda: None)
    module.run(3 * HOUR - 1)
    for number in range(RESERVE - 1):
        module.run(3 * HOUR + 10 * number + 1)
        assert module.hub.reported["serialPorts"]["b"]["state"] == module.statuses["b"].state


def test_a_host_that_is_away_for_days_with_changing_errors_leaves_tokens_for_faults() -> None:
    module = started("a", "b")
    for second in range(2, int(DAY), 5):
        code = ErrorCode.TIMED_OUT if second % 2 else ErrorCode.HOST_UNREACHABLE
        module.at(
            second,
            module.change("a", state=State.RETRYING, last_error=PortError(code, "away", MOMENT + second)),
        )
    module.at(DAY - 100, module.change("b", state=State.RETRYING))
    module.run(DAY - 99)
    assert module.hub.reported["serialPorts"]["b"]["state"] == "retrying"
    assert len(module.patches) + PROBES < 500


def test_while_the_other_side_is_away_attempts_become_rare_and_cost_no_tokens() -> None:
    module = started("a")
    module.available = False
    module.at(10, module.change("a", state=State.RETRYING))
    attempts = 0
    while module.now < DAY and (due := module.reporter.next_due(module.now)) is not None:
        module.run(due)
        attempts += 1
        module.run(due + 0.001)
    assert attempts < 24 * PER_HOUR + 20
    module.available = True
    module.reporter.resend_all(module.now)
    module.run(module.now + 1)
    assert module.hub.reported == module.newest
    for number in range(BURST - 1):
        module.change("a", state=State.CONNECTED if number % 2 else State.RETRYING)()
        module.run(module.now + 1)
        assert module.hub.reported == module.newest
