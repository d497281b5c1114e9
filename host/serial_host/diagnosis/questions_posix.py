"""What Linux is asked for a diagnosis: which programs have a device open. The other questions are for Windows only."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import os
from collections.abc import Sequence
from pathlib import Path

from serial_host.diagnosis.not_told import NotToldError
from serial_host.plumbing.text import described, printable

_ONLY_WINDOWS = "this is looked at on Windows only"


def firewall_rules() -> Sequence[str]:
    """Raise `NotToldError`."""
    raise NotToldError(_ONLY_WINDOWS)


def excluded_ports() -> str:
    """Raise `NotToldError`."""
    raise NotToldError(_ONLY_WINDOWS)


def usb_power_saving() -> str:
    """Raise `NotToldError`."""
    raise NotToldError(_ONLY_WINDOWS)


def startup_task() -> str:
    """Raise `NotToldError`."""
    raise NotToldError(_ONLY_WINDOWS)


def try_to_open(device: str) -> None:
    """Raise `NotToldError`: `programs_with` returns which programs have a device open, so nothing has to be opened."""
    raise NotToldError(f"{device} need not be opened for this on Linux")


def programs_with(device: str) -> list[tuple[str, int]]:
    """Return the name and process id of each program that has a device open. Nothing is opened for that.

    Raises:
        NotToldError: there is no such device.
    """
    try:
        node = Path(device).stat()
    except OSError as error:
        raise NotToldError(f"{device}: {described(error)}") from error
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:  # it has ended, or this user may not look
            continue
        if any(_is(descriptor, node) for descriptor in descriptors):
            found.append((_name(process), int(process.name)))
    return found


def _is(descriptor: Path, node: os.stat_result) -> bool:
    try:
        # The text of the link is looked at first, because a `stat` on a network's file system can block.
        if not os.readlink(descriptor).startswith("/dev/"):  # noqa: PTH115  # far quicker, and there are thousands
            return False
        opened = descriptor.stat()
    except OSError:  # closed meanwhile
        return False
    return opened.st_rdev == node.st_rdev and opened.st_dev == node.st_dev


def _name(process: Path) -> str:
    try:
        return printable((process / "comm").read_text(encoding="utf-8", errors="replace").strip())
    except OSError:
        return "a program"
