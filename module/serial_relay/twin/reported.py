"""Port statuses -> the reported section of the module twin, as a whole. When to send what is `reporter`'s business."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serial_relay.plumbing.text import escaped
from serial_relay.status import (
    DISCARD_REASONS,
    ActualLine,
    ConfigFault,
    ModemState,
    PortError,
    PortStatus,
    State,
)
from serial_relay.twin.limits import MAX_ANSWER_BYTES, MAX_SECTION_BYTES
from serial_relay.twin.twin import ConfigSource, Document

_MAX_TEXT = 256
_MAX_FAULTS = 10
MAX_INTEGER = 2**52 - 1  # the largest that edgeHub takes

_WELL = frozenset({State.CONNECTED, State.IDLE})

MODULE_KEYS = (
    "status",
    "portsConnected",
    "portsTotal",
    "version",
    "startedAt",
    "configSource",
    "desiredVersion",
    "configErrors",
    "moduleFingerprint",
    "nextModuleFingerprint",
)
ACKNOWLEDGEMENTS = "acknowledgements"
"""The key of a section under which `plug_and_play` keeps what is sent in other places."""

_LINE_KEYS = ("baudRate", "dataBits", "parity", "stopBits", "flowControl")
PORT_KEYS: Mapping[str, tuple[str, ...]] = {
    "state": (),
    "since": (),
    "link": (),
    "kind": (),
    "kindReason": (),
    "remoteAddress": (),
    "applicationOpen": (),
    "connects": (),
    "lastError": ("code", "message", "at"),
    "configError": ("path", "expected"),
    "bytesToDevice": (),
    "bytesFromDevice": (),
    "bytesDiscarded": DISCARD_REASONS,
    "line": _LINE_KEYS,
    "modem": ("cts", "dsr", "ri", "cd"),
}
"""Every key that a port can have, with the keys below it."""

_REDUCTIONS = (
    "kindReason",
    "modem",
    "line",
    "acknowledgements.value",
    "lastError.message",
    "since",
    "kind",
    "link",
    "connects",
    "bytesDiscarded",
    "bytesFromDevice",
    "bytesToDevice",
    "remoteAddress",
    "configError.expected",
    "applicationOpen",
    "lastError.at",
    "configError",
    "lastError",
)
"""What is left out of all ports when the section is too long, the least important first.

`acknowledgements.value` is what `plug_and_play` repeats of the desired properties: the objects among them.
"""


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What is reported beside the ports."""

    version: str
    """The version of this program."""
    started_at: float
    """Unix seconds."""
    config_source: ConfigSource | None = None
    desired_version: int | None = None
    faults: tuple[ConfigFault, ...] = ()
    fingerprint: str | None = None
    """Of this module's own certificate, from its first use."""
    next_fingerprint: str | None = None
    """Of the certificate that waits to take its place."""
    acknowledgements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of the desired properties, for `plug_and_play`; not part of what `render` gives."""


def render(facts: ModuleFacts, statuses: Mapping[str, PortStatus]) -> dict[str, Any]:
    """Return the whole reported section; keys without a value are left out.

    `status` is `unconfigured` if there is no port, `ok` if every enabled port is connected or idle, `down` if none is,
    and otherwise `degraded`.
    `portsTotal` counts the enabled ports. Times are UTC in ISO 8601.
    """
    enabled = [status for status in statuses.values() if status.state is not State.DISABLED]
    well = sum(status.state in _WELL for status in enabled)
    return _present(
        {
            "status": _status(len(statuses), len(enabled), well),
            "portsConnected": sum(status.state is State.CONNECTED for status in enabled),
            "portsTotal": len(enabled),
            "version": facts.version,
            "startedAt": _time(facts.started_at),
            "configSource": facts.config_source,
            "desiredVersion": facts.desired_version,
            "configErrors": [_fault(fault) for fault in facts.faults[:_MAX_FAULTS]] or None,
            "moduleFingerprint": facts.fingerprint,
            "nextModuleFingerprint": facts.next_fingerprint,
            "serialPorts": {name: _port(status) for name, status in sorted(statuses.items())},
        }
    )


def _status(ports: int, enabled: int, well: int) -> str:
    if not ports:
        return "unconfigured"
    return "ok" if well == enabled else "degraded" if well else "down"


def fit(section: Document, limit: int = MAX_SECTION_BYTES) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Reduce a section until it is at most `limit` bytes of JSON; return it with the names of what was left out."""
    ports = {name: dict(port) for name, port in section["serialPorts"].items()}
    fitted = {**section, "serialPorts": ports}
    omitted: list[str] = []
    for reduction in _REDUCTIONS:
        if json_size(fitted) <= limit:
            return fitted, tuple(omitted)
        key, _, below = reduction.partition(".")
        if key == ACKNOWLEDGEMENTS:
            if key in fitted:
                fitted[key] = {name: _without_object(each, below) for name, each in fitted[key].items()}
                omitted.append(reduction)
            continue
        omitted.append(reduction)
        for port in ports.values():
            if below and key in port:
                port[key] = {name: value for name, value in port[key].items() if name != below}
            else:
                port.pop(key, None)
    while json_size(fitted) > limit and ports:
        omitted.append(f"serialPorts.{ports.popitem()[0]}")
    return fitted, tuple(omitted)


