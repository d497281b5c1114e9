"""What else may happen while a port is stopped and what is on its way still arrives."""

from __future__ import annotations

import asyncio
import os
import socket

from serial_relay.port import rules
from serial_relay.status import State
from tests.module.conditions import until
from tests.module.port.ports import Ports, write_until_blocked
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.remote.rfc2217_port import relayed
from tests.module.serial_servers import serving


class StaysAfterTheEnd(ScriptedAccessServer):
    """Does not end the connection although the client has."""

    async def serve(self, client: socket.socket) -> None:
        await super().serve(client.dup())


async def test_a_second_stop_does_not_count_as_lost_what_has_arrived(ports: Ports) -> None:
    """A port is removed from the desired properties, and SIGTERM comes before that is done."""
    async with relayed(ports, StaysAfterTheEnd()) as host:
        host.echo = False
        slave = ports.open()
        os.write(slave, bytes(100))
        await until(lambda: len(host.data) == 100)
        status = ports.status
        removal = asyncio.create_task(ports.remove("a"))
        await until(lambda: host.ended)
        removal.cancel()
        await ports.supervisor.stop()
        os.close(slave)
        assert status.discarded.disconnected == 0


async def test_a_restart_takes_nothing_from_a_port_that_is_being_stopped(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure(tcp_port=server.port)
        client = await server.clients.get()
        await ports.reaches(State.CONNECTED)
        slave = ports.open(flags=os.O_NONBLOCK)
        await until(lambda: ports.status.application_open)
        written = await write_until_blocked(slave)
        status = ports.status
        removal = asyncio.create_task(ports.remove("a"))
        await until(lambda: not (ports.directory / "a").is_symlink())
        ports.supervisor.restart("a")
        received = 0
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(client, 65536):
            received += len(data)
        client.close()
        await removal
        os.close(slave)
        assert (received, status.discarded.disconnected) == (written, 0)


async def test_a_link_that_was_removed_does_not_come_back_while_its_port_is_stopped(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure(tcp_port=server.port)
        client = await server.clients.get()
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        await asyncio.get_running_loop().sock_sendall(client, bytes(100))  # which nobody reads
        await until(lambda: ports.status.bytes_from_device == 100)
        link = ports.directory / "a"
        link.unlink()
        relay = ports.supervisor._ports["a"].relay
        await until(lambda: relay is None or relay._link_retry.deadline)
        removal = asyncio.create_task(ports.remove("a"))
        seen = []
        while not removal.done():
            seen.append(link.is_symlink())
            await asyncio.sleep(0.005)
        os.close(slave)
        assert True not in seen
        assert len(seen) * 0.005 > rules._FIRST_RETRY


async def test_a_port_that_has_arrived_ends_before_one_that_waits_for_its_host(ports: Ports) -> None:
    async with serving() as server:
        await ports.configure("slow", tcp_port=server.port)
        client = await server.clients.get()
        await ports.configure("idle", tcp_port=server.port)
        await server.clients.get()
        await ports.reaches(State.CONNECTED, "slow")
        slow = ports.open("slow", os.O_NONBLOCK)
        await write_until_blocked(slow)
        end = asyncio.create_task(ports.supervisor.stop())
        await until(lambda: "idle" not in ports.supervisor.statuses(), timeout=rules.STOP / 2)
        assert "slow" in ports.supervisor.statuses()
        client.close()
        await end
        os.close(slow)
