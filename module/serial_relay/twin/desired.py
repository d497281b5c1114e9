"""The module twin's desired properties -> frozen port configurations.

    { "host": "172.18.246.137",
      "serialPorts": {
        "ttyVirtS0": { "tcpPort": 5002 },
        "scale": { "tcpPort": 5003, "protocol": "rfc2217", "line": { "baudRate": 9600, "parity": "even" } } } }

Whatever stands in the document, reading it ends in a `Desired`: the ports that can run, a fault for each thing that
cannot be used, a warning for each key that is not known. `entry` reads one entry, `claims` decides which entry gets a link that
two want. What is done about the result is the service's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from serial_relay.config import PortConfig
from serial_relay.plumbing.text import escaped, shown
from serial_relay.status import ConfigFault
from serial_relay.twin.claims import settle
from serial_relay.twin.desired_syntax import fits, invisible, whole_number
from serial_relay.twin.entry import read_port, read_top
from serial_relay.twin.limits import MAX_NAME_BYTES, MAX_PORTS
from serial_relay.twin.remarks import MAX_LISTED, Remarks
from serial_relay.twin.tls_entry import wants_tls

_DEEPEST = 4
"""Levels below which a misplaced `serialPorts` is looked for."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What a desired section asks for."""

    version: int | None
    """The hub's `$version`, None where the document comes without one (a file)."""
    ports: Mapping[str, PortConfig]
    """The ports that are to run: the valid entries, and the last good configuration of faulty ones."""
    port_faults: Mapping[str, ConfigFault]
    """By port. A port that is in `ports` too runs: with its last good configuration, or in spite of a mistaken key."""
    faults: tuple[ConfigFault, ...]
    """The faults of keys outside ports, and of entries whose name no port can have."""
    warnings: tuple[str, ...]
    """One line for each thing that is ignored."""
    report_interval: float
    """Seconds."""


def parse(
    document: Mapping[str, Any], *, last_good: Mapping[str, PortConfig], default_gid: int
) -> Desired | None:
    """Read a whole desired section; return None if it does not mention ports, which changes nothing.

    An entry that cannot be used leaves its port with the configuration of `last_good`, but not with one that has no TLS
    when the document asks for it: such a port stays down. If there are more than `MAX_PORTS`
    entries, those with a last good configuration come first, then the order of names: a new entry stops no running
    port. If `serialPorts` stands in a wrong place or is misspelt, the ports of `last_good` stay and a fault says so.
    """
    entries = document.get("serialPorts")
    remarks = Remarks()
    top, faults = read_top(document, remarks)
    faults += remarks.faults
    ports: dict[str, PortConfig] = {}
    port_faults: dict[str, ConfigFault] = {}
    if isinstance(entries, Mapping) and not _is_section(entries):
        valid: dict[str, PortConfig] = {}
        for name, entry in _within_limit(entries, last_good, port_faults, faults):
            path = f"serialPorts.{name}"
            port = read_port(name, entry, path, top, faults, default_gid, remarks)
            if isinstance(port, PortConfig):
                valid[name] = port
            else:
                port_faults[name] = port
        good = {
            name: config
            for name, config in last_good.items()
            if config.tls is not None or not wants_tls(document, entries.get(name))
        }
        ports = settle(valid, port_faults, good)
        for name in valid:
            if name not in port_faults and (mistake := remarks.fault_below(f"serialPorts.{name}")):
                port_faults[name] = mistake
    else:
        faults += _misplaced(document)
        if not faults:
            return None
        ports.update(last_good)
    return Desired(
        version=_version(document),
        ports=ports,
        port_faults=port_faults,
        faults=_bounded_faults(faults),
        warnings=remarks.warnings(),
        report_interval=top.report_interval_seconds,
    )


def to_document(desired: Desired) -> dict[str, Any]:
    """Return a desired section that `parse` reads to the same ports, version and report interval."""
    document: dict[str, Any] = {
        "reportIntervalSeconds": desired.report_interval,
        "serialPorts": {name: _to_entry(port) for name, port in desired.ports.items()},
    }
    if desired.version is not None:
        document["$version"] = desired.version
    return document


