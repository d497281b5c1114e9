"""RFC 2217 on a real port: who is served, and what a client is told of a device that goes and comes."""

from __future__ import annotations

import os
import termios
from contextlib import suppress

import pytest

from rfc2217 import (
    ComPortAgreed,
    Control,
    Data,
    DeviceState,
    FlowControlResume,
    FlowControlSuspend,
    ModemState,
    NotifyModemState,
    Parity,
    SetBaudRate,
    SetControl,
    SetParity,
    Signature,
    TelnetCode,
    TelnetCommand,
)
from serial_host.serving import admission
from serial_host.session import controlled_port, rfc2217_session
from tests.host.running import PATIENCE, Client, RunningServer, echo_port, serial_port, until
from tests.host.serial_device import SerialDevice
from tests.host.session.access_server import AccessServer, ComPortClient
from tests.modem_shim.modem_shim import CTS, DTR, RTS


def test_the_first_thing_said_is_who_serves_what(server: AccessServer) -> None:
    with ComPortClient(server.tcp_port) as client:
        client.wait_for(ComPortAgreed)
        signature = client.signature()
        assert signature.product == "serial_host"
        assert (signature.device, signature.state) == (server.device.name, DeviceState.AVAILABLE)
        assert client.wait_for(NotifyModemState).value == ModemState(0)
        assert client.ask(Signature()) == Signature(str(signature))


def test_data_of_every_value_passes_both_ways(server: AccessServer, client: ComPortClient) -> None:
    values = bytes(range(256)) + b"\xff" * 1000
    client.send(values)
    assert server.device.receive(len(values)) == values
    server.device.send(values)
    assert client.data(len(values)) == values


def test_a_suspended_client_is_left_in_peace_until_it_resumes(
    server: AccessServer, client: ComPortClient
) -> None:
    client.wait_for(NotifyModemState)
    client.send(FlowControlSuspend(), SetBaudRate(0), b"suspended")
    assert server.device.receive(9) == b"suspended"
    server.device.send(b"held back")
    server.lines.set(CTS)
    assert not client.receive(0.3)
    client.send(FlowControlResume())
    assert client.wait_for(SetBaudRate) == SetBaudRate(9600)
    # The bytes and the notification come in either order.
    while not {Data, NotifyModemState} <= {type(event) for event in client.events}:
        assert client.receive()
    assert Data(b"held back") in client.events
    assert NotifyModemState(ModemState.CTS | ModemState.CTS_CHANGED) in client.events


def test_silence_that_is_asked_for_behind_a_break_begins_before_the_break_is_over(
    device: SerialDevice, tcp_port: int
) -> None:
    data = os.urandom(400_000)
    with RunningServer(
        serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    ) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            client.send(TelnetCommand(TelnetCode.BREAK), FlowControlSuspend())
            session = server._server._ports[0]._session
            assert isinstance(session, rfc2217_session.Rfc2217Session)
            until(lambda: session._connection.suspended)
            device.sending(data)
            client.send(FlowControlResume())
            assert client.data(len(data)) == data


def test_a_client_is_suspended_while_the_device_takes_nothing(device: SerialDevice, tcp_port: int) -> None:
    data = os.urandom(100_000)
    with RunningServer(
        serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    ) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            client.send(data)
            client.wait_for(FlowControlSuspend)
            sent = len(data) + data.count(0xFF)
            assert sent > server.status()["bytes_to_device"]
            assert device.receive(len(data)) == data
            client.wait_for(FlowControlResume)
            assert client.ask(SetBaudRate(0)) == SetBaudRate(9600)


def test_a_vanished_device_is_told_of_and_comes_back_with_its_settings(
    server: AccessServer, client: ComPortClient
) -> None:
    client.ask(SetBaudRate(19200))
    server.lines.set(CTS)
    client.wait_for(NotifyModemState)
    until(lambda: client.ask(NotifyModemState()).value == ModemState.CTS)

    server.device.unplug()
    signature = client.signature()
    assert signature.state is DeviceState.UNAVAILABLE
    assert "is gone" in signature.reason or "is not there" in signature.reason
    assert client.wait_for(NotifyModemState).value == ModemState.CTS_CHANGED
    # The connection stands: the heartbeat is answered, settings are kept, data is discarded and counted.
    assert client.ask(SetBaudRate(0)) == SetBaudRate(19200)
    assert client.ask(SetParity(Parity.EVEN)) == SetParity(Parity.EVEN)
    assert client.ask(SetControl(Control.DTR_OFF)) == SetControl(Control.DTR_OFF)
    client.send(b"nobody takes this")
    until(lambda: server.process.status()["ports"][0]["discarded_to_device"] == 17)

    server.plug_in()
    while client.signature().state is not DeviceState.AVAILABLE:
        pass
    assert server.lines.frame == (8, "E")
    assert server.lines.state & (DTR | RTS) == RTS
    assert termios.tcgetattr(server.device.descriptor)[5] == termios.B19200
    client.send(b"taken")
    assert server.device.receive(5) == b"taken"
    server.device.send(b"given")
    assert client.data(5) == b"given"


