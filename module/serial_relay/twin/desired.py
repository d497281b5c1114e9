"""Module twin's desired properties -> frozen port configurations.

Whatever stands in the document, reading it ends in a `Desired`: the ports that can run, a fault for each thing
that cannot be used, a warning for each key that is not known. What is done about them is the service's business.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from serial_relay.config import (
    Connect,
    FlowControl,
    LineSettings,
    Parity,
    PortConfig,
    Protocol,
    WhileDisconnected,
)
from serial_relay.plumbing.text import MAX_SHOWN, escaped, shown
from serial_relay.status import ConfigFault
from serial_relay.twin.desired_syntax import check_host, check_link, check_mode, fits

MAX_PORTS = 64
DEFAULT_REPORT_INTERVAL = 3600.0
"""Seconds."""

_UNQUOTED = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*|true|false")
_MAX_LISTED = 20  # faults outside ports, and warnings


@dataclass(frozen=True, slots=True)
class Desired:
    """What a desired section asks for."""

    version: int | None
    """The hub's `$version`, None where the document comes without one (a file)."""
    ports: Mapping[str, PortConfig]
    """What shall stand: the valid entries, and the last good configuration of faulty ones."""
    port_faults: Mapping[str, ConfigFault]
    """By port; a port that is here and not in `ports` has no configuration to run with."""
    faults: tuple[ConfigFault, ...]
    """Of keys outside ports, and of entries whose name no port can have."""
    warnings: tuple[str, ...]
    """One line for each thing that is ignored."""
    report_interval: float
    """Seconds."""


def parse(
    document: Mapping[str, Any], *, last_good: Mapping[str, PortConfig], default_gid: int
) -> Desired | None:
    """Read a whole desired section; None when it has no `serialPorts`, which is no information.

    An entry that cannot be used leaves its port with the configuration of `last_good`, unless a valid entry claims
    that one's link. Of two valid entries with one link the second by name is at fault. When there are more than 64
    entries, those with a last good configuration come first, then the order of names: a new entry stops no running
    port.
    """
    entries = document.get("serialPorts")
    if entries is None:
        return None
    notes = _Notes()
    top, faults = _read_top(document, notes)
    ports: dict[str, PortConfig] = {}
    port_faults: dict[str, ConfigFault] = {}
    if isinstance(entries, Mapping):
        for name, entry in _within_limit(entries, last_good, port_faults, faults):
            path = f"serialPorts.{name}"
            port = _read_port(name, entry, path, top, faults, default_gid, notes)
            if isinstance(port, PortConfig):
                ports[name] = port
            else:
                port_faults[name] = port
        _settle_links(ports, port_faults, last_good)
    else:
        faults.append(
            ConfigFault("serialPorts", f"an object with an entry for each port, not {shown(entries)}")
        )
        ports.update(last_good)
    return Desired(
        version=_version(document),
        ports=ports,
        port_faults=port_faults,
        faults=_bounded_faults(faults),
        warnings=notes.bounded(),
        report_interval=top.report_interval_seconds,
    )


def to_document(desired: Desired) -> dict[str, Any]:
    """Give a desired section that `parse` reads to the same ports, version and report interval."""
    document: dict[str, Any] = {
        "reportIntervalSeconds": desired.report_interval,
        "serialPorts": {name: _to_entry(port) for name, port in desired.ports.items()},
    }
    if desired.version is not None:
        document["$version"] = desired.version
    return document


# What people may write. A field's description says what is expected, in the words of a fault.


def _check_stop_bits(value: float) -> float:
    if value not in {1, 1.5, 2}:
        raise ValueError
    return value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


_Host = Annotated[StrictStr, AfterValidator(check_host)]
_Id = Annotated[int, Field(strict=True, ge=0, le=2**32 - 2)]  # (uid_t)-1 means "leave it" to chown(2)


class _Top(_Frozen):
    host: _Host | None = Field(default=None, description="an IP address or host name")
    report_interval_seconds: Annotated[float, Field(strict=True, ge=1, le=604_800)] = Field(
        default=DEFAULT_REPORT_INTERVAL, description="seconds, 1-604800"
    )
    serial_ports: Any = None


