from __future__ import annotations

from serial_relay.port.held_bytes import HeldBytes


def test_pieces_come_back_in_order_and_once() -> None:
    held = HeldBytes(10)
    assert held.add(b"abc", 1.0) == 0
    assert held.add(b"de", 2.0) == 0
    assert held.take() == [b"abc", b"de"]
    assert held.take() == []


def test_what_does_not_fit_is_counted_and_the_head_is_kept() -> None:
    held = HeldBytes(4)
    assert held.add(b"abc", 1.0) == 0
    assert held.add(b"def", 1.0) == 2
    assert held.add(b"g", 1.0) == 1
    assert held.take() == [b"abc", b"d"]
    assert held.add(b"wxyz", 1.0) == 0


def test_pieces_expire_one_by_one() -> None:
    held = HeldBytes(10)
    held.add(b"abc", 1.0)
    held.add(b"de", 2.0)
    assert held.deadline == 1.0
    assert held.expire(0.5) == 0
    assert held.expire(1.0) == 3
    assert held.deadline == 2.0
    assert held.add(b"12345678", 3.0) == 0
    assert held.discard() == 10
    assert held.deadline is None
