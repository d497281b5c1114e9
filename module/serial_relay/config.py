"""The frozen configuration of ports, which the parser of the twin makes and ports and connections take.

Nothing here reads a document or touches a descriptor. Values are valid when they are made: `twin.desired` checks what
people wrote before it makes a `PortConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Protocol(StrEnum):
    """What runs inside the TCP connection."""

    RAW = "raw"
    RFC2217 = "rfc2217"


class Connect(StrEnum):
    """When the connection to the host stands."""

    ALWAYS = "always"
    ON_OPEN = "onOpen"


class WhileDisconnected(StrEnum):
    """What happens to the bytes that an application writes while there is no connection."""

    DISCARD = "discard"
    HOLD = "hold"


class Kind(StrEnum):
    """What applications open."""

    AUTO = "auto"
    """A character device where there can be one and the protocol carries what it can do; else a pty."""
    PTY = "pty"
    TTY = "tty"
    """A character device, or an error."""


class TlsVerify(StrEnum):
    """How the host is recognised."""

    PIN = "pin"
    CA = "ca"


class TlsIdentity(StrEnum):
    """Where this module's certificate comes from."""

    OWN = "own"
    EDGE = "edge"


Parity = Literal["none", "odd", "even", "mark", "space"]
FlowControl = Literal["none", "rtsCts", "xonXoff", "dtrDsr"]


@dataclass(frozen=True, slots=True)
class LineSettings:
    """The line settings that are pushed to the real port; None follows the application, as far as its port carries it."""

    baud_rate: int | None = None
    """Bits per second, 1-4294967295 (RFC 2217 has 32 bits for it)."""
    data_bits: Literal[5, 6, 7, 8] | None = None
    parity: Parity | None = None
    stop_bits: float | None = None
    """1, 1.5 or 2."""
    flow_control: FlowControl | None = None
    dtr: bool | None = None
    rts: bool | None = None
    """The modem lines; None follows the application at a tty, and raises them after each connect at a pty."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How the connection is secured."""

    verify: TlsVerify = TlsVerify.PIN
    host_fingerprints: tuple[str, ...] = ()
    """`sha256:` and 64 hexadecimal digits each; at least one with `pin`."""
    host_ca: str | None = None
    """Certificates in PEM; there with `ca`."""
    host_name: str | None = None
    """The name in the host's certificate with `ca`; None: `host`."""
    identity: TlsIdentity = TlsIdentity.OWN


@dataclass(frozen=True, slots=True)
class PortConfig:
    """One virtual serial port; two equal configurations need no restart."""

    name: str
    host: str
    """IP address or host name of the serial server."""
    tcp_port: int
    """1-65535."""
    link: str
    """Link name below the link directory, without `/dev/`."""
    protocol: Protocol = Protocol.RAW
    kind: Kind = Kind.AUTO
    line: LineSettings = LineSettings()
    uid: int = 0
    gid: int = 10
    mode: int = 0o660
    connect: Connect = Connect.ALWAYS
    while_disconnected: WhileDisconnected = WhileDisconnected.DISCARD
    enabled: bool = True
    capture_seconds: int = 0
    """Seconds of traffic that are kept for the method `capture`, 0-3600; 0 keeps nothing."""
    tls: TlsSettings | None = None
    """None: without TLS."""