class _Line(_Frozen):
    baud_rate: Annotated[int, Field(strict=True, ge=1, le=2**32 - 1)] | None = Field(
        default=None, description="bits per second, 1-4294967295"
    )
    data_bits: Literal[5, 6, 7, 8] | None = Field(default=None, description="5, 6, 7 or 8")
    parity: Parity | None = Field(default=None, description='"none", "odd", "even", "mark" or "space"')
    stop_bits: Annotated[float, Field(strict=True), AfterValidator(_check_stop_bits)] | None = Field(
        default=None, description="1, 1.5 or 2"
    )
    flow_control: FlowControl | None = Field(
        default=None, description='"none", "rtsCts", "xonXoff" or "dtrDsr"'
    )


class _Entry(_Frozen):
    host: _Host | None = Field(default=None, description="an IP address or host name")
    tcp_port: Annotated[int, Field(strict=True, ge=1, le=65535)] = Field(description="a TCP port, 1-65535")
    link: Annotated[StrictStr, AfterValidator(check_link)] = Field(
        description="a name below /dev of 1-64 bytes without '/', blanks and control characters,"
        " not beginning with '.'"
    )
    protocol: Protocol = Field(default=Protocol.RAW, description='"raw" or "rfc2217"')
    line: _Line = Field(default=_Line(), description="an object with line settings")
    uid: _Id = Field(default=0, description="a number of a user, 0-4294967294")
    gid: _Id | None = Field(default=None, description="a number of a group, 0-4294967294")
    mode: Annotated[int, BeforeValidator(check_mode)] = Field(
        default=0o660, description='an octal string from "000" to "777"'
    )
    connect: Connect = Field(default=Connect.ALWAYS, description='"always" or "onOpen"')
    while_disconnected: WhileDisconnected = Field(
        default=WhileDisconnected.DISCARD, description='"discard" or "hold"'
    )
    enabled: StrictBool = Field(default=True, description="true or false")


