"""A port with `protocol: rfc2217`, over real ptys and sockets, against access servers that behave and misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import serial

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
    Parity,
    Purge,
    PurgeData,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    Signature,
    StopSize,
)
from serial_relay import status as relay_status
from serial_relay.config import Connect, LineSettings, Protocol, WhileDisconnected
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import ActualLine, ErrorCode, NotSupportedError, State
from serial_relay.virtual_port.links import LinkDirectory
from tests.module.conditions import until
from tests.module.port.test_relay import Ports, request
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.serial_servers import echo, serving

pytestmark = pytest.mark.timeout(90)

RFC2217: dict[str, Any] = {"protocol": Protocol.RFC2217}


@pytest.fixture
async def ports(tmp_path: Path, links: LinkDirectory, watches: Inotify) -> AsyncIterator[Ports]:
    supervisor = Supervisor(links, watches, lambda _name: None)
    yield Ports(supervisor, tmp_path)
    await supervisor.stop()


@asynccontextmanager
async def relayed(
    ports: Ports, host: ScriptedAccessServer | None = None, **config: Any
) -> AsyncIterator[ScriptedAccessServer]:
    """Serve a port, and have it connected."""
    host = host or ScriptedAccessServer()
    async with serving(host.serve) as server:
        host.port = server.port
        await ports.configure(tcp_port=server.port, **RFC2217, **config)
        await ports.reaches(State.CONNECTED)
        yield host


def told(host: ScriptedAccessServer) -> list[object]:
    """What the host was told, without the heartbeat's questions."""
    return [event for event in host.events if event != SetBaudRate()]


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


async def test_the_line_of_the_twin_is_pushed_at_connect(ports: Ports) -> None:
    line = LineSettings(baud_rate=250_000, data_bits=7, parity="even", stop_bits=1.5, flow_control="dtrDsr")
    async with relayed(ports, line=line) as host:
        assert host.commands()[:7] == [
            SetBaudRate(250_000),
            SetDataSize(7),
            SetParity(Parity.EVEN),
            SetStopSize(StopSize.ONE_AND_A_HALF),
            SetControl(Control.FLOW_DSR),
            SetControl(Control.INBOUND_FLOW_DTR),
            SetControl(Control.RTS_ON),
        ]
        assert ports.status.line == ActualLine(250_000, 7, "even", 1.5, "dtrDsr")


async def test_another_line_in_the_twin_applies_without_a_new_connection(ports: Ports) -> None:
    async with relayed(ports, line=LineSettings(baud_rate=9600)) as host:
        await ports.configure(line=LineSettings(baud_rate=19_200, parity="odd"))
        await until(lambda: ports.status.line == ActualLine(19_200, 8, "odd", 1, "none"))
        assert host.commands(SetParity) == [SetParity(), SetParity(Parity.ODD)]
        assert host.commands(SetDataSize) == [SetDataSize()]
        assert (host.connections, ports.status.connects) == (1, 1)


