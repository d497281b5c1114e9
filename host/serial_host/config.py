"""The frozen configuration of ports, which the parser of the file makes and servers and sessions take.

Nothing here reads a file or checks what people wrote: `configuration.config_file` does, before it makes a `PortConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from serial_host.line import FlowControl, LineSettings, Parity

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Protocol(StrEnum):
    """What runs inside the TCP connection."""

    RAW = "raw"
    RFC2217 = "rfc2217"


class TlsVerify(StrEnum):
    """How clients are recognised."""

    PIN = "pin"
    CA = "ca"


class Open(StrEnum):
    """When the COM port is open."""

    ALWAYS = "always"
    ON_CLIENT = "on_client"


@dataclass(frozen=True, slots=True)
class UsbMatch:
    """Finds a USB adapter again under whatever name it has now. A field that is None matches anything."""

    vid: int | None = None
    """USB vendor number, 0-0xFFFF."""
    pid: int | None = None
    """USB product number, 0-0xFFFF."""
    serial: str | None = None
    location: str | None = None
    """Bus and hub ports, `1-4.2`."""

    def __str__(self) -> str:
        """Write `0403:6001 A12345 1-4.2`."""
        numbers = ":".join("*" if number is None else f"{number:04x}" for number in (self.vid, self.pid))
        return " ".join(
            part for part in ("" if numbers == "*:*" else numbers, self.serial, self.location) if part
        )


@dataclass(frozen=True, slots=True)
class PortConfig:
    """One COM port and the TCP port that serves it; either `device` or `match` is given."""

    tcp_port: int
    """1-65535."""
    device: str | None = None
    """Name of a COM port, `COM3`."""
    match: UsbMatch | None = None
    listen: tuple[str, ...] | None = None
    """Interfaces' names or addresses; None: loopback, and on Windows the Hyper-V switches."""
    allow: tuple[Network, ...] | None = None
    """Client addresses; None: the networks of the listening interface."""
    protocol: Protocol = Protocol.RAW
    open: Open = Open.ALWAYS
    take_over: bool = False
    baud_rate: int = 9600
    """Bits per second, 1-4294967295."""
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Parity = Parity.NONE
    stop_bits: float = 1
    """1, 1.5 or 2."""
    flow_control: FlowControl = FlowControl.NONE
    dtr: bool = True
    """State of the line while the port is open."""
    rts: bool = True
    """State of the line while the port is open."""
    rs485: bool = False
    tls: bool = True
    """False serves the port without TLS, although the file has `[tls]`."""

    @property
    def line(self) -> LineSettings:
        """The settings with which the port is opened."""
        return LineSettings(self.baud_rate, self.data_bits, self.parity, self.stop_bits, self.flow_control)

    @property
    def name(self) -> str:
        """What people call this port: its device as configured, or what it is found by."""
        return self.device if self.device is not None else f"USB {self.match}"


def is_called(asked: str, name: str, device: str | None, tcp_port: int | None) -> bool:
    """Return whether `asked` is what people call a port: its name, the COM port that it is now, or its TCP port."""
    names = {name.casefold(), (device or name).casefold()}
    return asked.casefold() in names or (tcp_port is not None and asked == str(tcp_port))


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How connections are secured."""

    state_directory: str
    """The folder of this host's own key and of the clients that `trust` and `pair` have added."""
    verify: TlsVerify = TlsVerify.PIN
    client_fingerprints: tuple[str, ...] = ()
    """`sha256:` and 64 hexadecimal digits each."""
    client_ca: str | None = None
    """Certificates in PEM; there with `ca`."""
    client_names: tuple[str, ...] = ()
    """Modules of IoT Edge, `device/module`, that may be clients with `ca`; empty: all that the authority knows."""
    certificate: str | None = None
    """PEM, with the key in `key`; None: the host's own."""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """An entry of the configuration that cannot be used."""

    name: str
    """The entry's device, or its place in the file."""
    message: str
    """Place, key, what was expected and what stands there."""


@dataclass(frozen=True, slots=True)
class Config:
    """The ports that are to run, and those that cannot."""

    ports: tuple[PortConfig, ...]
    faults: tuple[ConfigFault, ...] = ()
    tls: TlsSettings | None = None
    """None: no port is secured."""
