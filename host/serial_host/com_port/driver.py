"""The driver behind an open COM port, under one name on every operating system: settings, modem lines, error counts."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from serial_host.com_port.driver_windows import Driver
else:
    from serial_host.com_port.driver_posix import Driver

__all__ = ["Driver"]
