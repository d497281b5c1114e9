"""RFC 2217's com port option: one class for each command, the same in both directions.

A client asks with a command and the access server answers with the same command holding the **actual** value; on
the wire the server's code is 100 higher, which `encode` and `decode` see to. In what follows `<code>` is the client's.
Every value that the wire can carry can stand in a command, also those that the standard left open.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import ClassVar, Self

from rfc2217.errors import LocalProtocolError
from rfc2217.octet import Octet

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


class Parity(Octet):
    """Values of SET-PARITY."""

    REQUEST = 0
    NONE = 1
    ODD = 2
    EVEN = 3
    MARK = 4
    SPACE = 5


class StopSize(Octet):
    """Values of SET-STOPSIZE."""

    REQUEST = 0
    ONE = 1
    TWO = 2
    ONE_AND_A_HALF = 3


class Control(Octet):
    """Values of SET-CONTROL; "outbound" means for both directions where the inbound one is not set by itself."""

    REQUEST_FLOW = 0
    FLOW_NONE = 1
    FLOW_XON_XOFF = 2
    FLOW_HARDWARE = 3
    REQUEST_BREAK = 4
    BREAK_ON = 5
    BREAK_OFF = 6
    REQUEST_DTR = 7
    DTR_ON = 8
    DTR_OFF = 9
    REQUEST_RTS = 10
    RTS_ON = 11
    RTS_OFF = 12
    REQUEST_INBOUND_FLOW = 13
    INBOUND_FLOW_NONE = 14
    INBOUND_FLOW_XON_XOFF = 15
    INBOUND_FLOW_HARDWARE = 16
    FLOW_DCD = 17
    INBOUND_FLOW_DTR = 18
    FLOW_DSR = 19

    @property
    def request(self) -> Control:
        """The value that asks for the setting this value belongs to; a value left open belongs to itself alone."""
        return _REQUESTS.get(self, self)


_REQUESTS = {
    control: request
    for request, controls in {
        Control.REQUEST_FLOW: (0, 1, 2, 3, 17, 19),
        Control.REQUEST_BREAK: (4, 5, 6),
        Control.REQUEST_DTR: (7, 8, 9),
        Control.REQUEST_RTS: (10, 11, 12),
        Control.REQUEST_INBOUND_FLOW: (13, 14, 15, 16, 18),
    }.items()
    for control in map(Control, controls)
}


class LineState(IntFlag):
    """Bits of NOTIFY-LINESTATE and its mask."""

    DATA_READY = 1
    OVERRUN_ERROR = 2
    PARITY_ERROR = 4
    FRAMING_ERROR = 8
    BREAK_DETECT = 16
    TRANSFER_HOLDING_REGISTER_EMPTY = 32
    TRANSFER_SHIFT_REGISTER_EMPTY = 64
    TIME_OUT_ERROR = 128


class ModemState(IntFlag):
    """Bits of NOTIFY-MODEMSTATE and its mask; the `*_CHANGED` ones say what changed since the last notification."""

    CTS_CHANGED = 1
    DSR_CHANGED = 2
    RI_ENDED = 4
    """Trailing edge of the ring indicator."""
    CD_CHANGED = 8
    CTS = 16
    DSR = 32
    RI = 64
    CD = 128


class Purge(Octet):
    """Values of PURGE-DATA, seen from the access server."""

    RECEIVE = 1
    """What came from the device and is not sent to the client yet."""
    TRANSMIT = 2
    """What came from the client and is not sent to the device yet."""
    BOTH = 3


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


@dataclass(frozen=True, slots=True)
class FlowControlSuspend(ComPortCommand):
    """`IAC SB COM-PORT FLOWCONTROL-SUSPEND IAC SE` - the receiver shall send neither data nor commands.

    Some peers send and expect the client's code in both directions, so both codes are understood.
    """

    CODE = 8
    ANSWERED = False

    def payload(self) -> bytes:
        """Give nothing."""
        return b""

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:  # noqa: ARG003 - the signature of all commands
        """Read nothing."""
        return cls()


@dataclass(frozen=True, slots=True)
class FlowControlResume(ComPortCommand):
    """`IAC SB COM-PORT FLOWCONTROL-RESUME IAC SE` - the receiver may send again."""

    CODE = 9
    ANSWERED = False

    def payload(self) -> bytes:
        """Give nothing."""
        return b""

    @classmethod
    def from_payload(cls, payload: bytes) -> Self | None:  # noqa: ARG003 - the signature of all commands
        """Read nothing."""
        return cls()


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
