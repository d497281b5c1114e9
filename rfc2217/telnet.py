"""Telnet's byte stream (RFC 854, RFC 855): data and commands told apart, in both directions.

It knows no role; what a negotiation or a subnegotiation means is decided in `negotiation` and `com_port_option`.
Carriage returns are left alone, as BINARY transmission (RFC 856) wants it, also while BINARY is not agreed: a serial
line has no end-of-line convention that telnet could translate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rfc2217.errors import RemoteProtocolError
from rfc2217.octet import Octet

IAC = b"\xff"
ESCAPED_IAC = b"\xff\xff"
SUBNEGOTIATION_BEGIN = b"\xff\xfa"
SUBNEGOTIATION_END = b"\xff\xf0"

_LONG_RUN = IAC * 256
_ESCAPED_LONG_RUN = IAC * 512
"""Erased memory reads as 0xFF: long runs of it are common, and worth more than 8 ns for each octet."""

_ESCAPED_RUN = re.compile(rb"(?:[^\xff]++|\xff\xff)*+")
"""As far as no lone IAC stands; possessive, so that it never backtracks."""


class TelnetCode(Octet):
    """What may follow IAC (RFC 854, "TELNET COMMAND STRUCTURE")."""

    SE = 240
    NOP = 241
    DATA_MARK = 242
    BREAK = 243
    INTERRUPT_PROCESS = 244
    ABORT_OUTPUT = 245
    ARE_YOU_THERE = 246
    ERASE_CHARACTER = 247
    ERASE_LINE = 248
    GO_AHEAD = 249
    SB = 250
    WILL = 251
    WONT = 252
    DO = 253
    DONT = 254
    IAC = 255


class Option(Octet):
    """The telnet options that a com port connection uses."""

    BINARY = 0
    """RFC 856."""
    SUPPRESS_GO_AHEAD = 3
    """RFC 858."""
    COM_PORT = 44
    """RFC 2217."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the serial line, with IAC unescaped; one stretch of them may come as several `Data`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class TelnetCommand:
    """`IAC <code>` - a command of its own; `TelnetCode.BREAK` asks for a break on the line, others can be ignored."""

    code: TelnetCode


@dataclass(frozen=True, slots=True)
class Negotiation:
    """`IAC WILL|WONT|DO|DONT <option>`."""

    verb: TelnetCode
    option: Option


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    """`IAC SB <option> <payload> IAC SE`, the payload with IAC unescaped."""

    option: Option
    payload: bytes


Item = Data | TelnetCommand | Negotiation | Subnegotiation

_VERBS = frozenset({TelnetCode.WILL, TelnetCode.WONT, TelnetCode.DO, TelnetCode.DONT})


def encode_data(data: bytes) -> bytes:
    """Escape IAC; without one in it, `data` itself comes back."""
    if IAC not in data:
        return data
    if _LONG_RUN not in data:
        return data.replace(IAC, ESCAPED_IAC)
    return _ESCAPED_LONG_RUN.join([part.replace(IAC, ESCAPED_IAC) for part in data.split(_LONG_RUN)])


def _decode_data(data: bytes) -> bytes:
    """Unescape IAC in data that has no lone one."""
    return data.replace(ESCAPED_IAC, IAC)


def encode_command(command: TelnetCommand | Negotiation | Subnegotiation) -> bytes:
    """Give the bytes of a command as they travel."""
    match command:
        case TelnetCommand():
            return bytes((TelnetCode.IAC, command.code))
        case Negotiation():
            return bytes((TelnetCode.IAC, command.verb, command.option))
        case Subnegotiation():
            return (
                SUBNEGOTIATION_BEGIN
                + bytes((command.option,))
                + encode_data(command.payload)
                + SUBNEGOTIATION_END
            )


class Decoder:
    """Splits a telnet stream that arrives in chunks of any size.

    Between two chunks it keeps the beginning of one command at most, which is no longer than
    `max_subnegotiation` octets (counted on the wire, between `IAC SB <option>` and `IAC SE`) and 6 more.
    """

    def __init__(self, max_subnegotiation: int) -> None:
        self._max_subnegotiation = max_subnegotiation
        self.incomplete = b""
        """The beginning of a command; while there is none, a chunk without IAC is data and need not be fed."""

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """Yield what is complete with this chunk; exhaust it before the next one.

        Raises:
            RemoteProtocolError: the peer's framing is broken, or a subnegotiation exceeds the bound.
        """
        if self.incomplete:
            chunk, self.incomplete = self.incomplete + chunk, b""
        data, position = _leading_data(chunk)
        while True:
            if data:
                yield Data(data)
            if position == len(chunk):
                return
            item, after = self._command(chunk, position)
            if item is None:
                self.incomplete = chunk[position:]
                return
            yield item
            position = _ESCAPED_RUN.match(chunk, after).end()  # type: ignore[union-attr] # it matches b"" as well
            data = _decode_data(chunk[after:position])

    def _command(self, chunk: bytes, position: int) -> tuple[Item | None, int]:
        """Decode the command whose IAC stands at `position`; None while it is incomplete."""
        if position + 1 == len(chunk):
            return None, position
        code = TelnetCode(chunk[position + 1])
        if code is not TelnetCode.SB and code not in _VERBS:
            return TelnetCommand(code), position + 2
        if position + 2 == len(chunk):
            return None, position
        option = Option(chunk[position + 2])
        if code is not TelnetCode.SB:
            return Negotiation(code, option), position + 3
        return self._subnegotiation(chunk, position, option)

    def _subnegotiation(self, chunk: bytes, position: int, option: Option) -> tuple[Item | None, int]:
        begin = position + 3
        end = _ESCAPED_RUN.match(chunk, begin).end()  # type: ignore[union-attr] # it matches b"" as well
        if end - begin > self._max_subnegotiation:
            raise RemoteProtocolError(
                f"subnegotiation of telnet option {option} is longer than {self._max_subnegotiation} octets"
            )
        if end + 1 >= len(chunk):
            return None, position
        if chunk[end + 1] != TelnetCode.SE:
            raise RemoteProtocolError(
                f"IAC {chunk[end + 1]} inside a subnegotiation of telnet option {option}, expected IAC SE"
            )
        return Subnegotiation(option, _decode_data(chunk[begin:end])), end + 2


def _leading_data(chunk: bytes) -> tuple[bytes, int]:
    """Give the data before the first command of a chunk, and where that command begins.

    The two ways out before the last are for data dense with 0xFF, where unescaping the whole chunk is several times
    faster than the regular expression.
    """
    parts = chunk.split(_ESCAPED_LONG_RUN)
    unescaped = [part.replace(ESCAPED_IAC, IAC) for part in parts]
    lone = sum(
        part.count(IAC) - 2 * (len(part) - len(data)) for part, data in zip(parts, unescaped, strict=True)
    )
    if lone == 0:
        return _LONG_RUN.join(unescaped), len(chunk)
    if lone == 1 and (len(chunk) - len(chunk.rstrip(IAC))) % 2:
        return _LONG_RUN.join(unescaped)[:-1], len(chunk) - 1
    end = _ESCAPED_RUN.match(chunk).end()  # type: ignore[union-attr] # it matches b"" as well
    return _decode_data(chunk[:end]), end
