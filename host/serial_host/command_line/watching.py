"""The commands `monitor` and `status --watch`, which follow a running server. Each function returns the exit status."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from serial_host.control import control
from serial_host.plumbing.commands import PROGRAM
from serial_monitor import command
from serial_monitor.views import Health, PortView, Snapshot

_HEALTH: Mapping[str, Health] = {"open": "good", "idle": "good", "opening": "waiting"}
"""How the table colours each state; any other state is shown as bad."""


def monitor(options: argparse.Namespace) -> int:
    """Show what passes the ports of the running server."""
    pid = _chosen(options)
    version = control.ask(pid, "status")["version"]
    source = command.Source(
        f"serial_host {version}",
        lambda: control.watch(pid, options.port),
        lambda: snapshot(control.ask(pid, "status")),
    )
    return command.monitor(options, source)


def watch_status(options: argparse.Namespace) -> int:
    """Show what the ports of the running server are doing until Ctrl+C."""
    from rich.console import Console  # noqa: PLC0415  # the other commands do without

    from serial_monitor import live  # noqa: PLC0415

    pid = _chosen(options)
    live.watch(lambda: snapshot(control.ask(pid, "status")), Console())
    return 0


def _chosen(options: argparse.Namespace) -> int:
    if options.pid is not None:
        return int(options.pid)
    match control.running():
        case [only]:
            return only
        case []:
            raise control.NotRunningError(
                "no server is running that this user may speak to; one that runs as a service needs an administrator"
            )
        case [first, *_] as several:
            raise control.NotRunningError(
                f"{len(several)} servers are running: say which with --pid {first}, see '{PROGRAM} status'"
            )
    raise AssertionError


def snapshot(server: Mapping[str, Any]) -> Snapshot:
    """Return what people see at a glance of a server's answer to `status`."""
    title = f"serial_host {server['version']}, process {server['pid']}"
    return Snapshot(title, tuple(map(_view, server["ports"])))


def _view(port: Mapping[str, Any]) -> PortView:
    messages = [port["last_error"]] if port["last_error"] and port["device"] is None else []
    messages += [*port["not_listening"], *([port["contention"]] if port["contention"] else [])]
    if port["overruns"]:
        messages.append(f"{port['overruns']} overruns: the device sent bytes faster than they were read")
    device = port["device"]
    return PortView(
        name=port["name"] if device in (None, port["name"]) else f"{port['name']} ({device})",
        state=port["state"],
        health=_HEALTH.get(port["state"], "bad"),
        where=", ".join(port["listening"]) or f"TCP {port['tcp_port'] or '-'}, not listening",
        user=port["client"] or "nobody",
        line=port["line"] or "",
        to_device=port["bytes_to_device"],
        from_device=port["bytes_from_device"],
        discarded=port["discarded_to_device"] + port["discarded_from_device"],
        error="; ".join(messages),
    )
