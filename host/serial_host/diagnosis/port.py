"""The diagnosis of one COM port, from its configuration to the client."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serial_host.com_port.listing import PortIdentity, find_port, present_ports
from serial_host.com_port.open_errors import why_not_open
from serial_host.com_port.port import ComPortError
from serial_host.config import PortConfig
from serial_host.diagnosis import computer, questions
from serial_host.diagnosis.listener import listener_of
from serial_host.diagnosis.not_told import NotToldError
from serial_host.line import LineSettings
from serial_host.listening.interfaces import endpoints, snapshot
from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import described, printable
from serial_monitor.steps import Step, Steps

_START = f"'{PROGRAM} run DEVICE PORT' to try, the start-up task SerialHost for good"


@dataclass(frozen=True, slots=True)
class Subject:
    """One port, as far as it is known: by the configuration, by the running server, or by both."""

    name: str
    config: PortConfig | None
    fault: str | None
    """What is wrong with the entry of the port in the configuration."""
    pid: int | None
    """The process that serves the port; None if there is no such server that this user may access."""
    status: Mapping[str, Any] | None
    """The status of the port in that server, under the names of `status.PortStatus`."""
    tls: Mapping[str, Any] | None = None
    """The identity of that server and the modules that it trusts; None without `[tls]`."""

    @property
    def tcp_port(self) -> int | None:
        """The TCP port, if it is known."""
        if self.config is not None:
            return self.config.tcp_port
        return None if self.status is None else self.status.get("tcp_port")


def diagnose(subject: Subject) -> list[Step]:
    """Take all steps. Never raises because of a fault of the port. Blocks, on Windows for some seconds."""
    steps = Steps()
    if subject.fault is not None:
        steps.failed(
            "configuration", printable(subject.fault), f"correct the file, and see '{PROGRAM} check FILE'"
        )
        return steps.taken
    if subject.config is not None:
        config = subject.config
        steps.ok("configuration", f"TCP port {config.tcp_port}, {config.protocol}, {config.line}")
    else:
        steps.skipped(
            "configuration", "no file is named, so the running server is asked", "--config FILE names one"
        )
    if subject.pid is None:
        steps.failed(
            "server", "no server serves this port that this user may speak to", f"start it: {_START}"
        )
    else:
        steps.ok("server", f"process {subject.pid} serves this port")
    with steps.timed():
        identity = _look_for_device(steps, subject)
    if identity is not None:
        with steps.timed():
            _look_who_has_it(steps, subject, identity.device)
        if identity.latency_timer is not None and identity.latency_timer > 1:
            steps.warning(
                "latency timer",
                f"an answer may wait {identity.latency_timer} ms in the USB adapter",
                "'Install-SerialHost.ps1 -TunePorts' sets it to 1 ms, or you do in Device Manager",
            )
        if identity.vid is not None:
            computer.look_at_power_saving(steps)
    with steps.timed():
        _look_at_listening(steps, subject)
    if subject.config is not None:
        _look_at_addresses(steps, subject.config)
    if subject.tcp_port is not None:
        computer.look_at_tcp_port(steps, subject.tcp_port)
    _look_at_tls(steps, subject)
    _look_at_client(steps, subject)
    return steps.taken


def _look_for_device(steps: Steps, subject: Subject) -> PortIdentity | None:
    """Add whether the device is present, and return it; None if it is not."""
    try:
        present = present_ports()
    except ComPortError as error:
        # A device that is not in the list may be present nevertheless: an attempt to open it shows that.
        steps.skipped("COM port", printable(error))
        device = subject.status.get("device") if subject.status is not None else None
        return PortIdentity(str(device or subject.name), "")
    if subject.config is not None and subject.config.match is not None:
        try:
            device = find_port(present, subject.config.match)
        except ComPortError as error:
            steps.failed("COM port", printable(error), "plug the adapter in, or correct match")
            return None
    else:
        device = subject.config.device if subject.config and subject.config.device else subject.name
    found = next((port for port in present if _same(port.device, device)), None)
    if found is None and sys.platform != "win32" and Path(device).exists():
        found = PortIdentity(device, "")
    if found is None and subject.status is not None and subject.status.get("state") == "open":
        found = PortIdentity(str(subject.status.get("device") or device), "")  # a simulated one
    if found is None:
        there = ", ".join(port.device for port in present) or "none"
        steps.failed(
            "COM port",
            f"{device} is not there; there are {there}",
            f"plug the device in, or see '{PROGRAM} list'",
        )
        return None
    steps.ok(
        "COM port",
        printable(f"{found.device} is there{f': {found.description}' if found.description else ''}"),
    )
    return found


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.removeprefix("\\\\.\\").casefold()


def _look_who_has_it(steps: Steps, subject: Subject, device: str) -> None:
    state = None if subject.status is None else subject.status.get("state")
    if subject.status is not None and state == "open":
        steps.ok("in use", f"the server has {device} open, {subject.status.get('line')}")
        return
    try:
        others = [(name, pid) for name, pid in questions.programs_with(device) if pid != subject.pid]
    except NotToldError as error:
        _ask_windows(steps, subject, device, str(error))
        return
    if others:
        names = ", ".join(f"{name} (process {pid})" for name, pid in others)
        steps.failed(
            "in use", f"{names} has {device} open", "close that program; the server tries again by itself"
        )
    elif subject.status is not None and state == "absent":
        steps.failed(
            "in use",
            printable(subject.status.get("last_error") or f"the server cannot open {device}"),
            "no program that this user may see has it open; the message says what to do",
        )
    else:
        steps.ok("in use", f"no program that this user may see has {device} open")


def _ask_windows(steps: Steps, subject: Subject, device: str, unknown: str) -> None:
    """Add what the server's attempts, or an attempt of this command, have found out about a COM port on Windows."""
    hint = (
        f"{unknown}: close terminals and other serial programs; Process Explorer's 'Find Handle' with"
        r" '\Device\Serial' or the adapter's name shows it"
    )
    if subject.status is not None:
        if subject.status.get("state") == "absent":
            steps.failed("in use", printable(subject.status.get("last_error")), hint)
        else:
            steps.ok("in use", "the server has not met another program that has it open")
    else:
        try:
            questions.try_to_open(device)
        except NotToldError:
            steps.skipped("in use", unknown)
        except OSError as error:
            line = LineSettings() if subject.config is None else subject.config.line
            steps.failed("in use", why_not_open(device, line, error), hint)
        else:
            steps.ok("in use", f"{device} can be opened")


