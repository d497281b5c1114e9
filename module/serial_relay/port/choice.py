"""Whether a port is a character device or a pty, as far as its configuration leaves that open."""

from __future__ import annotations

from typing import NamedTuple

from serial_relay.config import Kind, PortConfig, Protocol
from serial_relay.status import VirtualPortKind
from serial_relay.virtual_port.device_server import DeviceServer

_NO_SERVER = "this program serves no character devices"


class Choice(NamedTuple):
    """What a port is to be."""

    kind: VirtualPortKind
    reason: str | None = None
    """Why it is no character device, if one would be better or is asked for."""


async def choose(config: PortConfig, devices: DeviceServer | None) -> Choice:
    """Return what a port is to be; with the kind `tty` and a reason, there can be none."""
    if config.kind is Kind.PTY or (config.kind is Kind.AUTO and config.protocol is Protocol.RAW):
        return Choice("pty")  # raw carries nothing that a character device has beyond a pty
    reason = _NO_SERVER if devices is None else await devices.why_not()
    if config.kind is Kind.TTY:
        return Choice("tty", reason)
    return Choice("tty") if reason is None else pty_instead(reason)


def pty_instead(reason: object) -> Choice:
    """Return what a port is as long as there can be no character device for this reason."""
    return Choice("pty", f"{reason}; the port tries again while no application has it open")