class _Notes:
    """Warnings, as many as a person reads."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, line: str) -> None:
        if len(self._lines) < _MAX_LISTED:
            self._lines.append(line)
        else:
            self._more += 1

    def bounded(self) -> tuple[str, ...]:
        return (*self._lines, f"and {self._more} more warnings") if self._more else tuple(self._lines)


def _read_top(document: Mapping[str, Any], notes: _Notes) -> tuple[_Top, list[ConfigFault]]:
    known = _known_part(_Top, document, "", notes)
    known.pop("serialPorts", None)
    try:
        return _Top.model_validate(known), []
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
    faults = [ConfigFault(str(error["loc"][0]), _expected(_Top, error)) for error in errors]
    for error in errors:
        known.pop(str(error["loc"][0]), None)
    return _Top.model_validate(known), faults


def _version(document: Mapping[str, Any]) -> int | None:
    version = document.get("$version")
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def _read_port(
    name: str,
    entry: object,
    path: str,
    top: _Top,
    top_faults: Iterable[ConfigFault],
    default_gid: int,
    notes: _Notes,
) -> PortConfig | ConfigFault:
    if not isinstance(entry, Mapping):
        return ConfigFault(path, f"an object with the port's settings, not {shown(entry)}")
    known = _known_part(_Entry, entry, f"{path}.", notes)
    known.setdefault("link", name)
    try:
        read = _Entry.model_validate(known)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        paths = [".".join((path, *map(str, error["loc"]))) for error in errors]
        others = f"; faulty too: {', '.join(paths[1:])}" if paths[1:] else ""
        return ConfigFault(paths[0], _expected(_Entry, errors[0]) + others)
    host = read.host or top.host
    if host is None:
        if fault := next((fault for fault in top_faults if fault.path == "host"), None):
            return fault
        return ConfigFault(
            f"{path}.host", "an IP address or host name, here or at the top level; the key is missing"
        )
    line = LineSettings(**read.line.model_dump())
    if read.protocol is Protocol.RAW and line != LineSettings():
        notes.add(f'{path}.line has no effect with the protocol "raw"; "rfc2217" carries line settings')
    return PortConfig(
        name=name,
        host=host,
        tcp_port=read.tcp_port,
        link=read.link,
        protocol=read.protocol,
        line=line,
        uid=read.uid,
        gid=default_gid if read.gid is None else read.gid,
        mode=read.mode,
        connect=read.connect,
        while_disconnected=read.while_disconnected,
        enabled=read.enabled,
    )


def _known_part(
    model: type[BaseModel], values: Mapping[str, Any], path: str, notes: _Notes
) -> dict[str, Any]:
    """Leave out what is not ours: the hub's `$` keys, nulls (a merge's "no such key") and, with a note, the unknown."""
    fields = {field.alias: field for field in model.model_fields.values()}
    known: dict[str, Any] = {}
    for key, value in values.items():
        if value is None or key.startswith("$"):
            continue
        if key not in fields:
            notes.add(f"{path}{escaped(key)} is not known and is ignored{_suggestion(key, fields)}")
        elif fields[key].annotation is _Line and isinstance(value, Mapping):
            known[key] = _known_part(_Line, value, f"{path}{key}.", notes)
        else:
            known[key] = value
    return known


def _suggestion(key: str, known: Iterable[str | None]) -> str:
    spellings = {name.lower(): name for name in known if name}
    near = difflib.get_close_matches(key[:MAX_SHOWN].lower(), spellings, n=1)
    return f"; did you mean {spellings[near[0]]}?" if near else ""


def _expected(model: type[BaseModel], error: ErrorDetails) -> str:
    description = _description(model, error["loc"])
    if error["type"] == "missing":
        return f"{description}; the key is missing"
    value = error["input"]
    hint = str(error.get("ctx", {}).get("error", ""))
    if (
        not hint
        and isinstance(value, str)
        and '"' not in description
        and _UNQUOTED.fullmatch(value[:MAX_SHOWN])
    ):
        hint = "write it without quotes"
    elif not hint and isinstance(value, int) and description.startswith("an octal string"):
        hint = "write it in quotes"
    return f"{description}, not {shown(value)}" + (f" ({hint})" if hint else "")


def _description(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    by_alias = {field.alias: field for field in model.model_fields.values()}
    field = by_alias[str(location[0])]
    if location[1:]:
        return _description(_Line, location[1:])
    return field.description or ""


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
            faults.append(
                ConfigFault(
                    f"serialPorts.{escaped(name)}",
                    "a port's name of 1-64 bytes without '.', '#', '$', blanks and control characters",
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


def _settle_links(
    ports: dict[str, PortConfig], port_faults: dict[str, ConfigFault], last_good: Mapping[str, PortConfig]
) -> None:
    """Leave each link to one port, then bring back the last good configurations that are in nobody's way."""
    owners: dict[str, str] = {}
    for name in sorted(ports):
        link = ports[name].link
        if (owner := owners.setdefault(link, name)) != name:
            port_faults[name] = ConfigFault(
                f"serialPorts.{name}.link", f"a link of its own; serialPorts.{owner} has /dev/{link} already"
            )
            del ports[name]
    for name in sorted(port_faults):
        earlier = last_good.get(name)
        if earlier and len(ports) < MAX_PORTS and owners.setdefault(earlier.link, name) == name:
            ports[name] = earlier


def _bounded_faults(faults: list[ConfigFault]) -> tuple[ConfigFault, ...]:
    if len(faults) <= _MAX_LISTED:
        return tuple(faults)
    more = ConfigFault("serialPorts", f"names that ports can have; {len(faults) - _MAX_LISTED} more have not")
    return (*faults[:_MAX_LISTED], more)


def _to_entry(port: PortConfig) -> dict[str, Any]:
    entry = {to_camel(key): value for key, value in asdict(port).items() if key != "name"}
    line = {to_camel(key): value for key, value in asdict(port.line).items() if value is not None}
    return entry | {"line": line, "mode": f"{port.mode:03o}"}
