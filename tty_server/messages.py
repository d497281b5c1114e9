"""The messages between the server of the devices and the relay, on one stream socket for each port.

A message is a header (kind, length of the rest) and the rest. Bytes of the application flow until the relay says
`HOLD`; bytes of the device flow as far as the server has granted (`GRANT`), so that the other messages never stand
behind bytes that nobody reads. Each message but `DATA` states a value, of which the last one counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Self

HEADER = struct.Struct("<HH")
LONGEST = 4096
"""Bytes of a message without its header, at most."""

MAJOR = 120
"""The devices' major number, from the range for local and experimental use (Documentation/admin-guide/devices.txt)."""
MOST_MINORS = 512
NO_MINOR = 0xFFFF
MINOR = struct.Struct("<H")
"""What the relay sends with a new port's socket: the minor number that the port had before, or `NO_MINOR`."""
QUESTION = b"?"
"""What the relay sends without a socket, to learn whether the server goes on; the server sends it back."""


class Kind(IntEnum):
    """The kind of a message."""

    # From the server.
    READY = 1
    """The device is there; the rest is its node's name below /dev, and its minor number before it (`MINOR`)."""
    FAILED = 2
    """There is no device; the rest is the reason, as text. The end of the socket follows."""
    OPEN = 3
    """`OPENED`: whether an application has the port open, and the bytes that applications have read or discarded, in
    all."""
    LINE = 4
    """`Line.pack`: what the application set; told each time that one sets something, and not before."""
    OUTPUTS = 5
    """One byte: the lines that the application raised, `DTR` and `RTS`."""
    BREAK = 6
    """One byte: whether the application sends a break."""
    PURGE = 7
    """`PURGE`: what the application discarded, `RECEIVED` and `TRANSMITTED`, and a number for the answer."""
    DRAIN = 8
    """`NUMBER`: the relay is to answer with `DRAINED` when the device's host has everything that came before."""
    GRANT = 9
    """`TOTAL`: the bytes of the device that may come, since the port was made."""
    # From the relay.
    HOLD = 20
    """One byte: whether the application's bytes are to be kept in the server."""
    INPUTS = 21
    """One byte: CTS, DSR, RI and CD."""
    ERRORS = 22
    """`ErrorCounts.pack`: what the device's host has counted since the last such message."""
    DRAINED = 23
    """`NUMBER`, of a `DRAIN`."""
    PURGED = 24
    """`NUMBER`, of a `PURGE`: the device's bytes before this answer were on their way then."""
    FORCED = 25
    """`Line.pack`: settings that the application cannot change; 0 where it may."""
    # Both ways.
    DATA = 40


DTR, RTS = 1, 2
CTS, DSR, RI, CD = 1, 2, 4, 8
RECEIVED, TRANSMITTED = 1, 2

OPENED = struct.Struct("<BQ")
NUMBER = struct.Struct("<I")
TOTAL = struct.Struct("<Q")
PURGE = struct.Struct("<BI")
_LINE = struct.Struct("<IBBBB")
_ERRORS = struct.Struct("<4I")

PARITIES = ("", "none", "odd", "even", "mark", "space")
FLOW_CONTROLS = ("", "none", "rtsCts", "xonXoff", "dtrDsr")


class Line(NamedTuple):
    """Line settings; 0 and "" stand for nothing."""

    baud_rate: int = 0
    """Bits per second."""
    data_bits: int = 0
    parity: str = ""
    """One of `PARITIES`."""
    stop_bits: int = 0
    flow_control: str = ""
    """One of `FLOW_CONTROLS`."""

    def pack(self) -> bytes:
        """Return the rest of a message."""
        return _LINE.pack(
            self.baud_rate,
            self.data_bits,
            PARITIES.index(self.parity),
            self.stop_bits,
            FLOW_CONTROLS.index(self.flow_control),
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read the rest of a message.

        Raises:
            MessageError: the bytes are not a line.
        """
        try:
            baud_rate, data_bits, parity, stop_bits, flow_control = _LINE.unpack(data)
            return cls(baud_rate, data_bits, PARITIES[parity], stop_bits, FLOW_CONTROLS[flow_control])
        except (struct.error, IndexError) as error:
            raise MessageError(f"a line of {data!r}") from error


class ErrorCounts(NamedTuple):
    """Errors and breaks on the line."""

    framing: int = 0
    overrun: int = 0
    parity: int = 0
    breaks: int = 0

    def pack(self) -> bytes:
        """Return the rest of a message."""
        return _ERRORS.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read the rest of a message.

        Raises:
            MessageError: the bytes are not counts.
        """
        try:
            return cls(*_ERRORS.unpack(data))
        except struct.error as error:
            raise MessageError(f"counts of {data!r}") from error


class MessageError(Exception):
    """The other side sent something that is not a message of this protocol."""


def message(kind: Kind, rest: bytes = b"") -> bytes:
    """Return a message."""
    return HEADER.pack(kind, len(rest)) + rest


def data_messages(data: bytes) -> bytes:
    """Return the `DATA` messages for any number of bytes."""
    if len(data) <= LONGEST:
        return message(Kind.DATA, data)
    pieces = (data[start : start + LONGEST] for start in range(0, len(data), LONGEST))
    return b"".join(message(Kind.DATA, piece) for piece in pieces)


class Decoder:
    """Finds the messages in a stream; what is incomplete is kept, a header and `LONGEST` bytes at most."""

    def __init__(self) -> None:
        self._rest = b""

    def messages(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Return the messages that these bytes complete: the kind, and the rest.

        Raises:
            MessageError: a message is longer than one can be.
        """
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= HEADER.size:
            kind, length = HEADER.unpack_from(data, start)
            if length > LONGEST:
                raise MessageError(f"a message of {length} bytes")
            if end - start < HEADER.size + length:
                break
            start += HEADER.size
            rest = data[start : start + length]
            start += length
            self._rest = data[start:]  # a caller that gives up in between loses nothing
            yield kind, rest
        self._rest = data[start:]
