"""Reported properties: what a patch holds, and that the other side ends with what the module has."""

from __future__ import annotations

import itertools
import json
import logging
from typing import Any

import pytest

from serial_relay.status import ActualLine, ConfigFault, ErrorCode, ModemState, PortError, State
from serial_relay.twin.limits import MAX_PORTS, MAX_SECTION_BYTES
from serial_relay.twin.reported import ModuleFacts, json_size
from tests.edgehub.twin import ModuleTwin
from tests.module.statuses import MOMENT, connected, everything, invalid, retrying
from tests.module.twin.reporter_rig import FACTS, HOUR, Module, started


def test_nothing_is_due_before_the_other_side_is_there() -> None:
    module = Module("a")
    module.reporter.mark_changed(0)
    assert module.reporter.next_due(0) is None
    assert module.reporter.patch(module.statuses, 100) is None


def test_the_first_report_is_whole_and_comes_at_once() -> None:
    module = Module("a", "b")
    module.reporter.resend_all(5)
    module.run(6)
    assert [patch for _, patch in module.patches] == [module.newest | module.patches[0][1]]
    assert module.hub.reported == module.newest


def test_a_change_of_state_goes_out_alone_and_within_a_second() -> None:
    module = started("a", "b")
    module.at(100, module.change("b", state=State.RETRYING, since=MOMENT + 99, remote_address=None))
    module.run(101)
    ((_, patch),) = module.patches
    assert patch == {
        "status": "degraded",
        "portsConnected": 1,
        "serialPorts": {
            "b": {"state": "retrying", "since": "2026-11-22T10:01:39.123Z", "remoteAddress": None}
        },
    }


def test_what_follows_from_a_change_goes_along() -> None:
    module = started("a")
    for number in range(5):
        module.at(100 + number / 20, module.change("a", state=State.RETRYING, connects=number))
    module.run(101)
    assert len(module.patches) == 1
    assert module.hub.reported == module.newest


def test_a_removed_port_is_null_and_a_new_one_whole() -> None:
    module = started("a", "b")
    del module.statuses["a"]
    module.statuses["c"] = retrying("c")
    module.reporter.mark_changed(1)
    module.run(2)
    serial_ports = module.patches[0][1]["serialPorts"]
    assert serial_ports["a"] is None
    assert serial_ports["c"] == module.newest["serialPorts"]["c"]
    assert "b" not in serial_ports


@pytest.mark.parametrize(
    "values",
    [
        {"state": State.RETRYING},
        {"state": State.INVALID},
        {"state": State.DISABLED},
        {"config_error": ConfigFault("serialPorts.a.uid", "a number")},
        {"last_error": PortError(ErrorCode.LINK, "/dev/a exists", MOMENT)},
        {"state": State.IDLE},
        {"application_open": True},
        {"line": ActualLine(baud_rate=9600)},
    ],
)
def test_what_people_act_upon_is_reported_at_once(values: dict[str, Any]) -> None:
    module = started("a", "b")
    module.at(10, module.change("a", **values))
    module.run(11)
    assert module.hub.reported == module.newest


@pytest.mark.parametrize(
    "values",
    [
        {"bytes_to_device": 5, "bytes_from_device": 7},
        {"modem": ModemState(cts=True)},
        {"connects": 2},
        {"since": MOMENT + 1},
    ],
)
def test_what_only_moves_waits_for_the_report_interval(values: dict[str, Any]) -> None:
    module = started("a", "b")
    module.at(10, module.change("a", **values))
    module.run(HOUR - 1)
    assert module.patches == []
    module.run(HOUR + 2)
    assert len(module.patches) == 1
    assert module.hub.reported == module.newest


def test_counters_of_a_port_go_along_with_its_change_of_state() -> None:
    module = started("a", "b")
    module.statuses["a"].bytes_to_device = 5
    module.statuses["b"].bytes_to_device = 6
    module.at(10, module.change("a", state=State.RETRYING))
    module.run(11)
    assert module.hub.reported["serialPorts"]["a"]["bytesToDevice"] == 5
    assert module.hub.reported["serialPorts"]["b"]["bytesToDevice"] == 0


def test_another_attempt_with_the_same_error_waits_for_the_report_interval() -> None:
    module = started("a")
    module.statuses["a"] = retrying("a")
    module.reporter.mark_changed(1)
    for second in range(10, 3000):
        error = PortError(ErrorCode.CONNECTION_REFUSED, "refused", MOMENT + second)
        module.at(second, module.change("a", last_error=error))
    module.run(3000)
    assert len(module.patches) == 1
    module.run(HOUR + 2)
    assert module.hub.reported == module.newest


def test_the_report_interval_is_a_setting() -> None:
    module = started("a")
    module.reporter.configured(FACTS, 10, 1)
    for second in range(1, 101):
        module.at(second, module.change("a", bytes_to_device=second))
    module.run(105)
    assert 9 <= len(module.patches) <= 10
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(module.patches)]
    assert min(gaps) >= 10