async def test_the_host_answers_what_is_and_not_what_was_asked(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    host = ScriptedAccessServer()
    host = ScriptedAccessServer(
        lambda request: SetBaudRate(115_200) if isinstance(request, SetBaudRate) else host.actual(request)
    )
    async with relayed(ports, host, line=LineSettings(baud_rate=128_000, parity="even")):
        assert ports.status.line.baud_rate == 115_200
        await until(lambda: ports.status.round_trip_seconds)
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert warnings == [
            f"127.0.0.1:{host.port}: asked for baudRate 128000, the real port has baudRate 115200"
        ]


async def test_what_an_application_sets_arrives_before_the_bytes_it_writes_then(ports: Ports) -> None:
    async with relayed(ports) as host:
        with serial.Serial(
            str(ports.directory / "a"), 19_200, stopbits=serial.STOPBITS_TWO, rtscts=True, timeout=10
        ) as port:
            port.write(b"at 19200 8N2")
            await until(lambda: host.data == b"at 19200 8N2")
            sent = [
                event
                for event in told(host)
                if isinstance(event, Data | SetBaudRate | SetStopSize | SetControl)
            ]
            assert sent[-5:-1] == [
                SetBaudRate(19_200),
                SetStopSize(StopSize.TWO),
                SetControl(Control.FLOW_HARDWARE),
                SetControl(Control.INBOUND_FLOW_HARDWARE),
            ]
            port.baudrate = 250_000
            port.write(b"at 250000")
            await until(lambda: host.data.endswith(b"at 250000"))
            assert told(host)[-2:] == [SetBaudRate(250_000), Data(b"at 250000")]
            port.rtscts = False
            port.xonxoff = True
            await until(lambda: SetControl(Control.RTS_ON) in told(host)[-3:])
            assert told(host)[-3:] == [
                SetControl(Control.FLOW_XON_XOFF),
                SetControl(Control.INBOUND_FLOW_XON_XOFF),
                SetControl(Control.RTS_ON),
            ]
            await until(lambda: ports.status.line == ActualLine(250_000, 8, "none", 2, "xonXoff"))


async def test_what_the_twin_says_is_not_the_applications_to_set(ports: Ports) -> None:
    async with relayed(ports, line=LineSettings(baud_rate=9600)) as host:
        with serial.Serial(str(ports.directory / "a"), 19_200, stopbits=serial.STOPBITS_TWO) as port:
            port.write(b"x")
            await until(lambda: host.data)
            assert host.commands(SetStopSize) == [SetStopSize(), SetStopSize(StopSize.TWO)]
            assert {c.value for c in host.commands(SetBaudRate) if isinstance(c, SetBaudRate)} <= {0, 9600}
            await ports.configure(line=LineSettings())
            await until(lambda: SetBaudRate(19_200) in host.commands())


async def test_an_application_that_sets_nothing_leaves_the_line_alone(ports: Ports) -> None:
    async with relayed(ports) as host:
        slave = ports.open()
        os.write(slave, b"x")
        await until(lambda: host.data)
        os.close(slave)
        await until(lambda: not ports.status.application_open)
        assert ports.status.line == ActualLine(9600, 8, "none", 1, "none")
        raised = [SetControl(Control.DTR_ON), SetControl(Control.RTS_ON)]
        asked = [command for command in host.commands() if command not in raised]
        assert all(getattr(command, "value", None) == 0 for command in asked)


async def test_the_line_outlives_the_application_and_the_connection(ports: Ports) -> None:
    async with relayed(ports) as host:
        await asyncio.to_thread(os.system, f"stty -F {ports.directory / 'a'} 57600 cstopb raw")
        await until(lambda: ports.status.line == ActualLine(57_600, 8, "none", 2, "none"))
        ports.supervisor.restart("a")
        await until(lambda: host.connections == 2 and ports.status.line)
        await until(lambda: ports.status.state is State.CONNECTED)
        assert host.commands(SetBaudRate)[-1] in (SetBaudRate(57_600), SetBaudRate())
        assert SetBaudRate(57_600) in host.commands(SetBaudRate)[2:]
        assert ports.status.line.stop_bits == 2


async def test_a_reader_of_lines_gets_lines_and_its_settings_are_followed(ports: Ports) -> None:
    async with relayed(ports) as host:
        slave = ports.open()
        attributes = termios.tcgetattr(slave)
        attributes[0] |= termios.ICRNL
        attributes[3] |= termios.ICANON
        attributes[4] = attributes[5] = termios.B4800
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        await until(lambda: SetBaudRate(4800) in host.commands())
        await host.send_data(b"$GPGGA,1\r$GPGGA,2")
        assert await asyncio.to_thread(os.read, slave, 100) == b"$GPGGA,1\n"
        attributes[4] = attributes[5] = termios.B38400
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        await until(lambda: SetBaudRate(38_400) in host.commands())
        attributes[4] = attributes[5] = termios.B2400
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        os.write(slave, b"at 2400")
        await until(lambda: host.data)
        assert told(host)[-2:] == [SetBaudRate(2400), Data(b"at 2400")]
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


async def test_a_port_opens_with_parity_every_time(ports: Ports) -> None:
    async with relayed(ports):
        for _ in range(20):
            with serial.Serial(str(ports.directory / "a"), 9600, parity=serial.PARITY_EVEN, bytesize=7):
                await until(lambda: ports.status.application_open)
            await until(lambda: not ports.status.application_open)


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
        await until(lambda: host.commands(SetControl)[1:])
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
        (break_telnet, "breaks the telnet protocol: IAC 120 inside a subnegotiation"),
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


async def test_one_protocol_after_the_other_with_the_port_open(ports: Ports) -> None:
    async with serving(echo) as raw, relayed(ports) as host:
        with serial.Serial(str(ports.directory / "a"), 19_200, timeout=10) as port:
            port.write(b"rfc2217")
            assert await asyncio.to_thread(port.read, 7) == b"rfc2217"
            await ports.configure(tcp_port=raw.port, protocol=Protocol.RAW)
            await until(lambda: raw.accepted)
            await ports.reaches(State.CONNECTED)
            port.baudrate = 38_400
            port.write(b"raw")
            assert await asyncio.to_thread(port.read, 3) == b"raw"
            assert ports.status.line is None
            port.baudrate = 57_600
            connections = host.connections
            await ports.configure(tcp_port=host.port, **RFC2217)
            await until(lambda: host.connections > connections)
            await until(lambda: ports.status.line and ports.status.line.baud_rate == 57_600)


async def test_connected_on_open_the_first_bytes_come_after_their_settings(ports: Ports) -> None:
    host = ScriptedAccessServer()
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, connect=Connect.ON_OPEN, **RFC2217)
        await ports.reaches(State.IDLE)
        with serial.Serial(str(ports.directory / "a"), 57_600, timeout=10) as port:
            port.write(b"first")
            assert await asyncio.to_thread(port.read, 5) == b"first"
        data = host.events.index(Data(b"first"))
        assert SetBaudRate(57_600) in host.events[:data]
