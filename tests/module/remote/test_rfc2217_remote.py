"""A port with `protocol: rfc2217`, over real ptys and sockets: its device, and access servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import termios

import pytest

import serial_relay
from rfc2217 import (
    AccessServerSignature,
    ComPortCommand,
    Control,
    Data,
    DeviceState,
    FlowControlResume,
    FlowControlSuspend,
    ModemState,
    NotifyModemState,
    Purge,
    PurgeData,
    SetControl,
    SetParity,
    Signature,
)
from serial_relay import status as relay_status
from serial_relay.config import Connect, WhileDisconnected
from serial_relay.status import ActualLine, ErrorCode, NotSupportedError, State
from tests.module.conditions import until
from tests.module.port.ports import Ports, request
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.remote.rfc2217_port import RFC2217, relayed, told
from tests.module.serial_servers import echo, serving


def signature(state: DeviceState, reason: str = "") -> Signature:
    return Signature(str(AccessServerSignature("serial_host", "1.0.0", "COM3", state, reason)))


async def test_connected_the_line_is_known_and_bytes_pass(ports: Ports) -> None:
    async with relayed(ports) as host:
        assert ports.status.line == ActualLine(9600, 8, "none", 1, "none")
        await until(lambda: ports.status.modem == relay_status.ModemState(cts=True))
        slave = ports.open()
        everything = bytes(range(256)) + b"\xff" * 3
        assert await request(slave, everything) == everything
        assert host.data == everything
        assert ports.status.bytes_to_device == ports.status.bytes_from_device == len(everything)
        os.close(slave)


async def test_flushing_purges_the_host(ports: Ports) -> None:
    async with relayed(ports) as host:
        slave = ports.open()
        for queue, purge in (
            (termios.TCIFLUSH, Purge.RECEIVE),
            (termios.TCOFLUSH, Purge.TRANSMIT),
            (termios.TCIOFLUSH, Purge.BOTH),
        ):
            termios.tcflush(slave, queue)
            await until(lambda purge=purge: told(host)[-1] == PurgeData(purge))  # type: ignore[misc]
        os.write(slave, b"after")
        await until(lambda: host.data)
        assert told(host)[-1] == Data(b"after")
        os.close(slave)


async def test_modem_lines_are_known_within_a_moment(ports: Ports) -> None:
    async with relayed(ports) as host:
        await host.tell(NotifyModemState(ModemState.DSR | ModemState.CD | ModemState.RI))
        await until(lambda: ports.status.modem == relay_status.ModemState(dsr=True, ri=True, cd=True))
        await host.tell(NotifyModemState(ModemState(0)))
        await until(lambda: ports.status.modem == relay_status.ModemState())


async def test_no_lines_and_no_break_without_a_connection(ports: Ports) -> None:
    await ports.configure(tcp_port=1, **RFC2217)
    await ports.reaches(State.RETRYING)
    with pytest.raises(NotSupportedError, match="not connected: the port is retrying"):
        await ports.supervisor.set_modem_lines("a", dtr=True, rts=None)
    with pytest.raises(NotSupportedError, match="not connected"):
        await ports.supervisor.send_break("a", 1)


async def test_a_break_that_is_given_up_ends_at_the_device(ports: Ports) -> None:
    async with relayed(ports) as host:
        sending = asyncio.ensure_future(ports.supervisor.send_break("a", 5000))
        await until(lambda: SetControl(Control.BREAK_ON) in host.commands())
        sending.cancel()
        await until(lambda: SetControl(Control.BREAK_OFF) in host.commands())


async def test_a_break_ends_with_the_connection(ports: Ports) -> None:
    async with relayed(ports) as host:
        sending = asyncio.ensure_future(ports.supervisor.send_break("a", 200))
        await until(lambda: SetControl(Control.BREAK_ON) in host.commands())
        ports.supervisor.restart("a")
        with pytest.raises(NotSupportedError, match="lost during the break"):
            await sending


def fill(slave: int) -> int:
    """Write until the port takes no more, and give the number of bytes."""
    written = 0
    try:
        while True:
            written += os.write(slave, b"x" * 1000)
    except BlockingIOError:
        return written


async def test_suspended_by_the_host_nothing_is_sent_and_nothing_is_lost(ports: Ports) -> None:
    async with relayed(ports) as host:
        host.echo = False
        slave = ports.open(flags=os.O_NONBLOCK)
        os.write(slave, b"before")
        await until(lambda: host.data == b"before")
        await host.tell(FlowControlSuspend())
        await host.send_data(b"!")  # once it is here, so is the command
        await until(lambda: ports.status.bytes_from_device == 1)
        heard = len(host.events)
        written = fill(slave)
        assert written < 40_000  # what a pty takes
        with pytest.raises(NotSupportedError, match="has asked for silence"):
            await ports.supervisor.set_modem_lines("a", dtr=True, rts=None)
        assert len(host.events) == heard
        await host.tell(FlowControlResume())
        await until(lambda: host.data == b"before" + b"x" * written)
        os.close(slave)


async def test_suspended_by_the_host_what_ends_a_stop_is_sent(ports: Ports) -> None:
    """The host asks for silence because the device is stopped; another flow control may let it go on."""
    async with relayed(ports) as host:
        predecessor = ports.open()
        await host.tell(FlowControlSuspend())
        await host.send_data(b"!")  # once it is here, so is the command
        await until(lambda: ports.status.bytes_from_device == 1)
        os.close(predecessor)
        slave = ports.open()
        attributes = termios.tcgetattr(slave)
        attributes[0] |= termios.IXON
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        await until(lambda: SetControl(Control.FLOW_XON_XOFF) in told(host))
        os.close(slave)


async def test_a_device_that_is_absent_at_connect_is_waited_for(ports: Ports) -> None:
    host = ScriptedAccessServer(greeting=(signature(DeviceState.UNAVAILABLE, "unplugged\n<3> forged"),))
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, while_disconnected=WhileDisconnected.HOLD, **RFC2217)
        await until(lambda: ports.status.last_error)
        assert ports.status.last_error.code is ErrorCode.DEVICE_UNAVAILABLE
        assert "COM3 at 127.0.0.1" in ports.status.last_error.message
        assert ports.status.last_error.message.endswith(r"is unavailable: unplugged\n<3> forged")
        await ports.reaches(State.RETRYING)
        await until(lambda: host.commands(SetControl))
        await host.tell(signature(DeviceState.AVAILABLE))
        await ports.reaches(State.CONNECTED)
        assert host.connections == 1


async def test_waiting_for_a_device_ends_when_nobody_wants_the_port_any_more(ports: Ports) -> None:
    host = ScriptedAccessServer(greeting=(signature(DeviceState.UNAVAILABLE),))
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN, **RFC2217)
        slave = ports.open()
        await ports.reaches(State.RETRYING)
        os.close(slave)
        await ports.reaches(State.IDLE)
        await host.tell(signature(DeviceState.AVAILABLE))
        await until(lambda: host.ended)
        assert ports.status.state is State.IDLE


async def test_a_device_that_goes_away_is_reported_and_waited_for(ports: Ports) -> None:
    async with relayed(ports, ScriptedAccessServer(greeting=(signature(DeviceState.AVAILABLE),))) as host:
        host._greeting = (signature(DeviceState.UNAVAILABLE, "unplugged"),)
        await host.tell(signature(DeviceState.UNAVAILABLE, "unplugged"))
        await ports.reaches(State.RETRYING)
        assert ports.status.last_error.code is ErrorCode.DEVICE_UNAVAILABLE
        assert ports.status.line is None
        await until(lambda: host.connections == 2)
        await until(lambda: host.agreed == 2)
        await host.tell(signature(DeviceState.AVAILABLE))
        await ports.reaches(State.CONNECTED)
        assert host.connections == 2


async def test_a_busy_host_is_reported_as_busy(ports: Ports) -> None:
    host = ScriptedAccessServer(greeting=(signature(DeviceState.BUSY, "10.0.0.9 is connected"),))
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, **RFC2217)
        await ports.reaches(State.RETRYING)
        assert ports.status.last_error.code is ErrorCode.BUSY
        assert "busy: 10.0.0.9 is connected" in ports.status.last_error.message
        await until(lambda: host.connections >= 3)
        host._greeting = ()
        await ports.reaches(State.CONNECTED)


async def silent(client: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(client, 4096):
        pass


async def refuse(client: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(client, b"\xff\xfe\x2c\xff\xfc\x2c")
    await silent(client)


async def talk_about_something_else(client: socket.socket) -> None:
    try:
        while True:
            await asyncio.get_running_loop().sock_sendall(client, b"The quick brown fox" * 1000)
    except OSError:
        client.close()


async def break_telnet(client: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(client, b"\xff\xfb\x2c\xff\xfa\x2cabc\xffx")
    await silent(client)


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (silent, "did not agree to the com port option within 4 s"),
        (refuse, "refuses the com port option: is it an RFC 2217 server"),
        (echo, "did not answer SetBaudRate, SetDataSize, SetParity, SetStopSize within 4 s"),
        (talk_about_something_else, "sends data instead of answers"),
        (break_telnet, "violates the telnet protocol: IAC 120 inside a subnegotiation"),
    ],
)
async def test_a_server_that_is_no_access_server(ports: Ports, serve: object, says: str) -> None:
    async with serving(serve) as server:  # type: ignore[arg-type]
        await ports.configure(tcp_port=server.port, **RFC2217)
        await ports.reaches(State.RETRYING)
        assert ports.status.last_error.code is ErrorCode.PROTOCOL
        assert says in ports.status.last_error.message
        await until(lambda: server.accepted >= 2)


async def test_a_host_that_asks_for_ever_and_takes_no_answers_is_left(ports: Ports) -> None:
    async with relayed(ports) as host:
        host.hang()
        assert host._client is not None
        want_binary_and_want_it_not = b"\xff\xfd\x00\xff\xfe\x00"  # each is to be answered
        with contextlib.suppress(OSError):
            while not ports.status.last_error:
                await asyncio.get_running_loop().sock_sendall(
                    host._client, want_binary_and_want_it_not * 1000
                )
        await until(lambda: ports.status.last_error)
        assert ports.status.last_error.code is ErrorCode.PROTOCOL
        assert "keeps sending requests without reading our answers" in ports.status.last_error.message
        host.go_on()


async def test_a_server_that_answers_in_part(ports: Ports) -> None:
    host = ScriptedAccessServer()
    host = ScriptedAccessServer(
        lambda request: None if isinstance(request, SetParity) else host.actual(request)
    )
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, **RFC2217)
        await ports.reaches(State.RETRYING)
        assert ports.status.last_error.code is ErrorCode.PROTOCOL
        assert "did not answer SetParity within 4 s" in ports.status.last_error.message


async def test_unanswered_masks_controls_and_purges_are_tolerated(ports: Ports) -> None:
    host = ScriptedAccessServer()
    silent_about = (SetControl, PurgeData)
    host = ScriptedAccessServer(
        lambda request: None if isinstance(request, silent_about) else host.actual(request)
    )
    async with relayed(ports, host):
        assert ports.status.line == ActualLine(9600, 8, "none", 1, None)
        slave = ports.open()
        termios.tcflush(slave, termios.TCIFLUSH)
        assert await request(slave, b"ping") == b"ping"
        os.close(slave)


async def test_answers_in_any_order(ports: Ports) -> None:
    waiting: list[ComPortCommand] = []
    host = ScriptedAccessServer(lambda request: waiting.append(host.actual(request)))
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, **RFC2217)
        await until(lambda: len(waiting) == 7)
        assert ports.status.state is State.NEGOTIATING
        await host.tell(*reversed(waiting))
        await ports.reaches(State.CONNECTED)
        assert ports.status.line == ActualLine(9600, 8, "none", 1, "none")


async def test_the_heartbeat_gives_the_round_trip(ports: Ports) -> None:
    async with relayed(ports):
        await until(lambda: ports.status.round_trip_seconds)
        assert 0 < ports.status.round_trip_seconds < 5


async def test_a_host_that_hangs_is_noticed_while_an_application_polls(ports: Ports) -> None:
    """Idle, it is noticed in the same way; see `test_heartbeat`."""
    async with relayed(ports) as host:
        await until(lambda: ports.status.round_trip_seconds)
        host.hang()
        slave = ports.open()
        for _ in range(200):
            if ports.status.state is not State.CONNECTED:
                break
            os.write(slave, b"poll")
            await asyncio.sleep(0.1)
        assert ports.status.last_error.code is ErrorCode.TIMED_OUT
        assert "no longer answers questions" in ports.status.last_error.message
        os.close(slave)


async def test_a_host_that_asks_who_we_are_is_told(ports: Ports) -> None:
    async with relayed(ports) as host:
        await host.tell(Signature())
        await until(
            lambda: host.commands(Signature) == [Signature(f"serial_relay/{serial_relay.__version__}")]
        )
