from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serial_relay.status import (
    ActualLine,
    ConfigFault,
    Discarded,
    ErrorCode,
    ModemState,
    PortError,
    PortStatus,
    State,
)
from serial_relay.twin.limits import MAX_ANSWER_BYTES, MAX_PORTS, MAX_SECTION_BYTES
from serial_relay.twin.reported import (
    ModuleFacts,
    apply_merge_patch,
    fit,
    fit_answer,
    json_size,
    merge_patch,
    render,
    unknown_section,
)
from tests.edgehub.twin import ModuleTwin, merge
from tests.module.statuses import MOMENT, connected, everything, invalid, retrying

FACTS = ModuleFacts(version="1.0.0", started_at=MOMENT)


def port(state: State) -> PortStatus:
    return PortStatus(state, MOMENT, "/dev/p")


def test_a_section_says_all_there_is_to_say() -> None:
    facts = ModuleFacts(
        "1.0.0", MOMENT, "hub", 7, (ConfigFault("host", "an IP address or host name, not 5"),)
    )
    status = PortStatus(
        State.CONNECTED,
        MOMENT + 1,
        "/dev/ttyScale",
        remote_address="10.0.0.1:5003",
        application_open=True,
        connects=3,
        last_error=PortError(ErrorCode.RESET, "the host reset the connection", MOMENT),
        config_error=ConfigFault("serialPorts.scale.tcpPort", "a TCP port, 1-65535, not 0"),
        bytes_to_device=10,
        bytes_from_device=20,
        discarded=Discarded(closed=1, disconnected=2, overrun=3, flushed=4, undelivered=5),
        line=ActualLine(baud_rate=9600, data_bits=7, parity="even", stop_bits=1.0),
        modem=ModemState(cts=True),
    )
    assert render(facts, {"scale": status}) == {
        "status": "ok",
        "portsConnected": 1,
        "portsTotal": 1,
        "version": "1.0.0",
        "startedAt": "2026-11-22T10:00:00.123Z",
        "configSource": "hub",
        "desiredVersion": 7,
        "configErrors": [{"path": "host", "expected": "an IP address or host name, not 5"}],
        "serialPorts": {
            "scale": {
                "state": "connected",
                "since": "2026-11-22T10:00:01.123Z",
                "link": "/dev/ttyScale",
                "remoteAddress": "10.0.0.1:5003",
                "applicationOpen": True,
                "connects": 3,
                "lastError": {
                    "code": "reset",
                    "message": "the host reset the connection",
                    "at": "2026-11-22T10:00:00.123Z",
                },
                "configError": {
                    "path": "serialPorts.scale.tcpPort",
                    "expected": "a TCP port, 1-65535, not 0",
                },
                "bytesToDevice": 10,
                "bytesFromDevice": 20,
                "bytesDiscarded": {
                    "closed": 1,
                    "disconnected": 2,
                    "overrun": 3,
                    "flushed": 4,
                    "undelivered": 5,
                },
                "line": {"baudRate": 9600, "dataBits": 7, "parity": "even", "stopBits": 1},
                "modem": {"cts": True, "dsr": False, "ri": False, "cd": False},
            }
        },
    }


def test_what_is_not_known_is_left_out() -> None:
    section = render(FACTS, {"bad": invalid("bad")})
    assert not {"configSource", "desiredVersion", "configErrors"} & section.keys()
    assert not {"link", "remoteAddress", "lastError", "line", "modem"} & section["serialPorts"]["bad"].keys()


@pytest.mark.parametrize(
    ("states", "status", "ports_connected", "ports_total"),
    [
        ([], "unconfigured", 0, 0),
        ([State.DISABLED], "ok", 0, 0),
        ([State.CONNECTED, State.IDLE, State.DISABLED], "ok", 1, 2),
        ([State.CONNECTED, State.RETRYING], "degraded", 1, 2),
        ([State.IDLE, State.INVALID], "degraded", 0, 2),
        ([State.RETRYING, State.CONNECTING, State.NEGOTIATING, State.DISABLED], "down", 0, 3),
        ([State.INVALID], "down", 0, 1),
    ],
)
def test_the_module_is_as_well_as_its_ports(
    states: list[State], status: str, ports_connected: int, ports_total: int
) -> None:
    section = render(FACTS, {str(number): port(state) for number, state in enumerate(states)})
    assert (section["status"], section["portsConnected"], section["portsTotal"]) == (
        status,
        ports_connected,
        ports_total,
    )


def test_texts_and_numbers_stay_within_edgehubs_limits() -> None:
    status = everything("p")
    status.last_error = PortError(ErrorCode.PROTOCOL, "\x00\n\ud800" + "ü" * 10_000, MOMENT)
    section = render(FACTS, {"p": status})
    ModuleTwin().patch_reported(json.dumps(section).encode())
    assert section["serialPorts"]["p"]["bytesToDevice"] == 2**52 - 1
    assert section["serialPorts"]["p"]["lastError"]["message"].startswith("\\x00\\n\\ud800üüü")


def test_four_ports_fit_as_they_are() -> None:
    section = render(FACTS, {f"ttyVirtS{number}": connected() for number in range(4)})
    assert fit(section) == (section, ())


