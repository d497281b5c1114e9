"""The commands `check`, `list`, `status` and `stop`, which start no server. Each function returns the exit status."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time

from serial_host.command_line.parser import EXIT_USAGE
from serial_host.command_line.table import table
from serial_host.command_line.watching import watch_status
from serial_host.configuration import config_file
from serial_host.control import control
from serial_host.listening.interfaces import snapshot
from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import printable

STOP_SECONDS = 20.0
"""Seconds within which a server that was told to stop has ended; closing a COM port takes 5 s at most."""


def check(options: argparse.Namespace) -> int:
    """Check a configuration file, and print what it would serve."""
    configuration = config_file.load(options.config)
    for fault in configuration.faults:
        print(f"serial_host: {fault.message}", file=sys.stderr)  # noqa: T201
    if options.json:
        ports = [
            {
                "device": port.device,
                "match": None if port.match is None else str(port.match),
                "tcpPort": port.tcp_port,
                "listen": port.listen,
                "protocol": port.protocol,
            }
            for port in configuration.ports
        ]
        _print(json.dumps({"ports": ports}))
    else:
        for port in configuration.ports:
            _print(f"{port.name}: TCP port {port.tcp_port}, {port.protocol}, {port.line}")
    return EXIT_USAGE if configuration.faults else 0


def list_ports(options: argparse.Namespace) -> int:
    """List the COM ports of this computer, and the interfaces that `listen` can name."""
    from serial_host.com_port.listing import present_ports  # noqa: PLC0415  # the other commands need no pyserial

    ports = present_ports()
    interfaces = snapshot()
    if options.json:
        named = [
            {
                "name": name,
                "addresses": [str(entry.address) for entry in addresses],
                "external": any(entry.external for entry in addresses),
            }
            for name, addresses in interfaces.items()
        ]
        _print(json.dumps({"ports": [dataclasses.asdict(port) for port in ports], "interfaces": named}))
        return 0
    for port in ports:
        _print(printable(f"{port.device}  {port.description}".rstrip()))
        if port.vid is not None and port.pid is not None:
            match = [f'vid = "{port.vid:04x}"', f'pid = "{port.pid:04x}"']
            match += [f"serial = {json.dumps(port.serial)}"] if port.serial else []
            match += [] if port.serial or not port.location else [f"location = {json.dumps(port.location)}"]
            _print(f"    match = {{ {', '.join(match)} }}")
        if port.latency_timer is not None:
            _print(f"    latency timer {port.latency_timer} ms: an answer may wait that long in the adapter")
    if not ports:
        print("serial_host: this computer has no serial ports", file=sys.stderr)  # noqa: T201
    _print("\ninterfaces that listen can name:")
    for name, addresses in interfaces.items():
        remark = (
            "  (external switch: the local network)" if any(entry.external for entry in addresses) else ""
        )
        _print(printable(f"{name}  {', '.join(str(entry.address) for entry in addresses)}{remark}"))
    return 0


def status(options: argparse.Namespace) -> int:
    """Show what the running servers are doing."""
    if options.watch:
        return watch_status(options)
    servers = [control.ask(pid, "status") for pid in _chosen(options)]
    if options.json:
        _print(json.dumps({"servers": servers}))
    else:
        _print("\n\n".join(table(server) for server in servers))
    return 0


def stop(options: argparse.Namespace) -> int:
    """End the running server, and wait until it has ended."""
    pids = control.running() if options.pid is None else [options.pid]
    if not pids:
        _print("no server is running that this user may speak to")
        return 0
    if len(pids) > 1:
        raise control.NotRunningError(
            f"{len(pids)} servers are running: say which with --pid {pids[0]}, see '{PROGRAM} status'"
        )
    (pid,) = pids
    control.ask(pid, "stop")
    deadline = time.monotonic() + STOP_SECONDS
    while control.is_running(pid):
        if time.monotonic() > deadline:
            raise control.NotRunningError(
                f"the server (process {pid}) has not stopped within {STOP_SECONDS:g} s"
            )
        time.sleep(0.05)
    _print(f"stopped the server (process {pid})")
    return 0


def _chosen(options: argparse.Namespace) -> list[int]:
    if options.pid is not None:
        return [options.pid]
    running = control.running()
    if not running:
        raise control.NotRunningError(
            "no server is running that this user may speak to; one that runs as a service needs an administrator"
        )
    return running


def _print(text: str) -> None:
    print(text)  # noqa: T201
