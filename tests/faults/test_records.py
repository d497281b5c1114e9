"""What the receiver of records proves, and what it does not let pass."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.records import SIZE, Arrived, Receiver, Sender, record

STREAM = ord("a")


def received(*pieces: bytes) -> Arrived:
    receiver = Receiver(STREAM)
    for piece in pieces:
        receiver.feed(piece)
    return receiver.arrived


def records(*numbers: int) -> list[bytes]:
    return [record(STREAM, number) for number in numbers]


def test_no_byte_of_a_record_is_zero_and_every_other_value_occurs() -> None:
    values = {value for number in range(1, 300) for value in record(STREAM, number)}
    assert values == set(range(1, 256))


@given(st.lists(st.integers(1, 60)))
def test_pieces_do_not_matter(sizes: Sequence[int]) -> None:
    sender = Sender(STREAM)
    sender.begin(20)
    data = sender.waiting
    pieces = []
    for size in [*sizes, len(data)]:
        pieces.append(data[:size])
        data = data[size:]
    assert received(*pieces) == Arrived(records=20)


def test_sender_keeps_what_the_line_did_not_take() -> None:
    sender = Sender(STREAM)
    sender.begin(2)
    sender.taken(40)
    sender.begin(1)
    assert (sender.sent, sender.waiting) == (40, b"".join(records(2, 3))[8:])


def test_duplicate() -> None:
    assert received(*records(1, 2, 2, 3, 1)) == Arrived(records=3, duplicates=2)


def test_record_that_was_overtaken() -> None:
    assert received(*records(1, 3, 2, 4)) == Arrived(records=4, reordered=1)


def test_another_streams_record_is_foreign() -> None:
    arrived = received(record(STREAM, 1), record(ord("b"), 2), record(STREAM, 2))
    assert (arrived.records, arrived.foreign) == (2, SIZE)


def test_changed_byte_is_foreign() -> None:
    changed = bytearray(record(STREAM, 2))
    changed[15] ^= 1
    arrived = received(record(STREAM, 1), bytes(changed), record(STREAM, 3))
    assert arrived.foreign > 0


def test_zeros_are_nobodys() -> None:
    first, second = records(1, 2)
    assert received(b"\0\0", first[:9], b"\0", first[9:], b"\0", second) == Arrived(records=2, zeros=4)


@given(st.integers(0, 8 * SIZE), st.integers(0, 8 * SIZE))
def test_loss_may_begin_and_end_within_a_record(begin: int, length: int) -> None:
    sent = b"".join(records(*range(1, 9)))
    arrived = received(sent[:begin] + sent[begin + length :], *records(9))
    assert arrived.delivered == SIZE + len(sent[:begin] + sent[begin + length :])
    assert (arrived.duplicates, arrived.reordered, arrived.foreign) == (0, 0, 0)
