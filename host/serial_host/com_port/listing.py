"""The COM ports that the computer has now, and how one is found again by its USB identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serial_host.com_port.port import ComPortError
from serial_host.config import UsbMatch


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


def present_ports() -> list[PortIdentity]:
    """List the COM ports that the operating system knows, in natural order. May take tens of milliseconds."""
    from serial.tools import list_ports  # noqa: PLC0415  # not every Windows lets it be imported, and few need it

    return [
        PortIdentity(
            device=port.device,
            description="" if port.description in (None, "n/a") else port.description,
            vid=port.vid,
            pid=port.pid,
            serial=port.serial_number,
            location=port.location,
            manufacturer=port.manufacturer,
        )
        for port in sorted(list_ports.comports())
    ]


def find_port(ports: Sequence[PortIdentity], match: UsbMatch) -> str:
    """Give the device name of the one port that `match` describes.

    Raises:
        ComPortError: no port has these traits, or several have.
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
        raise ComPortError(f"no port with the USB identity {match} is there")
    raise ComPortError(
        f"{len(found)} ports have the USB identity {match}: {', '.join(found)}; add serial or location to match"
    )


def _same(wanted: str | None, actual: str | None) -> bool:
    return wanted is None or (actual is not None and wanted.casefold() == actual.casefold())