def test_as_many_ports_as_there_may_be_say_their_states_whatever_their_names() -> None:
    names = [f"{n:064}" for n in range(MAX_PORTS)]
    faults = tuple(ConfigFault(f"key{number}", "x" * 5000) for number in range(21))
    section, omitted = fit(
        render(
            ModuleFacts("1.1.0", MOMENT, "cache", 2**31, faults),
            {name: everything(name) for name in names},
        )
    )
    assert "modem" in omitted
    assert {name: set(entry) for name, entry in section["serialPorts"].items()} == {
        name: {"state"} for name in names
    }
    assert json_size(section) <= MAX_SECTION_BYTES


def test_256_ports_of_ordinary_names_keep_the_code_and_time_of_their_last_errors() -> None:
    section, _ = fit(render(FACTS, {f"ttyVirtS{n}": retrying(f"ttyVirtS{n}") for n in range(256)}))
    assert [set(entry) for entry in section["serialPorts"].values()] == [{"state", "lastError"}] * 256
    assert all(set(entry["lastError"]) == {"code", "at"} for entry in section["serialPorts"].values())


def test_64_ports_of_ordinary_names_keep_all_that_people_act_upon() -> None:
    section, omitted = fit(render(FACTS, {f"ttyVirtS{n}": retrying(f"ttyVirtS{n}") for n in range(64)}))
    assert omitted == ()
    section, omitted = fit(render(FACTS, {f"ttyVirtS{n}": everything(f"ttyVirtS{n}") for n in range(64)}))
    assert omitted[:3] == ("kindReason", "modem", "line")
    for entry in section["serialPorts"].values():
        assert {"state", "lastError", "configError"} <= entry.keys()
        assert entry["lastError"]["code"] == "nameResolution"
    assert json_size(section) <= MAX_SECTION_BYTES


def test_too_many_long_names_leave_ports_out_but_not_the_count_of_them() -> None:
    names = [f'{n:03}"' + '"' * 60 for n in range(256)]
    section, omitted = fit(render(FACTS, {name: everything(name) for name in names}))
    assert json_size(section) <= MAX_SECTION_BYTES
    assert section["portsTotal"] == 256
    left_out = {name.removeprefix("serialPorts.") for name in omitted} & set(names)
    assert left_out
    with_one_more = {
        **section,
        "serialPorts": {**section["serialPorts"], min(left_out): {"state": "connected"}},
    }
    assert json_size(with_one_more) > MAX_SECTION_BYTES
    assert left_out | section["serialPorts"].keys() == set(names)
    hub = ModuleTwin()
    hub.patch_reported(json.dumps(merge_patch(unknown_section(names), section)).encode())
    assert hub.reported == section


def test_the_newest_ten_faults_outside_ports_are_enough() -> None:
    faults = tuple(ConfigFault(f"key{number}", "x" * 5000) for number in range(21))
    section = render(ModuleFacts("1", MOMENT, faults=faults), {})
    assert len(section["configErrors"]) == 10
    assert fit(section)[1] == ()


def test_a_patch_against_the_unknown_names_every_key() -> None:
    section = render(FACTS, {"a": connected("a")})
    hub = ModuleTwin()
    stale = render(
        ModuleFacts("0.9", MOMENT, "hub", 3, (ConfigFault("host", "x"),)),
        {"a": everything("a"), "b": everything("b")},
    )
    hub.patch_reported(json.dumps(stale).encode())
    hub.patch_reported(json.dumps(merge_patch(unknown_section({"a", "b"}), section)).encode())
    assert hub.reported == section


documents = st.recursive(
    st.dictionaries(
        st.sampled_from("abcd"), st.integers(0, 2) | st.booleans() | st.text(max_size=2), max_size=4
    ),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner | st.integers(0, 2), max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(documents, documents)
def test_a_patch_makes_the_wanted_of_the_held(held: dict[str, Any], wanted: dict[str, Any]) -> None:
    patch = merge_patch(held, wanted)
    assert apply_merge_patch(held, patch) == wanted
    assert merge(held, patch) == wanted  # as the emulated edgeHub does it
    assert merge_patch(wanted, wanted) == {}
    assert bool(patch) == (held != wanted)


def test_a_patch_into_something_that_is_no_object_replaces_it() -> None:
    assert apply_merge_patch({"a": 5}, {"a": {"b": 1, "c": None}}) == {"a": {"b": 1}}


@pytest.mark.parametrize("name", ["ttyVirtS", "Wäge-Zelle-№-", "秤" * 20])
def test_the_status_of_as_many_ports_as_there_can_be_fits_into_the_answer_of_a_method(name: str) -> None:
    statuses = {f"{name}{number}": retrying(f"{name}{number}") for number in range(MAX_PORTS)}
    for status in statuses.values():
        status.last_error = PortError(ErrorCode.CONNECTION_REFUSED, "ü" * 150, MOMENT)
        status.modem = ModemState(cts=True, dsr=True, ri=False, cd=True)
    section = render(FACTS, statuses)
    assert len(json.dumps(section)) > MAX_ANSWER_BYTES
    answer = fit_answer(section)
    assert len(json.dumps(answer)) <= MAX_ANSWER_BYTES
    assert answer["serialPorts"].keys() == statuses.keys()
    assert all(port["state"] == "retrying" for port in answer["serialPorts"].values())
    few = render(FACTS, {"a": retrying("a")})
    assert fit_answer(few) == few
