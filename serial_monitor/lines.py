"""Traffic as lines of text: time, port, direction, bytes in hexadecimal and as text, and below them what they mean.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from serial_monitor.blocks import GAP_SECONDS, Block
from serial_monitor.records import ERROR_EVENTS, TO_DEVICE, Record, as_json

ROW = 16
"""Bytes in a line."""

Styled = tuple[tuple[str, str], ...]
"""A line in pieces: a text and the name of its style."""

STYLES = {
    "time": "dim",
    "toDevice": "cyan",
    "fromDevice": "green",
    "text": "dim",
    "gap": "dim",
    "event": "yellow",
    "bad": "bold red",
    "frame": "magenta",
}
"""The styles, as rich names them."""


def printable(data: bytes) -> str:
    """Return bytes as ASCII, with dots for what cannot be printed."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)


def safe(text: str) -> str:
    """Return text from outside in one line without control characters."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def moment(at: float) -> str:
    """Return a time of day with microseconds, in local time."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")


def lines(item: Block | Record, width: int = 0) -> Iterator[Styled]:
    """Return the lines of a block or an event; names of ports are padded to `width` characters."""
    if isinstance(item, Record):
        style = "bad" if item.kind in ERROR_EVENTS else "event"
        yield (
            (f"{moment(item.at)}  ", "time"),
            (f"{safe(item.port):<{width}} ", ""),
            (f"** {safe(item.kind)}: {safe(item.text)}", style),
        )
        return
    if item.gap is not None and item.gap >= GAP_SECONDS:
        yield (
            ("                 ", ""),
            (f"{safe(item.port):<{width}} ", ""),
            (f"-- silence for {item.gap:.3f} s --", "gap"),
        )
    arrow = "->" if item.direction == TO_DEVICE else "<-"
    for start in range(0, len(item.data), ROW):
        row = item.data[start : start + ROW]
        first = start == 0
        yield (
            (f"{moment(item.at)}  " if first else " " * 17, "time"),
            (f"{safe(item.port):<{width}} ", ""),
            (f"{arrow} {row.hex(' '):<{3 * ROW}} ", item.direction),
            (printable(row), "text"),
        )
    for frame in item.frames:
        yield (
            (" " * (17 + width + 4), ""),
            (str(frame), "frame" if frame.crc_good and frame.exception is None else "bad"),
        )


def as_object(item: Block | Record) -> dict[str, Any]:
    """Return the JSON object of a block or an event, for `--json`."""
    if isinstance(item, Record):
        return as_json(item)
    shown: dict[str, Any] = as_json(Record(item.at, item.port, item.direction, item.data))
    if item.gap is not None:
        shown["gapSeconds"] = round(item.gap, 6)
    if item.frames:
        shown["modbus"] = [
            {
                "address": frame.address,
                "function": frame.function,
                "name": frame.name,
                "crc": "good",
                "text": str(frame),
                **({} if frame.exception is None else {"exception": frame.exception}),
                **(
                    {}
                    if frame.response_seconds is None
                    else {"responseSeconds": round(frame.response_seconds, 6)}
                ),
            }
            if frame.crc_good
            else {"crc": "bad", "text": str(frame)}
            for frame in item.frames
        ]
    return shown
