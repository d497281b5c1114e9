"""Modbus RTU frames in bytes whose direction is known. Pure.

Source: MODBUS over Serial Line V1.02, section 2.5.1 (framing, CRC), and MODBUS Application Protocol V1.1b3, sections 6
and 7 (lengths, functions, exceptions).
"""

from __future__ import annotations

from dataclasses import dataclass

from serial_monitor.records import FROM_DEVICE, TO_DEVICE

_FUNCTIONS = {
    1: "read coils",
    2: "read discrete inputs",
    3: "read holding registers",
    4: "read input registers",
    5: "write single coil",
    6: "write single register",
    7: "read exception status",
    8: "diagnostics",
    11: "get comm event counter",
    12: "get comm event log",
    15: "write multiple coils",
    16: "write multiple registers",
    17: "report server id",
    20: "read file record",
    21: "write file record",
    22: "mask write register",
    23: "read/write multiple registers",
    24: "read FIFO queue",
    43: "encapsulated interface transport",
}
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
_REQUEST_LENGTHS = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}
_REQUEST_COUNTS = {15: (6, 9), 16: (6, 9), 20: (2, 5), 21: (2, 5), 23: (10, 13)}
_ANSWER_LENGTHS = {5: 8, 6: 8, 7: 5, 8: 8, 11: 8, 15: 8, 16: 8, 22: 10}
_ANSWER_COUNTS = {
    1: (2, 5),
    2: (2, 5),
    3: (2, 5),
    4: (2, 5),
    12: (2, 5),
    17: (2, 5),
    20: (2, 5),
    21: (2, 5),
    23: (2, 5),
}
"""For each function the length of a frame, or the place of its byte count and the length without what that counts."""

_QUANTITY_REQUESTS = (1, 2, 3, 4, 15, 16)
_SHORTEST, _LONGEST = 4, 256


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; with a bad CRC, the bytes that stand where a frame should be."""

    direction: str
    address: int
    """0-255; 0 addresses all devices."""
    function: int
    """1-127, without the bit that marks an exception."""
    crc_good: bool
    exception: int | None = None
    detail: str = ""
    size: int = 0
    """Bytes, the CRC among them."""
    response_seconds: float | None = None
    """Of an answer, from the last byte of the request to its own first byte; None if no request stands before it."""

    @property
    def name(self) -> str:
        """The name of the function, for people."""
        return _FUNCTIONS.get(self.function, f"function {self.function}")

    def __str__(self) -> str:
        """Write the frame as a line for people."""
        if not self.crc_good:
            return "Modbus: CRC BAD"
        parts = [f"Modbus address {self.address}", self.name + (f" {self.detail}" if self.detail else "")]
        if self.exception is not None:
            parts.append(f"EXCEPTION {self.exception} {_EXCEPTIONS.get(self.exception, 'unknown')}")
        parts.append("CRC good")
        if self.response_seconds is not None:
            parts.append(f"answer after {self.response_seconds * 1000:.1f} ms")
        elif self.direction == FROM_DEVICE:
            parts.append("no request before it")
        return ", ".join(parts)


def crc(data: bytes) -> int:
    """Return the CRC of a frame's bytes before it (appendix B of the source: polynomial A001, start FFFF)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def is_frame(data: bytes) -> bool:
    """Return whether these bytes end with their own CRC."""
    return _SHORTEST <= len(data) <= _LONGEST and crc(data[:-2]) == int.from_bytes(data[-2:], "little")


def expected_length(direction: str, data: bytes) -> int | None:
    """Return the length of the frame that begins here; None if it is not known (yet)."""
    if len(data) < 2:
        return None
    function = data[1]
    lengths, counts = (
        (_REQUEST_LENGTHS, _REQUEST_COUNTS) if direction == TO_DEVICE else (_ANSWER_LENGTHS, _ANSWER_COUNTS)
    )
    if direction == FROM_DEVICE and function & 0x80:
        return 5
    if function in counts:
        place, rest = counts[function]
        return rest + data[place] if len(data) > place else None
    return lengths.get(function)


def frames(direction: str, data: bytes, *, known: bool) -> tuple[Frame, ...]:
    """Return the frames of which these bytes consist, nothing if they are not Modbus.

    `known` says that the port carries Modbus: then bytes that are not a frame are returned as one with a bad CRC.
    """
    found: list[Frame] = []
    while data:
        length = len(data) if is_frame(data) else expected_length(direction, data)
        if length is None or not is_frame(data[:length]):
            if found or known:
                found.append(
                    Frame(
                        direction,
                        data[0],
                        data[1] & 0x7F if len(data) > 1 else 0,
                        crc_good=False,
                        size=len(data),
                    )
                )
            break
        found.append(_frame(direction, data[:length]))
        data = data[length:]
    return tuple(found)


def _frame(direction: str, data: bytes) -> Frame:
    function = data[1] & 0x7F
    exception = data[2] if direction == FROM_DEVICE and data[1] & 0x80 and len(data) == 5 else None
    return Frame(
        direction,
        data[0],
        function,
        crc_good=True,
        exception=exception,
        detail="" if exception is not None else _detail(direction, function, data),
        size=len(data),
    )


def _detail(direction: str, function: int, data: bytes) -> str:
    if direction == TO_DEVICE and function in _QUANTITY_REQUESTS and len(data) >= 8:
        first, quantity = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
        return f"{first}" if quantity == 1 else f"{first} to {first + quantity - 1}"
    if function in (5, 6) and len(data) == 8:
        return f"{int.from_bytes(data[2:4], 'big')} = {int.from_bytes(data[4:6], 'big')}"
    if direction == FROM_DEVICE and function in (3, 4) and len(data) == 5 + data[2]:
        values = [int.from_bytes(data[place : place + 2], "big") for place in range(3, len(data) - 2, 2)]
        return "= " + " ".join(map(str, values[:8])) + (" …" if len(values) > 8 else "")
    return ""
