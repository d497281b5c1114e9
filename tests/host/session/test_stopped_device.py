"""A device that stops the line: the commands that end the stop are not queued behind what it holds up."""

from __future__ import annotations

import pytest

from rfc2217 import (
    Control,
    FlowControlSuspend,
    Parity,
    Purge,
    PurgeData,
    SetBaudRate,
    SetControl,
    SetParity,
    SetStopSize,
    Signature,
    StopSize,
)
from serial_host.com_port.port import READ_SIZE
from serial_host.session.session import LOOK_AHEAD
from tests.host.running import RunningServer, serial_port, until
from tests.host.serial_device import SerialDevice
from tests.host.session.access_server import ComPortClient

XON, XOFF = b"\x11", b"\x13"


def on(device: SerialDevice, tcp_port: int, *, threads: bool) -> RunningServer:
    return RunningServer(
        serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"}, threads=threads)
    )


def stop_by_xoff(client: ComPortClient, device: SerialDevice) -> None:
    assert client.ask(SetControl(Control.FLOW_XON_XOFF)) == SetControl(Control.FLOW_XON_XOFF)
    device.send(XOFF)


@pytest.mark.parametrize("size", [100, 5_000, 40_000])
def test_flow_control_none_ends_a_stop_and_nothing_is_lost(
    device: SerialDevice, tcp_port: int, size: int, *, threads: bool
) -> None:
    data = bytes(number % 251 for number in range(size)).replace(XON, b"?").replace(XOFF, b"?")
    with on(device, tcp_port, threads=threads) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            stop_by_xoff(client, device)
            client.send(data)
            server.wait_taken(size)
            assert client.ask(SetControl(Control.FLOW_NONE)) == SetControl(Control.FLOW_NONE)
            assert device.receive(size) == data
            client.send(b"alive")
            assert device.receive(5) == b"alive"


@pytest.mark.parametrize("size", [100, 5_000, 40_000])
def test_a_purge_ends_what_a_stopped_device_holds_up(
    device: SerialDevice, tcp_port: int, size: int, *, threads: bool
) -> None:
    with on(device, tcp_port, threads=threads) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            stop_by_xoff(client, device)
            client.send(bytes(size), PurgeData(Purge.TRANSMIT))
            client.wait_for(PurgeData)
            status = server.status()
            assert status["unsent"] == 0
            assert status["bytes_to_device"] + status["discarded_to_device"] == size
            device.send(XON)
            client.send(b"alive")
            device.receive_until(b"alive")


def test_questions_are_answered_while_the_device_is_stopped(device: SerialDevice, tcp_port: int) -> None:
    with on(device, tcp_port, threads=False) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            stop_by_xoff(client, device)
            client.send(bytes(40_000))
            client.wait_for(FlowControlSuspend)
            assert client.ask(SetBaudRate(0)) == SetBaudRate(9600)
            assert client.ask(Signature()).text


def test_settings_of_many_opens_behind_a_stop_do_not_add_up(device: SerialDevice, tcp_port: int) -> None:
    """Each change waits for the device to take what was written before it, but a device that takes nothing only once."""
    settings = [
        SetBaudRate(19200),
        SetBaudRate(9600),
        SetStopSize(StopSize.TWO),
        SetStopSize(StopSize.ONE),
        SetParity(Parity.NONE),
    ] * 20
    with on(device, tcp_port, threads=False) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            stop_by_xoff(client, device)
            client.send(bytes(5_000), *settings, SetControl(Control.FLOW_NONE))
            assert client.wait_for(SetControl) == SetControl(Control.FLOW_NONE)
            assert device.receive(5_000) == bytes(5_000)


def test_what_is_taken_for_a_stopped_device_has_a_bound(device: SerialDevice, tcp_port: int) -> None:
    with on(device, tcp_port, threads=False) as server, server.client() as client:
        client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x05\x02\xff\xf0")  # the com port option, flow control XON/XOFF
        until(lambda: "xon_xoff" in server.status()["line"])
        device.send(XOFF)

        def looked_ahead() -> bool:
            client.flood(b"x", 1_000_000)
            return bool(server.status()["unsent"] > LOOK_AHEAD)

        until(looked_ahead)
        assert client.flood(b"x", 20_000_000) < 20_000_000
        assert server.status()["unsent"] <= LOOK_AHEAD + READ_SIZE


def test_a_new_client_finds_a_living_port(device: SerialDevice, tcp_port: int, *, threads: bool) -> None:
    with on(device, tcp_port, threads=threads) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as first:
            first.agree()
            stop_by_xoff(first, device)
            first.send(bytes(5_000))
            server.wait_taken(5_000)
        until(lambda: server.status()["client"] is None)
        with ComPortClient(tcp_port) as second:
            second.agree()
            second.send(b"alive")
            assert device.receive(5_005).endswith(b"alive")
