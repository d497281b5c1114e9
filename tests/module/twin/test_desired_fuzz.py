"""More than 2,000 generated desired documents: reading ends, names what is wrong and spares what is right."""

from __future__ import annotations

import json
import string
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serial_relay.config import PortConfig
from serial_relay.status import ConfigFault
from serial_relay.twin.desired import Desired, parse, to_document
from serial_relay.twin.limits import MAX_PORTS


def generated(documents: int) -> settings:
    return settings(
        max_examples=documents,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from(["raw", "always", "660", "5002", "/dev/x", "true", "a" * 5000, 2**31, 10**400, 65536])
)
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)

WRONG_SOMEWHERE: list[Any] = [
    True, False, 0, 1, -1, 5002, 65535, 65536, 2**32 - 1, 10**400, 0.5, 5002.0, float("nan"), float("inf"),
    "", " ", "raw", "RAW", "rfc2217", "always", "onOpen", "hold", "true", "5002", "660", "0x1f", "rw-rw----", "10.0.0",
    "tcp://winhost", "[::1]", "winhost:5002", "a b", "\x00", "\ud800", "x" * 5000, [], [5002], {}, {"tcpPort": 1},
]  # fmt: skip

KEYS = [
    "host", "tcpPort", "link", "protocol", "line", "uid", "gid", "mode",
    "connect", "whileDisconnected", "enabled", "baudRate", "tcpport", "$x",
]  # fmt: skip

wild_entries = any_json | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), any_json, max_size=8)
wild_documents = st.dictionaries(st.text(max_size=8), any_json, max_size=3).flatmap(
    lambda extra: st.fixed_dictionaries(
        {},
        optional={
            "host": any_json,
            "reportIntervalSeconds": any_json,
            "$version": any_json,
            "serialPorts": any_json
            | st.dictionaries(
                st.text(st.characters(exclude_categories=()), max_size=10), wild_entries, max_size=8
            ),
        },
    ).map(lambda known: extra | known)
)


def whole_number(least: int, most: int) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and value % 1 == 0
    )


def one_of(*allowed: object) -> Callable[[object], bool]:
    return lambda value: any(type(value) is type(good) and value == good for good in allowed)


# For each key: values that are right, and when a value is; told independently of the code.
good_values: Mapping[str, st.SearchStrategy[Any]] = {
    "tcpPort": st.integers(1, 65535),
    "protocol": st.sampled_from(["raw", "rfc2217"]),
    "uid": st.integers(0, 2**32 - 2),
    "gid": st.integers(0, 2**32 - 2),
    "mode": st.text("01234567", min_size=3, max_size=3),
    "connect": st.sampled_from(["always", "onOpen"]),
    "whileDisconnected": st.sampled_from(["discard", "hold"]),
    "enabled": st.booleans(),
    "line": st.fixed_dictionaries(
        {}, optional={"baudRate": st.integers(1, 4_000_000), "dataBits": st.just(8)}
    ),
    "host": st.sampled_from(["10.0.0.1", "fe80::1", "winhost.mshome.net"]),
}
is_good: Mapping[str, Callable[[Any], bool]] = {
    "tcpPort": whole_number(1, 65535),
    "protocol": one_of("raw", "rfc2217"),
    "uid": whole_number(0, 2**32 - 2),
    "gid": whole_number(0, 2**32 - 2),
    "mode": lambda value: isinstance(value, str) and value.isascii() and value.isdigit(),
    "connect": one_of("always", "onOpen"),
    "whileDisconnected": one_of("discard", "hold"),
    "enabled": lambda value: isinstance(value, bool),
    "line": lambda value: isinstance(value, dict),
    "host": lambda value: (
        isinstance(value, str) and all(c in string.ascii_letters + string.digits for c in value)
    ),
}


bad_values = {key: [value for value in WRONG_SOMEWHERE if not good(value)] for key, good in is_good.items()}


@st.composite
def entries(draw: st.DrawFn) -> tuple[dict[str, Any], set[str]]:
    """One entry, and the keys of it that are faulty."""
    entry = {"tcpPort": draw(good_values["tcpPort"])}
    for key in draw(st.sets(st.sampled_from(sorted(good_values)), max_size=5)):
        entry[key] = draw(good_values[key])
    faulty = draw(st.just(set[str]()) | st.sets(st.sampled_from(sorted(good_values)), min_size=1, max_size=3))
    for key in faulty:
        entry[key] = draw(st.sampled_from(bad_values[key]))
    return entry, faulty


names = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)


