from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from serial_relay.config import PortConfig
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.placed_port import PlacedPort
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import ConfigFault, State
from serial_relay.virtual_port.links import LinkDirectory
from tests.module.conditions import until
from tests.module.serial_servers import echo, serving

FAULT = ConfigFault("serialPorts.bad.tcpPort", "a TCP port, 1-65535, not 70000")


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
async def supervisor(links: LinkDirectory, watches: Inotify, changes: list[str]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(links, watches, changes.append)
    yield supervisor
    await supervisor.stop()


def port(name: str, tcp_port: int = 1, *, enabled: bool = True) -> PortConfig:
    return PortConfig(name=name, host="127.0.0.1", tcp_port=tcp_port, link=name, enabled=enabled)


async def test_disabled_and_invalid_ports_have_a_status_that_stands(supervisor: Supervisor) -> None:
    desired = {"off": port("off", enabled=False)}
    await supervisor.reconcile(desired, {"bad": FAULT})
    before = dict(supervisor.statuses())
    assert {name: status.state for name, status in before.items()} == {
        "off": State.DISABLED,
        "bad": State.INVALID,
    }
    assert before["bad"].config_error == FAULT
    since = before["off"].since, before["bad"].since
    await supervisor.reconcile(desired, {"bad": FAULT})
    after = supervisor.statuses()
    assert (after["off"].since, after["bad"].since) == since


async def test_a_faulty_entry_with_a_configuration_runs_and_shows_its_fault(supervisor: Supervisor) -> None:
    async with serving(echo) as server:
        desired = {"bad": port("bad", server.port)}
        await supervisor.reconcile(desired, {"bad": FAULT})
        await until(lambda: supervisor.statuses()["bad"].state is State.CONNECTED)
        assert supervisor.statuses()["bad"].config_error == FAULT
        await supervisor.reconcile(desired, {})
        assert supervisor.statuses()["bad"].config_error is None
        assert server.accepted == 1


async def test_a_link_passes_from_a_removed_port_to_a_new_one(supervisor: Supervisor, tmp_path: Path) -> None:
    async with serving(echo) as server:
        await supervisor.reconcile({"old": replace(port("old", server.port), link="x")}, {})
        await until(lambda: supervisor.statuses()["old"].state is State.CONNECTED)
        first = (tmp_path / "x").resolve()
        await supervisor.reconcile({"new": replace(port("new", server.port), link="x")}, {})
        await until(lambda: supervisor.statuses()["new"].state is State.CONNECTED)
        assert list(supervisor.statuses()) == ["new"]
        assert (tmp_path / "x").is_char_device()
        assert not first.exists() or (tmp_path / "x").resolve() == first


async def test_what_goes_is_told(supervisor: Supervisor, changes: list[str]) -> None:
    await supervisor.reconcile({"a": port("a")}, {})
    await until(lambda: supervisor.statuses()["a"].state is State.RETRYING)
    changes.clear()
    await supervisor.reconcile({}, {})
    assert changes == ["a"]
    assert supervisor.statuses() == {}


async def test_a_port_whose_end_fails_ends_nevertheless(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await supervisor.reconcile({"a": port("a"), "b": port("b")}, {})
    await until(lambda: all(status.state is State.RETRYING for status in supervisor.statuses().values()))

    def fail(placed: PlacedPort) -> None:
        close(placed)
        raise ValueError("a defect")

    close = PlacedPort.close
    monkeypatch.setattr(PlacedPort, "close", fail)
    async with asyncio.timeout(20):
        await supervisor.reconcile({"b": port("b")}, {})
    monkeypatch.undo()
    assert supervisor.statuses().keys() == {"b"}
    assert "port a: unexpected error while the port was stopped" in caplog.text
