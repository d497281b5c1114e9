"""A host or an application that does not read slows the other side, and no byte is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from serial_relay.config import Connect
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port import relay
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import State
from serial_relay.virtual_port.links import LinkDirectory
from tests.module.conditions import until
from tests.module.port.ports import Ports, read, send_until_blocked, write_until_blocked
from tests.module.serial_servers import reset, serving


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


async def write_and_leave(ports: Ports) -> int:
    """Open the port, write until nothing takes more for a tenth of a second, and close it."""
    slave = ports.open(flags=os.O_NONBLOCK)
    written = await write_until_blocked(slave)
    os.close(slave)
    return written


async def test_on_open_a_slow_host_gets_what_an_application_left_however_long_it_takes(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LINGER", 0.75)
    # With a larger buffer the host would take the bytes in leaps of 64 KB.
    async with serving(receive_buffer=4096) as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN)
        written = await write_and_leave(ports)
        client = await server.clients.get()
        client.setblocking(False)
        received = 0
        while data := await asyncio.get_running_loop().sock_recv(client, 500):
            received += len(data)
            await asyncio.sleep(0.04)
        client.close()
        assert received == written
        await ports.reaches(State.IDLE)
        assert ports.status.discarded.disconnected == 0


async def test_on_open_a_host_that_takes_nothing_is_left(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LINGER", 0.2)
    async with serving() as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN)
        await write_and_leave(ports)
        await ports.reaches(State.IDLE)
        assert ports.status.discarded.disconnected > 0


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
