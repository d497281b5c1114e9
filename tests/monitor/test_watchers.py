from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from serial_monitor.records import TO_DEVICE, Record, decode
from serial_monitor.taps import Taps
from serial_monitor.watchers import MOST_WATCHERS, TooManyWatchersError, Watcher, Watchers


def record(data: bytes) -> Record:
    return Record(1.0, "a", TO_DEVICE, data)


async def test_what_arrived_comes_in_order_and_in_batches() -> None:
    watcher = Watcher()
    async with aclosing(watcher.lines()) as batches:  # type: ignore[type-var]
        for number in range(5):
            watcher.take(record(b"%d" % number))
        batch = await anext(batches)
        assert [decode(line).data for line in batch.splitlines()] == [b"0", b"1", b"2", b"3", b"4"]
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        watcher.take(record(b"later"))
        assert decode(await waiting).data == b"later"


async def test_a_slow_watcher_is_cut_with_a_last_line_and_keeps_no_memory() -> None:
    watcher = Watcher(limit=1000)
    for _ in range(100):
        watcher.take(record(bytes(100)))
    assert watcher.cut
    batches = [batch async for batch in watcher.lines()]
    [last] = batches
    assert decode(last).kind == "cut"
    assert "too slow" in decode(last).text


async def test_a_watcher_begins_with_how_things_stand_and_leaves_nothing_behind() -> None:
    taps = Taps()
    tap = taps.tap("a")
    watchers = Watchers(taps)
    async with aclosing(watchers.watch("a", [Record(1.0, "a", "state", text="open")])) as batches:
        assert decode(await anext(batches)).text == "open"
        assert tap.watched is not None
        tap.watched(TO_DEVICE, b"x")
        assert decode(await anext(batches)).data == b"x"
    assert tap.watched is None


async def test_a_cut_watcher_is_no_longer_called() -> None:
    taps = Taps()
    tap = taps.tap("a")
    async with aclosing(Watchers(taps).watch(None)) as batches:
        assert await anext(batches) == b""
        while tap.watched is not None and not next(iter(tap._sinks)).cut:  # type: ignore[attr-defined]
            tap.watched(TO_DEVICE, bytes(100_000))
        assert decode(await anext(batches)).kind == "cut"
        assert tap.watched is None
        assert [batch async for batch in batches] == []


async def test_there_is_a_limit_of_watchers() -> None:
    watchers = Watchers(Taps())
    streams = [watchers.watch(None) for _ in range(MOST_WATCHERS + 1)]
    for stream in streams[:-1]:
        await anext(stream)
    with pytest.raises(TooManyWatchersError, match="16 watchers are connected already"):
        await anext(streams[-1])
    for stream in streams:
        await stream.aclose()
    await anext(again := watchers.watch(None))
    await again.aclose()
