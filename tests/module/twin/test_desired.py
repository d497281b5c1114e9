"""Desired sections: what is read of them, what is a fault, and what goes on in spite of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from serial_relay.config import Connect, Kind, LineSettings, PortConfig, Protocol, WhileDisconnected
from serial_relay.status import ConfigFault
from serial_relay.twin.desired import Desired, parse, to_document
from serial_relay.twin.limits import MAX_PORTS
from tests.module.twin.desired_sections import HOST, fault_of, read, read_ports


def test_a_port_needs_no_more_than_host_and_tcp_port() -> None:
    desired = read({"host": HOST, "serialPorts": {"ttyVirtS0": {"tcpPort": 5002}}, "$version": 7})
    assert desired == Desired(
        version=7,
        ports={
            "ttyVirtS0": PortConfig(
                name="ttyVirtS0",
                host=HOST,
                tcp_port=5002,
                link="ttyVirtS0",
                protocol=Protocol.RAW,
                line=LineSettings(),
                uid=0,
                gid=10,
                mode=0o660,
                connect=Connect.ALWAYS,
                while_disconnected=WhileDisconnected.DISCARD,
                enabled=True,
            )
        },
        port_faults={},
        faults=(),
        warnings=(),
        report_interval=3600.0,
    )


def test_every_key_is_read() -> None:
    line = {"baudRate": 9600, "dataBits": 7, "parity": "even", "stopBits": 1.5, "flowControl": "rtsCts"}
    scale = {
        "host": "WINHOST.mshome.net",
        "tcpPort": 5003,
        "link": "/dev/ttyScale",
        "protocol": "rfc2217",
        "kind": "tty",
        "line": line,
        "uid": 1000,
        "gid": 20,
        "mode": "0600",
        "connect": "onOpen",
        "whileDisconnected": "hold",
        "enabled": False,
    }
    desired = read({"serialPorts": {"scale": scale}, "reportIntervalSeconds": 60})
    assert desired.warnings == ()
    assert desired.version is None
    assert desired.report_interval == 60
    assert desired.ports["scale"] == PortConfig(
        name="scale",
        host="WINHOST.mshome.net",
        tcp_port=5003,
        link="ttyScale",
        protocol=Protocol.RFC2217,
        kind=Kind.TTY,
        line=LineSettings(baud_rate=9600, data_bits=7, parity="even", stop_bits=1.5, flow_control="rtsCts"),
        uid=1000,
        gid=20,
        mode=0o600,
        connect=Connect.ON_OPEN,
        while_disconnected=WhileDisconnected.HOLD,
        enabled=False,
    )


def test_a_documents_ports_come_back_from_the_document_made_of_them() -> None:
    desired = read(
        {
            "host": HOST,
            "$version": 3,
            "reportIntervalSeconds": 10,
            "serialPorts": {
                "a": {"tcpPort": 1, "mode": "007", "connect": "onOpen"},
                "b": {"tcpPort": 2, "protocol": "rfc2217", "line": {"baudRate": 9600}, "enabled": False},
            },
        }
    )
    assert parse(to_document(desired), last_good={}, default_gid=99) == desired


@pytest.mark.parametrize("document", [{}, {"host": HOST, "$version": 1}, {"serialPorts": None}])
def test_no_ports_are_no_information(document: dict[str, Any]) -> None:
    assert parse(document, last_good={}, default_gid=10) is None


def test_an_empty_object_removes_all_ports() -> None:
    assert read_ports({}, read_ports({"a": {"tcpPort": 1}}).ports).ports == {}


@pytest.mark.parametrize("entries", [5, "x", [], [{"tcpPort": 1}], True])
def test_ports_that_are_no_object_leave_all_as_it_is(entries: object) -> None:
    running = read_ports({"a": {"tcpPort": 1}}).ports
    desired = read_ports(entries, running)
    assert desired.ports == running
    assert [fault.path for fault in desired.faults] == ["serialPorts"]


@pytest.mark.parametrize(
    ("entry", "path", "expected"),
    [
        (5, "", "an object with the port's settings, not 5"),
        ([], "", "an object with the port's settings, not an array"),
        ({}, ".tcpPort", "a TCP port, 1-65535; the key is missing"),
        ({"tcpPort": 0}, ".tcpPort", "a TCP port, 1-65535, not 0"),
        ({"tcpPort": 70000}, ".tcpPort", "a TCP port, 1-65535, not 70000"),
        ({"tcpPort": "5002"}, ".tcpPort", 'a TCP port, 1-65535, not "5002" (write it without quotes)'),
        ({"tcpPort": True}, ".tcpPort", "a TCP port, 1-65535, not true"),
        ({"tcpPort": 5002.5}, ".tcpPort", "a TCP port, 1-65535, not 5002.5"),
        ({"tcpPort": 10**30}, ".tcpPort", "a TCP port, 1-65535, not a number of more than 64 bits"),
        ({"tcpPort": {}}, ".tcpPort", "a TCP port, 1-65535, not an object"),
        ({"tcpPort": 1, "protocol": "RAW"}, ".protocol", '"raw" or "rfc2217", not "RAW"'),
        ({"tcpPort": 1, "kind": "cuse"}, ".kind", '"auto", "pty" or "tty", not "cuse"'),
        ({"tcpPort": 1, "protocol": ["raw"]}, ".protocol", '"raw" or "rfc2217", not an array'),
        (
            {"tcpPort": 1, "mode": 660},
            ".mode",
            'an octal string from "000" to "777", not 660 (write it in quotes)',
        ),
        ({"tcpPort": 1, "mode": "4755"}, ".mode", 'an octal string from "000" to "777", not "4755"'),
        ({"tcpPort": 1, "mode": "0o660"}, ".mode", 'an octal string from "000" to "777", not "0o660"'),
        ({"tcpPort": 1, "mode": "66\u0660"}, ".mode", 'an octal string from "000" to "777", not "66\u0660"'),
        ({"tcpPort": 1, "uid": -1}, ".uid", "a number of a user, 0-4294967294, not -1"),
        ({"tcpPort": 1, "gid": 2**32 - 1}, ".gid", "a number of a group, 0-4294967294, not 4294967295"),
        ({"tcpPort": 1, "gid": "dialout"}, ".gid", 'a number of a group, 0-4294967294, not "dialout"'),
        ({"tcpPort": 1, "connect": "open"}, ".connect", '"always" or "onOpen", not "open"'),
        ({"tcpPort": 1, "whileDisconnected": True}, ".whileDisconnected", '"discard" or "hold", not true'),
        (
            {"tcpPort": 1, "enabled": "false"},
            ".enabled",
            'true or false, not "false" (write it without quotes)',
        ),
        ({"tcpPort": 1, "enabled": 1}, ".enabled", "true or false, not 1"),
        ({"tcpPort": 1, "line": 9600}, ".line", "an object with line settings, not 9600"),
        ({"tcpPort": 1, "line": {"baudRate": 0}}, ".line.baudRate", "bits per second, 1-4294967295, not 0"),
        ({"tcpPort": 1, "line": {"dataBits": 9}}, ".line.dataBits", "5, 6, 7 or 8, not 9"),
        ({"tcpPort": 1, "line": {"dataBits": True}}, ".line.dataBits", "5, 6, 7 or 8, not true"),
        ({"tcpPort": 1, "line": {"stopBits": 3}}, ".line.stopBits", "1, 1.5 or 2, not 3"),
        ({"tcpPort": 1, "line": {"stopBits": True}}, ".line.stopBits", "1, 1.5 or 2, not true"),
        (
            {"tcpPort": 1, "line": {"parity": "E"}},
            ".line.parity",
            '"none", "odd", "even", "mark" or "space", not "E"',
        ),
        (
            {"tcpPort": 1, "line": {"flowControl": "rts_cts"}},
            ".line.flowControl",
            '"none", "rtsCts", "xonXoff" or "dtrDsr", not "rts_cts"',
        ),
        (
            {"tcpPort": 1, "host": "tcp://h:5002"},
            ".host",
            'an IP address or host name, not "tcp://h:5002" (only the host, no URL; the port stands in `tcpPort`)',
        ),
        (
            {"tcpPort": 0, "uid": -1, "line": {"dataBits": 9}},
            ".tcpPort",
            "a TCP port, 1-65535, not 0; faulty too: serialPorts.p.line.dataBits, serialPorts.p.uid",
        ),
    ],
)
def test_a_faulty_entry_is_named_and_others_go_on(entry: object, path: str, expected: str) -> None:
    assert fault_of(entry) == ConfigFault(f"serialPorts.p{path}", expected)


def test_what_stands_there_is_shown_short_and_escaped() -> None:
    assert fault_of({"tcpPort": "\x1b[31m\n\ud800" + "x" * 100_000}).expected == (
        'a TCP port, 1-65535, not "\\x1b[31m\\n\\ud800' + "x" * 33 + '…"'
    )


def test_a_host_is_required_somewhere() -> None:
    desired = read({"serialPorts": {"a": {"tcpPort": 1}, "b": {"tcpPort": 2, "host": "h"}}})
    assert desired.ports.keys() == {"b"}
    assert desired.port_faults["a"].path == "serialPorts.a.host"
    assert "here or at the top level" in desired.port_faults["a"].expected


def test_a_faulty_top_level_host_stands_at_the_ports_that_need_it() -> None:
    desired = read({"host": 5, "serialPorts": {"a": {"tcpPort": 1}, "b": {"tcpPort": 2, "host": "h"}}})
    assert desired.ports.keys() == {"b"}
    assert desired.faults == (ConfigFault("host", "an IP address or host name, not 5"),)
    assert desired.port_faults == {"a": desired.faults[0]}


@pytest.mark.parametrize(
    "interval", [0, 0.5, 604_801, "60", True, None, float("nan"), float("inf"), [], 10**400]
)
def test_a_faulty_report_interval_falls_back_to_the_default(interval: object) -> None:
    desired = read({"host": HOST, "serialPorts": {"a": {"tcpPort": 1}}, "reportIntervalSeconds": interval})
    assert desired.report_interval == 3600
    assert [fault.path for fault in desired.faults] == (
        ["reportIntervalSeconds"] if interval is not None else []
    )
    assert desired.ports.keys() == {"a"}


@pytest.mark.parametrize("version", [None, "4", 1.5, True, {}])
def test_a_version_that_is_no_number_is_none(version: object) -> None:
    assert read({"serialPorts": {}, "$version": version}).version is None


def test_a_faulty_entry_keeps_its_last_good_configuration() -> None:
    running = read_ports({"a": {"tcpPort": 1}, "b": {"tcpPort": 2}}).ports
    desired = read_ports({"a": {"tcpPort": "1"}, "b": {"tcpPort": 3}}, running)
    assert desired.ports["a"] == running["a"]
    assert desired.ports["b"].tcp_port == 3
    assert desired.port_faults.keys() == {"a"}


def test_a_port_that_is_not_in_the_document_goes_although_it_was_good() -> None:
    running = read_ports({"a": {"tcpPort": 1}, "b": {"tcpPort": 2}, "c": {"tcpPort": 3}}).ports
    assert read_ports({"b": {"tcpPort": 2}, "c": None}, running).ports.keys() == {"b"}


def test_keys_with_null_are_as_good_as_absent() -> None:
    entry = {
        "tcpPort": 1,
        "link": None,
        "host": None,
        "line": {"baudRate": None},
        "uid": None,
        "comment": None,
    }
    desired = read_ports({"a": entry})
    assert desired.ports == read_ports({"a": {"tcpPort": 1}}).ports
    assert desired.warnings == ()


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"SerialPorts": {"a": {"tcpPort": 1}}}, "SerialPorts", "did you mean serialPorts?"),
        ({"serialports": {"a": {"tcpPort": 1}}}, "serialports", "did you mean serialPorts?"),
        ({"properties": {"desired": {"serialPorts": {}}}}, "properties.desired.serialPorts", "at the top level"),
        ({"desired": {"host": HOST, "serialPorts": {}}}, "desired.serialPorts", "at the top level"),
        ({"properties.desired": {"serialPorts": {}}}, "properties.desired.serialPorts", "at the top level"),
        ({"properties.desired.serialPorts": {}}, "properties.desired.serialPorts", "at the top level"),
        ({"serial_relay": {"properties.desired": {"serialPorts": {}}}}, "serial_relay.properties.desired.serialPorts", "at the top level"),
        ({"serialPorts": {"host": HOST, "serialPorts": {"a": {"tcpPort": 1}}}}, "serialPorts.serialPorts", "at the top level"),
        ({"host": HOST, "ttyVirtS0": {"tcpPort": 5002}}, "ttyVirtS0", "below the key `serialPorts`"),
    ],
)  # fmt: skip
def test_ports_in_a_wrong_place_are_found_and_change_nothing(
    document: dict[str, Any], path: str, expected: str
) -> None:
    running = read_ports({"a": {"tcpPort": 1}}).ports
    desired = read(document, running)
    assert desired.ports == running
    assert [fault.path for fault in desired.faults] == [path]
    assert expected in desired.faults[0].expected


def test_a_misspelt_key_is_a_fault_of_a_port_that_runs_all_the_same() -> None:
    desired = read_ports({"p": {"tcpPort": 1, "conect": "onOpen"}})
    assert desired.ports["p"].connect is Connect.ALWAYS
    assert desired.port_faults == {
        "p": ConfigFault("serialPorts.p.conect", "a key that is known: did you mean connect?")
    }


def test_a_missing_key_names_the_one_that_was_misspelt() -> None:
    assert fault_of({"tcpport": 5002}) == ConfigFault(
        "serialPorts.p.tcpPort",
        "a TCP port, 1-65535; the key is missing, and tcpport must be a key that is known: did you mean tcpPort?",
    )


@pytest.mark.parametrize("key", ["baudRate", "baudrate", "baud_rate"])
def test_line_settings_beside_the_line_are_told_where_they_belong(key: str) -> None:
    desired = read_ports({"p": {"tcpPort": 1, key: 9600}})
    fault = desired.port_faults["p"]
    assert fault == ConfigFault(
        f"serialPorts.p.{key}", 'below the key `line`: { "line": { "baudRate": ... } }'
    )
    assert desired.ports.keys() == {"p"}


def test_a_whole_number_may_be_written_with_a_point() -> None:
    entry = {
        "tcpPort": 5002.0,
        "uid": 0.0,
        "gid": 20.0,
        "line": {"baudRate": 9600.0, "dataBits": 7.0, "stopBits": 1},
    }
    whole = {"tcpPort": 5002, "uid": 0, "gid": 20, "line": {"baudRate": 9600, "dataBits": 7, "stopBits": 1.0}}
    assert read_ports({"p": entry}).ports == read_ports({"p": whole}).ports
    assert read({"serialPorts": {}, "$version": 3.0}).version == 3


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ({"tcpPort": 1, "host": "172.18.246.137 "}, "remove the blank at its end"),
        ({"tcpPort": 1, "host": "\u200b172.18.246.137"}, "remove the invisible character U+200B"),
        ({"tcpPort": 1, "host": "my\u00a0host"}, "remove the invisible character U+00A0"),
        ({"tcpPort": 1, "link": " ttyX"}, "remove the blank at its beginning"),
        ({"tcpPort": 1, "protocol": "raw\ufeff"}, "remove the invisible character U+FEFF"),
        ({"tcpPort": "5002\u200b"}, "remove the invisible character U+200B"),
    ],
)
def test_an_invisible_character_is_named(entry: dict[str, Any], hint: str) -> None:
    assert fault_of(entry).expected.endswith(f"({hint})")


def test_a_key_with_an_invisible_character_is_told_what_was_meant() -> None:
    assert "did you mean tcpPort?" in fault_of({"tcpPort\u200b": 1}).expected


def entries(count: int) -> dict[str, Any]:
    return {f"p{number:04}": {"tcpPort": number + 1} for number in range(count)}


def test_more_ports_than_can_be_reported_are_at_fault_by_name() -> None:
    assert MAX_PORTS >= 256
    desired = read_ports(dict(reversed(entries(MAX_PORTS + 2).items())))
    assert list(desired.ports) == list(entries(MAX_PORTS))
    assert desired.port_faults == {
        name: ConfigFault(f"serialPorts.{name}", f"at most {MAX_PORTS} ports; this one is too many")
        for name in (f"p{MAX_PORTS:04}", f"p{MAX_PORTS + 1:04}")
    }


def test_a_new_port_beyond_the_limit_stops_no_running_one() -> None:
    running = read_ports(entries(MAX_PORTS)).ports
    desired = read_ports(entries(MAX_PORTS) | {"aaa": {"tcpPort": 1}}, running)
    assert desired.ports == running
    assert desired.port_faults.keys() == {"aaa"}


def test_thousands_of_entries_make_a_bounded_answer() -> None:
    desired = read_ports(entries(10_000) | {f"bad name {number}": {} for number in range(10_000)})
    assert len(desired.ports) == MAX_PORTS
    assert len(desired.port_faults) == MAX_PORTS
    assert len(desired.faults) == 21


@pytest.mark.parametrize("name", ["a.b", "a b", "a#b", "", "a\nb", "\ud800", "x" * 65, "\u202eb", "ü" * 33])
def test_a_name_that_no_reported_key_can_have_is_a_fault_outside_ports(name: str) -> None:
    desired = read_ports({name: {"tcpPort": 1}, "good": {"tcpPort": 1}})
    assert desired.ports.keys() == {"good"}
    assert desired.port_faults == {}
    (fault,) = desired.faults
    assert fault.path.startswith("serialPorts.")
    assert fault.path.isprintable()
    assert len(fault.path) <= 60


def test_a_name_that_can_be_no_link_needs_a_link() -> None:
    assert read_ports({"a/b": {"tcpPort": 1}}).port_faults["a/b"].path == "serialPorts.a/b.link"
    assert read_ports({"a/b": {"tcpPort": 1, "link": "ab"}}).ports["a/b"].link == "ab"


def test_the_hubs_keys_are_no_business_of_ours() -> None:
    desired = read(
        {
            "host": HOST,
            "$version": 1,
            "$metadata": {"x": 1},
            "serialPorts": {"$lastUpdated": "2026-11-22", "a": {"tcpPort": 1, "$x": 1}},
        }
    )
    assert desired.ports.keys() == {"a"}
    assert (desired.faults, desired.warnings) == ((), ())


def test_a_key_that_is_like_a_known_one_is_a_fault_and_any_other_a_warning() -> None:
    desired = read(
        {
            "host": HOST,
            "hosts": 1,
            "zzz\n": 1,
            "serialPorts": {
                "a": {"tcpPort": 1, "tcp_port": 2, "protocol": "rfc2217", "line": {"baudrate": 9600}},
            },
        }
    )
    assert desired.ports.keys() == {"a"}
    assert desired.faults == (ConfigFault("hosts", "a key that is known: did you mean host?"),)
    assert desired.port_faults == {
        "a": ConfigFault("serialPorts.a.tcp_port", "a key that is known: did you mean tcpPort?")
    }
    assert desired.warnings == ("zzz\\n is not known and is ignored",)


def test_line_settings_of_a_raw_port_warn() -> None:
    desired = read_ports({"a": {"tcpPort": 1, "line": {"baudRate": 9600}}})
    assert desired.ports["a"].line == LineSettings(baud_rate=9600)
    assert desired.warnings == (
        'serialPorts.a.line has no effect with the protocol "raw"; "rfc2217" carries line settings',
    )


def test_warnings_are_bounded() -> None:
    desired = read({"serialPorts": {}} | {f"key{number}": 1 for number in range(10_000)})
    assert len(desired.warnings) == 21
    assert desired.warnings[-1] == "and 9980 more warnings"


def test_a_huge_and_deep_document_is_read_where_it_matters_only() -> None:
    deep: Any = 1
    for _ in itertools.repeat(None, 5000):
        deep = {"x": deep}
    desired = read_ports({"a": {"tcpPort": deep, "y" * 100_000: deep}, "b": {"tcpPort": 1}})
    assert desired.ports.keys() == {"b"}
    assert desired.port_faults["a"].expected == "a TCP port, 1-65535, not an object"
    assert len(desired.warnings[0]) < 200


def test_configurations_are_equal_by_value_so_that_equal_ones_need_no_restart() -> None:
    document = {"a": {"tcpPort": 1, "protocol": "rfc2217", "line": {"stopBits": 1}}}
    spelled_out = {"a": {"tcpPort": 1, "protocol": "rfc2217", "line": {"stopBits": 1.0}, "link": "/dev/a"}}
    assert read_ports(document).ports == read_ports(spelled_out).ports


def test_mistakes_beyond_those_listed_are_counted_whatever_they_are() -> None:
    from_names = read_ports({f"a {number}": {"tcpPort": 1} for number in range(30)})
    assert len(from_names.faults) == 21
    assert from_names.faults[-1] == ConfigFault(
        "serialPorts", "free of mistakes like these; 10 more are not listed"
    )
