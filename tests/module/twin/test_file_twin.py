from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from serial_relay.plumbing.inotify import Inotify
from serial_relay.twin.file_twin import FileTwin
from serial_relay.twin.twin import ConfigSource, Document, TwinUnavailableError
from tests.module.conditions import until


class Events:
    """What a twin told, in order."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.complaints: list[str] = []
        self.synchronisations = 0

    def desired_received(self, document: Document, source: ConfigSource) -> None:
        assert source == "file"
        self.documents.append(document)

    def desired_unreadable(self, message: str) -> None:
        self.complaints.append(message)

    def synchronised(self, reported: Mapping[str, Any] | None = None) -> None:
        assert reported is None
        self.synchronisations += 1

    async def reach(self, documents: int) -> None:
        await until(lambda: len(self.documents) >= documents)

    async def method_called(self, name: str, payload: object) -> tuple[int, object]:
        raise NotImplementedError


Start = Callable[[Path], Events]
Followed = tuple[Path, Events]


def document(tcp_port: int) -> dict[str, Any]:
    return {"host": "10.0.0.1", "serialPorts": {"a": {"tcpPort": tcp_port}}}


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture
async def start(watches: Inotify) -> AsyncIterator[Start]:
    tasks = []

    def start(path: Path) -> Events:
        events = Events()
        tasks.append(asyncio.create_task(FileTwin(path, None, watches).run(events)))
        return events

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def followed(tmp_path: Path, start: Start) -> Followed:
    """A file whose first document has been delivered."""
    path = tmp_path / "ports.json"
    write(path, document(1))
    events = start(path)
    await events.reach(1)
    return path, events


async def test_the_file_is_read_at_the_start(tmp_path: Path, start: Start) -> None:
    write(tmp_path / "ports.json", document(1))
    events = start(tmp_path / "ports.json")
    await events.reach(1)
    assert events.documents == [document(1)]
    assert events.synchronisations == 1
    assert events.complaints == []


async def test_a_file_written_in_place_is_followed(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "ports.json"
    write(path, document(1))
    events = start(path)
    for number in range(2, 5):
        await events.reach(number - 1)
        write(path, document(number))
    await events.reach(4)
    assert events.documents == [document(number) for number in range(1, 5)]
    assert events.complaints == []


async def test_a_file_replaced_as_editors_do_is_followed(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "ports.json"
    write(path, document(1))
    events = start(path)
    for number in range(2, 5):
        await events.reach(number - 1)
        write(tmp_path / ".ports.json.swp", document(number))
        path.rename(tmp_path / "ports.json~")
        (tmp_path / ".ports.json.swp").rename(path)
    await events.reach(4)
    assert events.documents == [document(number) for number in range(1, 5)]


async def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "ports.json"
    events = start(path)
    await until(lambda: events.complaints)
    assert events.complaints == [f"{path} does not exist"]
    write(path, document(1))
    await events.reach(1)
    assert events.documents == [document(1)]


async def test_a_directory_that_is_not_there_yet_is_waited_for(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "later" / "ports.json"
    events = start(path)
    await until(lambda: events.complaints)
    path.parent.mkdir()
    write(path, document(1))
    await events.reach(1)


async def test_a_removed_file_changes_nothing_and_is_followed_when_it_is_back(followed: Followed) -> None:
    path, events = followed
    path.unlink()
    await until(lambda: events.complaints)
    write(path, document(2))
    await events.reach(2)
    assert events.complaints == [f"{path} does not exist"]


async def test_a_replaced_directory_is_followed(tmp_path: Path, start: Start) -> None:
    directory = tmp_path / "etc"
    directory.mkdir()
    write(directory / "ports.json", document(1))
    events = start(directory / "ports.json")
    await events.reach(1)
    directory.rename(tmp_path / "old")
    directory.mkdir()
    write(directory / "ports.json", document(2))
    await events.reach(2)
    write(directory / "ports.json", document(3))
    await events.reach(3)


async def test_links_that_are_switched_as_in_a_config_map_are_followed(tmp_path: Path, start: Start) -> None:
    def publish(number: int) -> None:
        version = tmp_path / f"..{number}"
        version.mkdir()
        write(version / "ports.json", document(number))
        (tmp_path / "..data_tmp").symlink_to(version.name)
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")  # noqa: PTH105 - rename(2) of the link itself

    publish(1)
    (tmp_path / "ports.json").symlink_to("..data/ports.json")
    events = start(tmp_path / "ports.json")
    for number in range(2, 4):
        await events.reach(number - 1)
        publish(number)
    await events.reach(3)
    assert events.documents == [document(number) for number in range(1, 4)]


async def test_a_file_behind_a_link_is_followed_where_it_stands(tmp_path: Path, start: Start) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "ports.json", document(1))
    (tmp_path / "etc" / "ports.json").symlink_to("../data/ports.json")
    events = start(tmp_path / "etc" / "ports.json")
    await events.reach(1)
    write(tmp_path / "data" / "ports.json", document(2))
    await events.reach(2)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            '{\n  "serialPorts": {,}\n}',
            "cannot be used: it is not valid JSON: Expecting property name enclosed in double quotes, line 2, column 19",
        ),
        ("[]", "cannot be used: a JSON object is expected, not an array"),
        ("", "cannot be used: the file is empty"),
        (" \n", "cannot be used: the file is empty"),
        (
            '{"serialPort": {}}',
            'cannot be used: it has no key "serialPorts", which holds an entry for each port',
        ),
    ],
)
async def test_a_file_that_cannot_be_used_is_told_once_and_recovers(
    tmp_path: Path, followed: Followed, content: str, complaint: str
) -> None:
    path, events = followed
    path.write_text(content)
    await until(lambda: events.complaints)
    (tmp_path / "other").write_text("an event in the directory")
    write(path, document(2))
    await events.reach(2)
    assert events.complaints == [f"{path} {complaint}"]


async def test_a_directory_in_the_place_of_the_file_is_told_and_recovers(followed: Followed) -> None:
    path, events = followed
    path.unlink()
    path.mkdir()
    await until(lambda: any("Is a directory" in complaint for complaint in events.complaints))
    path.rmdir()
    write(path, document(2))
    await events.reach(2)


async def test_a_key_that_stands_twice_is_logged_once_and_its_last_value_counts(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ports.json"
    twice = '{"host": "10.0.0.1", "serialPorts": {"a": {"tcpPort": 1}, "a": {"tcpPort": %d}}}'
    path.write_text(twice % 2)
    events = start(path)
    await events.reach(1)
    path.write_text(twice % 3)
    await until(lambda: document(3) in events.documents)
    assert events.documents == [document(2), document(3)]
    assert caplog.messages == [
        f'{path}: the key "a" stands more than once in one object, and only its last value counts'
    ]


async def test_the_earlier_document_takes_a_complaint_back(followed: Followed) -> None:
    path, events = followed
    path.write_text("{")
    await until(lambda: events.complaints)
    write(path, document(1))
    await events.reach(2)
    assert events.documents == [document(1), document(1)]


async def test_a_document_that_says_the_same_is_not_delivered_again(followed: Followed) -> None:
    path, events = followed
    path.write_text(json.dumps(document(1), indent=8))
    path.touch()
    write(path, document(2))
    await until(lambda: document(2) in events.documents)
    assert events.documents == [document(1), document(2)]


async def test_what_is_reported_is_merged_into_the_file(tmp_path: Path, watches: Inotify) -> None:
    path = tmp_path / "status.json"
    path.write_text("left by an earlier process")
    twin = FileTwin(tmp_path / "ports.json", path, watches)
    await twin.report({"status": "ok", "serialPorts": {"a": {"state": "connected"}, "b": {"state": "idle"}}})
    await twin.report({"serialPorts": {"a": {"state": "retrying", "line": None}, "b": None}})
    assert json.loads(path.read_text()) == {"status": "ok", "serialPorts": {"a": {"state": "retrying"}}}
    assert "\n  " in path.read_text()


async def test_readers_never_see_half_a_file(tmp_path: Path, watches: Inotify) -> None:
    path = tmp_path / "status.json"
    twin = FileTwin(tmp_path / "ports.json", path, watches)
    await twin.report({"n": 0})
    writing = asyncio.create_task(_report_often(twin))
    while not writing.done():
        assert "n" in json.loads(await asyncio.to_thread(path.read_text))
    await writing
    assert json.loads(path.read_text())["n"] == 199


async def _report_often(twin: FileTwin) -> None:
    for number in range(200):
        await twin.report({"n": number, "padding": "x" * 20_000})


async def test_a_report_that_cannot_be_written_is_kept(
    tmp_path: Path, watches: Inotify, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "missing" / "status.json"
    twin = FileTwin(tmp_path / "ports.json", path, watches)
    for number in range(2):
        with pytest.raises(
            TwinUnavailableError, match=r"cannot write .*status\.json: No such file or directory"
        ):
            await twin.report({f"key{number}": 1})
    assert len(caplog.records) == 1
    path.parent.mkdir()
    await twin.report({"key2": 1})
    assert json.loads(path.read_text()) == {"key0": 1, "key1": 1, "key2": 1}


async def test_without_a_reported_file_reports_go_nowhere(tmp_path: Path, watches: Inotify) -> None:
    await FileTwin(tmp_path / "ports.json", None, watches).report({"status": "ok"})
    assert list(tmp_path.iterdir()) == []


def test_one_file_cannot_be_both(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("ports.json")
    for reported in ("ports.json", "link.json"):
        with pytest.raises(ValueError, match="cannot both be in"):
            FileTwin(tmp_path / "ports.json", tmp_path / reported, None)  # type: ignore[arg-type] # not reached


async def test_both_files_may_stand_in_one_directory(tmp_path: Path, watches: Inotify) -> None:
    path = tmp_path / "ports.json"
    write(path, document(1))
    twin = FileTwin(path, tmp_path / "status.json", watches)
    events = Events()
    running = asyncio.create_task(twin.run(events))
    await events.reach(1)
    for number in range(20):
        await twin.report({"n": number})
    write(path, document(2))
    await events.reach(2)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert events.documents == [document(1), document(2)]
    assert twin._directories == {}


async def test_without_a_further_thread_the_file_is_read_later(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "desired.json"
    write(path, document(1))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        events = start(path)
        await until(lambda: events.complaints)
    assert events.complaints == [f"{path} cannot be read now: can't start new thread"]
    write(path, document(2))
    await events.reach(1)
    assert events.documents == [document(2)]


async def test_a_change_in_the_turn_of_the_loop_that_ends_it_does_not_keep_it_alive(
    tmp_path: Path, watches: Inotify
) -> None:
    """SIGTERM ends it so. `asyncio.wait_for` of Python 3.11 forgets a cancellation that comes together with the event."""
    path = tmp_path / "desired.json"
    write(path, document(1))
    events = Events()
    twin = FileTwin(path, None, watches)
    running = asyncio.create_task(twin.run(events))
    await events.reach(1)
    await until(lambda: twin._changed._waiters)
    twin._changed.set()
    await asyncio.sleep(0)
    running.cancel()
    await until(running.done)
    assert running.cancelled()
