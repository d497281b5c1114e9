"""Puts the chunks of a port together as people read them: what one end sent in one go is one block. Pure.

A block ends when the other direction, an event or a gap follows. Where a port speaks Modbus RTU its blocks are
named, an answer is matched with its request, and findings are added: what the pattern of frames says about the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from serial_monitor.findings import Findings
from serial_monitor.modbus import Frame, expected_length, frames
from serial_monitor.records import FROM_DEVICE, TO_DEVICE, Record

SPLIT_SECONDS = 0.02
"""A gap in one direction that ends a block."""
FRAME_SECONDS = 1.0
"""The same where a Modbus frame has begun and its end is missing: networks and busy machines tear frames."""
SETTLE_SECONDS = 0.15
"""Seconds after its last byte in which a block may get more bytes from a batch that is under way."""
LONGEST_BLOCK = 1024
GAP_SECONDS = 0.5
"""Seconds of silence of a port that are worth showing."""


@dataclass(slots=True)
class Block:
    """What one end sent in one go."""

    at: float
    """Unix seconds of the first byte."""
    last: float
    """Unix seconds of the last chunk."""
    port: str
    direction: str
    data: bytes
    gap: float | None = None
    """Seconds of silence before it, None for the first."""
    frames: tuple[Frame, ...] = ()


@dataclass(slots=True)
class _Port:
    block: Block | None = None
    last: float | None = None
    is_modbus: bool = False
    request: Block | None = None
    findings: Findings = field(default_factory=Findings)


class Assembler:
    """Makes blocks of records, for any number of ports."""

    def __init__(self) -> None:
        self._ports: dict[str, _Port] = {}

    def feed(self, record: Record) -> Iterator[Block | Record]:
        """Take one record, and return what is complete by now: blocks, events and findings in their order."""
        yield from self._stale(record.at)
        port = self._ports.setdefault(record.port, _Port())
        if record.is_event:
            yield from self._close(port)
            port.findings.event(record)
            yield record
            return
        block = port.block
        if block is not None and (block.direction != record.kind or len(block.data) > LONGEST_BLOCK):
            yield from self._close(port)
            block = None
        if block is None:
            gap = None if port.last is None else max(0.0, record.at - port.last)
            port.block = Block(record.at, record.at, record.port, record.kind, record.data, gap)
        else:
            block.data += record.data
            block.last = record.at
        port.last = record.at

    def flush(self, now: float | None = None) -> Iterator[Block | Record]:
        """Return the blocks to which no byte was added for long enough before `now`.

        Without a time, return all of them.
        """
        for port in self._ports.values():
            block = port.block
            if block is not None and (
                now is None or _apart(now, block.last) > max(SETTLE_SECONDS, self._patience(port, block))
            ):
                yield from self._close(port)

    def _stale(self, now: float) -> Iterator[Block | Record]:
        """Close what ended before `now`, as records come in the order of their times; so blocks come in theirs."""
        ended = [
            (port.block.at, port)
            for port in self._ports.values()
            if port.block is not None and _apart(now, port.block.last) > self._patience(port, port.block)
        ]
        for _, port in sorted(ended, key=lambda one: one[0]):
            yield from self._close(port)

    @staticmethod
    def _patience(port: _Port, block: Block) -> float:
        if not port.is_modbus:
            return SPLIT_SECONDS
        length = expected_length(block.direction, block.data)
        return FRAME_SECONDS if length is not None and len(block.data) < length else SPLIT_SECONDS

    def _close(self, port: _Port) -> Iterator[Block | Record]:
        block, port.block = port.block, None
        if block is None:
            return
        found = frames(block.direction, block.data, known=port.is_modbus)
        port.is_modbus = port.is_modbus or any(frame.crc_good for frame in found)
        if block.direction == FROM_DEVICE and port.request is not None:
            found = tuple(_matched(frame, port.request, block) for frame in found)
        block.frames = found
        if block.direction == TO_DEVICE:
            port.request = block if found and found[-1].crc_good else None
        elif any(frame.response_seconds is not None for frame in found):
            port.request = None
        yield block
        yield from port.findings.block(block.port, block.last, found)


def _apart(now: float, last: float) -> float:
    """Return the seconds between two moments, also if the clock was set back between them."""
    return abs(now - last)


def _matched(frame: Frame, request: Block, answer: Block) -> Frame:
    asked = request.frames[-1]
    if frame.crc_good and (frame.address, frame.function) == (asked.address, asked.function):
        return replace(frame, response_seconds=max(0.0, answer.at - request.last))
    return frame