def _version(document: Mapping[str, Any]) -> int | None:
    version = whole_number(document.get("$version"))
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def _is_section(entries: Mapping[str, Any]) -> bool:
    """Return whether this is a whole desired section, pasted where the entries should stand."""
    below = entries.get("serialPorts")
    return isinstance(below, Mapping) and "tcpPort" not in below


def _misplaced(document: Mapping[str, Any]) -> list[ConfigFault]:
    """Return the faults of a section without entries: nothing usable, or `serialPorts` or an entry in a wrong place."""
    ports = document.get("serialPorts")
    if isinstance(ports, Mapping):
        expected = (
            "at the top level of the desired properties: a whole section was pasted below `serialPorts`"
        )
        return [ConfigFault("serialPorts.serialPorts", expected)]
    if ports is not None:
        return [ConfigFault("serialPorts", f"an object with an entry for each port, not {shown(ports)}")]
    entries = [key for key, value in document.items() if isinstance(value, Mapping) and "tcpPort" in value]
    if entries:
        return [ConfigFault(escaped(key), "below the key `serialPorts`") for key in entries[:MAX_LISTED]]
    return [
        ConfigFault(
            path,
            "at the top level of the desired properties, as `serialPorts`: paste only what stands inside"
            " `properties.desired`",
        )
        for path in _paths_of_ports(document, "", _DEEPEST)
    ][:1]


def _paths_of_ports(value: Mapping[str, Any], prefix: str, levels: int) -> Iterator[str]:
    for key, below in value.items():
        if not isinstance(below, Mapping) or key.startswith("$"):
            continue
        path = f"{prefix}{escaped(key)}"
        if (prefix and key == "serialPorts") or key.rpartition(".")[2] == "serialPorts":
            yield path
        elif levels > 1:
            yield from _paths_of_ports(below, f"{path}.", levels - 1)


def _within_limit(
    entries: Mapping[str, Any],
    last_good: Mapping[str, PortConfig],
    port_faults: dict[str, ConfigFault],
    faults: list[ConfigFault],
) -> Iterable[tuple[str, Any]]:
    names = []
    for name in sorted(
        name for name, entry in entries.items() if entry is not None and not name.startswith("$")
    ):
        if fits(name) and not re.search("[ .#$]", name):
            names.append(name)
        else:
            character = invisible(name)
            faults.append(
                ConfigFault(
                    f"serialPorts.{escaped(name)}",
                    f"a port's name of 1-{MAX_NAME_BYTES} bytes without '.', '#', '$', blanks and control characters"
                    + (f" (remove {character})" if character else ""),
                )
            )
    names.sort(key=lambda name: (name not in last_good, name))
    for name in names[MAX_PORTS : 2 * MAX_PORTS]:
        port_faults[name] = ConfigFault(
            f"serialPorts.{name}", f"at most {MAX_PORTS} ports; this one is too many"
        )
    if len(names) > 2 * MAX_PORTS:
        faults.append(ConfigFault("serialPorts", f"at most {MAX_PORTS} ports, not {len(names)}"))
    return [(name, entries[name]) for name in sorted(names[:MAX_PORTS])]


def _bounded_faults(faults: list[ConfigFault]) -> tuple[ConfigFault, ...]:
    if len(faults) <= MAX_LISTED:
        return tuple(faults)
    left_out = len(faults) - MAX_LISTED
    more = ConfigFault("serialPorts", f"free of mistakes like these; {left_out} more are not listed")
    return (*faults[:MAX_LISTED], more)


def _to_entry(port: PortConfig) -> dict[str, Any]:
    entry = {to_camel(key): value for key, value in asdict(port).items() if key != "name"}
    line = {to_camel(key): value for key, value in asdict(port.line).items() if value is not None}
    if port.tls is not None:
        entry["tls"] = {
            to_camel(key): list(value) if isinstance(value, tuple) else value
            for key, value in asdict(port.tls).items()
            if value is not None
        }
    return entry | {"line": line, "mode": f"{port.mode:03o}"}
