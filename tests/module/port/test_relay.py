"""One port's life over real ptys and real sockets."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serial_relay.config import Connect, PortConfig, WhileDisconnected
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.supervisor import Supervisor, UnknownPortError
from serial_relay.status import ErrorCode, NotSupportedError, State
from serial_relay.virtual_port.links import LinkDirectory
from tests.module.conditions import until
from tests.module.conftest import open_descriptors
from tests.module.serial_servers import accept_then_close, echo, reset, serving
from tests.system.processes import free_port


class Ports:
    """A supervisor with one port that a test changes."""

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        self.supervisor = supervisor
        self.directory = directory
        self.configurations: dict[str, PortConfig] = {}

    async def configure(self, name: str = "a", **changes: Any) -> None:
        standing = self.configurations.get(name) or PortConfig(
            name=name, host="127.0.0.1", tcp_port=1, link=name, uid=os.geteuid(), gid=os.getegid()
        )
        self.configurations[name] = replace(standing, **changes)
        await self.supervisor.reconcile(self.configurations, {})
        link = self.directory / self.configurations[name].link
        status = self.supervisor.statuses()[name]
        await until(lambda: link.is_symlink() or status.last_error or status.state is State.DISABLED)

    async def remove(self, name: str) -> None:
        del self.configurations[name]
        await self.supervisor.reconcile(self.configurations, {})

    @property
    def status(self) -> Any:
        return self.supervisor.statuses()["a"]

    async def reaches(self, state: State, name: str = "a") -> None:
        await until(lambda: self.supervisor.statuses()[name].state is state)

    async def reconnected(self, connects: int) -> None:
        await until(lambda: self.status.connects > connects)

    def open(self, name: str = "a", flags: int = 0) -> int:
        return os.open(self.directory / name, os.O_RDWR | os.O_NOCTTY | flags)


Change = Callable[[str], None]


@pytest.fixture
async def ports(tmp_path: Path, links: LinkDirectory, watches: Inotify) -> AsyncIterator[Ports]:
    links.watch(watches)
    supervisor = Supervisor(links, watches, lambda _name: None)
    yield Ports(supervisor, tmp_path)
    await supervisor.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serial-relay"]


async def read(slave: int, size: int) -> bytes:
    """Read in a thread, as an application does that waits with `select` or `poll` for 20 s at most."""
    data = b""
    while len(data) < size:
        ready, _, _ = await asyncio.to_thread(select.select, [slave], [], [], 20)
        assert ready, f"only {len(data)} of {size} bytes came"
        data += os.read(slave, size - len(data))
    return data


async def request(slave: int, data: bytes) -> bytes:
    await asyncio.to_thread(os.write, slave, data)
    return await read(slave, len(data))


async def send_until_blocked(client: socket.socket) -> None:
    """Send until nothing takes more for a tenth of a second."""
    client.setblocking(False)
    blocked = 0
    while blocked < 20:
        try:
            client.send(bytes(4096))
            blocked = 0
        except BlockingIOError:
            blocked += 1
            await asyncio.sleep(0.005)


async def test_request_and_response(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        assert await request(slave, bytes(range(256))) == bytes(range(256))
        os.close(slave)
        status = ports.status
        assert (status.bytes_to_device, status.bytes_from_device, status.connects) == (256, 256, 1)
        assert status.remote_address == f"127.0.0.1:{server.port}"
        await until(lambda: not ports.status.application_open)


async def test_the_applications_descriptor_survives_every_outage(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        slave = ports.open()
        for round_ in range(5):
            await ports.reaches(State.CONNECTED)
            message = f"round {round_}".encode()
            assert await request(slave, message) == message
            await server.down()
            await ports.reaches(State.RETRYING)
            server.up()
        os.close(slave)
        assert ports.status.connects == 5
        assert ports.status.last_error.code in {ErrorCode.CLOSED_BY_HOST, ErrorCode.CONNECTION_REFUSED}


async def test_an_absent_host_is_said_once_with_what_to_do(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    await ports.configure(tcp_port=free_port())
    await until(lambda: ports.status.last_error)
    first = ports.status.last_error
    await asyncio.sleep(1.0)
    assert ports.status.last_error == first
    assert first.code is ErrorCode.CONNECTION_REFUSED
    assert ports.status.state is State.RETRYING
    assert len([record for record in caplog.records if "refused" in record.getMessage()]) == 1


async def test_a_server_that_accepts_and_closes_causes_no_storm(ports: Ports) -> None:
    async with serving(accept_then_close) as server:
        await ports.configure(tcp_port=server.port)
        await until(lambda: server.accepted >= 5)
        before, started = server.accepted, time.monotonic()
        await asyncio.sleep(5)
        rate = (server.accepted - before) / (time.monotonic() - started)
        assert rate < 5  # each second; half the cap on average is 2


async def test_device_bytes_are_discarded_and_counted_while_nobody_has_the_port_open(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure(tcp_port=server.port)
        client = await server.clients.get()
        client.sendall(bytes(5000))
        await until(lambda: ports.status.discarded.closed == 5000)
        slave = ports.open(flags=os.O_NONBLOCK)
        await until(lambda: ports.status.application_open)
        with pytest.raises(BlockingIOError):
            os.read(slave, 1)
        client.sendall(b"now")
        await until(lambda: ports.status.bytes_from_device == 5003)
        assert os.read(slave, 10) == b"now"
        os.close(slave)


async def test_bytes_written_during_an_outage_are_discarded_and_counted(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        slave = ports.open()
        await ports.reaches(State.CONNECTED)
        await until(lambda: ports.status.application_open)
        await server.down()
        await ports.reaches(State.RETRYING)
        os.write(slave, b"lost")
        await until(lambda: ports.status.discarded.disconnected == 4)
        server.up()
        await ports.reaches(State.CONNECTED)
        assert await request(slave, b"kept") == b"kept"
        os.close(slave)


async def test_hold_keeps_what_is_written_during_an_outage(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port, while_disconnected=WhileDisconnected.HOLD)
        slave = ports.open()
        await ports.reaches(State.CONNECTED)
        await until(lambda: ports.status.application_open)
        await server.down()
        await ports.reaches(State.RETRYING)
        os.write(slave, b"kept ")
        os.write(slave, b"in order")
        await asyncio.sleep(0.3)
        server.up()
        assert await read(slave, 13) == b"kept in order"
        os.close(slave)
        assert ports.status.discarded.disconnected == 0


async def test_hold_is_bounded_in_size_and_time(ports: Ports) -> None:
    await ports.configure(tcp_port=free_port(), while_disconnected=WhileDisconnected.HOLD)
    await ports.reaches(State.RETRYING)
    slave = ports.open()
    await asyncio.to_thread(os.write, slave, bytes(3000))
    await asyncio.to_thread(os.write, slave, bytes(3000))
    await asyncio.to_thread(os.write, slave, bytes(3000))
    await until(lambda: ports.status.discarded.overrun == 9000 - 8192)
    assert ports.status.discarded.disconnected == 0
    await until(lambda: ports.status.discarded.disconnected == 8192)
    os.close(slave)


async def test_on_open_connects_when_an_application_opens_and_loses_no_byte_of_its_first_request(
    ports: Ports,
) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN)
        await ports.reaches(State.IDLE)
        assert server.accepted == 0
        slave = ports.open()
        assert await request(slave, b"first request") == b"first request"
        assert ports.status.state is State.CONNECTED
        os.close(slave)
        await ports.reaches(State.IDLE)  # after the linger
        assert server.accepted == 1


async def test_on_open_hears_a_shell_that_only_echoes(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN)
        await ports.reaches(State.IDLE)
        slave = ports.open()
        os.write(slave, b"AT\r")
        os.close(slave)
        client = await server.clients.get()
        client.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(client, 10) == b"AT\r"


async def test_on_open_reopened_within_the_linger_keeps_its_connection(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN)
        for _ in range(3):
            slave = ports.open()
            assert await request(slave, b"again") == b"again"
            os.close(slave)
            await until(lambda: not ports.status.application_open)
        assert server.accepted == 1


async def test_opening_during_an_outage_tries_at_once_and_keeps_the_request_for_it(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        await server.down()
        await until(lambda: ports.status.last_error is not None)
        server.up()
        slave = ports.open()
        assert await request(slave, b"request") == b"request"
        os.close(slave)
        assert ports.status.discarded.disconnected == 0


async def test_another_host_takes_over_while_the_application_keeps_its_descriptor(ports: Ports) -> None:
    async with serving(echo) as first, serving(echo) as second:
        await ports.configure(tcp_port=first.port)
        slave = ports.open()
        assert await request(slave, b"one") == b"one"
        await ports.configure(tcp_port=second.port)
        await until(lambda: ports.status.remote_address == f"127.0.0.1:{second.port}")
        assert await request(slave, b"two") == b"two"
        os.close(slave)


async def test_a_link_moves_and_ports_swap_links(ports: Ports) -> None:
    await ports.configure("a", link="x")
    await ports.configure("b", link="y")
    await ports.reaches(State.RETRYING, "a")
    await ports.reaches(State.RETRYING, "b")
    x, y = (os.path.realpath(ports.directory / name) for name in "xy")
    ports.configurations["a"] = replace(ports.configurations["a"], link="y")
    await ports.configure("b", link="x")
    assert [os.path.realpath(ports.directory / name) for name in "xy"] == [y, x]
    assert ports.supervisor.statuses()["a"].link == str(ports.directory / "y")
    await ports.configure("a", link="z")
    assert not (ports.directory / "y").is_symlink()
    assert os.path.realpath(ports.directory / "z") == x


async def test_a_taken_link_is_an_error_of_its_port_until_it_is_free(ports: Ports) -> None:
    async with serving(echo) as server:
        (ports.directory / "a").write_text("somebody's file")
        await ports.configure("a", tcp_port=server.port)
        await ports.configure("b", tcp_port=server.port)
        await ports.reaches(State.CONNECTED, "b")
        await until(lambda: ports.status.last_error)
        assert ports.status.last_error.code is ErrorCode.LINK
        assert ports.status.state is State.RETRYING
        (ports.directory / "a").unlink()
        await ports.reaches(State.CONNECTED, "a")


async def test_a_change_to_a_link_that_is_taken_leaves_the_port_as_it_is_until_the_link_is_free(
    ports: Ports,
) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        (ports.directory / "taken").write_text("somebody's file")
        await ports.configure(link="taken")
        await until(lambda: ports.status.last_error)
        assert ports.status.last_error.code is ErrorCode.LINK
        assert await request(slave, b"the same connection") == b"the same connection"
        os.close(slave)
        await until(lambda: not ports.status.application_open)
        slave = ports.open("a")  # by the old link, also after the pty behind it was changed
        assert await request(slave, b"the old link") == b"the old link"
        assert (ports.status.state, ports.status.connects) == (State.CONNECTED, 1)
        assert ports.status.link == str(ports.directory / "a")
        ports.supervisor.restart("a")
        await ports.reconnected(1)
        assert await request(slave, b"also after a restart") == b"also after a restart"
        (ports.directory / "taken").unlink()
        await until(lambda: ports.status.link == str(ports.directory / "taken"))
        assert not (ports.directory / "a").is_symlink()
        assert await request(slave, b"still the same") == b"still the same"
        assert ports.status.connects == 2
        os.close(slave)


@pytest.mark.parametrize("what", ["outer link", "inner link", "our directory"])
async def test_what_somebody_removes_of_a_link_is_made_again(ports: Ports, what: str) -> None:
    async with serving(echo) as server:
        await ports.configure("a", tcp_port=server.port)
        await ports.configure("b", tcp_port=server.port)
        for name in "ab":
            await ports.reaches(State.CONNECTED, name)
        slave = ports.open()
        match what:
            case "outer link":
                (ports.directory / "a").unlink()
            case "inner link":
                (ports.directory / "serial-relay" / "a").unlink()
            case "our directory":
                shutil.rmtree(ports.directory / "serial-relay")
        await until((ports.directory / "a").exists)
        await until((ports.directory / "b").exists)
        assert await request(slave, b"goes on") == b"goes on"
        os.close(slave)
        await until(lambda: not ports.status.application_open)
        for name in "ab":
            slave = ports.open(name)
            assert await request(slave, b"opens again") == b"opens again"
            os.close(slave)
            assert ports.supervisor.statuses()[name].connects == 1


async def test_a_link_that_is_removed_again_and_again_costs_little(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        for _ in range(400):
            (ports.directory / "a").unlink(missing_ok=True)
            await asyncio.sleep(0.005)
        await until((ports.directory / "a").exists)
        assert 2 <= caplog.text.count("somebody removed") <= 12


async def test_one_port_changes_while_another_loses_no_byte(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure("a", tcp_port=server.port)
        await ports.configure("b", tcp_port=server.port)
        await ports.reaches(State.CONNECTED, "a")
        slave = ports.open("a")
        sent = os.urandom(300_000)
        writing = asyncio.create_task(asyncio.to_thread(_write_all, slave, sent))
        reading = asyncio.create_task(read(slave, len(sent)))
        for change in ({"tcp_port": free_port()}, {"enabled": False}, {"enabled": True}, {"link": "other"}):
            await ports.configure("b", **change)
        await ports.remove("b")
        await writing
        assert await reading == sent
        os.close(slave)


def _write_all(slave: int, data: bytes) -> None:
    while data:
        data = data[os.write(slave, data) :]


async def test_restart_connects_anew(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        ports.supervisor.restart("a")
        await until(lambda: ports.status.connects == 2)
        assert await request(slave, b"same descriptor") == b"same descriptor"
        os.close(slave)
        with pytest.raises(UnknownPortError):
            ports.supervisor.restart("nowhere")
        with pytest.raises(NotSupportedError, match="rfc2217"):
            await ports.supervisor.set_modem_lines("a", dtr=True, rts=None)


async def test_restart_brings_a_removed_link_back(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        (ports.directory / "a").unlink()
        ports.supervisor.restart("a")
        await until((ports.directory / "a").is_symlink)
        slave = ports.open()
        assert await request(slave, b"again") == b"again"
        os.close(slave)


async def test_a_disabled_port_has_no_link_and_no_connection(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port, enabled=False)
        assert ports.status.state is State.DISABLED
        assert not (ports.directory / "a").is_symlink()
        await ports.configure(enabled=True)
        await ports.reaches(State.CONNECTED)
        await ports.configure(enabled=False)
        assert not (ports.directory / "a").is_symlink()


async def test_a_host_that_does_not_read_slows_the_application_and_loses_nothing(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure(tcp_port=server.port)
        client = await server.clients.get()
        slave = ports.open(flags=os.O_NONBLOCK)
        await until(lambda: ports.status.application_open)
        sent = bytearray()
        blocked = 0
        while blocked < 50:
            piece = os.urandom(512)
            try:
                sent += piece[: os.write(slave, piece)]
                blocked = 0
            except BlockingIOError:
                blocked += 1
                await asyncio.sleep(0.005)
        client.setblocking(False)
        received = bytearray()
        while len(received) < len(sent):
            received += await asyncio.get_running_loop().sock_recv(client, 65536)
        assert received == sent
        assert ports.status.bytes_to_device == len(sent)
        os.close(slave)


async def test_an_application_that_does_not_read_slows_the_host_across_a_reconnect(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure(tcp_port=server.port)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        for _ in range(3):
            client = await server.clients.get()
            await send_until_blocked(client)
            reset(client)
        client = await server.clients.get()
        # Only what one descriptor can hold was taken over from each connection: nothing piles up here.
        assert ports.status.bytes_from_device < 64 * 1024
        os.close(slave)
        await until(lambda: not ports.status.application_open)
        client.sendall(b"flows again")
        discarded = ports.status.discarded
        await until(lambda: discarded.closed + discarded.undelivered == ports.status.bytes_from_device)
        assert discarded.undelivered > 0  # what waited in the socket when each connection was reset


async def test_many_reconnects_leave_no_descriptor_behind(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        before = len(open_descriptors())
        for _ in range(50):
            connects = ports.status.connects
            ports.supervisor.restart("a")
            await ports.reconnected(connects)
        await until(lambda: len(open_descriptors()) <= before + 1)


async def test_a_defect_in_one_port_is_logged_and_the_port_starts_again(
    ports: Ports, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    defects = [RuntimeError("a defect")]

    def fail_once(*_: object) -> None:
        if defects:
            raise defects.pop()

    monkeypatch.setattr("serial_relay.port.bridge.Bridge.remove_remote", fail_once)
    await ports.configure(tcp_port=free_port())
    await until(lambda: not defects)
    await until(lambda: "unexpected error" in caplog.text)
    await ports.reaches(State.RETRYING)


async def test_a_port_that_a_defect_ended_while_it_held_the_device_back_reads_it_again(
    tmp_path: Path, links: LinkDirectory, watches: Inotify, caplog: pytest.LogCaptureFixture
) -> None:
    defects: list[Exception] = []

    def fail_once(_name: str) -> None:
        if defects:
            raise defects.pop()

    supervisor = Supervisor(links, watches, fail_once)
    ports = Ports(supervisor, tmp_path)
    async with serving() as server:
        await ports.configure(tcp_port=server.port)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        client = await server.clients.get()
        await send_until_blocked(client)
        defects.append(RuntimeError("a defect"))
        reset(client)
        client = await server.clients.get()
        assert "a defect" in caplog.text
        os.close(slave)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        client.sendall(b"flows again")
        assert await read(slave, 11) == b"flows again"
        os.close(slave)
    await supervisor.stop()
