"""What one port is doing: the vocabulary and the one mutable record that relay, methods and metrics share.

A `PortStatus` is written by its relay alone and read by everybody else, all on the event loop's thread.
Times are Unix seconds (`time.time()`), because people and the cloud read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """The state of a port, as the reported properties spell it."""

    CONNECTING = "connecting"
    """The first connection attempt since the port started, or since an application opened it."""
    NEGOTIATING = "negotiating"
    """TCP is connected, but TLS or the com port option (RFC 2217) is not agreed yet."""
    CONNECTED = "connected"
    RETRYING = "retrying"
    """The last attempt failed or the connection was lost; the next attempt follows by itself."""
    IDLE = "idle"
    """`connect: onOpen`, and no application has the port open."""
    DISABLED = "disabled"
    INVALID = "invalid"
    """The entry is faulty and no earlier good configuration is known."""


VirtualPortKind = Literal["pty", "tty"]
"""What applications open: a pty, or a character device."""


class ErrorCode(StrEnum):
    """Why a port is not connected, as the reported properties spell it."""

    NAME_RESOLUTION = "nameResolution"
    HOST_UNREACHABLE = "hostUnreachable"
    CONNECTION_REFUSED = "connectionRefused"
    TIMED_OUT = "timedOut"
    RESET = "reset"
    CLOSED_BY_HOST = "closedByHost"
    DEVICE_UNAVAILABLE = "deviceUnavailable"
    BUSY = "busy"
    PROTOCOL = "protocol"
    TLS = "tls"
    LINK = "link"


class NotSupportedError(Exception):
    """A port cannot do what it was asked for, or not now; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class PortError:
    """The last thing that went wrong, for `lastError`."""

    code: ErrorCode
    message: str
    at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """A place in the desired properties that cannot be used, for `configError` and `configErrors`."""

    path: str
    """The key's path from the top of the desired properties, `serialPorts.ttyVirtS0.tcpPort`."""
    expected: str
    """What would have been right, and what stands there: `a TCP port, 1-65535, not 70000`."""


@dataclass(frozen=True, slots=True)
class ActualLine:
    """The line settings of the real port as the host answered them (RFC 2217), None where it did not say."""

    baud_rate: int | None = None
    """Bits per second."""
    data_bits: int | None = None
    """5-8."""
    parity: str | None = None
    """`none`, `odd`, `even`, `mark` or `space`."""
    stop_bits: float | None = None
    """1, 1.5 or 2."""
    flow_control: str | None = None
    """`none`, `rtsCts`, `xonXoff` or `dtrDsr`."""

    def __str__(self) -> str:
        """Write `9600 8N1`, with the flow control where there is one, and `?` for what the host did not say."""
        rate, bits = self.baud_rate or "?", self.data_bits or "?"
        stop_bits = "?" if self.stop_bits is None else f"{self.stop_bits:g}"
        text = f"{rate} {bits}{(self.parity or '?')[0].upper()}{stop_bits}"
        return text if self.flow_control in {None, "none"} else f"{text} {self.flow_control}"


@dataclass(frozen=True, slots=True)
class ModemState:
    """The modem lines of the real port, as the host notified them (RFC 2217)."""

    cts: bool = False
    dsr: bool = False
    ri: bool = False
    cd: bool = False

    def __str__(self) -> str:
        """Write `CTS on, DSR off, RI off, CD off`."""
        return ", ".join(
            f"{field.name.upper()} {'on' if getattr(self, field.name) else 'off'}" for field in fields(self)
        )


@dataclass(frozen=True, slots=True)
class LineErrors:
    """Errors on the device's line since the last such report, as the host notified them (RFC 2217)."""

    framing: int = 0
    overrun: int = 0
    parity: int = 0
    breaks: int = 0


@dataclass(slots=True)
class Discarded:
    """Bytes that were not delivered, by reason."""

    closed: int = 0
    """From the device while no application had the port open, or left unread when it was closed."""
    disconnected: int = 0
    """From the application while there was no connection, or not acknowledged when it was lost."""
    overrun: int = 0
    """From the application beyond the 8 KB that `whileDisconnected: hold` keeps."""
    flushed: int = 0
    """From the device, on their way when an application discarded its input (`tcflush`; RFC 2217 only)."""
    undelivered: int = 0
    """From the device, received when the connection ended, and no longer delivered."""


DISCARD_REASONS = tuple(reason.name for reason in fields(Discarded))
"""The reasons as the reported properties and the metrics spell them."""


@dataclass(slots=True)
class PortStatus:
    """Everything that is known of one port."""

    state: State
    since: float
    """Unix seconds of the last change of `state`."""
    link: str
    """Absolute path of the link that applications open."""
    kind: VirtualPortKind | None = None
    """What the link leads to; None while there is nothing."""
    kind_reason: str | None = None
    """Why that is a pty although a tty would be better, and what to change; None if there is nothing to say."""
    remote_address: str | None = None
    """`address:port` of the connected host, `[address]:port` for IPv6; None while not connected."""
    application_open: bool = False
    connects: int = 0
    """Connections that became usable since the start of the process."""
    last_error: PortError | None = None
    config_error: ConfigFault | None = None
    bytes_to_device: int = 0
    """Written to the connection; what the host's kernel had not read when a connection died is in here."""
    bytes_from_device: int = 0
    """Received from the connection, delivered to the application or not."""
    discarded: Discarded = field(default_factory=Discarded)
    line: ActualLine | None = None
    modem: ModemState | None = None
    telnet_seen: bool = False
    """The server of a raw connection began as an RFC 2217 server does."""
    round_trip_seconds: float | None = None
    """Of the last heartbeat (RFC 2217 only)."""
