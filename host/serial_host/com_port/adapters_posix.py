"""What Linux knows of its serial ports beside pyserial."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

from pathlib import Path

USB_SERIAL = Path("/sys/bus/usb-serial/devices")


def other_devices() -> list[str]:
    """Return nothing: pyserial lists what Linux has."""
    return []


def latency_timer(device: str, *, folder: Path = USB_SERIAL) -> int | None:
    """Return the latency timer of the adapter behind `device` (`/dev/ttyUSB0`, or a link to it) in milliseconds.

    None if its driver has none: only FTDI's has (Linux, drivers/usb/serial/ftdi_sio.c).
    """
    try:
        return int((folder / Path(device).resolve().name / "latency_timer").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
