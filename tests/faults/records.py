"""Numbered, checksummed records, and the proof that what arrived is what was sent, in order and at most once.

A record is 32 bytes: a mark, the letter of its stream, its number, a filling with every byte value but 0 in turn, and a
checksum. No byte of a record is 0, so zeros on a line are somebody else's, and are left out of the account.

A loss may begin and end in the middle of a record. So the fragments between two whole records are compared with the
bytes that were sent between them: they must be among those, in the order in which they were sent.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

SIZE = 32
"""Bytes of a record."""

_MARK = 0xA5


def record(stream: int, number: int) -> bytes:
    """Return one record of a stream, whose letter is `stream`, a byte value."""
    filling = bytes(1 + (number * 31 + place * 17) % 255 for place in range(14))
    body = bytes((_MARK, stream)) + b"%08X" % number + filling
    return body + b"%08X" % zlib.crc32(body)


def number_of(data: bytes | bytearray, stream: int) -> int | None:
    """Return the number of the record that `data` is, None if it is none of this stream."""
    if len(data) != SIZE or data[0] != _MARK or data[1] != stream:
        return None
    try:
        number, checksum = int(data[2:10], 16), int(data[24:], 16)
    except ValueError:
        return None
    return number if zlib.crc32(data[:24]) == checksum else None


class Sender:
    """The records of a stream in turn, of which the line takes as many bytes at a time as it likes."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.number = 0
        """Records that were begun, so also the number of the newest."""
        self.sent = 0
        """Bytes that the line took."""
        self._waiting = b""

    @property
    def waiting(self) -> bytes:
        """What was begun and not taken yet."""
        return self._waiting

    def begin(self, count: int) -> None:
        """Begin this number of records."""
        for _ in range(count):
            self.number += 1
            self._waiting += record(self.stream, self.number)

    def taken(self, count: int) -> None:
        """Record that the line took this number of the bytes that waited."""
        self.sent += count
        self._waiting = self._waiting[count:]


@dataclass(slots=True)
class Arrived:
    """What a receiver can prove."""

    records: int = 0
    """Whole records."""
    fragments: int = 0
    """Bytes of records that arrived in part."""
    duplicates: int = 0
    """Records that arrived again."""
    reordered: int = 0
    """Records that arrived after one with a higher number."""
    foreign: int = 0
    """Bytes that were never sent there, or were changed."""
    zeros: int = 0
    """Bytes that are no part of the account."""

    @property
    def delivered(self) -> int:
        """Bytes of the stream that arrived."""
        return self.records * SIZE + self.fragments


class Receiver:
    """Takes a line's bytes and checks them against what a `Sender` of the same letter sends."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.arrived = Arrived()
        self.last = 0
        """The highest number that arrived."""
        self._seen = bytearray(1)
        self._buffer = bytearray()
        self._fragment = bytearray()
        self.example = b""
        """The first bytes that were foreign."""

    @property
    def unresolved(self) -> int:
        """Bytes that the next whole record will explain."""
        return len(self._buffer) + len(self._fragment)

    def feed(self, data: bytes) -> None:
        """Take what the line delivered."""
        own = data.replace(b"\0", b"")
        self.arrived.zeros += len(data) - len(own)
        self._buffer += own
        while len(self._buffer) >= SIZE:
            number = number_of(self._buffer[:SIZE], self.stream)
            if number is None:
                following = self._buffer.find(_MARK, 1)
                end = len(self._buffer) if following < 0 else following
                self._fragment += self._buffer[:end]
                del self._buffer[:end]
            else:
                del self._buffer[:SIZE]
                self._take(number)

    def _take(self, number: int) -> None:
        if number <= self.last:
            if self._seen[number]:
                self.arrived.duplicates += 1
                return
            self.arrived.reordered += 1
        self._explain_fragments(number)
        self._seen.extend(bytes(max(0, number + 1 - len(self._seen))))
        self._seen[number] = 1
        self.arrived.records += 1
        self.last = max(self.last, number)

    def _explain_fragments(self, before: int) -> None:
        place, between = 0, b""
        if self._fragment:
            between = b"".join(record(self.stream, missing) for missing in range(self.last + 1, before))
        for byte in self._fragment:
            found = between.find(byte, place)
            if found < 0:
                self.arrived.foreign += 1
                self.example = self.example or bytes(self._fragment[:64])
            else:
                self.arrived.fragments += 1
                place = found + 1
        self._fragment.clear()
