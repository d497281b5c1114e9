"""The service between a twin and real ports. The twin here is a fake: the real ones have tests of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from serial_relay.plumbing.inotify import Inotify
from serial_relay.process.service import Service
from serial_relay.process.settings import Settings
from serial_relay.twin import reported
from serial_relay.twin.twin import Document, TwinEvents, TwinUnavailableError
from serial_relay.virtual_port.links import LinkDirectory
from tests.module.conditions import until
from tests.module.serial_servers import echo, serving
from tests.system.processes import free_port


class FakeTwin:
    """Hands over what a test says, and keeps what is reported as a hub would."""

    def __init__(self) -> None:
        self.events: TwinEvents | None = None
        self.reported: dict[str, Any] = {}
        self.patches = 0
        self.refused = 0
        self.accepts = True

    async def run(self, events: TwinEvents) -> None:
        self.events = events
        events.synchronised()
        await asyncio.Event().wait()

    @property
    def hub_connected(self) -> bool:
        return self.accepts

    async def report(self, patch: Document) -> None:
        if not self.accepts:
            self.refused += 1
            raise TwinUnavailableError("away")
        self.patches += 1
        merge(self.reported, patch)

    def desired(self, **document: Any) -> None:
        assert self.events is not None
        self.events.desired_received(document, "hub")

    def port(self, name: str) -> dict[str, Any]:
        port: dict[str, Any] = self.reported.get("serialPorts", {}).get(name, {})
        return port


def merge(held: dict[str, Any], patch: Document) -> None:
    for key, value in patch.items():
        if value is None:
            held.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(held.get(key), dict):
                held[key] = {}
            merge(held[key], value)
        else:
            held[key] = value


@pytest.fixture
def twin() -> FakeTwin:
    return FakeTwin()


@asynccontextmanager
async def serving_twin(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify, state: Path | None = None
) -> AsyncIterator[Service]:
    service = Service(twin, Settings(state_dir=state), links, watches)
    running = asyncio.create_task(service.run())
    try:
        await until(lambda: twin.events is not None)
        yield service
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_port_comes_up_changes_and_goes_and_each_step_is_reported(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify, tmp_path: Path
) -> None:
    async with serving(echo) as server, serving_twin(twin, links, watches):
        twin.desired(**{"$version": 7}, host="127.0.0.1", serialPorts={"a": {"tcpPort": server.port}})
        await until(lambda: twin.port("a").get("state") == "connected")
        assert twin.reported["status"] == "ok"
        assert twin.reported["desiredVersion"] == 7
        assert twin.reported["configSource"] == "hub"
        twin.desired(**{"$version": 8}, host="127.0.0.1", serialPorts={"a": {"tcpPort": free_port()}})
        await until(lambda: twin.port("a").get("state") == "retrying")
        await until(lambda: twin.reported["status"] == "down")
        twin.desired(**{"$version": 9}, host="127.0.0.1", serialPorts={})
        await until(lambda: "a" not in twin.reported["serialPorts"])
        assert not (tmp_path / "a").is_symlink()


async def test_a_faulty_entry_keeps_its_last_good_configuration_and_others_go_on(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify
) -> None:
    async with serving(echo) as server, serving_twin(twin, links, watches):
        good = {"tcpPort": server.port}
        other = good | {"host": "localhost"}
        twin.desired(host="127.0.0.1", serialPorts={"a": good, "b": other})
        await until(lambda: twin.port("a").get("state") == twin.port("b").get("state") == "connected")
        connects = twin.port("b")["connects"]
        twin.desired(
            host="127.0.0.1", serialPorts={"a": {"tcpPort": 70000}, "b": other, "c": {"tcpPort": "5002"}}
        )
        await until(lambda: "configError" in twin.port("a"))
        assert twin.port("a")["state"] == "connected"
        assert twin.port("a")["configError"]["path"] == "serialPorts.a.tcpPort"
        await until(lambda: twin.port("c").get("state") == "invalid")
        assert (twin.port("b")["state"], twin.port("b")["connects"]) == ("connected", connects)
        assert server.accepted == 2


async def test_a_document_without_serial_ports_changes_nothing(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as server, serving_twin(twin, links, watches):
        twin.desired(host="127.0.0.1", serialPorts={"a": {"tcpPort": server.port}})
        await until(lambda: twin.port("a").get("state") == "connected")
        twin.desired(**{"$version": 1})
        await until(lambda: "the ports stay as they are" in caplog.text)
        assert twin.port("a")["state"] == "connected"


async def test_the_last_good_document_is_acted_upon_before_the_hub_answers(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    async with serving(echo) as server:
        async with serving_twin(twin, links, watches, state):
            twin.desired(**{"$version": 3}, host="127.0.0.1", serialPorts={"a": {"tcpPort": server.port}})
            await until(lambda: list(state.glob("*.json")) if state.exists() else [])
        later = FakeTwin()
        async with serving_twin(later, links, watches, state):
            await until(lambda: later.port("a").get("state") == "connected")
            assert later.reported["configSource"] == "cache"
            assert later.reported["desiredVersion"] == 3
            later.desired(**{"$version": 4}, host="127.0.0.1", serialPorts={"a": {"tcpPort": server.port}})
            await until(lambda: later.reported["configSource"] == "hub")
        assert server.accepted == 2


async def test_what_a_hub_does_not_take_is_sent_when_it_is_back(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify
) -> None:
    async with serving(echo) as server, serving_twin(twin, links, watches):
        twin.accepts = False
        twin.desired(host="127.0.0.1", serialPorts={"a": {"tcpPort": server.port}})
        await until(lambda: twin.refused)
        assert twin.reported == {}
        twin.accepts = True
        assert twin.events is not None
        twin.events.synchronised()
        await until(lambda: twin.port("a").get("state") == "connected")


async def test_an_unreadable_source_is_reported_until_it_is_read_again(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify
) -> None:
    async with serving_twin(twin, links, watches):
        twin.desired(host="127.0.0.1", serialPorts={})
        await until(lambda: twin.reported.get("status") == "unconfigured")
        assert twin.events is not None
        twin.events.desired_unreadable("line 3: a comma is missing")
        await until(lambda: "comma" in json.dumps(twin.reported.get("configErrors")))
        twin.desired(host="127.0.0.1", serialPorts={})
        await until(lambda: "configErrors" not in twin.reported)


async def test_methods_answer(twin: FakeTwin, links: LinkDirectory, watches: Inotify) -> None:
    async with serving(echo) as server, serving_twin(twin, links, watches):
        twin.desired(host="127.0.0.1", serialPorts={"a": {"tcpPort": server.port}})
        await until(lambda: twin.port("a").get("state") == "connected")
        assert twin.events is not None
        status, answer = await twin.events.method_called("getStatus", None)
        assert status == 200
        assert isinstance(answer, dict)
        assert answer["serialPorts"]["a"]["state"] == "connected"
        assert (await twin.events.method_called("restartPort", {"port": "a"}))[0] == 200
        await until(lambda: server.accepted == 2)
        assert (await twin.events.method_called("restartPort", {"port": "b"}))[0] == 404
        assert (await twin.events.method_called("restartPort", {"wrong": 1}))[0] == 400
        assert (await twin.events.method_called("setModemLines", {"port": "a", "dtr": True}))[0] == 409


async def test_the_cloud_gets_as_much_of_a_long_status_as_a_method_may_answer_and_this_machine_all_of_it(
    twin: FakeTwin, links: LinkDirectory, watches: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reported, "MAX_ANSWER_BYTES", 1500)
    async with serving_twin(twin, links, watches) as service:
        twin.desired(host="127.0.0.1", serialPorts={f"p{n}": {"tcpPort": n} for n in range(1, 6)})
        await until(lambda: all(twin.port(f"p{n}").get("state") == "retrying" for n in range(1, 6)))
        assert twin.events is not None
        status, answer = await twin.events.method_called("getStatus", None)
        assert (status, len(json.dumps(answer)) <= 1500) == (200, True)
        assert isinstance(answer, dict)
        assert [port["state"] for port in answer["serialPorts"].values()] == ["retrying"] * 5
        _status, whole = await service.command_received("getStatus", None)
        assert len(json.dumps(whole)) > 1500
