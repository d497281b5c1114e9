from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from serial_relay.plumbing import inotify
from serial_relay.plumbing.inotify import Inotify
from tests.module.conditions import until


async def test_names_of_a_directory_are_delivered(tmp_path: Path, watches: Inotify) -> None:
    seen: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    watches.watch(tmp_path, inotify.IN_CLOSE_WRITE, lambda mask, name: seen.put_nowait((mask, name)))
    (tmp_path / "ports.json").write_text("{}")
    assert await seen.get() == (inotify.IN_CLOSE_WRITE, "ports.json")


async def test_an_ended_watch_is_silent_and_others_go_on(tmp_path: Path, watches: Inotify) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    seen: asyncio.Queue[str] = asyncio.Queue()
    first = watches.watch(
        tmp_path / "a", inotify.IN_CLOSE_WRITE, lambda _, name: seen.put_nowait(f"a {name}")
    )
    watches.watch(tmp_path / "b", inotify.IN_CLOSE_WRITE, lambda _, name: seen.put_nowait(f"b {name}"))
    watches.unwatch(first)
    watches.unwatch(first)
    (tmp_path / "a" / "x").write_text("")
    (tmp_path / "b" / "x").write_text("")
    assert await seen.get() == "b x"
    assert seen.empty()


async def test_forgotten_events_are_not_called_back_for_and_those_of_others_are(
    tmp_path: Path, watches: Inotify
) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, _second = (
        watches.watch(tmp_path / name, inotify.IN_CLOSE_WRITE, lambda _, file: seen.put_nowait(file))
        for name in ("a", "b")
    )
    for number in range(1000):
        (tmp_path / "a" / f"a{number}").write_text("")
    for number in range(20):
        (tmp_path / "b" / f"b{number}").write_text("")
    watches.forget_events(first)
    (tmp_path / "a" / "later").write_text("")
    assert {await seen.get() for _ in range(21)} == {"later", *(f"b{number}" for number in range(20))}
    assert seen.empty()


async def test_forgetting_ends_however_fast_further_events_come(
    tmp_path: Path, watches: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    descriptor = watches.watch(file, inotify.IN_OPEN | inotify.IN_CLOSE_NOWRITE, lambda _mask, _name: None)
    file.read_bytes()
    reads = 0
    read_events = os.read

    def read_while_somebody_opens(descriptor: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < 10, "it does not end"
        events = read_events(descriptor, size)
        for _ in range(size // 16):  # events
            file.read_bytes()
        return events

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", read_while_somebody_opens)
        watches.forget_events(descriptor)
    assert reads


async def test_a_storm_at_one_watch_holds_up_no_other(tmp_path: Path, watches: Inotify) -> None:
    for name in ("stormy", "quiet"):
        (tmp_path / name).mkdir()
    storm: list[str] = []
    quiet = asyncio.Event()

    def slow(_mask: int, name: str) -> None:
        storm.append(name)
        time.sleep(0.0005)

    watches.watch(tmp_path / "stormy", inotify.IN_CLOSE_WRITE, slow)
    watches.watch(tmp_path / "quiet", inotify.IN_CLOSE_WRITE, lambda _mask, _name: quiet.set())
    for number in range(2000):
        (tmp_path / "stormy" / str(number)).write_text("")
    (tmp_path / "quiet" / "x").write_text("")
    async with asyncio.timeout(20):
        await quiet.wait()
    assert len(storm) < 200, "the events before it were called back for one by one"
    await until(lambda: "" in storm)  # which says that there were more


async def test_events_may_be_forgotten_while_they_are_called_back_for(
    tmp_path: Path, watches: Inotify
) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    def look(_mask: int, name: str) -> None:
        seen.put_nowait(name)
        watches.forget_events(descriptor)

    descriptor = watches.watch(tmp_path, inotify.IN_CLOSE_WRITE, look)
    for name in ("first", "second", "third"):
        (tmp_path / name).write_text("")
    assert await seen.get() == "first"
    (tmp_path / "later").write_text("")
    assert await seen.get() == "later"


async def test_a_removed_path_ends_its_watch_with_a_call(tmp_path: Path, watches: Inotify) -> None:
    path = tmp_path / "file"
    path.write_text("")
    ended: asyncio.Queue[int] = asyncio.Queue()
    watches.watch(path, inotify.IN_DELETE_SELF, lambda mask, _: ended.put_nowait(mask))
    path.unlink()
    assert [await ended.get(), await ended.get()] == [inotify.IN_DELETE_SELF, inotify.IN_IGNORED]


async def test_a_path_that_does_not_exist_is_an_error_with_its_name(tmp_path: Path, watches: Inotify) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        watches.watch(tmp_path / "nowhere", inotify.IN_OPEN, lambda _mask, _name: None)


async def test_dropped_events_make_everybody_look(tmp_path: Path, watches: Inotify) -> None:
    """Fill the kernel's queue for real: that many events without a look in between."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    masks: list[int] = []
    other: list[int] = []
    (tmp_path / "quiet").mkdir()
    watches.watch(tmp_path, inotify.IN_OPEN | inotify.IN_CLOSE_WRITE, lambda mask, _: masks.append(mask))
    watches.watch(tmp_path / "quiet", inotify.IN_OPEN, lambda mask, _: other.append(mask))
    path = tmp_path / "file"
    for _ in range(limit // 2 + 10):
        path.write_text("")
    while 0 not in masks or 0 not in other:
        await asyncio.sleep(0.01)
    assert set(other) == {0}