def test_a_new_configuration_is_reported_at_once() -> None:
    module = started("a")
    facts = ModuleFacts(
        "1.0.0", MOMENT, "hub", 8, (ConfigFault("host", "an IP address or host name, not 5"),)
    )
    module.reporter.configured(facts, 3600, 10)
    module.run(11)
    assert module.patches[0][1] == {
        "configSource": "hub",
        "desiredVersion": 8,
        "configErrors": [{"path": "host", "expected": "an IP address or host name, not 5"}],
    }
    module.reporter.configured(ModuleFacts("1.0.0", MOMENT, "hub", 9), 3600, 20)
    module.run(21)
    assert module.patches[1][1] == {"desiredVersion": 9, "configErrors": None}


def test_nothing_is_sent_while_a_patch_is_under_way() -> None:
    module = started("a")
    module.statuses["a"].state = State.RETRYING
    module.reporter.mark_changed(10)
    patch = module.reporter.patch(module.statuses, 11)
    assert patch is not None
    module.reporter.mark_changed(11)
    assert module.reporter.next_due(12) is None
    assert module.reporter.patch(module.statuses, 12) is None
    module.statuses["a"].state = State.CONNECTED
    module.reporter.accepted()
    assert module.reporter.patch(module.statuses, 12) == {
        "status": "ok",
        "portsConnected": 1,
        "serialPorts": {"a": {"state": "connected"}},
    }


def test_a_patch_that_was_stored_although_it_failed_is_made_good() -> None:
    module = started("a", "b")
    del module.statuses["b"]
    module.statuses["a"].state = State.RETRYING
    module.reporter.mark_changed(10)
    patch = module.reporter.patch(module.statuses, 11)
    module.hub.patch_reported(json.dumps(patch).encode())
    module.reporter.failed(31)
    module.statuses["a"].state = State.CONNECTED
    module.statuses["b"] = connected("b")
    module.run(60)
    assert module.hub.reported == module.newest


def test_after_a_reconnect_all_is_sent_even_if_nothing_changed() -> None:
    module = started("a", "b")
    module.hub = ModuleTwin()
    module.reporter.resend_all(10)
    module.run(11)
    assert module.hub.reported == module.newest


def test_ports_that_went_while_the_other_side_was_away_are_null_afterwards() -> None:
    module = started("a", "b")
    module.available = False
    del module.statuses["b"]
    module.reporter.mark_changed(10)
    module.run(1000)
    module.available = True
    module.reporter.resend_all(1000)
    module.run(1001)
    assert module.hub.reported == module.newest


def test_a_port_of_an_earlier_run_that_the_other_side_shows_is_removed() -> None:
    module = started("a", "b")
    module.hub.reported["serialPorts"]["gone"] = {"state": "idle"}
    module.reporter.resend_all(10, module.hub.reported | {"$version": 5, "other": {"x": 1}})
    module.run(11)
    assert module.hub.reported == module.newest
    assert not module.patches[-1][1].keys() & {"$version", "other"}


@pytest.mark.parametrize(
    "held", [{}, {"serialPorts": 5}, {"serialPorts": {"a": None}}, {"serialPorts": {"a": {"state": {}}}}]
)
def test_whatever_the_other_side_holds_is_made_good(held: dict[str, Any]) -> None:
    module = Module("a", "b")
    module.hub.reported = {key: value for key, value in held.items() if value != {"a": None}}
    module.reporter.resend_all(0, held)
    module.run(2)
    assert module.hub.reported == module.newest


def test_a_reconnect_while_a_patch_is_under_way_sends_all() -> None:
    module = started("a")
    module.statuses["a"].state = State.RETRYING
    module.reporter.mark_changed(10)
    assert module.reporter.patch(module.statuses, 11) is not None  # lost
    module.reporter.resend_all(12)
    module.reporter.accepted()  # of the lost one: nobody listens to that any more
    module.run(13)
    assert module.hub.reported == module.newest


def test_a_change_of_all_names_is_reported_in_patches_that_fit() -> None:
    module = started(*(f"{number:064}" for number in range(MAX_PORTS)))
    module.statuses = {f"x{number:063}": connected() for number in range(MAX_PORTS)}
    module.reporter.mark_changed(module.now)
    module.run(100)
    assert len(module.patches) == 2
    assert all(json_size(patch) <= MAX_SECTION_BYTES for _, patch in module.patches)
    assert module.hub.reported == module.newest


def test_what_is_left_out_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    names = [f"ttyVirtS{number}" for number in range(64)]
    module = Module(*names)
    module.statuses = {name: everything(name) for name in names}
    module.reporter.resend_all(0)
    with caplog.at_level(logging.WARNING):
        module.run(1)
        module.change("ttyVirtS0", state=State.RETRYING)()
        module.run(2)
    assert module.hub.reported == module.newest
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("the reported properties leave out kindReason, modem, line")


def test_an_invalid_port_is_reported_and_taken_back() -> None:
    module = started("a")
    module.statuses["bad"] = invalid("bad")
    module.reporter.mark_changed(10)
    module.run(11)
    assert module.hub.reported["serialPorts"]["bad"]["configError"]["path"] == "serialPorts.bad.tcpPort"
    module.statuses["bad"] = connected("bad")
    module.reporter.mark_changed(20)
    module.run(21)
    assert "configError" not in module.hub.reported["serialPorts"]["bad"]
