"""Telnet's byte stream (RFC 854, RFC 855): it tells data and commands apart, in both directions.

This module knows no role. What a negotiation or a subnegotiation means is decided in `negotiation` and
`com_port_option`. Carriage returns are left alone, as BINARY transmission (RFC 856) wants it, even while BINARY is not
agreed: a serial line has no end-of-line convention that telnet could translate.
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
"""Long runs of 0xFF are common, since erased memory reads as 0xFF. They are replaced as a whole, which is faster."""

_ESCAPED_RUN = re.compile(rb"(?:[^\xff]++|\xff\xff)*+")
"""Matches up to the first IAC that is not doubled. It is possessive, so that it never backtracks."""


class TelnetCode(Octet):
    """The codes that may follow IAC (RFC 854, "TELNET COMMAND STRUCTURE")."""

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
    """Bytes of the serial line, with IAC unescaped. Bytes that belong together may come as several `Data`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class TelnetCommand:
    """`IAC <code>` - a single command. `TelnetCode.BREAK` asks for a break on the line; others can be ignored."""

    code: TelnetCode


@dataclass(frozen=True, slots=True)
class Negotiation:
    """`IAC WILL|WONT|DO|DONT <option>`."""

    verb: TelnetCode
    option: Option


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    """`IAC SB <option> <payload> IAC SE`; `payload` has IAC unescaped."""

    option: Option
    payload: bytes


Item = Data | TelnetCommand | Negotiation | Subnegotiation

_VERBS = frozenset({TelnetCode.WILL, TelnetCode.WONT, TelnetCode.DO, TelnetCode.DONT})


def encode_data(data: bytes) -> bytes:
    """Return data with IAC escaped. Without an IAC in it, `data` itself is returned."""
    if IAC not in data:
        return data
    if _is_run(data):
        return data + data
    if _LONG_RUN not in data:
        return data.replace(IAC, ESCAPED_IAC)
    return _ESCAPED_LONG_RUN.join([part.replace(IAC, ESCAPED_IAC) for part in data.split(_LONG_RUN)])


def _is_run(data: bytes) -> bool:
    """Return True for nothing but IAC, as whole chunks of erased memory are: to compare is far faster than to replace."""
    return data == IAC * len(data)


def _decode_data(data: bytes) -> bytes:
    """Return data with IAC unescaped; each IAC in it must be doubled."""
    return data.replace(ESCAPED_IAC, IAC)


def encode_command(command: TelnetCommand | Negotiation | Subnegotiation) -> bytes:
    """Return the bytes of a command on the wire."""
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

    Between two chunks it keeps at most the beginning of one command, of `max_subnegotiation` octets (counted on the
    wire, between `IAC SB <option>` and `IAC SE`) and 6 more.
    """

    def __init__(self, max_subnegotiation: int) -> None:
        self._max_subnegotiation = max_subnegotiation
        self.incomplete = b""
        """The beginning of a command."""

    def take_data(self, chunk: bytes) -> bytes | None:
        """Return the data of a chunk that has nothing but data; None, and nothing has happened, if it must be fed."""
        if not self.incomplete and IAC not in chunk:
            return chunk
        chunk = self.incomplete + chunk
        data, position = _leading_data(chunk)
        if not data or position < len(chunk) - 1:
            return None
        self.incomplete = chunk[position:]
        return data

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """Yield what is complete with this chunk. Exhaust the iterator before feeding the next chunk.

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
        """Return the command whose IAC is at `position` and where it ends; None while it is incomplete."""
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
    """Return the data before the first command of a chunk, and the position at which that command begins.

    The first three `return` statements are for data with many 0xFF in it: unescaping the whole chunk is several times
    faster than the regular expression there.
    """
    if _is_run(chunk):
        half = len(chunk) // 2
        return chunk[:half], 2 * half
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
