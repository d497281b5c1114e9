"""The whole chain: application, virtual port, module, TCP, host, COM port, device, and back."""

from __future__ import annotations

import random
import threading

import pytest
from pymodbus.client import ModbusSerialClient

from tests.system.conftest import OpenPort, StartHost, StartProgram, StartRelay
from tests.system.processes import free_port
from tests.system.serial_lines import Device, read_exactly, write_all
from tests.system.stack import Relay

NAME = "ttyVirtS0"
SIZE = 10_000_000


def test_ten_megabytes_each_way_at_once(
    start_host: StartHost, start_relay: StartRelay, open_port: OpenPort, device: Device
) -> None:
    port = free_port()
    host = start_host("run", device.path, str(port))
    host.wait_until_listening(port)
    relay = start_relay({NAME: {"tcpPort": port}})
    relay.wait_for_status(NAME, state="connected")
    application = open_port(relay.link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    to_device, from_device = random.randbytes(SIZE), random.randbytes(SIZE)
    arrived: dict[str, bytes] = {}
    work = (
        lambda: write_all(application.fileno(), to_device),
        lambda: write_all(device.descriptor, from_device),
        lambda: arrived.update(device=device.read(SIZE, 110)),
        lambda: arrived.update(application=read_exactly(application.fileno(), SIZE, 110)),
    )
    threads = [threading.Thread(target=step, daemon=True) for step in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(115)
    assert arrived["device"] == to_device
    assert arrived["application"] == from_device
    host.stop()
    status = relay.wait_for_status(NAME, state="retrying")
    assert status["bytesToDevice"] == status["bytesFromDevice"] == SIZE
    assert not any(status["bytesDiscarded"].values())


@pytest.fixture
def modbus_link(start_host: StartHost, start_relay: StartRelay) -> str:
    """The virtual port of a simulated Modbus RTU device."""
    port = free_port()
    start_host("simulate", "modbus", str(port)).wait_until_listening(port)
    relay: Relay = start_relay({NAME: {"tcpPort": port}})
    relay.wait_for_status(NAME, state="connected")
    return relay.link(NAME)


def test_modbus_master_pymodbus(modbus_link: str) -> None:
    client = ModbusSerialClient(modbus_link, baudrate=19200, timeout=30)
    assert client.connect()
    written = [random.randrange(65536) for _ in range(4)]
    try:
        client.write_registers(10, written, device_id=1)
        assert client.read_holding_registers(10, count=4, device_id=1).registers == written
    finally:
        client.close()  # type: ignore[no-untyped-call]


def test_modbus_master_mbpoll_twice(modbus_link: str, start_program: StartProgram) -> None:
    """The second run finds the parity already asked for, which a plain pty answers with EINVAL."""
    for value in (4711, 815):
        serial = (
            "mbpoll",
            "-m",
            "rtu",
            "-b",
            "19200",
            "-P",
            "even",
            "-a",
            "1",
            "-o",
            "10",
            "-0",
            "-1",
            "-t",
            "4",
        )
        write = start_program(*serial, "-r", "10", modbus_link, str(value))
        assert write.wait() == 0, write.log
        read = start_program(*serial, "-r", "10", "-c", "1", modbus_link)
        assert read.wait() == 0, read.log
        assert f"[10]: \t{value}" in read.log
