"""Floods of a host and storms of an application: bounded work, bounded queues, and nobody is cut for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import termios
from collections.abc import AsyncIterator

import pytest

from rfc2217 import ComPortCommand, Connection, Control, PurgeData, Role, SetBaudRate, SetControl
from serial_relay.config import LineSettings, Protocol
from serial_relay.remote.connection import Losses
from serial_relay.remote.rfc2217_remote import Rfc2217Remote
from serial_relay.status import LineErrors, State
from tests.module.conditions import until
from tests.module.port.ports import Ports, request
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.remote.test_raw import Relay
from tests.module.serial_servers import serving


class Owner(Relay):
    """Stands in for the relay: counts what the connection reports."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.flushed = 0
        self.suspended = False

    def com_port_changed(self) -> None:
        self.changes += 1

    def line_errors_notified(self, errors: LineErrors) -> None: ...

    def look_for_flush(self) -> None: ...

    def device_data_flushed(self, size: int) -> None:
        self.flushed += size

    def suspended_by_host(self, *, suspended: bool) -> None:
        self.suspended = suspended

    def round_trip_measured(self, seconds: float) -> None:
        pass

    def device_unavailable(self, error: Exception) -> None:
        pass


def modem_states(number: int) -> bytes:
    """Notifications of CTS on and off, in turn."""
    return b"".join(b"\xff\xfa\x2c\x6b" + bytes((16 * (n % 2),)) + b"\xff\xf0" for n in range(number))


