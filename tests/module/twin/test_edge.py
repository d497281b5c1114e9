"""The edge twin with the real azure-iot-device over TLS, in good weather. Faults are in `test_edge_faults`."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from serial_relay.twin.edge import MAX_METHODS, Timing
from serial_relay.twin.twin import TwinUnavailableError
from tests.edgehub.hub import EdgeHub
from tests.module.conditions import until
from tests.module.twin.edge_rig import Recorder, children, running

DESIRED = {"host": "192.0.2.1", "serialPorts": {"a": {"tcpPort": 5001}, "b": {"tcpPort": 5002}}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeHub]:
    with EdgeHub(DESIRED) as hub:
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        yield hub


async def test_the_whole_twin_is_handed_over_after_connecting(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: recorder.synchronisations == 1)
    assert recorder.documents == [{**DESIRED, "$version": 1}]
    assert hub.messages.total == 1


async def test_a_change_arrives_as_a_whole_document(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: recorder.synchronisations == 1)
        hub.patch_desired({"serialPorts": {"a": None, "b": {"tcpPort": 6002}}})
        await until(lambda: recorder.versions == [1, 2])
    assert recorder.desired == {"host": "192.0.2.1", "serialPorts": {"b": {"tcpPort": 6002}}}


async def test_changes_in_quick_succession_end_with_the_newest_in_order(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: recorder.synchronisations == 1)
        for tcp_port in range(6000, 6020):
            newest = hub.patch_desired({"serialPorts": {"a": {"tcpPort": tcp_port}}})
        await until(lambda: recorder.versions[-1] == newest)
    assert recorder.desired["serialPorts"]["a"] == {"tcpPort": 6019}
    assert recorder.versions == sorted(set(recorder.versions), key=int)
    assert hub.messages.twin_reads <= 1 + hub.messages.desired_notifications


async def test_a_report_is_merged_into_the_reported_properties(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder) as twin:
        await until(lambda: recorder.synchronisations == 1)
        await twin.report(
            {"status": "ok", "serialPorts": {"a": {"state": "connected"}, "b": {"state": "idle"}}}
        )
        await twin.report({"status": "down", "serialPorts": {"a": None}})
    assert hub.reported == {"status": "down", "serialPorts": {"b": {"state": "idle"}}}


async def test_a_refused_report_is_said_to_be_so_and_costs_no_connection(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder) as twin:
        await until(lambda: recorder.synchronisations == 1)
        with pytest.raises(TwinUnavailableError, match="400"):
            await twin.report({"192.0.2.1": "a dot in a key"})
        hub.faults.reject_status = 429
        with pytest.raises(TwinUnavailableError, match="429"):
            await twin.report({"status": "ok"})
        hub.faults.reject_status = 0
        await twin.report({"status": "ok"})
    assert hub.reported == {"status": "ok"}
    assert hub.connections == 1


async def test_a_report_without_a_connection_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IOTEDGE_WORKLOADURI", raising=False)
    async with running(Recorder()) as twin:
        with pytest.raises(TwinUnavailableError, match="not connected"):
            await twin.report({"status": "ok"})


@pytest.mark.parametrize("payload", [{"port": "a"}, None, [1, "ü"], "text"])
async def test_any_direct_method_is_forwarded_and_answered(hub: EdgeHub, payload: object) -> None:
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: hub.connected and recorder.synchronisations == 1)
        answer = await asyncio.to_thread(hub.call_method, "any name", payload)
    assert answer == (200, {"name": "any name", "payload": payload})
    assert recorder.methods == [("any name", payload)]


async def test_a_direct_method_that_takes_too_long_is_answered_504(hub: EdgeHub) -> None:
    recorder = Recorder()
    recorder.answer_methods.clear()
    async with running(recorder, Timing(method=0.2)):
        await until(lambda: recorder.synchronisations == 1)
        status, answer = await asyncio.to_thread(hub.call_method, "sleep")
    assert status == 504
    assert "sleep took longer than 0.2 s" in answer["error"]


async def test_a_flood_of_direct_methods_is_answered_429_and_passes(hub: EdgeHub) -> None:
    recorder = Recorder()
    recorder.answer_methods.clear()
    async with running(recorder):
        await until(lambda: recorder.synchronisations == 1)
        with ThreadPoolExecutor(MAX_METHODS + 3) as callers:
            calls = [callers.submit(hub.call_method, f"m{n}") for n in range(MAX_METHODS + 3)]
            await until(lambda: sum(call.done() for call in calls) == 3)
            recorder.answer_methods.set()
            await until(lambda: all(call.done() for call in calls))
        statuses = [call.result()[0] for call in calls]
        assert sorted(statuses) == [200] * MAX_METHODS + [429] * 3
        assert await asyncio.to_thread(hub.call_method, "after") == (200, {"name": "after", "payload": None})


async def test_an_unannounced_change_is_found_by_the_probe(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder, Timing(probe=0.5)):
        await until(lambda: recorder.synchronisations == 1)
        hub.restore_desired({"host": "192.0.2.9"}, version=7)
        await until(lambda: recorder.versions == [1, 7])
    assert recorder.synchronisations == 1


async def test_an_older_version_is_ignored_until_the_connection_is_a_new_one(hub: EdgeHub) -> None:
    recorder = Recorder()
    hub.restore_desired({"host": "192.0.2.5"}, version=5)
    async with running(recorder, Timing(probe=0.5, settled=0.0)):
        await until(lambda: recorder.versions == [5])
        hub.restore_desired({"host": "192.0.2.3"}, version=3)
        reads = hub.messages.twin_reads
        await until(lambda: hub.messages.twin_reads >= reads + 2)
        assert recorder.versions == [5]
        hub.drop_connection()
        await until(lambda: recorder.synchronisations == 2)
    assert recorder.versions == [5, 3]


async def test_the_end_leaves_no_process(hub: EdgeHub) -> None:
    recorder = Recorder()
    async with running(recorder):
        await until(lambda: recorder.synchronisations == 1)
        assert children()
    assert not children()
    await until(lambda: not hub.connected)


async def test_the_process_of_the_sdk_ends_with_a_relay_that_was_killed(hub: EdgeHub) -> None:
    relay = subprocess.Popen(
        [sys.executable, "-c", RELAY], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        await until(lambda: hub.connected, timeout=60)
        (client,) = psutil.Process(relay.pid).children()
    finally:
        relay.send_signal(signal.SIGKILL)
        relay.wait()
    await until(lambda: not client.is_running() or client.status() == psutil.STATUS_ZOMBIE)
    await until(lambda: not hub.connected)


def test_the_relays_own_process_does_not_load_the_sdk() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, serial_relay.twin.edge; print([n for n in sys.modules if n.startswith('azure')])",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"


def test_only_one_file_imports_the_sdk() -> None:
    package = Path(__file__).parents[3] / "module" / "serial_relay"
    importers = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"^\s*(from|import) azure", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert importers == ["edge_client.py"]


RELAY = """
import asyncio
from serial_relay.twin.edge import EdgeTwin
from tests.module.twin.edge_rig import Recorder

async def main():
    await EdgeTwin().run(Recorder())

asyncio.run(main())
"""
