"""One port's life over real ptys and real sockets: connected, lost, connected again, changed while it runs."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from serial_relay.config import Connect, WhileDisconnected
from serial_relay.port import rules
from serial_relay.port.supervisor import UnknownPortError
from serial_relay.status import ErrorCode, NotSupportedError, State
from tests.module.conditions import until
from tests.module.conftest import open_descriptors
from tests.module.port.ports import Ports, read, request
from tests.module.serial_servers import accept_then_close, echo, serving
from tests.system.processes import free_port


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


async def test_hold_keeps_what_is_written_during_an_outage(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "HOLD_TIME", 60.0)
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


async def test_opening_during_an_outage_tries_at_once_and_keeps_the_request_for_it(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "HOLD_TIME", 60.0)
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
