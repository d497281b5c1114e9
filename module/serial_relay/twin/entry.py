"""Reads the keys beside `serialPorts`, and one entry of it, into a port's configuration or the fault that stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serial_relay.config import LineSettings, PortConfig, Protocol, TlsSettings
from serial_relay.plumbing.text import shown
from serial_relay.status import ConfigFault
from serial_relay.twin.keys import Entry, Top
from serial_relay.twin.remarks import Remarks, expected, known_part
from serial_relay.twin.tls_entry import Tls, fault_of_tls, settings


def read_top(document: Mapping[str, Any], remarks: Remarks) -> tuple[Top, list[ConfigFault]]:
    """Read the keys beside `serialPorts`; a faulty one counts as absent."""
    known = known_part(Top, document, "", remarks)
    known.pop("serialPorts", None)
    try:
        return Top.model_validate(known), []
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
    faults = [ConfigFault(".".join(map(str, error["loc"])), expected(Top, error)) for error in errors]
    for error in errors:
        known.pop(str(error["loc"][0]), None)
    return Top.model_validate(known), faults


def read_port(
    name: str,
    entry: object,
    path: str,
    top: Top,
    top_faults: Iterable[ConfigFault],
    default_gid: int,
    remarks: Remarks,
) -> PortConfig | ConfigFault:
    """Read one entry; a fault says why it cannot be used."""
    if not isinstance(entry, Mapping):
        return ConfigFault(path, f"an object with the port's settings, not {shown(entry)}")
    known = known_part(Entry, entry, f"{path}.", remarks)
    known.setdefault("link", name)
    without_tls = known.get("tls") is False
    if without_tls:
        del known["tls"]
    try:
        read = Entry.model_validate(known)
    except ValidationError as invalid:
        return _fault_of(invalid.errors(include_url=False), path, remarks)
    host = read.host or top.host
    if host is None:
        if fault := next((fault for fault in top_faults if fault.path == "host"), None):
            return fault
        return ConfigFault(
            f"{path}.host", "an IP address or host name, here or at the top level; the key is missing"
        )
    tls = None if without_tls else _tls(path, read.tls, top, [*top_faults, *remarks.faults])
    if isinstance(tls, ConfigFault):
        return tls
    line = LineSettings(**read.line.model_dump())
    if read.protocol is Protocol.RAW and line != LineSettings():
        remarks.warn(f'{path}.line has no effect with the protocol "raw"; "rfc2217" carries line settings')
    return PortConfig(
        name=name,
        host=host,
        tcp_port=read.tcp_port,
        link=read.link,
        protocol=read.protocol,
        kind=read.kind,
        line=line,
        uid=read.uid,
        gid=default_gid if read.gid is None else read.gid,
        mode=read.mode,
        connect=read.connect,
        while_disconnected=read.while_disconnected,
        enabled=read.enabled,
        capture_seconds=read.capture_seconds,
        tls=tls,
    )


def _tls(path: str, own: Tls | None, top: Top, faults: list[ConfigFault]) -> TlsSettings | ConfigFault | None:
    """Return the settings of a port: its own, or else those at the top; a mistake in them is the port's fault."""
    if mistake := fault_of_tls(faults, f"{path}."):
        return mistake
    if own is not None:
        return settings(own, f"{path}.tls")
    if mistake := fault_of_tls(faults, ""):
        return mistake
    return settings(top.tls, "tls") if top.tls is not None else None


def _fault_of(errors: list[ErrorDetails], path: str, remarks: Remarks) -> ConfigFault:
    paths = [".".join((path, *map(str, error["loc"]))) for error in errors]
    wanted = expected(Entry, errors[0])
    if errors[0]["type"] == "missing" and (mistake := remarks.fault_below(path)):
        wanted += f", and {mistake.path.removeprefix(path + '.')} must be {mistake.expected}"
    others = f"; faulty too: {', '.join(paths[1:])}" if paths[1:] else ""
    return ConfigFault(paths[0], wanted + others)
