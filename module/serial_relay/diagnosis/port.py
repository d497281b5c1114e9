"""The diagnosis of one port, from its configuration to the application that has it open."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from serial_monitor.steps import Step, Steps
from serial_relay.config import PortConfig
from serial_relay.diagnosis.far_end import (
    NEXT,
    FarEnd,
    begins_with_telnet,
    look_at_the_way,
    skip_the_rest,
    tell,
)
from serial_relay.diagnosis.near_end import look
from serial_relay.diagnosis.probe import probe
from serial_relay.identity.identities import Identities
from serial_relay.remote.connection import RemoteError
from serial_relay.status import ConfigFault, ErrorCode, PortError, PortStatus, State

_SETTLES_WITHIN = 10.0
"""Seconds within which a port that is connecting has connected or failed."""

_LOOK = 0.05

_STEADY_AFTER = 5.0
"""Seconds after which a connection does not count as one that is lost at once each time."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One port, as far as it is known."""

    config: PortConfig | None
    """None if the entry cannot be used and no earlier good configuration is known."""
    fault: ConfigFault | None
    link: Path
    """What applications open."""
    status: PortStatus | None
    """The status in the module that runs the port. None if no module runs it; then a probe makes a connection."""
    identities: Identities | None = None
    """The identities that a probe presents to a host with TLS."""
    applications: bool = True
    """Whether the programs that have the port open are looked for, which reads all of /proc."""


async def diagnose(subject: Subject) -> list[Step]:
    """Take all steps. Never raises because of a fault of the port."""
    steps = Steps()
    config = subject.config
    _look_at_configuration(steps, subject)
    if config is None or not config.enabled:
        return steps.taken
    if subject.status is None:
        await probe(steps, config, subject.identities)
    else:
        await _ask_the_running_port(steps, config, subject.status)
    looked = Steps()
    await asyncio.to_thread(
        look,
        looked,
        config,
        subject.link,
        running=subject.status is not None,
        applications=subject.applications,
    )
    return [*steps.taken, *looked.taken]


def _look_at_configuration(steps: Steps, subject: Subject) -> None:
    config, fault = subject.config, subject.fault
    if fault is not None:
        found = f"{fault.path} must be {fault.expected}"
        after = (
            "" if config is None else "; the port runs without this key, or with its last good configuration"
        )
        steps.failed("configuration", f"{found}{after}", "correct this key of the desired properties")
    elif config is None:
        steps.failed(
            "configuration",
            "there is no entry for this port",
            "add it below `serialPorts` of the desired properties",
        )
    elif not config.enabled:
        steps.skipped("configuration", "the port is switched off", "set `enabled` to true to run it")
    else:
        steps.ok("configuration", f"{config.protocol} to {config.host}, TCP port {config.tcp_port}")


def _flaps(status: PortStatus, last: PortError, now: float) -> bool:
    """Return whether the connection has just been made after a failure, and so may be lost again."""
    return now - status.since < _STEADY_AFTER and status.since - last.at < _STEADY_AFTER


async def _ask_the_running_port(steps: Steps, config: PortConfig, status: PortStatus) -> None:
    """Add what the port's own connection or its own attempts have found out; no second connection is made."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SETTLES_WITHIN
    with steps.timed():
        # The port's own attempt may be under way; a change of the status wakes no waiter.
        while status.state in (State.CONNECTING, State.NEGOTIATING) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
    if not await look_at_the_way(steps, config):
        skip_the_rest(steps, "not reached")
    elif status.state is State.IDLE:
        skip_the_rest(
            steps,
            "`connect` is onOpen, and no application has the port open",
            "open the port with the application, and diagnose it again",
        )
    elif status.state is State.CONNECTED:
        address = status.remote_address or config.host
        if (last := status.last_error) is not None and _flaps(status, last, time.time()):
            what = f"connected to {address} a moment ago; before that: {last.message}"
            steps.warning("connection", what, NEXT[last.code])
        error = begins_with_telnet(address) if status.telnet_seen else None
        tell(steps, config, FarEnd(address, error, status.line))
    elif (last := status.last_error) is not None and last.code is ErrorCode.LINK:
        skip_the_rest(steps, "the link comes first")
        steps.failed("link", last.message, "remove what has that name, or choose another `link`")
    elif last is not None:
        tell(steps, config, FarEnd(config.host, RemoteError(last.code, last.message)))
    else:
        skip_the_rest(steps, f"the port is {status.state} and has not failed yet", "diagnose it again")
