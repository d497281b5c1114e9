"""Writes traffic as a pcapng file, which Wireshark and tshark read with their dissector `rtacser`. Pure.

The link type is LINKTYPE_RTAC_SERIAL (250): a header of 12 bytes before the data of each packet, big-endian: seconds,
microseconds, event type, state of the control lines, two bytes of zero. Each port is an interface; an event is a packet
of the type STATUS_CHANGE without data and with a comment. Sources: tcpdump.org/linktypes/LINKTYPE_RTAC_SERIAL.html and
IETF draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from serial_monitor.records import FROM_DEVICE, TO_DEVICE, Record

LINKTYPE_RTAC_SERIAL = 250
_TYPES = {TO_DEVICE: 0x01, FROM_DEVICE: 0x02}
"""DATA_TX_START and DATA_RX_START, as the host sees the line."""
_STATUS_CHANGE = 0x00

_SECTION_HEADER, _INTERFACE, _ENHANCED_PACKET = 0x0A0D0D0A, 0x00000001, 0x00000006
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_END, _COMMENT, _NAME, _APPLICATION = 0, 1, 2, 4


class Writer:
    """Writes one file; every record is complete in it at once."""

    def __init__(self, file: BinaryIO, application: str) -> None:
        """`application` is the program's name and version, for the file's header."""
        self._file = file
        self._interfaces: dict[str, int] = {}
        options = _option(_APPLICATION, application) + _option(_END, "")
        self._block(_SECTION_HEADER, struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1) + options)

    def write(self, record: Record) -> None:
        """Add one record. Raises `OSError`."""
        if record.port not in self._interfaces:
            self._interfaces[record.port] = len(self._interfaces)
            options = _option(_NAME, record.port) + _option(_END, "")
            self._block(_INTERFACE, struct.pack("<HHI", LINKTYPE_RTAC_SERIAL, 0, 0) + options)
        microseconds = round(record.at * 1_000_000)
        kind = _TYPES.get(record.kind, _STATUS_CHANGE)
        packet = struct.pack(">IIBBH", *divmod(microseconds, 1_000_000), kind, 0, 0) + record.data
        head = struct.pack(
            "<IIIII",
            self._interfaces[record.port],
            microseconds >> 32,
            microseconds & 0xFFFFFFFF,
            len(packet),
            len(packet),
        )
        options = b""
        if record.is_event:
            options = _option(_COMMENT, f"{record.kind}: {record.text}") + _option(_END, "")
        self._block(_ENHANCED_PACKET, head + _padded(packet) + options)
        self._file.flush()

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        self._file.write(struct.pack("<I", kind) + length + body + length)


def _option(code: int, text: str) -> bytes:
    value = text.encode()[:4096]
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
