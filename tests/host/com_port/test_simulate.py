"""The simulated devices, asked over TCP by a real Modbus master."""

from __future__ import annotations

import select
from types import SimpleNamespace

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.framer import FramerType

from serial_host import config
from serial_host.com_port import modbus_device
from serial_host.com_port.modbus_device import FRAME_GAP_SECONDS, ModbusDevice
from serial_host.com_port.port import OpenComPort
from serial_host.com_port.simulated import simulated
from serial_host.configuration import config_file
from serial_host.plumbing.tcp_options import SOCKET_BUFFER
from tests.host.running import PATIENCE, RunningServer, echo_port, until


class Clock:
    """The time as the device sees it, so that no pause of a busy machine is a silence on its line."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(modbus_device, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def modbus_port(tcp_port: int) -> tuple[config.PortConfig, OpenComPort]:
    port = config_file.parse_port({"device": "simulated", "tcp_port": tcp_port}, "test")
    return port, simulated("simulated", port.line, ModbusDevice(7))


def test_the_modbus_device_is_read_and_written_by_a_master(tcp_port: int) -> None:
    with RunningServer(modbus_port(tcp_port)) as server:
        server.wait_listening()
        master = ModbusTcpClient("127.0.0.1", port=tcp_port, framer=FramerType.RTU, timeout=PATIENCE)
        assert master.connect()  # type: ignore[no-untyped-call]
        try:
            inputs = master.read_input_registers(0, count=4, device_id=7).registers
            assert inputs[:2] == [0, inputs[1]]
            assert 150 <= inputs[2] <= 250
            assert inputs[3] == 1
            assert not master.write_registers(10, [1, 2, 65535], device_id=7).isError()
            assert master.read_holding_registers(10, count=3, device_id=7).registers == [1, 2, 65535]
            assert not master.write_coil(3, True, device_id=7).isError()
            assert master.read_coils(0, count=8, device_id=7).bits[:8] == [False] * 3 + [True] + [False] * 4
            assert master.read_holding_registers(100, count=1, device_id=7).isError()
            assert master.read_input_registers(0, count=4, device_id=7).registers[3] == 7
        finally:
            master.close()  # type: ignore[no-untyped-call]


def test_other_addresses_and_noise_get_no_answer_and_do_no_harm(tcp_port: int, clock: Clock) -> None:
    request = bytes.fromhex("07 04 00 02 00 01 90 6c")
    others = bytes.fromhex("08 04 00 02 00 01 90 93") + bytes(range(256)) * 4
    with RunningServer(modbus_port(tcp_port)) as server, server.client() as client:
        client.send(others)
        server.wait_taken(len(others))
        assert not select.select([client.socket], [], [], 0.3)[0]
        clock.now += 2 * FRAME_GAP_SECONDS
        client.send(request)
        assert client.receive(7)[:3] == bytes.fromhex("07 04 02")
        assert server.status()["bytes_from_device"] == 7


def test_a_request_may_come_in_pieces(tcp_port: int, clock: Clock) -> None:
    with RunningServer(modbus_port(tcp_port)) as server, server.client() as client:
        for byte in bytes.fromhex("07 04 00 02 00 01 90 6c"):
            client.send(bytes([byte]))
        assert client.receive(7)[:3] == bytes.fromhex("07 04 02")


def test_what_the_loopback_plug_cannot_hold_is_an_overrun_and_counted(tcp_port: int) -> None:
    sent = 2_000_000
    with (
        RunningServer(echo_port({"tcp_port": tcp_port})) as server,
        server.client(receive_buffer=SOCKET_BUFFER) as client,
    ):
        client.send(bytes(sent))
        until(lambda: server.status()["bytes_to_device"] == sent)
        overruns = server.status()["overruns"]
        assert overruns > 0
        assert len(client.receive(sent - overruns)) == sent - overruns
