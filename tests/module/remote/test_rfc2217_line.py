"""A port with `protocol: rfc2217`: which line settings reach the host, from where, and before which bytes."""

from __future__ import annotations

import asyncio
import os
import termios

import pytest
import serial

from rfc2217 import (
    Control,
    Data,
    Parity,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    StopSize,
)
from serial_relay.config import Connect, LineSettings, Protocol
from serial_relay.status import ActualLine, State
from tests.module.conditions import until
from tests.module.port.ports import Ports
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.remote.rfc2217_port import RFC2217, relayed, told
from tests.module.serial_servers import echo, serving


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
            str(ports.directory / "a"), 19_200, stopbits=serial.STOPBITS_TWO, rtscts=True, timeout=30
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


async def test_a_port_opens_with_parity_every_time(ports: Ports) -> None:
    async with relayed(ports):
        for _ in range(20):
            with serial.Serial(str(ports.directory / "a"), 9600, parity=serial.PARITY_EVEN, bytesize=7):
                await until(lambda: ports.status.application_open)
            await until(lambda: not ports.status.application_open)


async def test_one_protocol_after_the_other_with_the_port_open(ports: Ports) -> None:
    async with serving(echo) as raw, relayed(ports) as host:
        with serial.Serial(str(ports.directory / "a"), 19_200, timeout=30) as port:
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
        with serial.Serial(str(ports.directory / "a"), 57_600, timeout=30) as port:
            port.write(b"first")
            assert await asyncio.to_thread(port.read, 5) == b"first"
        data = host.events.index(Data(b"first"))
        assert SetBaudRate(57_600) in host.events[:data]
