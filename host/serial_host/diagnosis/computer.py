"""The steps that concern Windows around a port: its start-up task, firewall, reserved TCP ports and power saving."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from serial_host.diagnosis import questions
from serial_host.diagnosis.not_told import NotToldError
from serial_host.diagnosis.windows_answers import (
    Admission,
    PortRange,
    admission,
    port_ranges,
    selective_suspend,
    task_state,
)
from serial_monitor.steps import Steps

_DISABLED, _RUNNING = 1, 4


def look_at_task(steps: Steps) -> None:
    """Add the state of the start-up task."""
    with steps.timed():
        try:
            tell_task(steps, questions.startup_task())
        except NotToldError as error:
            steps.skipped("start-up task", str(error))


def tell_task(steps: Steps, answer: str) -> None:
    """Add the state of the task according to Windows' answer."""
    state = task_state(answer)
    if state is None:
        steps.skipped(
            "start-up task",
            "there is no task SerialHost",
            "Install-SerialHost.ps1 makes it; 'run' needs none",
        )
    elif state == _DISABLED:
        steps.failed(
            "start-up task",
            "the task SerialHost is disabled, so no server starts with Windows",
            "Enable-ScheduledTask SerialHost; Start-ScheduledTask SerialHost",
        )
    elif state == _RUNNING:
        steps.ok("start-up task", "the task SerialHost is running")
    else:
        steps.failed(
            "start-up task",
            "the task SerialHost is not running",
            "Start-ScheduledTask SerialHost; the log in ProgramData\\SerialHost\\log says why it ended",
        )


def look_at_tcp_port(steps: Steps, tcp_port: int) -> None:
    """Add whether the firewall admits clients to a TCP port, and whether Windows keeps the port free."""
    with steps.timed():
        try:
            tell_firewall(steps, questions.firewall_rules(), sys.executable, tcp_port)
        except NotToldError as error:
            steps.skipped("firewall", str(error))
        try:
            tell_reservation(steps, port_ranges(questions.excluded_ports()), tcp_port)
        except NotToldError as error:
            steps.skipped("reserved port", str(error))


def tell_firewall(steps: Steps, rules: Sequence[str], program: str, tcp_port: int) -> None:
    """Add the step for what the firewall rules do."""
    answer, name = admission(rules, program, tcp_port)
    if answer is Admission.ADMITTED:
        steps.ok("firewall", f"the rule '{name}' admits clients to TCP port {tcp_port}")
    elif answer is Admission.BLOCKED:
        steps.failed(
            "firewall",
            f"the rule '{name}' keeps clients away from TCP port {tcp_port}",
            "disable that rule; Windows makes one when somebody closes its question about a new program",
        )
    else:
        steps.failed(
            "firewall",
            f"no rule admits clients to TCP port {tcp_port} of {program}",
            "Install-SerialHost.ps1 makes the rule; for a try let Windows allow the access when it asks",
        )


def tell_reservation(steps: Steps, ranges: Sequence[PortRange], tcp_port: int) -> None:
    """Add the step for what the reserved ranges mean for the port."""
    within = [ports for ports in ranges if ports.first <= tcp_port <= ports.last]
    if any(ports.administered for ports in within):
        steps.ok("reserved port", f"TCP port {tcp_port} is reserved")
    elif within:
        steps.failed(
            "reserved port",
            f"Windows has taken the TCP ports {within[0].first}-{within[0].last} for itself",
            "choose another tcp_port; Install-SerialHost.ps1 reserves it, so that this does not happen again",
        )
    else:
        steps.warning(
            "reserved port",
            f"TCP port {tcp_port} is not reserved: Windows may take it for itself when it starts",
            "Install-SerialHost.ps1 reserves it",
        )


def look_at_power_saving(steps: Steps) -> None:
    """Add whether Windows may switch USB adapters off."""
    with steps.timed():
        try:
            tell_power_saving(steps, selective_suspend(questions.usb_power_saving()))
        except NotToldError as error:
            steps.skipped("USB power saving", str(error))


def tell_power_saving(steps: Steps, suspends: bool | None) -> None:  # noqa: FBT001  # a fact
    """Add the step for the setting of the power plan."""
    if suspends is None:
        steps.skipped("USB power saving", "the power plan does not say")
    elif suspends:
        steps.warning(
            "USB power saving",
            "the power plan lets Windows switch USB devices off, which loses an adapter until it is plugged in again",
            "switch 'USB selective suspend' off in the power plan, and in Device Manager 'Allow the computer to turn"
            " off this device' of the adapter and its hub",
        )
    else:
        steps.ok("USB power saving", "the power plan leaves USB devices on")
