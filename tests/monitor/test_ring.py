from __future__ import annotations

import base64
import json

import pytest

from serial_monitor.records import FROM_DEVICE, TO_DEVICE, Record
from serial_monitor.ring import LIMIT_BYTES, PIECE_BYTES, Ring, TokenError


def filled(ring: Ring, count: int, size: int = 1, start: int = 0) -> None:
    for number in range(start, start + count):
        ring.take(Record(number / 100, "a", TO_DEVICE, number.to_bytes(4, "big") + bytes(size)))


def numbers(ring: Ring, now: float, *, size: int = PIECE_BYTES) -> tuple[list[int], int]:
    """Read a ring to the end: the numbers of its records, and how many pieces they took."""
    found: list[int] = []
    token, pieces = None, 0
    while True:
        piece = ring.piece(token, now, size)
        assert len(json.dumps(piece)) <= size
        pieces += 1
        found += [int.from_bytes(base64.b64decode(one["data"])[:4], "big") for one in piece["records"]]
        if piece["next"] is None:
            return found, pieces
        token = piece["next"]


def test_only_the_last_seconds_are_kept() -> None:
    ring = Ring(5)
    filled(ring, 1000)
    assert numbers(ring, 9.99)[0] == list(range(499, 1000))
    assert numbers(ring, 100) == ([], 1)


def test_the_bytes_are_bounded_too() -> None:
    ring = Ring(3600)
    filled(ring, 1000, 4000)
    found, pieces = numbers(ring, 10)
    assert found == list(range(1000 - len(found), 1000))
    assert len(found) * 4000 < LIMIT_BYTES < (len(found) + 2) * 4104
    assert pieces > 1


def test_a_record_that_is_too_large_leaves_an_empty_ring() -> None:
    ring = Ring(60)
    ring.take(Record(1, "a", TO_DEVICE, bytes(LIMIT_BYTES)))
    assert ring.piece(None, 1) == {"records": [], "lost": 0, "next": None}


def test_a_capture_ends_where_it_stood_when_it_began() -> None:
    ring = Ring(60)
    filled(ring, 1000)
    first = ring.piece(None, 10, 10_000)
    filled(ring, 1000, start=1000)
    count, token = len(first["records"]), first["next"]
    while token is not None:
        piece = ring.piece(token, 10, 10_000)
        assert piece["lost"] == 0
        count, token = count + len(piece["records"]), piece["next"]
    assert count == 1000


def test_what_was_dropped_between_two_pieces_is_counted() -> None:
    ring = Ring(60)
    filled(ring, 1000)
    first = ring.piece(None, 10, 10_000)
    filled(ring, 1000, size=2000, start=1000)
    piece = ring.piece(first["next"], 10)
    assert piece == {"records": [], "lost": 1000 - len(first["records"]), "next": None}


def test_events_and_directions_are_told_apart() -> None:
    ring = Ring(60)
    ring.take(Record(1.5, "a", FROM_DEVICE, b"\x00\xff"))
    ring.take(Record(2.0, "a", "line", text="9600 8N1"))
    assert ring.piece(None, 2)["records"] == [
        {"time": 1.5, "direction": "fromDevice", "data": "AP8="},
        {"time": 2.0, "event": "line", "text": "9600 8N1"},
    ]


@pytest.mark.parametrize("token", ["", "1", "2-1", "0-5", "-1-2", "1-99999999999999999999", "a-b"])
def test_a_token_that_was_not_given_out_is_refused(token: str) -> None:
    ring = Ring(60)
    filled(ring, 3)
    with pytest.raises(TokenError):
        ring.piece(token, 1)
