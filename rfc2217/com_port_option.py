"""The commands of RFC 2217's com port option: one class for each, used in both directions.

A client asks with a command, and the access server answers with the same command and the **actual** value. On the wire
the server's code is 100 higher; `encode` and `decode` add and subtract it. The docstrings below name the client's code.
A command can hold every value that the wire can carry, including those that the standard does not define.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Self

from rfc2217.com_port_values import Control, LineState, ModemState, Parity, Purge, StopSize
from rfc2217.errors import LocalProtocolError

SERVER_CODE_OFFSET = 100


class Role(Enum):
    """The two ends of a connection."""

    CLIENT = "client"
    """The end that has the application."""
    ACCESS_SERVER = "access server"
    """The end that has the com port."""

    @property
    def peer(self) -> Role:
        """The other end."""
        return Role.ACCESS_SERVER if self is Role.CLIENT else Role.CLIENT


class ComPortCommand:
    """The base of the commands. Each is a frozen value; its docstring shows its form on the wire."""

    __slots__ = ()

    CODE: ClassVar[int]
    """The client's code."""
    ANSWERED: ClassVar[bool] = True
    """True if the access server owes an answer to each of these commands."""

    @abstractmethod
    def payload(self) -> bytes:
        """Return what follows the code, with IAC not yet escaped."""

    @classmethod
    @abstractmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        """Return the command for what follows the code, None if that is too short.

        Surplus octets are ignored, as some servers send padding.
        """

    @property
    def subject(self) -> tuple[int, int]:
        """What the command is about. An answer has the same subject as its request."""
        return self.CODE, 0


@dataclass(frozen=True, slots=True)
class _OctetCommand(ComPortCommand):
    VALUES: ClassVar[type[int]] = int

    value: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.VALUES(_bounded(type(self), self.value, 255)))

    def payload(self) -> bytes:
        return bytes((self.value,))

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        return cls(payload[0]) if payload else None


@dataclass(frozen=True, slots=True)
class _StateCommand(ComPortCommand):
    VALUES: ClassVar[type[int]] = int

    value: int | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", self.VALUES(_bounded(type(self), self.value, 255)))

    def payload(self) -> bytes:
        return b"" if self.value is None else bytes((self.value,))

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        return cls(payload[0]) if payload else cls()


