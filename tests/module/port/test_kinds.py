"""Which kind of virtual port there is, and what becomes of a port whose device is gone; the server is a stand-in without CUSE."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from serial_relay.config import Kind, LineSettings, PortConfig, Protocol
from serial_relay.plumbing.backoff import Backoff
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port import supervisor
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import ErrorCode, PortStatus, State
from serial_relay.virtual_port import device_server, tty_port
from serial_relay.virtual_port.device_server import DeviceServer
from serial_relay.virtual_port.links import LinkDirectory
from serial_relay.virtual_port.node_owner import NodeOwner
from tests.module.conditions import until
from tests.module.virtual_port.test_device_server import STAND_IN, servers
from tests.system.processes import free_port

SOON = 0.05
"""Seconds."""


class Ports:
    """One port, `a`, and a file that stands for /dev/cuse."""

    def __init__(
        self, links: LinkDirectory, watches: Inotify, cuse: Path, devices: DeviceServer | None = None
    ) -> None:
        self.cuse = cuse
        devices = devices or DeviceServer(STAND_IN, str(cuse))
        self.supervisor = Supervisor(links, watches, lambda _name: None, devices=devices)

    async def configure(self, kind: Kind, protocol: Protocol = Protocol.RFC2217) -> None:
        config = PortConfig(
            name="a",
            host="127.0.0.1",
            tcp_port=free_port(),
            link="a",
            protocol=protocol,
            kind=kind,
            line=LineSettings(baud_rate=4800),
            uid=os.geteuid(),
            gid=os.getegid(),
        )
        await self.supervisor.reconcile({"a": config}, {})

    @property
    def status(self) -> PortStatus:
        return self.supervisor.statuses()["a"]


@pytest.fixture
async def ports(
    links: LinkDirectory, watches: Inotify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ports]:
    monkeypatch.setattr(tty_port, "check_node", lambda _node, _minor: None)
    monkeypatch.setattr(NodeOwner, "give", lambda _self, _node: None)
    ports = Ports(links, watches, tmp_path / "cuse")
    yield ports
    await ports.supervisor.stop()


def target(links: LinkDirectory) -> Path:
    middle = links.path("a").parent / links.path("a").readlink()
    return Path(os.path.normpath(middle.parent / middle.readlink()))


@pytest.mark.parametrize("kind", [Kind.AUTO, Kind.TTY])
async def test_with_cuse_it_is_a_tty(ports: Ports, links: LinkDirectory, kind: Kind) -> None:
    ports.cuse.touch()
    await ports.configure(kind)
    await until(lambda: ports.status.kind == "tty" and links.path("a").is_symlink())
    assert ports.status.kind_reason is None
    assert target(links) == Path("/dev/serialrelay0")


async def test_without_cuse_auto_is_a_pty_and_says_why(ports: Ports) -> None:
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "pty")
    assert ports.status.kind_reason is not None
    assert "modprobe cuse" in ports.status.kind_reason
    assert ports.status.kind_reason.endswith("; the port tries again while no application has it open")
    assert not servers()
    ports.cuse.touch()
    ports.supervisor.restart("a")
    await until(lambda: ports.status.kind == "tty")
    assert ports.status.kind_reason is None


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that lay between two looks whether there can be character devices, and will lie before the next."""
    delays: list[float] = []

    class Noted(Backoff):
        def next_delay(self) -> float:
            delays.append(super().next_delay())
            return delays[-1]

    monkeypatch.setattr(supervisor, "Backoff", Noted)
    monkeypatch.setattr(supervisor, "_LOOKS_EVERY", SOON)
    monkeypatch.setattr(supervisor, "_LONGEST_BETWEEN_LOOKS", 4 * SOON)
    return delays


async def test_a_pty_becomes_a_tty_by_itself_once_no_application_has_it_open(
    delays: list[float], ports: Ports, links: LinkDirectory
) -> None:
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "pty" and links.path("a").is_symlink())
    application = os.open(links.path("a"), os.O_RDWR | os.O_NOCTTY)
    try:
        await until(lambda: ports.status.application_open)
        ports.cuse.touch()
        looks = len(delays)
        await until(lambda: len(delays) > looks + 3)
        assert set(delays) == {SOON}
        assert ports.status.kind == "pty"
        os.write(application, b"not hung up")
    finally:
        os.close(application)
    await until(lambda: ports.status.kind == "tty")
    assert ports.status.kind_reason is None


async def test_an_application_that_opens_the_port_during_the_look_keeps_it(
    ports: Ports, links: LinkDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "pty" and links.path("a").is_symlink())
    opened: list[int] = []

    async def look_and_open(_devices: DeviceServer) -> str | None:
        opened.append(os.open(links.path("a"), os.O_RDWR | os.O_NOCTTY))
        await until(lambda: ports.status.application_open)
        return None

    with monkeypatch.context() as patched:
        patched.setattr(DeviceServer, "why_not", look_and_open)
        ports.supervisor.restart("a")
        await until(lambda: opened)
        await until(lambda: ports.status.state is State.RETRYING)  # by which time it has been decided
    assert ports.status.kind == "pty"
    os.write(opened[0], b"not hung up")
    os.close(opened[0])