@contextlib.asynccontextmanager
async def connected(
    losses: list[Losses] | None = None,
) -> AsyncIterator[tuple[Rfc2217Remote, Owner, ScriptedAccessServer]]:
    """A connection without a relay, with an access server that can be used; `losses` gets those of its end."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    loop = asyncio.get_running_loop()
    host, owner = ScriptedAccessServer(), Owner()
    serving = loop.create_task(host.serve(theirs))
    remote = Rfc2217Remote(loop, ours, "host", LineSettings(), owner)
    await remote.ready
    await until(lambda: not remote._codec.unanswered)  # nothing of the opening comes later
    yield remote, owner, host
    lost = remote.close()
    if losses is not None:
        losses.append(lost)
    await serving


async def test_bytes_of_the_device_that_wait_behind_a_flood_of_commands_are_counted_at_the_end() -> None:
    losses: list[Losses] = []
    async with connected(losses) as (remote, owner, _host):
        owner.data.clear()
        remote.device_data(modem_states(500) + b"of the device")
        assert not owner.data
    assert losses[0].from_device == len(b"of the device")


async def test_a_flood_of_commands_is_handled_in_small_portions() -> None:
    async with connected() as (remote, owner, _host):
        await until(lambda: owner.changes >= 5)
        before = owner.changes
        remote.device_data(modem_states(500))
        assert 0 < owner.changes - before <= 32
        await until(lambda: owner.changes - before >= 500)


@pytest.mark.parametrize(
    "nothing", [b"\xff\xf1", b"\xff\xfe\x63", b"\xff\xfa\x18\x01\xff\xf0", b"\xff\xfa\x2c\x63\xff\xf0"]
)
async def test_what_asks_for_no_action_is_counted_as_work_too(nothing: bytes) -> None:
    async with connected() as (remote, owner, _host):
        before = owner.changes
        remote.device_data(nothing * 100 + modem_states(2))
        assert owner.changes == before
        await until(lambda: owner.changes - before == 2)


async def test_bytes_that_come_after_a_flood_stay_behind_it() -> None:
    async with connected() as (remote, owner, host):
        records = b"".join(b"%04d" % number + modem_states(1) for number in range(200))
        await host.send(records)
        await host.send_data(b"end")
        await until(lambda: owner.data.endswith(b"end"))
        assert owner.data == b"".join(b"%04d" % number for number in range(200)) + b"end"
        remote.pause_reading()
        remote.resume_reading()
        await host.send_data(b"!")
        await until(lambda: owner.data.endswith(b"!"))


async def test_a_connection_that_is_paused_during_a_flood_stays_paused_after_it() -> None:
    async with connected() as (remote, owner, host):
        remote.device_data(modem_states(100))
        remote.pause_reading()
        before = owner.changes
        await until(lambda: owner.changes - before >= 60)
        await host.send_data(b"later")
        await asyncio.sleep(0.05)
        assert not owner.data
        remote.resume_reading()
        await until(lambda: owner.data == b"later")


async def test_a_host_that_breaks_the_protocol_in_a_flood_is_left_and_the_rest_is_not_looked_at() -> None:
    async with connected() as (remote, owner, _host):
        before = owner.changes
        remote.device_data(modem_states(10) + b"\xff\xfa\x2c\x00\xffx" + b"data" + modem_states(10))
        assert "violates the telnet protocol" in str(owner.lost[0])
        assert len(owner.lost) == 1
        await asyncio.sleep(0.01)
        assert owner.changes - before <= 10
        assert not owner.data


async def test_answers_that_a_host_does_not_take_end_the_connection() -> None:
    async with connected() as (remote, owner, host):
        host.hang()
        ask = b"\xff\xfd\x63" * 1000
        while not owner.lost:
            remote.device_data(ask)
            await asyncio.sleep(0.005)
        assert "keeps sending requests without reading our answers (64 KB are queued)" in str(owner.lost[0])
        host.go_on()


@pytest.mark.parametrize("answers", [True, False])
async def test_an_applications_storm_of_flushes_is_folded(ports: Ports, *, answers: bool) -> None:
    host = ScriptedAccessServer()
    host = ScriptedAccessServer(
        lambda command: host.actual(command) if answers or not isinstance(command, PurgeData) else None
    )
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        host.hang()
        for _ in range(500):
            termios.tcflush(slave, termios.TCIFLUSH)
            await asyncio.sleep(0.001)
        host.go_on()
        await until(lambda: host.commands(PurgeData))
        assert await request(slave, b"after the storm") == b"after the storm"
        assert (host.connections, ports.status.connects) == (1, 1)
        assert len(host.commands(PurgeData)) <= 5
        os.close(slave)


async def test_an_applications_storm_of_settings_ends_with_its_last_one(ports: Ports) -> None:
    host = ScriptedAccessServer()
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        await until(lambda: ports.status.application_open)
        host.hang()
        attributes = termios.tcgetattr(slave)
        for turn in range(200):
            attributes[4] = attributes[5] = (termios.B1200, termios.B2400, termios.B4800)[turn % 3]
            termios.tcsetattr(slave, termios.TCSANOW, attributes)
            await asyncio.sleep(0.001)
        host.go_on()
        await until(lambda: ports.status.line and ports.status.line.baud_rate == 2400)
        rates = [command for command in host.commands(SetBaudRate) if command != SetBaudRate()]
        assert len(rates) <= 5
        assert rates[-1] == SetBaudRate(2400)
        assert host.connections == 1
        os.close(slave)


async def test_settings_and_bytes_in_turn_slow_the_application_instead_of_losing_their_order(
    ports: Ports,
) -> None:
    """Each byte needs the setting before it, so nothing can be folded; with too much on its way nothing more is read."""
    host = ScriptedAccessServer()
    host.latency = 0.02
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217)
        await ports.reaches(State.CONNECTED)
        host.echo = False
        slave = ports.open()
        await until(lambda: ports.status.application_open)

        def write() -> None:
            for turn in range(300):
                termios.tcflush(slave, termios.TCOFLUSH)
                os.write(slave, b"%03d." % turn)

        await asyncio.to_thread(write)
        await until(lambda: host.data.endswith(b"299."), timeout=60)
        assert host.connections == 1
        os.close(slave)


async def test_a_host_that_answers_no_control_and_no_purge_is_no_reason_to_give_up(ports: Ports) -> None:
    """More than 256 requests without an answer once ended the connection."""
    host = ScriptedAccessServer()

    def answer(command: ComPortCommand) -> ComPortCommand | None:
        return None if isinstance(command, PurgeData | SetControl) else host.actual(command)

    host = ScriptedAccessServer(answer)
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        for turn in range(300):
            termios.tcflush(slave, termios.TCIFLUSH)
            record = b"%03d" % turn
            assert await request(slave, record) == record
        assert host.connections == 1
        os.close(slave)


def test_a_flood_of_requests_of_a_server_is_answered_as_far_as_it_goes() -> None:
    """A client owes answers to nothing but a question for its signature."""
    client = Connection(Role.CLIENT)
    client.start()
    list(client.receive_data(b"\xff\xfd\x2c"))
    assert len(list(client.receive_data(b"\xff\xfa\x2c\x64\xff\xf0" * 680))) == 680
    assert SetControl(Control.DTR_ON) not in client.unanswered