@dataclass(frozen=True, slots=True)
class Signature(ComPortCommand):
    """`IAC SB COM-PORT SIGNATURE <text> IAC SE` - tell what the sender is; without text, ask the receiver.

    Either end may ask or tell. The text is free. Octets in it that are not UTF-8 are read as backslash escapes.
    """

    CODE = 0

    text: str = ""

    def payload(self) -> bytes:
        """Return the text in UTF-8."""
        return self.text.encode("utf-8", "backslashreplace")

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        """Return the command with this text."""
        return cls(payload.decode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class SetBaudRate(ComPortCommand):
    """`IAC SB COM-PORT SET-BAUDRATE <value(4)> IAC SE` - bits per second, 0 to 2**32 - 1; 0 asks for it."""

    CODE = 1

    value: int = 0

    def __post_init__(self) -> None:
        _bounded(type(self), self.value, 2**32 - 1)

    def payload(self) -> bytes:
        """Return four octets in network order."""
        return self.value.to_bytes(4, "big")

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        """Return the command for four octets in network order, None if there are fewer."""
        return cls(int.from_bytes(payload[:4], "big")) if len(payload) >= 4 else None


@dataclass(frozen=True, slots=True)
class SetDataSize(_OctetCommand):
    """`IAC SB COM-PORT SET-DATASIZE <value> IAC SE` - data bits, 5 to 8; 0 asks for them."""

    CODE = 2

    value: int = 0


@dataclass(frozen=True, slots=True)
class SetParity(_OctetCommand):
    """`IAC SB COM-PORT SET-PARITY <value> IAC SE` - the parity; `Parity.REQUEST` asks for it."""

    CODE = 3
    VALUES = Parity

    value: Parity = Parity.REQUEST


@dataclass(frozen=True, slots=True)
class SetStopSize(_OctetCommand):
    """`IAC SB COM-PORT SET-STOPSIZE <value> IAC SE` - the stop bits; `StopSize.REQUEST` asks for them."""

    CODE = 4
    VALUES = StopSize

    value: StopSize = StopSize.REQUEST


@dataclass(frozen=True, slots=True)
class SetControl(_OctetCommand):
    """`IAC SB COM-PORT SET-CONTROL <value> IAC SE` - flow control, break, DTR or RTS; `Control.REQUEST_*` ask."""

    CODE = 5
    VALUES = Control

    value: Control

    @property
    def subject(self) -> tuple[int, int]:
        """The setting that is controlled: DTR is another subject than RTS, though both are sent as SET-CONTROL."""
        return self.CODE, self.value.request


@dataclass(frozen=True, slots=True)
class NotifyLineState(_StateCommand):
    """`IAC SB COM-PORT NOTIFY-LINESTATE <value> IAC SE` - the server tells; a client polls with None, no value."""

    CODE = 6
    VALUES = LineState

    value: LineState | None = None


@dataclass(frozen=True, slots=True)
class NotifyModemState(_StateCommand):
    """`IAC SB COM-PORT NOTIFY-MODEMSTATE <value> IAC SE` - the server tells; a client polls with None, no value."""

    CODE = 7
    VALUES = ModemState

    value: ModemState | None = None


class _EmptyCommand(ComPortCommand):
    """A command that has nothing but its code."""

    __slots__ = ()

    def payload(self) -> bytes:
        """Return no octets."""
        return b""

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:  # noqa: ARG003 - the signature of all commands
        """Return the command, whatever follows the code."""
        return cls()


@dataclass(frozen=True, slots=True)
class FlowControlSuspend(_EmptyCommand):
    """`IAC SB COM-PORT FLOWCONTROL-SUSPEND IAC SE` - the receiver is to send neither data nor commands."""

    CODE = 8
    ANSWERED = False


@dataclass(frozen=True, slots=True)
class FlowControlResume(_EmptyCommand):
    """`IAC SB COM-PORT FLOWCONTROL-RESUME IAC SE` - the receiver may send again."""

    CODE = 9
    ANSWERED = False


@dataclass(frozen=True, slots=True)
class SetLineStateMask(_OctetCommand):
    """`IAC SB COM-PORT SET-LINESTATE-MASK <value> IAC SE` - the line states to notify; at first none."""

    CODE = 10
    VALUES = LineState

    value: LineState


@dataclass(frozen=True, slots=True)
class SetModemStateMask(_OctetCommand):
    """`IAC SB COM-PORT SET-MODEMSTATE-MASK <value> IAC SE` - the modem states to notify; at first all."""

    CODE = 11
    VALUES = ModemState

    value: ModemState


@dataclass(frozen=True, slots=True)
class PurgeData(_OctetCommand):
    """`IAC SB COM-PORT PURGE-DATA <value> IAC SE` - the access server is to discard what it has buffered."""

    CODE = 12
    VALUES = Purge

    value: Purge


@dataclass(frozen=True, slots=True)
class UnrecognizedCommand:
    """`IAC SB COM-PORT <payload> IAC SE` - a code that RFC 2217 does not define, or a value that is too short.

    There is no answer to it.
    """

    payload: bytes
    """The code and what follows it, with IAC unescaped."""


COMMANDS: tuple[type[ComPortCommand], ...] = (
    Signature,
    SetBaudRate,
    SetDataSize,
    SetParity,
    SetStopSize,
    SetControl,
    NotifyLineState,
    NotifyModemState,
    FlowControlSuspend,
    FlowControlResume,
    SetLineStateMask,
    SetModemStateMask,
    PurgeData,
)

_BY_CLIENT_CODE = {command.CODE: command for command in COMMANDS}
_BY_SERVER_CODE = {command.CODE + SERVER_CODE_OFFSET: command for command in COMMANDS}
_FLOW_CONTROL = (FlowControlSuspend, FlowControlResume)
_BY_CODE: dict[Role, dict[int, type[ComPortCommand]]] = {
    Role.CLIENT: {**{c.CODE + SERVER_CODE_OFFSET: c for c in _FLOW_CONTROL}, **_BY_CLIENT_CODE},
    Role.ACCESS_SERVER: {**{c.CODE: c for c in _FLOW_CONTROL}, **_BY_SERVER_CODE},
}
"""What each code means from each role.

Some peers send and expect the client's codes of FLOWCONTROL-SUSPEND and -RESUME in both directions. No other code of a
client is taken for an answer: a device that echoes what it gets would look like an access server.
"""


def encode(command: ComPortCommand, sender: Role) -> bytes:
    """Return the payload of the subnegotiation that carries a command."""
    code = command.CODE + (SERVER_CODE_OFFSET if sender is Role.ACCESS_SERVER else 0)
    return bytes((code,)) + command.payload()


def decode(payload: bytes, sender: Role) -> ComPortCommand | UnrecognizedCommand:
    """Return the command in the payload of a com port subnegotiation.

    This succeeds whatever the payload holds.
    """
    kind = _BY_CODE[sender].get(payload[0]) if payload else None
    command = kind.from_payload(payload[1:]) if kind else None
    return command or UnrecognizedCommand(payload)


def _bounded(kind: type[ComPortCommand], value: int, limit: int) -> int:
    if not 0 <= value <= limit:
        raise LocalProtocolError(f"{kind.__name__} takes 0 to {limit}, not {value}")
    return value
