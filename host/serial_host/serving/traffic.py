"""Writes a line for each message that passes, for a person who watches (`-v`), or its bytes as well (`-vv`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

_log = logging.getLogger(__name__)

_ROW = 16


class Traffic:
    """Logs messages; `dump` adds each byte in hexadecimal and ASCII."""

    def __init__(self, *, dump: bool) -> None:
        self._dump = dump

    def to_device(self, name: str, data: bytes | memoryview) -> None:
        """Log a message from the client to the device."""
        self._write(name, "->", data)

    def from_device(self, name: str, data: bytes | memoryview) -> None:
        """Log a message from the device to the client, if there is one."""
        self._write(name, "<-", data)

    def _write(self, name: str, arrow: str, data: bytes | memoryview) -> None:
        _log.info("%s %s %d byte%s", name, arrow, len(data), "" if len(data) == 1 else "s")
        if self._dump:
            for row in rows(bytes(data)):
                _log.info("%s %s   %s", name, arrow, row)


def rows(data: bytes) -> Iterator[str]:
    """Write 16 bytes a row: hexadecimal, then ASCII with dots for what cannot be printed."""
    for start in range(0, len(data), _ROW):
        row = data[start : start + _ROW]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{row.hex(' '):<{3 * _ROW}} {text}"
