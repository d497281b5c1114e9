"""One record: bytes that passed a port, or an event between them. Pure.

On a control channel and in `--json` a record is a line of JSON:

    {"time": 1764144000.123456, "port": "scale", "direction": "toDevice", "data": "010300000002c40b"}
    {"time": 1764144000.2, "port": "scale", "event": "lineChanged", "text": "19200 8E1"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

TO_DEVICE = "toDevice"
FROM_DEVICE = "fromDevice"

ERROR_EVENTS = frozenset({"error", "discarded", "lineErrors", "cut", "finding"})
"""The events that deserve attention."""

_LONGEST_TEXT = 2000


class Record(NamedTuple):
    """What happened at a port at one moment. A tuple, because one is made for each chunk of bytes."""

    at: float
    """Unix seconds."""
    port: str
    kind: str
    """`toDevice` or `fromDevice` for bytes, otherwise the event's name."""
    data: bytes = b""
    text: str = ""
    """Of an event, for people."""

    @property
    def is_event(self) -> bool:
        """True if no bytes passed."""
        return self.kind not in (TO_DEVICE, FROM_DEVICE)


def as_json(record: Record) -> dict[str, Any]:
    """Return the object that stands for a record."""
    shown: dict[str, Any] = {"time": round(record.at, 6), "port": record.port}
    if record.is_event:
        return shown | {"event": record.kind, "text": record.text}
    return shown | {"direction": record.kind, "data": record.data.hex()}


def encode(record: Record) -> bytes:
    """Return the record's line."""
    return json.dumps(as_json(record), ensure_ascii=True).encode() + b"\n"


def from_json(line: Mapping[str, Any]) -> Record:
    """Return the record that an object stands for.

    Raises:
        ValueError: the object is not a record.
    """
    match line:
        case {
            "time": float() | int() as at,
            "port": str(port),
            "direction": "toDevice" | "fromDevice" as kind,
            "data": str(data),
        }:
            return Record(float(at), port, kind, bytes.fromhex(data))
        case {"time": float() | int() as at, "port": str(port), "event": str(event), "text": str(text)}:
            return Record(float(at), port, event, text=text[:_LONGEST_TEXT])
    raise ValueError("this is not a record")


def decode(line: bytes) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: the line is not a record.
    """
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise ValueError("this is not a record") from error
    if not isinstance(found, dict):
        raise ValueError("this is not a record")  # noqa: TRY004 - one error for whatever a stranger sends
    return from_json(found)
