"""What the operating system is asked for a diagnosis, by one name on every operating system."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from serial_host.diagnosis.questions_windows import (
        excluded_ports,
        firewall_rules,
        programs_with,
        startup_task,
        try_to_open,
        usb_power_saving,
    )
else:
    from serial_host.diagnosis.questions_posix import (
        excluded_ports,
        firewall_rules,
        programs_with,
        startup_task,
        try_to_open,
        usb_power_saving,
    )

__all__ = [
    "excluded_ports",
    "firewall_rules",
    "programs_with",
    "startup_task",
    "try_to_open",
    "usb_power_saving",
]
