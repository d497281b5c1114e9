from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from serial_relay.twin.desired import Desired, parse
from serial_relay.twin.last_good import LastGood


def desired(**ports: Any) -> Desired:
    found = parse({"host": "10.0.0.1", "$version": 4, "serialPorts": ports}, last_good={}, default_gid=10)
    assert found is not None
    return found


async def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    wanted = desired(a={"tcpPort": 1, "mode": "600"}, b={"tcpPort": 2, "enabled": False})
    await LastGood(tmp_path / "new" / "directory").save(wanted)
    document = LastGood(tmp_path / "new" / "directory").load()
    assert document is not None
    assert parse(document, last_good={}, default_gid=99) == wanted


async def test_the_directory_is_private(tmp_path: Path) -> None:
    await LastGood(tmp_path / "state").save(desired())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


async def test_without_a_directory_nothing_is_kept() -> None:
    last_good = LastGood(None)
    await last_good.save(desired())
    assert last_good.load() is None


def test_no_document_is_no_reason_for_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert LastGood(tmp_path).load() is None
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"", b"\xff\x00garbage", b"[]", b'{"serialPorts": ', b"x" * 1_000_000])
def test_garbage_is_no_more_than_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "last-good.json").write_bytes(content)
    assert LastGood(tmp_path).load() is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_garbage_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "last-good.json").write_bytes(b"garbage")
    last_good = LastGood(tmp_path)
    last_good.load()
    await last_good.save(desired(a={"tcpPort": 1}))
    document = LastGood(tmp_path).load()
    assert document is not None
    assert document["serialPorts"].keys() == {"a"}


async def test_the_same_document_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "last-good.json"
    await LastGood(tmp_path).save(desired(a={"tcpPort": 1}))
    last_good = LastGood(tmp_path)
    last_good.load()
    written = path.stat().st_ino
    await last_good.save(desired(a={"tcpPort": 1}))
    assert path.stat().st_ino == written
    await last_good.save(desired(a={"tcpPort": 2}))
    assert path.stat().st_ino != written


async def test_the_last_of_several_saves_stays(tmp_path: Path) -> None:
    last_good = LastGood(tmp_path)
    await asyncio.gather(*(last_good.save(desired(a={"tcpPort": number})) for number in range(1, 20)))
    assert json.loads((tmp_path / "last-good.json").read_bytes())["serialPorts"]["a"]["tcpPort"] == 19
    assert [path.name for path in tmp_path.iterdir()] == ["last-good.json"]


async def test_a_directory_that_cannot_be_written_warns_once_and_again_after_it_could(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    state.write_text("a file, where the directory should be")
    last_good = LastGood(state)
    await last_good.save(desired(a={"tcpPort": 1}))
    await last_good.save(desired(a={"tcpPort": 2}))
    (record,) = caplog.records
    assert str(state / "last-good.json") in record.getMessage()
    state.unlink()
    await last_good.save(desired(a={"tcpPort": 2}))
    assert LastGood(state).load() is not None
    (state / "last-good.json").unlink()
    state.rmdir()
    state.write_text("")
    await last_good.save(desired(a={"tcpPort": 3}))
    assert len(caplog.records) == 2


async def test_a_file_system_that_takes_no_files_is_no_more_than_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await LastGood(Path("/proc/serial-relay")).save(desired())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_without_a_further_thread_it_is_no_more_than_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_good = LastGood(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        await last_good.save(desired(a={"tcpPort": 1}))
        await last_good.save(desired(a={"tcpPort": 2}))
    assert "cannot keep the configuration" in caplog.text
    assert len(caplog.records) == 1
    await last_good.save(desired(a={"tcpPort": 3}))
    assert (LastGood(tmp_path).load() or {})["serialPorts"]["a"]["tcpPort"] == 3


def _no_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