def fit_answer(section: Document) -> dict[str, Any]:
    """Reduce a section until it can be the answer of a direct method, which the SDK writes with blanks and escapes."""
    fitted, limit = dict(section), MAX_ANSWER_BYTES
    while len(json.dumps(fitted)) > MAX_ANSWER_BYTES:
        limit = limit * 9 // 10
        fitted, _omitted = fit(section, limit)
    return fitted


def _without_object(values: Document, key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key or not isinstance(value, Mapping)}


def merge_patch(held: Document, wanted: Document) -> dict[str, Any]:
    """Return the smallest patch (RFC 7396) that makes `wanted` of `held`; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in held if key not in wanted}
    for key, value in wanted.items():
        before = held.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if below := merge_patch(before, value):
                patch[key] = below
        elif key not in held or value != before:
            patch[key] = value
    return patch


def apply_merge_patch(held: Document, patch: Document) -> dict[str, Any]:
    """Return the result of applying a patch (RFC 7396) to a held document."""
    merged = dict(held)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = apply_merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


class _Anything:
    """Equal to nothing: a value that the other side may or may not hold."""


_ANYTHING = _Anything()


def outline(document: Document) -> dict[str, Any]:
    """Return the document with a value in each place that is equal to nothing: of what is held, only places are known."""
    return {
        key: outline(value) if isinstance(value, Mapping) and value else _ANYTHING
        for key, value in document.items()
    }


def united(first: Document, second: Document) -> dict[str, Any]:
    """Return the places of both outlines."""
    places = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], Mapping):
            below = second[key]
            places[key] = united(first[key], below if isinstance(below, Mapping) else {})
    return places


def unknown_section(ports: Iterable[str]) -> dict[str, Any]:
    """Stand in for a held section of which only the names of its ports are known, at most these.

    A `merge_patch` against it names every key: with its value, or null where there is none.
    """
    port = {key: dict.fromkeys(below, _ANYTHING) if below else _ANYTHING for key, below in PORT_KEYS.items()}
    return {**dict.fromkeys(MODULE_KEYS, _ANYTHING), "serialPorts": dict.fromkeys(ports, port) or _ANYTHING}


def json_size(value: Document) -> int:
    """Return the bytes of `value` as JSON without blanks, which is how it is sent."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _port(status: PortStatus) -> dict[str, Any]:
    return _present(
        {
            "state": status.state.value,
            "since": _time(status.since),
            "link": status.link or None,
            "kind": status.kind,
            "kindReason": escaped(status.kind_reason, _MAX_TEXT) if status.kind_reason else None,
            "remoteAddress": status.remote_address,
            "applicationOpen": status.application_open,
            "connects": _integer(status.connects),
            "lastError": _error(status.last_error) if status.last_error else None,
            "configError": _fault(status.config_error) if status.config_error else None,
            "bytesToDevice": _integer(status.bytes_to_device),
            "bytesFromDevice": _integer(status.bytes_from_device),
            "bytesDiscarded": {
                reason: _integer(getattr(status.discarded, reason)) for reason in DISCARD_REASONS
            },
            "line": _line(status.line) if status.line else None,
            "modem": _modem(status.modem) if status.modem else None,
        }
    )


def _error(error: PortError) -> dict[str, Any]:
    return {"code": error.code.value, "message": escaped(error.message, _MAX_TEXT), "at": _time(error.at)}


def _fault(fault: ConfigFault) -> dict[str, str]:
    return {"path": escaped(fault.path, _MAX_TEXT), "expected": escaped(fault.expected, _MAX_TEXT)}


def _line(line: ActualLine) -> dict[str, Any]:
    stop_bits = line.stop_bits
    if stop_bits is not None and float(stop_bits).is_integer():
        stop_bits = int(stop_bits)
    values = (line.baud_rate, line.data_bits, line.parity, stop_bits, line.flow_control)
    return _present(dict(zip(_LINE_KEYS, values, strict=True)))


def _modem(modem: ModemState) -> dict[str, bool]:
    return {"cts": modem.cts, "dsr": modem.dsr, "ri": modem.ri, "cd": modem.cd}


def _integer(value: int) -> int:
    return min(value, MAX_INTEGER)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
