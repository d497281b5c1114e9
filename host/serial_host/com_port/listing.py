"""The COM ports that the computer has now, and how one of them is found again by its USB identity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serial_host.com_port.adapters import latency_timer, other_devices
from serial_host.com_port.port import ComPortError
from serial_host.config import UsbMatch
from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import described


@dataclass(frozen=True, slots=True)
class PortIdentity:
    """A COM port that is there now, with the USB identity by which it can be found again."""

    device: str
    description: str
    vid: int | None = None
    pid: int | None = None
    serial: str | None = None
    location: str | None = None
    """Bus and hub ports, `1-4.2`."""
    manufacturer: str | None = None
    latency_timer: int | None = None
    """Milliseconds for which the USB adapter may collect bytes before it sends them; None if it has no such timer."""


def present_ports() -> list[PortIdentity]:
    """Return the COM ports that the operating system knows, in natural order. May take tens of milliseconds.

    Raises:
        ComPortError: they cannot be listed: a call of the system is missing, or a driver fails.
    """
    try:
        ports = _listed_by_pyserial()
    except Exception as error:
        raise ComPortError(f"the COM ports cannot be listed: {described(error)}") from error
    return merged(ports, other_devices())


def _listed_by_pyserial() -> list[PortIdentity]:
    from serial.tools import list_ports  # noqa: PLC0415  # not every Windows can import it, and few commands need it

    return [
        PortIdentity(
            device=port.device,
            description="" if port.description in (None, "n/a") else port.description,
            vid=port.vid,
            pid=port.pid,
            serial=port.serial_number,
            location=port.location,
            manufacturer=port.manufacturer,
            latency_timer=latency_timer(port.device),
        )
        for port in list_ports.comports()
    ]


def merged(ports: Sequence[PortIdentity], others: Sequence[str]) -> list[PortIdentity]:
    """Return `ports` and one more for each name in `others` that is not among them, in natural order."""
    known = {port.device.casefold() for port in ports}
    more = [PortIdentity(name, "") for name in others if name.casefold() not in known]
    return sorted((*ports, *more), key=lambda port: _natural(port.device))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts COM9 before COM10."""
    return [(int(part), "") if part.isdigit() else (0, part.casefold()) for part in re.split(r"(\d+)", name)]


def find_port(ports: Sequence[PortIdentity], match: UsbMatch) -> str:
    """Return the device name of the one port that `match` describes.

    Raises:
        ComPortError: no port has this identity, or several have it.
    """
    found = [
        port.device
        for port in ports
        if (match.vid in (None, port.vid) and match.pid in (None, port.pid))
        and _same(match.serial, port.serial)
        and _same(match.location, port.location)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ComPortError(
            f"no port with the USB identity {match} is there: plug the adapter in, or see '{PROGRAM} list'"
        )
    raise ComPortError(
        f"{len(found)} ports have the USB identity {match}: {', '.join(found)}; add serial or location to match"
    )


def _same(wanted: str | None, actual: str | None) -> bool:
    return wanted is None or (actual is not None and wanted.casefold() == actual.casefold())
