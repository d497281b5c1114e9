"""RFC 2217's com port option: one class for each command, the same in both directions.

A client asks with a command and the access server answers with the same command holding the **actual** value; on
the wire the server's code is 100 higher, which `encode` and `decode` see to. In what follows `<code>` is the client's.
Every value that the wire can carry can stand in a command, also those that the standard left open.
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
    """Which end of the connection speaks."""

    CLIENT = "client"
    """It has the application."""
    ACCESS_SERVER = "access server"
    """It has the com port."""

    @property
    def peer(self) -> Role:
        """The other end."""
        return Role.ACCESS_SERVER if self is Role.CLIENT else Role.CLIENT


class ComPortCommand:
    """Base of the commands; each is a frozen value that says in its docstring how it travels."""

    __slots__ = ()

    CODE: ClassVar[int]
    """The client's code."""
    ANSWERED: ClassVar[bool] = True
    """Whether the access server owes an answer to each of these."""

    @abstractmethod
    def payload(self) -> bytes:
        """Give what follows the code, IAC not yet escaped."""

    @classmethod
    @abstractmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        """Read what follows the code; None if it is too short. Octets too many are ignored: some servers pad."""

    @property
    def subject(self) -> tuple[int, int]:
        """What the command is about: an answer has the same subject as its request."""
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
    """`IAC SB COM-PORT SIGNATURE <text> IAC SE` - say what we are; without text, ask the receiver what it is.

    Either end may ask or tell. The text is free; what is not UTF-8 in it is read with backslash escapes.
    """

    CODE = 0

    text: str = ""

    def payload(self) -> bytes:
        """Give the text in UTF-8."""
        return self.text.encode("utf-8", "backslashreplace")

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        """Read the text."""
        return cls(payload.decode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class SetBaudRate(ComPortCommand):
    """`IAC SB COM-PORT SET-BAUDRATE <value(4)> IAC SE` - bits per second, 0 to 2**32 - 1; 0 asks."""

    CODE = 1

    value: int = 0

    def __post_init__(self) -> None:
        _bounded(type(self), self.value, 2**32 - 1)

    def payload(self) -> bytes:
        """Give four octets in network order."""
        return self.value.to_bytes(4, "big")

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:
        """Read four octets in network order."""
        return cls(int.from_bytes(payload[:4], "big")) if len(payload) >= 4 else None


@dataclass(frozen=True, slots=True)
class SetDataSize(_OctetCommand):
    """`IAC SB COM-PORT SET-DATASIZE <value> IAC SE` - data bits, 5 to 8; 0 asks."""

    CODE = 2

    value: int = 0


@dataclass(frozen=True, slots=True)
class SetParity(_OctetCommand):
    """`IAC SB COM-PORT SET-PARITY <value> IAC SE` - `Parity.REQUEST` asks."""

    CODE = 3
    VALUES = Parity

    value: Parity = Parity.REQUEST


@dataclass(frozen=True, slots=True)
class SetStopSize(_OctetCommand):
    """`IAC SB COM-PORT SET-STOPSIZE <value> IAC SE` - `StopSize.REQUEST` asks."""

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
        """DTR is another subject than RTS, though both travel as SET-CONTROL."""
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
    """A command that is all said by its code."""

    __slots__ = ()

    def payload(self) -> bytes:
        """Give nothing."""
        return b""

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:  # noqa: ARG003 - the signature of all commands
        """Read nothing."""
        return cls()


@dataclass(frozen=True, slots=True)
class FlowControlSuspend(_EmptyCommand):
    """`IAC SB COM-PORT FLOWCONTROL-SUSPEND IAC SE` - the receiver shall send neither data nor commands.

    Some peers send and expect the client's code in both directions, so both codes are understood.
    """

    CODE = 8
    ANSWERED = False


@dataclass(frozen=True, slots=True)
class FlowControlResume(_EmptyCommand):
    """`IAC SB COM-PORT FLOWCONTROL-RESUME IAC SE` - the receiver may send again."""

    CODE = 9
    ANSWERED = False


@dataclass(frozen=True, slots=True)
class SetLineStateMask(_OctetCommand):
    """`IAC SB COM-PORT SET-LINESTATE-MASK <value> IAC SE` - which line states to notify; none before the first."""

    CODE = 10
    VALUES = LineState

    value: LineState


@dataclass(frozen=True, slots=True)
class SetModemStateMask(_OctetCommand):
    """`IAC SB COM-PORT SET-MODEMSTATE-MASK <value> IAC SE` - which modem states to notify; all before the first."""

    CODE = 11
    VALUES = ModemState

    value: ModemState


@dataclass(frozen=True, slots=True)
class PurgeData(_OctetCommand):
    """`IAC SB COM-PORT PURGE-DATA <value> IAC SE` - the access server shall forget what it has buffered."""

    CODE = 12
    VALUES = Purge

    value: Purge


@dataclass(frozen=True, slots=True)
class UnrecognizedCommand:
    """`IAC SB COM-PORT <payload> IAC SE` - a code that RFC 2217 does not define, or a value cut short. No answer fits."""

    payload: bytes
    """The code and what follows it, IAC unescaped."""


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


def encode(command: ComPortCommand, sender: Role) -> bytes:
    """Give the payload of the subnegotiation that carries a command."""
    code = command.CODE + (SERVER_CODE_OFFSET if sender is Role.ACCESS_SERVER else 0)
    return bytes((code,)) + command.payload()


def decode(payload: bytes, sender: Role) -> ComPortCommand | UnrecognizedCommand:
    """Read the payload of a com port subnegotiation; whatever it holds, this succeeds."""
    kind = _BY_CODE[sender].get(payload[0]) if payload else None
    command = kind.from_payload(payload[1:]) if kind else None
    return command or UnrecognizedCommand(payload)


def _bounded(kind: type[ComPortCommand], value: int, limit: int) -> int:
    if not 0 <= value <= limit:
        raise LocalProtocolError(f"{kind.__name__} takes 0 to {limit}, not {value}")
    return value
