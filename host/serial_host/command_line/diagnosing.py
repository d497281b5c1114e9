"""The command `diagnose`: it takes the steps for each port, and says what is wrong and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serial_host import config
from serial_host.command_line.parser import EXIT_FAILED
from serial_host.configuration import config_file
from serial_host.control import control
from serial_host.diagnosis import computer
from serial_host.diagnosis.port import Subject, diagnose
from serial_host.plumbing.commands import PROGRAM
from serial_monitor.steps import Steps, Verdict, rendered, worst


def run(options: argparse.Namespace) -> int:
    """Diagnose the ports, and return the exit status: 0 all is well, 1 something failed.

    Raises:
        ConfigError: there is nothing to diagnose.
    """
    subjects = _chosen(options.port, _subjects(options))
    found = {subject.name: [step.as_json() for step in diagnose(subject)] for subject in subjects}
    task = Steps()
    computer.look_at_task(task)
    common = [step.as_json() for step in task.taken]
    if options.json:
        print(json.dumps({"computer": common, "ports": found}, indent=2))  # noqa: T201
    else:
        blocks = {"computer": common, **found}
        texts = (rendered(f"{name}: {worst(steps)}", steps) for name, steps in blocks.items())
        print("\n\n".join(texts))  # noqa: T201
    failed = any(worst(steps) is Verdict.FAILED for steps in (common, *found.values()))
    return EXIT_FAILED if failed else 0


def _subjects(options: argparse.Namespace) -> Sequence[Subject]:
    servers = _servers(options.pid)
    statuses = {
        port["name"]: (server["pid"], port, server.get("tls"))
        for server in servers
        for port in server["ports"]
    }
    file = options.config or _installed()
    configuration = config.Config(())
    if file is not None:
        try:
            configuration = config_file.load(file)
        except config_file.ConfigError:
            if options.config is not None or not statuses:
                raise
    known: dict[str, tuple[config.PortConfig | None, str | None]] = {
        port.name: (port, None) for port in configuration.ports
    }
    known |= {fault.name: (None, fault.message) for fault in configuration.faults}
    if options.config is None:
        for name, (_pid, port, _tls) in statuses.items():
            fault = port["last_error"] if port["state"] == "invalid" else None
            known.setdefault(name, (None, fault))
    return [
        Subject(name, entry, fault, *statuses.get(name, (None, None, None)))
        for name, (entry, fault) in known.items()
    ]


def _servers(pid: int | None) -> Sequence[dict[str, Any]]:
    if pid is not None:
        return [control.ask(pid, "status")]
    try:
        return [control.ask(running, "status") for running in control.running()]
    except (control.NotRunningError, OSError):
        return []  # the diagnosis says so for each port


def _installed() -> Path | None:
    """Return the configuration of the installed server, if there is one."""
    if sys.platform != "win32":
        return None
    path = Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "SerialHost" / "serial-host.toml"
    return path if path.exists() else None


def _chosen(name: str | None, subjects: Sequence[Subject]) -> Sequence[Subject]:
    if not subjects:
        raise config_file.ConfigError(
            f"no server is running that this user may speak to: name its configuration with --config FILE, or start"
            f" one with '{PROGRAM} run'"
        )
    if name is None:
        return subjects
    chosen = [
        subject
        for subject in subjects
        if config.is_called(name, subject.name, (subject.status or {}).get("device"), subject.tcp_port)
    ]
    if not chosen:
        names = ", ".join(subject.name for subject in subjects)
        raise config_file.ConfigError(f"there is no port {name}; there are {names}")
    return chosen