async def test_looks_grow_rarer_while_no_device_can_be_made(
    delays: list[float], links: LinkDirectory, watches: Inotify, tmp_path: Path
) -> None:
    ports = Ports(links, watches, tmp_path / "cuse", DeviceServer(("/bin/false",), "/dev/null"))
    await ports.configure(Kind.AUTO)
    await until(lambda: delays[-2:] == [4 * SOON] * 2)
    await ports.supervisor.stop()
    assert sorted(set(delays)) == [SOON, 2 * SOON, 4 * SOON]


async def test_a_raw_port_is_a_pty_unless_it_is_to_be_a_tty(ports: Ports) -> None:
    ports.cuse.touch()
    await ports.configure(Kind.AUTO, Protocol.RAW)
    await until(lambda: ports.status.kind == "pty")
    assert ports.status.kind_reason is None
    await ports.configure(Kind.TTY, Protocol.RAW)
    await until(lambda: ports.status.kind == "tty")
    await ports.configure(Kind.PTY, Protocol.RAW)
    await until(lambda: ports.status.kind == "pty")
    assert ports.status.kind_reason is None


async def test_without_cuse_a_tty_is_an_error_and_is_tried_again(ports: Ports) -> None:
    await ports.configure(Kind.TTY)
    await until(lambda: ports.status.state is State.RETRYING)
    error = ports.status.last_error
    assert error is not None
    assert error.code is ErrorCode.LINK
    assert error.message.startswith("cannot make a tty: there is no /dev/cuse")
    assert ports.status.kind is None
    ports.cuse.touch()
    await until(lambda: ports.status.kind == "tty")


async def test_a_server_that_dies_is_started_again_and_its_port_made_again(
    ports: Ports, links: LinkDirectory
) -> None:
    ports.cuse.touch()
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "tty" and links.path("a").is_symlink())
    [dead] = servers()
    dead.kill()
    await until(lambda: [server.pid for server in servers()] not in ([], [dead.pid]))
    await until(lambda: ports.status.kind == "tty" and links.path("a").is_symlink())
    assert target(links) == Path("/dev/serialrelay0")


async def test_a_server_that_stands_still_is_killed_and_its_port_made_again(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_server, "_ASKED_EVERY", 0.5)
    ports.cuse.touch()
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "tty")
    [stopped] = servers()
    stopped.suspend()
    await until(lambda: [server.pid for server in servers()] not in ([], [stopped.pid]))
    await until(lambda: ports.status.kind == "tty" and ports.status.state is State.RETRYING)
    assert not stopped.is_running()


async def test_a_server_that_cannot_run_leaves_an_automatic_port_a_pty(
    links: LinkDirectory, watches: Inotify, tmp_path: Path
) -> None:
    ports = Ports(links, watches, tmp_path / "cuse", DeviceServer(("/bin/false",), "/dev/null"))
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "pty")
    assert ports.status.kind_reason is not None
    assert "the server of devices" in ports.status.kind_reason
    await ports.supervisor.stop()
    assert not [child for child in psutil.Process().children() if child.name() == "false"]


async def test_a_device_that_is_lost_during_the_look_is_made_again(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports.cuse.touch()
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "tty")
    [dead] = servers()

    async def look_and_lose(_devices: DeviceServer) -> str | None:
        dead.kill()
        await until(lambda: ports.status.last_error and ports.status.last_error.code is ErrorCode.LINK)
        return None

    with monkeypatch.context() as patched:
        patched.setattr(DeviceServer, "why_not", look_and_lose)
        ports.supervisor.restart("a")
        await until(lambda: not dead.is_running() or dead.status() == psutil.STATUS_ZOMBIE)
        await until(lambda: ports.status.last_error and ports.status.last_error.code is ErrorCode.LINK)
    await until(lambda: [server.pid for server in servers()] not in ([], [dead.pid]), timeout=5)


async def test_a_kind_that_is_changed_during_the_look_is_looked_at_as_well(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ports.configure(Kind.AUTO)
    await until(lambda: ports.status.kind == "pty")
    ports.cuse.touch()
    looked: list[bool] = []

    async def look_and_change(_devices: DeviceServer) -> str | None:
        if not looked:
            looked.append(True)
            await ports.configure(Kind.TTY)
            return "not at this moment"
        return None

    monkeypatch.setattr(DeviceServer, "why_not", look_and_change)
    ports.supervisor.restart("a")
    await until(lambda: ports.status.kind == "tty", timeout=5)