def _look_at_listening(steps: Steps, subject: Subject) -> None:
    if subject.status is not None:
        where, problems = subject.status.get("listening", []), subject.status.get("not_listening", [])
        text = "; ".join(map(printable, problems))
        if not where:
            steps.failed(
                "listening",
                text or "the server listens nowhere",
                "correct listen in the configuration, or end the program that has the TCP port",
            )
        elif problems:
            steps.warning(
                "listening", f"on {', '.join(where)}; {text}", "correct listen in the configuration"
            )
        else:
            steps.ok("listening", f"on {', '.join(where)}")
        return
    if subject.tcp_port is None:
        return
    try:
        listener = listener_of(subject.tcp_port)
    except NotToldError as error:
        steps.skipped("listening", str(error))
        return
    if listener is None:
        steps.failed(
            "listening", f"no program listens on TCP port {subject.tcp_port}", f"start the server: {_START}"
        )
    else:
        steps.failed(
            "listening",
            f"{listener} listens on TCP port {subject.tcp_port}, and no server says that it serves this port there",
            "end that program or choose another tcp_port; if it is the server, run this command as administrator",
        )


def _look_at_addresses(steps: Steps, config: PortConfig) -> None:
    with steps.timed():
        try:
            found, missing = endpoints(config.listen, snapshot())
        except Exception as error:  # noqa: BLE001  # whatever the system raises
            steps.skipped("addresses", f"the network interfaces cannot be listed: {described(error)}")
            return
        text = "; ".join(missing)
        where = ", ".join(str(endpoint.address) for endpoint in found)
        if not found:
            steps.failed(
                "addresses", text or "no address to listen at", "correct listen in the configuration"
            )
        elif missing:
            steps.warning("addresses", f"{where}; {text}", "correct listen in the configuration")
        else:
            networks = dict.fromkeys(str(network) for endpoint in found for network in endpoint.networks)
            allowed = ", ".join(networks if config.allow is None else map(str, config.allow))
            steps.ok("addresses", f"{where}; clients of {allowed} are served")


def _look_at_tls(steps: Steps, subject: Subject) -> None:
    if subject.status is None:
        return
    if subject.tls is None or (subject.config is not None and not subject.config.tls):
        steps.skipped(
            "TLS", "this port has none: what passes is not encrypted, and clients are known by address"
        )
        return
    trusted, refused = subject.tls.get("trusted", ()), subject.tls.get("refused")
    found = f"this host's fingerprint is {subject.tls.get('fingerprint')}; trusted modules: {len(trusted)}"
    if refused is not None and refused.get("fingerprint") not in trusted:
        steps.warning(
            "TLS",
            printable(f"{found}; {refused.get('fingerprint')} was refused"),
            f"if that is the right module, run '{PROGRAM} trust {printable(refused.get('fingerprint'))}'",
        )
    elif not trusted and subject.tls.get("verify") == "pin":
        steps.warning(
            "TLS", printable(found), f"run '{PROGRAM} pair', which trusts the next module that comes"
        )
    else:
        steps.ok("TLS", printable(found))


def _look_at_client(steps: Steps, subject: Subject) -> None:
    status = subject.status
    if status is None:
        return
    if status.get("contention"):
        steps.failed("client", printable(status["contention"]), "let one client use the port")
    elif status.get("client"):
        steps.ok("client", f"{status['client']} is being served")
    else:
        refused = f"; {status['refused']} connections were refused" if status.get("refused") else ""
        steps.warning(
            "client",
            f"no client is connected{refused}",
            "look at the other end: 'serial-relay diagnose' there, or the direct method diagnose",
        )
