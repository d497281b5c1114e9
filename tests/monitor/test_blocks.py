"""How chunks become blocks, answers find their requests, and a row of frames becomes a finding."""

from __future__ import annotations

from collections.abc import Iterable

from serial_monitor.blocks import Assembler, Block
from serial_monitor.modbus import crc
from serial_monitor.records import FROM_DEVICE, TO_DEVICE, Record

READ = bytes.fromhex("010300000002c40b")
VALUES = bytes.fromhex("010304000a000b")
VALUES += crc(VALUES).to_bytes(2, "little")


def assembled(records: Iterable[Record]) -> list[Block | Record]:
    assembler = Assembler()
    items = [item for record in records for item in assembler.feed(record)]
    return [*items, *assembler.flush()]


def blocks(records: Iterable[Record]) -> list[Block]:
    return [item for item in assembled(records) if isinstance(item, Block)]


def findings(records: Iterable[Record]) -> list[str]:
    return [item.text for item in assembled(records) if isinstance(item, Record) and item.kind == "finding"]


def test_chunks_without_a_gap_are_one_block_and_the_silence_before_it_is_known() -> None:
    first, second = blocks(
        [
            Record(1.0, "a", FROM_DEVICE, b"12"),
            Record(1.01, "a", FROM_DEVICE, b"34"),
            Record(3.0, "a", FROM_DEVICE, b"5"),
        ]
    )
    assert (first.at, first.last, first.data, first.gap) == (1.0, 1.01, b"1234", None)
    assert second.gap is not None
    assert round(second.gap, 6) == 1.99


def test_a_clock_that_is_set_back_ends_a_block_and_holds_nothing_back() -> None:
    """A virtual machine's clock is set when it goes on after a pause."""
    assembler = Assembler()
    records = [Record(5000.0, "a", FROM_DEVICE, b"before"), Record(1400.0, "a", FROM_DEVICE, b"after")]
    items = [item for record in records for item in assembler.feed(record)]
    assert [item.data for item in items if isinstance(item, Block)] == [b"before"]
    assert not list(assembler.flush(1400.01))
    [after] = assembler.flush(1401.0)
    assert isinstance(after, Block)
    assert (after.data, after.gap) == (b"after", 0.0)
    assert not list(assembler.feed(Record(1500.0, "a", FROM_DEVICE, b"last")))
    [last] = assembler.flush(1000.0)
    assert isinstance(last, Block)
    assert last.data == b"last"


def test_the_other_direction_and_events_end_a_block_and_other_ports_do_not() -> None:
    items = assembled(
        [
            Record(1.0, "a", TO_DEVICE, b"1"),
            Record(1.001, "b", TO_DEVICE, b"b"),
            Record(1.002, "a", TO_DEVICE, b"2"),
            Record(1.003, "a", FROM_DEVICE, b"3"),
            Record(1.004, "a", "state", text="retrying"),
        ]
    )
    shown = [(item.port, item.data if isinstance(item, Block) else item.kind) for item in items]
    assert shown == [("a", b"12"), ("a", b"3"), ("a", "state"), ("b", b"b")]


def test_blocks_of_several_ports_come_in_the_order_of_their_times() -> None:
    records = [
        Record(1.0, "a", TO_DEVICE, b"1"),
        Record(1.1, "b", TO_DEVICE, b"2"),
        Record(1.2, "a", FROM_DEVICE, b"3"),
        Record(1.3, "b", FROM_DEVICE, b"4"),
    ]
    assert [block.data for block in blocks(records)] == [b"1", b"2", b"3", b"4"]


def test_an_answer_finds_its_request_and_the_time_is_that_between_them() -> None:
    request, answer = blocks([Record(1.0, "a", TO_DEVICE, READ), Record(1.025, "a", FROM_DEVICE, VALUES)])
    assert request.frames[0].response_seconds is None
    seconds = answer.frames[0].response_seconds
    assert seconds is not None
    assert round(seconds, 6) == 0.025
    assert str(answer.frames[0]).endswith("= 10 11, CRC good, answer after 25.0 ms")


def test_an_answer_of_another_device_is_not_taken_for_the_answer() -> None:
    other = bytes([2]) + VALUES[1:-2]
    other += crc(other).to_bytes(2, "little")
    _, answer = blocks([Record(1.0, "a", TO_DEVICE, READ), Record(1.1, "a", FROM_DEVICE, other)])
    assert answer.frames[0].crc_good
    assert answer.frames[0].response_seconds is None


def test_a_frame_that_the_network_tears_is_put_together() -> None:
    _, answer = blocks(
        [
            Record(1.0, "a", TO_DEVICE, READ),
            Record(1.1, "a", FROM_DEVICE, VALUES[:4]),
            Record(1.3, "a", FROM_DEVICE, VALUES[4:]),
        ]
    )
    assert answer.data == VALUES


def test_what_may_still_grow_is_not_shown_yet() -> None:
    assembler = Assembler()
    assert list(assembler.feed(Record(1.0, "a", TO_DEVICE, b"x"))) == []
    assert list(assembler.flush(1.1)) == []
    [block] = assembler.flush(1.2)
    assert isinstance(block, Block)
    assert list(assembler.flush()) == []


def test_bad_answers_in_a_row_look_like_a_wrong_line_setting_and_that_is_said_once() -> None:
    noise = bytes(byte ^ 0x55 for byte in VALUES)
    exchange = [
        record
        for turn in range(6)
        for record in (Record(turn, "a", TO_DEVICE, READ), Record(turn + 0.1, "a", FROM_DEVICE, noise))
    ]
    line = Record(0, "a", "line", text="9600 8N1")
    [finding] = findings([line, *exchange])
    assert "3 answers in a row have a bad CRC: this looks like a wrong line setting" in finding
    assert "(now 9600 8N1)" in finding


def test_requests_without_an_answer_are_a_finding_and_a_good_answer_begins_anew() -> None:
    requests = [Record(turn, "a", TO_DEVICE, READ) for turn in range(5)]
    [finding] = findings(requests)
    assert "3 requests in a row got no answer" in finding
    again = [Record(turn + 10, "a", TO_DEVICE, READ) for turn in range(5)]
    assert len(findings([*requests, Record(5.1, "a", FROM_DEVICE, VALUES), *again])) == 2


def test_good_exchanges_and_other_bytes_are_no_finding() -> None:
    exchange = [
        record
        for turn in range(9)
        for record in (Record(turn, "a", TO_DEVICE, READ), Record(turn + 0.1, "a", FROM_DEVICE, VALUES))
    ]
    weights = [Record(turn, "b", FROM_DEVICE, b"S S    100.0 g\r\n") for turn in range(9)]
    polls = [Record(turn, "b", TO_DEVICE, b"SI\r\n") for turn in range(9)]
    assert findings([*exchange, *weights, *polls]) == []
