"""What the registry of Windows knows of serial ports beside pyserial."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import contextlib
import itertools
import winreg
from collections.abc import Iterator

DEVICE_MAP = r"HARDWARE\DEVICEMAP\SERIALCOMM"
r"""Each driver of a serial port enters its port here: `\Device\com0com10` = `CNCA0`. com0com's and other virtual ports have
no Plug and Play device, from which pyserial makes its list."""

FTDI_ADAPTERS = r"SYSTEM\CurrentControlSet\Enum\FTDIBUS"
"""`<identity>\\0000\\Device Parameters` holds `PortName` and `LatencyTimer` of one port of an adapter."""


def other_devices(root: int = winreg.HKEY_LOCAL_MACHINE, path: str = DEVICE_MAP) -> list[str]:
    """Return the names of all ports in the device map; none if it cannot be read."""
    names: list[str] = []
    with contextlib.suppress(OSError), winreg.OpenKey(root, path) as ports:
        for index in itertools.count():
            _, name, _ = winreg.EnumValue(ports, index)  # raises OSError after the last one
            if isinstance(name, str) and name:
                names.append(name)
    return names


def latency_timer(
    device: str, *, root: int = winreg.HKEY_LOCAL_MACHINE, path: str = FTDI_ADAPTERS
) -> int | None:
    """Return the latency timer of the adapter behind `device` (`COM3`) in milliseconds; None if it is not FTDI's."""
    for adapter in _keys(root, path):
        for port in _keys(root, adapter):
            with (
                contextlib.suppress(OSError),
                winreg.OpenKey(root, rf"{port}\Device Parameters") as parameters,
            ):
                name, _ = winreg.QueryValueEx(parameters, "PortName")
                if str(name).casefold() == device.removeprefix("\\\\.\\").casefold():
                    return int(winreg.QueryValueEx(parameters, "LatencyTimer")[0])
    return None


def _keys(root: int, path: str) -> Iterator[str]:
    """Yield the full paths of the keys below `path`."""
    with contextlib.suppress(OSError), winreg.OpenKey(root, path) as key:
        for index in itertools.count():
            yield rf"{path}\{winreg.EnumKey(key, index)}"