def with_servers_of_their_own(
    drawn: dict[str, tuple[dict[str, Any], set[str]]],
) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Assign a TCP port of its own to each name, since two entries with one server and port are a fault of the second."""
    for name, (entry, faulty) in drawn.items():
        if "tcpPort" not in faulty:
            entry["tcpPort"] = 1 + zlib.crc32(name.encode()) % 65535
    return drawn


documents = st.dictionaries(names, entries(), max_size=10).map(with_servers_of_their_own)


def read(serial_ports: Mapping[str, Any], last_good: Mapping[str, PortConfig] | None = None) -> Desired:
    document = {"host": "172.18.246.137", "serialPorts": serial_ports}
    desired = parse(document, last_good=last_good or {}, default_gid=10)
    assert desired is not None
    return desired


def is_a_mistaken_key(fault: ConfigFault) -> bool:
    """Return whether the entry is used in spite of the fault."""
    return fault.expected.startswith(("a key that is known: ", "below the key `line`"))


def check_bounds(desired: Desired) -> None:
    assert len(desired.ports) <= MAX_PORTS
    enabled = [port for port in desired.ports.values() if port.enabled]
    assert len({port.link for port in enabled}) == len(enabled)
    faults = [*desired.faults, *desired.port_faults.values()]
    for text in [*(fault.path for fault in faults), *(fault.expected for fault in faults), *desired.warnings]:
        assert 0 < len(text) < 1000
        assert text.isprintable()
    for name in {*desired.ports, *desired.port_faults}:
        assert not set(name) & set(".$# ")
        assert name.isprintable()
    for name, port in desired.ports.items():
        assert port.name == name
        assert "/" not in port.link
        assert 1 <= port.tcp_port <= 65535
        assert 0 <= port.mode <= 0o777
    assert 1 <= desired.report_interval <= 604_800


@generated(documents=500)
@given(wild_documents, wild_documents)
def test_any_document_is_read(first: dict[str, Any], second: dict[str, Any]) -> None:
    before = parse(first, last_good={}, default_gid=10)
    running = before.ports if before else {}
    desired = parse(second, last_good=running, default_gid=10)
    if second.get("serialPorts") is None:
        assert desired is None or (desired.ports == running and desired.faults)
        return
    assert desired is not None
    check_bounds(desired)
    kept = {name for name, port in desired.ports.items() if running.get(name) == port}
    unusable = {name for name, fault in desired.port_faults.items() if not is_a_mistaken_key(fault)}
    assert kept >= unusable & running.keys() & desired.ports.keys()
    assert parse(second, last_good=desired.ports, default_gid=10) == desired
    again = parse(to_document(desired), last_good={}, default_gid=11)
    assert again is not None
    assert (again.ports, again.port_faults, again.faults, again.warnings) == (
        desired.ports,
        {},
        (),
        tuple(warning for warning in again.warnings if "has no effect" in warning),
    )


@generated(documents=500)
@given(documents)
def test_every_fault_is_reported_by_path_and_good_ports_are_as_if_alone(
    drawn: dict[str, tuple[dict[str, Any], set[str]]],
) -> None:
    serial_ports = {name: entry for name, (entry, _) in drawn.items()}
    desired = read(serial_ports)
    check_bounds(desired)
    for name, (entry, faulty) in drawn.items():
        if faulty:
            assert name not in desired.ports
            fault = desired.port_faults[name]
            for key in faulty:
                assert f"serialPorts.{name}.{key}" in f"{fault.path}; {fault.expected}"
        else:
            assert desired.ports[name] == read({name: entry}).ports[name]
            assert name not in desired.port_faults


@generated(documents=200)
@given(documents, documents)
def test_a_faulty_entry_keeps_what_was_good_and_a_good_one_replaces_it(
    first: dict[str, tuple[dict[str, Any], set[str]]], second: dict[str, tuple[dict[str, Any], set[str]]]
) -> None:
    running = read({name: entry for name, (entry, _) in first.items()}).ports
    desired = read({name: entry for name, (entry, _) in second.items()}, running)
    for name, (entry, faulty) in second.items():
        if not faulty:
            assert desired.ports[name] == read({name: entry}).ports[name]
        else:
            assert desired.ports.get(name) == running.get(name)
    assert desired.ports.keys() <= second.keys()


@generated(documents=200)
@given(wild_documents)
def test_reading_does_not_depend_on_the_order_of_keys(document: dict[str, Any]) -> None:
    turned = dict(reversed(document.items()))
    if isinstance(ports := document.get("serialPorts"), dict):
        turned["serialPorts"] = dict(reversed(ports.items()))
    first, second = (parse(each, last_good={}, default_gid=10) for each in (document, turned))
    if first is None or second is None:
        assert first is second
        return
    assert (first.ports, first.port_faults, set(first.faults)) == (
        second.ports,
        second.port_faults,
        set(second.faults),
    )


def test_the_generated_documents_could_come_out_of_a_file() -> None:
    # JSON text carries what the strategies make, lone surrogates included.
    document = {"host": "\ud800", "serialPorts": {"\ud800": {"tcpPort": 10**400}}}
    assert json.loads(json.dumps(document)) == document
