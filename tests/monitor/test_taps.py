from __future__ import annotations

import base64
import time

from serial_monitor.records import TO_DEVICE, Record
from serial_monitor.ring import Ring
from serial_monitor.taps import Tap, Taps


class Keeper:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def take(self, record: Record) -> None:
        self.records.append(record)

    def seen(self) -> list[tuple[str, str, bytes, str]]:
        return [record[1:] for record in self.records]


def pass_bytes(tap: Tap, data: bytes) -> None:
    """What a port's owner does."""
    if (watched := tap.watched) is not None:
        watched(TO_DEVICE, data)


def test_nobody_is_called_while_nobody_watches() -> None:
    tap = Tap("a")
    assert tap.watched is None
    pass_bytes(tap, b"lost")
    tap.event("state", "lost")
    keeper = Keeper()
    tap.add(keeper)
    pass_bytes(tap, b"seen")
    tap.remove(keeper)
    assert tap.watched is None
    pass_bytes(tap, b"lost")
    assert keeper.seen() == [("a", TO_DEVICE, b"seen", "")]


def test_a_buffer_that_is_used_again_is_copied() -> None:
    tap, keeper = Tap("a"), Keeper()
    tap.add(keeper)
    buffer = bytearray(b"one")
    tap._pass(TO_DEVICE, memoryview(buffer))
    buffer[:] = b"two"
    assert keeper.records[0].data == b"one"


def test_one_port_or_all_of_them_are_watched_also_those_that_come_later() -> None:
    taps, every, only = Taps(), Keeper(), Keeper()
    pass_bytes(taps.tap("a"), b"0")
    taps.watch(every, None)
    taps.watch(only, "b")
    pass_bytes(taps.tap("a"), b"1")
    pass_bytes(taps.tap("b"), b"2")
    assert [record.data for record in every.records] == [b"1", b"2"]
    assert [record.data for record in only.records] == [b"2"]
    taps.unwatch(every)
    taps.unwatch(only)
    assert taps.tap("a").watched is taps.tap("b").watched is taps.tap("c").watched is None


def test_a_port_that_goes_says_so_and_one_of_the_same_name_is_watched_again() -> None:
    taps, keeper = Taps(), Keeper()
    taps.watch(keeper, "a")
    before = taps.tap("a")
    taps.forget("a")
    assert keeper.seen() == [("a", "state", b"", "stopped")]
    after = taps.tap("a")
    assert after is not before
    pass_bytes(after, b"x")
    assert keeper.records[-1].data == b"x"


def test_a_ring_alone_is_given_the_bytes_themselves_and_beside_a_watcher_the_records() -> None:
    tap, ring, keeper = Tap("a"), Ring(60), Keeper()
    tap.add(ring)
    assert tap.watched == ring.keep
    pass_bytes(tap, b"alone")
    tap.add(keeper)
    pass_bytes(tap, b"both")
    tap.remove(keeper)
    pass_bytes(tap, b"alone again")
    tap.event("state", "open")
    kept = ring.piece(None, time.time())["records"]
    assert [base64.b64decode(one.get("data", "")) for one in kept] == [b"alone", b"both", b"alone again", b""]
    assert [record.data for record in keeper.records] == [b"both"]
