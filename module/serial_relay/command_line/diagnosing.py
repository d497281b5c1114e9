"""The command `diagnose`: it takes the steps for each port, and says what is wrong and what to do about it.

It asks the module that runs here. If no module runs here, or with `--desired`, it makes the connections of that module
itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serial_monitor.steps import Verdict, rendered, worst
from serial_relay.config import TlsIdentity
from serial_relay.control import client, location
from serial_relay.diagnosis.port import Subject, diagnose
from serial_relay.identity.identities import Identities
from serial_relay.process.settings import Settings, SettingsError, read_settings
from serial_relay.twin.desired import Desired, parse
from serial_relay.twin.json_file import UnreadableError, read_object
from serial_relay.twin.last_good import LastGood

EXIT_FAILED = 1
EXIT_USAGE = 2

_Steps = Sequence[Mapping[str, Any]]


class _WrongCallError(Exception):
    """Nothing can be diagnosed; the text is for people."""


def run(options: argparse.Namespace) -> int:
    """Diagnose the ports, and return the exit status.

    It is 0 if all is well, 1 if something failed, and 2 if there is nothing to diagnose.
    """
    try:
        if options.desired is None and (options.pid is not None or location.running()):
            found = _ask(location.chosen(options.pid), options.port)
        else:
            found = asyncio.run(_probe(options.desired, options.port))
    except (_WrongCallError, SettingsError) as error:
        print(f"serial-relay: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    verdicts = {name: worst(steps) for name, steps in found.items()}
    if options.json:
        print(json.dumps({"ports": found}, indent=2))  # noqa: T201
    else:
        blocks = (rendered(f"{name}: {verdicts[name]}", steps) for name, steps in found.items())
        print("\n\n".join(blocks))  # noqa: T201
    return EXIT_FAILED if Verdict.FAILED in verdicts.values() else 0


def _ask(pid: int, port: str | None) -> dict[str, _Steps]:
    names = client.ask(pid, "getStatus")["serialPorts"]
    found: dict[str, _Steps] = {}
    for name in _chosen(port, names):
        found |= client.ask(pid, "diagnose", {"port": name})["ports"]
    return found


async def _probe(desired: Path | None, port: str | None) -> dict[str, _Steps]:
    settings = read_settings()
    document = _read(desired, settings)
    links = settings.link_dir
    names = _chosen(port, [*document.ports, *(n for n in document.port_faults if n not in document.ports)])
    identities = Identities(settings.state_dir, os.environ)
    subjects = []
    for name in names:
        config = document.ports.get(name)
        link = links / (config.link if config else name)
        # A diagnosis makes no identity; only the module does that, as its own user.
        there = config and config.tls and (config.tls.identity is TlsIdentity.EDGE or identities.has_own())
        fault = document.port_faults.get(name)
        subjects.append(Subject(config, fault, link, None, identities if there else None))
    found = await asyncio.gather(*map(diagnose, subjects))
    return {name: [step.as_json() for step in steps] for name, steps in zip(names, found, strict=True)}


def _read(path: Path | None, settings: Settings) -> Desired:
    if path is not None:
        try:
            section: Mapping[str, Any] = read_object(path)
        except (UnreadableError, FileNotFoundError) as error:
            reason = "it does not exist" if isinstance(error, FileNotFoundError) else error
            raise _WrongCallError(f"{path} cannot be used: {reason}") from error
    elif (kept := LastGood(settings.state_dir).load()) is not None:
        section = kept
    else:
        raise _WrongCallError(
            "no module runs here that this user may speak to, and no last good configuration is kept (STATE_DIR):"
            " name the desired properties with --desired FILE"
        )
    desired = parse(section, last_good={}, default_gid=settings.serial_gid)
    if desired is None or not (desired.ports or desired.port_faults):
        faults = (
            "; ".join(f"{fault.path} must be {fault.expected}" for fault in desired.faults) if desired else ""
        )
        raise _WrongCallError(
            f"the desired properties have no port to diagnose{': ' if faults else ''}{faults}"
        )
    return desired


def _chosen(port: str | None, names: Sequence[str]) -> Sequence[str]:
    if port is None:
        if not names:
            raise _WrongCallError("the module has no port to diagnose: its desired properties have none")
        return list(names)
    if port not in names:
        raise _WrongCallError(f"there is no port {port}; there are {', '.join(names) or 'none'}")
    return [port]
