"""Several ports that want the same link, or the same TCP port of a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serial_relay.status import ConfigFault
from tests.module.twin.desired_sections import HOST, read_ports


def test_a_second_port_with_the_same_link_is_at_fault() -> None:
    desired = read_ports({"b": {"tcpPort": 2, "link": "/dev/a"}, "a": {"tcpPort": 1}})
    assert desired.ports.keys() == {"a"}
    assert desired.port_faults == {
        "b": ConfigFault("serialPorts.b.link", "a link of its own; serialPorts.a has /dev/a already")
    }


def test_a_faulty_entry_keeps_the_link_of_its_running_port_from_a_new_entry() -> None:
    running = read_ports({"b": {"tcpPort": 1, "link": "x"}, "c": {"tcpPort": 2, "link": "y"}}).ports
    desired = read_ports(
        {"a": {"tcpPort": 3, "link": "x"}, "b": {"tcpPort": "1"}, "c": {"tcpPort": "2"}}, running
    )
    assert desired.ports == running
    assert desired.port_faults["a"] == ConfigFault(
        "serialPorts.a.link", "a link of its own; serialPorts.b has /dev/x already"
    )
    assert desired.port_faults.keys() == {"a", "b", "c"}


def test_a_new_entry_does_not_take_the_link_of_a_running_port() -> None:
    running = read_ports({"scale": {"tcpPort": 1, "link": "ttyVirtS0"}}).ports
    desired = read_ports(
        {"meter": {"tcpPort": 2, "link": "ttyVirtS0"}, "scale": {"tcpPort": 1, "link": "ttyVirtS0"}}, running
    )
    assert desired.ports == running
    assert desired.port_faults == {
        "meter": ConfigFault(
            "serialPorts.meter.link", "a link of its own; serialPorts.scale has /dev/ttyVirtS0 already"
        )
    }


def test_of_two_entries_with_one_server_and_tcp_port_the_second_is_told_which_has_it() -> None:
    entries = {
        "a": {"tcpPort": 5002},
        "b": {"tcpPort": 5002, "host": HOST},
        "c": {"tcpPort": 5002, "host": "h"},
    }
    desired = read_ports(entries)
    assert desired.ports.keys() == {"a", "c"}
    assert desired.port_faults == {
        "b": ConfigFault(
            "serialPorts.b.tcpPort",
            f"a TCP port that no other entry uses; serialPorts.a is relayed to {HOST}:5002 already",
        )
    }


@pytest.mark.parametrize(("one", "other"), [("host", "HOST."), ("::1", "0:0:0:0:0:0:0:1")])
def test_two_spellings_of_a_host_are_one_server(one: str, other: str) -> None:
    desired = read_ports({"a": {"tcpPort": 1, "host": one}, "b": {"tcpPort": 1, "host": other}})
    assert desired.ports.keys() == {"a"}


def test_the_port_that_runs_keeps_its_server_from_a_new_entry_with_an_earlier_name() -> None:
    running = read_ports({"b": {"tcpPort": 5002}}).ports
    desired = read_ports({"a": {"tcpPort": 5002}, "b": {"tcpPort": 5002}}, running)
    assert desired.ports == running
    assert desired.port_faults.keys() == {"a"}


def test_a_port_that_cannot_have_a_new_link_goes_on_with_its_old_one_which_nobody_takes_meanwhile() -> None:
    running = read_ports({"b": {"tcpPort": 1, "link": "x"}, "c": {"tcpPort": 2, "link": "y"}}).ports
    desired = read_ports(
        {
            "a": {"tcpPort": 3, "link": "x"},
            "b": {"tcpPort": 1, "link": "y"},
            "c": {"tcpPort": 2, "link": "y"},
        },
        running,
    )
    assert desired.ports == running
    assert {name: fault.path for name, fault in desired.port_faults.items()} == {
        "a": "serialPorts.a.link",
        "b": "serialPorts.b.link",
    }


def test_a_renamed_port_takes_its_link_and_server_along() -> None:
    running = read_ports({"old": {"tcpPort": 1, "link": "x"}}).ports
    desired = read_ports({"new": {"tcpPort": 1, "link": "x"}, "old": None}, running)
    assert desired.ports.keys() == {"new"}
    assert desired.port_faults == {}


def test_a_disabled_entry_claims_nothing() -> None:
    entries = {"a": {"tcpPort": 1, "link": "x", "enabled": False}, "b": {"tcpPort": 1, "link": "x"}}
    desired = read_ports(entries)
    assert desired.ports.keys() == {"a", "b"}
    assert desired.port_faults == {}


NAMES = st.sampled_from("abcd")

PORTS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {"tcpPort": st.sampled_from([1, 2, 3, 0]), "link": st.sampled_from("xyz"), "enabled": st.booleans()}
    ),
)


@settings(deadline=None)
@given(before=PORTS, after=PORTS)
def test_nothing_stops_a_port_whose_entry_stands(before: dict[str, Any], after: dict[str, Any]) -> None:
    running = read_ports(before).ports
    desired = read_ports(after, running)
    stands = [name for name in running if name in after]
    assert desired.ports.keys() >= set(stands)
    assert desired.ports.keys() | desired.port_faults.keys() == after.keys()
    for name in stands:
        assert desired.ports[name] == running[name] or name not in desired.port_faults
    enabled = [port for port in desired.ports.values() if port.enabled]
    assert len({port.link for port in enabled}) == len({port.tcp_port for port in enabled}) == len(enabled)


def test_two_ports_may_swap_their_links() -> None:
    running = read_ports({"a": {"tcpPort": 1, "link": "x"}, "b": {"tcpPort": 2, "link": "y"}}).ports
    desired = read_ports({"a": {"tcpPort": 1, "link": "y"}, "b": {"tcpPort": 2, "link": "x"}}, running)
    assert {name: port.link for name, port in desired.ports.items()} == {"a": "y", "b": "x"}
