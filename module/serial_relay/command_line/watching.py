"""The commands `monitor` and `status --watch`, which follow a running module. Each function returns the exit status."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from serial_monitor import command
from serial_monitor.views import Health, PortView, Snapshot
from serial_relay.command_line.table import line_text
from serial_relay.control import client, location

_HEALTH: Mapping[str, Health] = {
    "connected": "good",
    "idle": "good",
    "connecting": "waiting",
    "negotiating": "waiting",
    "disabled": "waiting",
}
"""How the table colours each state; any other state is shown as bad."""


def monitor(options: argparse.Namespace) -> int:
    """Show what passes the module's ports."""
    pid = location.chosen(options.pid)
    section = client.ask(pid, "getStatus")
    if options.port is not None and options.port not in section["serialPorts"]:
        ports = ", ".join(section["serialPorts"]) or "none"
        raise client.RefusedError(f"there is no port {options.port}; there are {ports}")
    source = command.Source(
        f"serial_relay {section['version']}",
        lambda: client.stream(pid, "monitor", {"port": options.port}),
        lambda: snapshot(client.ask(pid, "getStatus")),
    )
    return command.monitor(options, source)


def watch_status(options: argparse.Namespace) -> int:
    """Show what the ports are doing until Ctrl+C."""
    from rich.console import Console  # noqa: PLC0415 - the other commands do without

    from serial_monitor import live  # noqa: PLC0415

    pid = location.chosen(options.pid)
    live.watch(lambda: snapshot(client.ask(pid, "getStatus")), Console())
    return 0


def snapshot(section: Mapping[str, Any]) -> Snapshot:
    """Return what people see at a glance of a reported section."""
    title = f"serial_relay {section['version']}: {section['status']}"
    return Snapshot(title, tuple(_view(name, port) for name, port in section["serialPorts"].items()))


def _view(name: str, port: Mapping[str, Any]) -> PortView:
    state = str(port["state"])
    line = line_text(port.get("line"))
    fault, error = port.get("configError"), port.get("lastError")
    messages = [f"{fault['path']} must be {fault['expected']}"] if fault else []
    messages += [error["message"]] if error and state != "connected" else []
    return PortView(
        name=name,
        state=state,
        health=_HEALTH.get(state, "bad"),
        where=port.get("remoteAddress", ""),
        user="an application" if port.get("applicationOpen") else "nobody",
        line="" if line == "-" else line,
        to_device=port.get("bytesToDevice", 0),
        from_device=port.get("bytesFromDevice", 0),
        discarded=sum(port.get("bytesDiscarded", {}).values()),
        error="; ".join(messages),
    )
