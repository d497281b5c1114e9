"""Draws conclusions about the line from a series of Modbus frames, and says what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serial_monitor.modbus import Frame
from serial_monitor.records import TO_DEVICE, Record

ENOUGH = 3
"""The number of frames in a row that is not taken for an accident."""


class Findings:
    """Watches one port; each finding is returned once, until a good answer has come."""

    def __init__(self) -> None:
        self._bad = 0
        """Answers with a bad CRC since the last good one."""
        self._unanswered = 0
        """Requests in a row that nothing followed."""
        self._waiting = False
        """A request was sent, and nothing has come since."""
        self._line = ""

    def event(self, record: Record) -> None:
        """Record an event of the port."""
        if record.kind == "line":
            self._line = record.text

    def block(self, port: str, at: float, frames: Sequence[Frame]) -> Iterator[Record]:
        """Take the frames of one block, and return the findings that follow from them."""
        if not frames:
            return
        if frames[0].direction == TO_DEVICE:
            if self._waiting:
                self._unanswered += 1
                if self._unanswered == ENOUGH:
                    yield Record(at, port, "finding", text=self._silence())
            self._waiting = frames[-1].crc_good and frames[-1].address != 0
            return
        self._waiting = False
        self._unanswered = 0
        for frame in frames:
            if frame.crc_good:
                self._bad = 0
                continue
            self._bad += 1
            if self._bad == ENOUGH:
                yield Record(at, port, "finding", text=self._garbage())

    def _garbage(self) -> str:
        return (
            f"{ENOUGH} answers in a row have a bad CRC: this looks like a wrong line setting. Compare baud rate, parity"
            f" and stop bits of the port{self._now()} with those of the device"
        )

    def _silence(self) -> str:
        return (
            f"{ENOUGH} requests in a row got no answer: check that the device is on and wired, that it has this Modbus"
            f" address, and compare baud rate, parity and stop bits of the port{self._now()} with those of the device"
        )

    def _now(self) -> str:
        return f" (now {self._line})" if self._line else ""
