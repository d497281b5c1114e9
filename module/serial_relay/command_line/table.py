"""The answer of a module to `status`, laid out for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serial_relay.plumbing.text import escaped

_LONGEST = 500

_COLUMNS = (
    "PORT",
    "STATE",
    "KIND",
    "HOST",
    "LINE",
    "OPEN",
    "TO DEVICE",
    "FROM DEVICE",
    "DISCARDED",
    "CONNECTS",
)


def table(section: Mapping[str, Any]) -> str:
    """Lay out the reported section; keys without a value are left out of it."""
    ports: Mapping[str, Mapping[str, Any]] = section["serialPorts"]
    rows = [_COLUMNS, *(_row(name, port) for name, port in ports.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    source = section.get("configSource")
    head = f"serial_relay {section['version']}: {section['status']}, running since {section['startedAt']}"
    shown = [head + (f", configured by the {source}" if source else "")]
    if ports:
        shown += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    shown += _findings(section, ports)
    return "\n".join(escaped(line, _LONGEST) for line in shown)


def _row(name: str, port: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        port["state"],
        port.get("kind", "-"),
        port.get("remoteAddress", "-"),
        line_text(port.get("line")),
        "yes" if port.get("applicationOpen") else "no",
        str(port.get("bytesToDevice", 0)),
        str(port.get("bytesFromDevice", 0)),
        str(sum(port.get("bytesDiscarded", {}).values())),
        str(port.get("connects", 0)),
    )


def line_text(line: Mapping[str, Any] | None) -> str:
    """Return the settings of a line as technicians write them: `9600 8N1`; `-` if they are not known."""
    if not line:
        return "-"
    frame = (
        f"{line.get('dataBits', '?')}{str(line.get('parity', '?'))[:1].upper()}{line.get('stopBits', '?')}"
    )
    flow = line.get("flowControl", "none")
    return f"{line.get('baudRate', '?')} {frame}" + ("" if flow == "none" else f" {flow}")


def _findings(section: Mapping[str, Any], ports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for fault in section.get("configErrors", ()):
        where = f"{fault['path']} must be " if fault["path"] else ""
        yield f"desired properties: {where}{fault['expected']}"
    for name, port in ports.items():
        if (fault := port.get("configError")) is not None:
            yield f"{name}: {fault['path']} must be {fault['expected']}"
        if (error := port.get("lastError")) is not None and port["state"] != "connected":
            yield f"{name}: {error['at']} {error['message']}"
    reasons: dict[str, list[str]] = {}
    for name, port in ports.items():
        if (reason := port.get("kindReason")) is not None:
            reasons.setdefault(reason, []).append(name)
    yield from (f"no tty for {', '.join(names)}: {reason}" for reason, names in reasons.items())