def test_a_device_that_is_absent_when_the_client_comes_is_told_of_at_once(
    device: SerialDevice, tcp_port: int
) -> None:
    device.unplug()
    with RunningServer(
        serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    ) as server:
        server.wait_listening()
        until(lambda: server.status()["last_error"])
        with ComPortClient(tcp_port) as client:
            signature = client.agree()
            assert signature.state is DeviceState.UNAVAILABLE
            assert "is not there" in signature.reason
            assert client.ask(SetBaudRate(4800)) == SetBaudRate(4800)
            device.plug_in()
            assert client.signature().state is DeviceState.AVAILABLE
            assert termios.tcgetattr(device.descriptor)[5] == termios.B4800


def test_on_client_opens_the_port_and_tells_when_it_is_there(device: SerialDevice, tcp_port: int) -> None:
    entry = {"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217", "open": "on_client"}
    with RunningServer(serial_port(entry)) as server:
        server.wait_listening()
        assert server.status()["state"] == "idle"
        with ComPortClient(tcp_port) as client:
            assert client.agree().state is DeviceState.AVAILABLE
        until(lambda: server.status()["state"] == "idle")


def test_a_second_client_is_told_who_has_the_port(tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2217_session, "REFUSAL_SECONDS", PATIENCE)
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as first:
            first.agree()
            with ComPortClient(tcp_port, source="127.0.0.2") as second:
                signature = second.agree()
                assert signature.state is DeviceState.BUSY
                assert signature.reason.startswith("127.0.0.1:")
                assert signature.reason.endswith("is connected")
                second.wait_closed()
            first.send(b"mine")
            assert first.data(4) == b"mine"


def test_a_second_client_without_the_option_is_closed_without_words(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as first, Client(tcp_port, source="127.0.0.2") as second:
            first.agree()
            while second.socket.recv(100):
                pass


def test_a_reconnecting_client_replaces_itself(tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SHOW_SECONDS", PATIENCE)
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as old, ComPortClient(tcp_port) as new:
            assert new.agree().state is DeviceState.AVAILABLE
            with pytest.raises(ConnectionResetError):
                old.wait_closed()


def test_a_client_without_the_option_has_the_bytes_at_least(tcp_port: int) -> None:
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server,
        server.client() as client,
    ):
        client.send(b"plain")
        received = b""
        while not received.endswith(b"plain"):
            received += client.socket.recv(100)


def test_a_client_that_breaks_the_protocol_is_cut_and_the_next_is_served(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with Client(tcp_port) as hostile:
            endless_subnegotiation = b"\xff\xfb\x2c\xff\xfa\x2c" + bytes(5000)
            hostile.send(endless_subnegotiation)
            with suppress(ConnectionResetError):
                while hostile.socket.recv(4096):
                    pass
        with ComPortClient(tcp_port) as client:
            client.agree()
            client.send(b"served")
            assert client.data(6) == b"served"


def test_a_client_that_asks_and_switches_the_option_off_does_no_harm(
    tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server,
        server.client() as client,
    ):
        ask_and_switch_off = b"\xff\xfa\x2c\x01\0\0\0\0\xff\xf0\xff\xfa\x2c\x0c\x03\xff\xf0\xff\xfc\x2c"
        client.send(
            b"\xff\xfb\x2c" + ask_and_switch_off + b"\xff\xfb\x2c" + ask_and_switch_off + b"still here"
        )
        received = b""
        while not received.endswith(b"still here"):
            received += client.socket.recv(4096)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_bytes_of_a_lost_client_that_wait_behind_a_break_are_counted(
    tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlled_port, "BREAK_SECONDS", PATIENCE)
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            client.send(b"before", TelnetCommand(TelnetCode.BREAK), b"x" * 1000)
            session = server._server._ports[0]._session
            assert isinstance(session, rfc2217_session.Rfc2217Session)
            until(lambda: Data(b"x" * 1000) in session._events)
        until(lambda: server.status()["client"] is None)
        status = server.status()
        assert (status["bytes_to_device"], status["discarded_to_device"]) == (6, 1000)
