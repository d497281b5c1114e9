"""The answer of a server to `status`, laid out for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import printable

LONGEST_LINE = 1000

_COLUMNS = ("PORT", "TCP", "STATE", "LINE", "CLIENT", "TO DEVICE", "FROM DEVICE", "DISCARDED", "OVERRUNS")


def table(server: Mapping[str, Any]) -> str:
    """Lay out one server's answer, which may be of another version; what is missing in it is left out."""
    ports = server["ports"]
    rows = [_COLUMNS, *(_row(port) for port in ports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        f"serial_host {server['version']}, process {server['pid']}, running since {_time(server['started_at'])}"
    ]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [line for port in ports for line in _error(port)]
    lines += [
        f"{port['name']}: an answer may wait up to {port['latency_timer']} ms in the USB adapter (its latency timer)"
        for port in ports
        if port.get("latency_timer") is not None
    ]
    lines += [f"{port['name']}: {problem}" for port in ports for problem in port["not_listening"]]
    lines += [f"{port['name']}: {port['contention']}" for port in ports if port.get("contention") is not None]
    lines += _tls(server.get("tls"))
    return "\n".join(printable(line, LONGEST_LINE) for line in lines)


def _tls(tls: Mapping[str, Any] | None) -> Sequence[str]:
    if tls is None:
        return ()
    lines = [f"TLS: this host is {tls['fingerprint']}; trusted modules: {len(tls['trusted'])}"]
    if tls["pairingSeconds"] is not None:
        lines.append(f"TLS: waiting for a new module, for {tls['pairingSeconds'] / 60:.0f} minutes more")
    if (refused := tls["refused"]) is not None and refused["fingerprint"] not in tls["trusted"]:
        lines.append(
            f"TLS: {_time(refused['at'])} {refused['peer']} was refused; '{PROGRAM} trust {refused['fingerprint']}'"
            " would admit it"
        )
    return lines


def _error(port: Mapping[str, Any]) -> Sequence[str]:
    if port["last_error"] is None:
        return ()
    return [
        f"{port['name']}: {_time(port['last_error_at'])} {line}" for line in port["last_error"].splitlines()
    ]


def _row(port: Mapping[str, Any]) -> Sequence[str]:
    name = port["name"] if port["device"] in (None, port["name"]) else f"{port['name']} ({port['device']})"
    return (
        name,
        str(port["tcp_port"] or "-"),
        port["state"],
        port["line"] or "-",
        port["client"] or "-",
        str(port["bytes_to_device"]),
        str(port["bytes_from_device"]),
        str(port["discarded_to_device"] + port["discarded_from_device"]),
        str(port["overruns"]),
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
