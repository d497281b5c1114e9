"""What the operating system knows of its serial ports beside pyserial, by one name on every operating system.

`other_devices` returns the names of ports that pyserial may not list, and `latency_timer` how long a USB adapter collects
bytes.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from serial_host.com_port.adapters_windows import latency_timer, other_devices
else:
    from serial_host.com_port.adapters_posix import latency_timer, other_devices

__all__ = ["latency_timer", "other_devices"]
