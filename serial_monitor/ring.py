"""Keeps what passed a port in the last seconds, bounded in bytes too, for whoever asks afterwards.

The answer goes out in pieces. A token names the place where the next piece begins and the place where the capture ends,
so that it ends although the port goes on.
"""

from __future__ import annotations

import base64
import re
import time
from collections import deque
from typing import Any

from serial_monitor.records import Record

LIMIT_BYTES = 256 * 1024
"""Limit in bytes of what a ring keeps: data and texts, and about 100 bytes for each record."""
PIECE_BYTES = 96 * 1024
"""The longest piece in bytes of JSON; a direct method's answer has at most 128 KB."""
_RECORD_BYTES = 100
_TRIM_SECONDS = 1.0
"""Seconds between two removals of records that are too old; what is returned is judged by its own time."""
_TOKEN = re.compile(r"(\d{1,18})-(\d{1,18})")


class TokenError(ValueError):
    """This token was not given out by a ring."""


class Ring:
    """The last `seconds` of one port. See `Sink`; `keep` is for a tap that nobody else watches."""

    def __init__(self, seconds: float, limit: int = LIMIT_BYTES) -> None:
        self.seconds = seconds
        self._limit = limit
        self._records: deque[tuple[float, str, bytes, str]] = deque()
        """Time, kind, data and text. No `Record`s, which cost more to make than all the rest here."""
        self._size = 0
        self._first = 0
        """The number of the oldest record; each has the number after the one before."""
        self._trim_at = 0.0

    def keep(self, direction: str, data: bytes | memoryview) -> None:
        """Keep bytes that pass now."""
        now = time.time()
        self._records.append((now, direction, data if type(data) is bytes else bytes(data), ""))
        self._size += _RECORD_BYTES + len(data)
        if self._size > self._limit or now >= self._trim_at:
            self._trim(now)

    def take(self, record: Record) -> None:
        """Keep a record."""
        self._records.append((record.at, record.kind, record.data, record.text))
        self._size += _RECORD_BYTES + len(record.data) + len(record.text)
        if self._size > self._limit or record.at >= self._trim_at:
            self._trim(record.at)

    def _trim(self, now: float) -> None:
        """Drop what is too old or too much."""
        records, oldest = self._records, now - self.seconds
        while records and (self._size > self._limit or records[0][0] < oldest):
            _at, _kind, data, text = records.popleft()
            self._size -= _RECORD_BYTES + len(data) + len(text)
            self._first += 1
        self._trim_at = now + _TRIM_SECONDS

    def piece(self, token: str | None, now: float, size: int = PIECE_BYTES) -> dict[str, Any]:
        """Return the records from the token's place on, as many as fit into `size` bytes of JSON.

        `next` is the token of the next piece, None at the end. `lost` counts the records between the token's place and
        the first one here: they were dropped meanwhile. `now` is in Unix seconds.

        Raises:
            TokenError: the token was not given out by a ring.
        """
        end = self._first + len(self._records)
        place = self._first
        if token is not None:
            found = _TOKEN.fullmatch(token)
            if found is None or not int(found[1]) <= int(found[2]) <= end:
                raise TokenError(token)
            place, end = int(found[1]), int(found[2])
        lost = max(0, min(self._first, end) - place)
        shown: list[dict[str, Any]] = []
        room = size
        place += lost
        while place < end:
            at, kind, data, text = self._records[place - self._first]
            room -= 2 * _RECORD_BYTES + len(data) * 4 // 3 + 6 * len(text)
            if room < 0 and shown:
                break
            place += 1
            if at >= now - self.seconds:
                shown.append(_as_json(Record(at, "", kind, data, text)))
        return {"records": shown, "lost": lost, "next": f"{place}-{end}" if place < end else None}


def _as_json(record: Record) -> dict[str, Any]:
    if record.is_event:
        return {"time": round(record.at, 6), "event": record.kind, "text": record.text}
    data = base64.b64encode(record.data).decode("ascii")
    return {"time": round(record.at, 6), "direction": record.kind, "data": data}
