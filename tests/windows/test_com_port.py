"""Calls of a COM port of Windows that do not end by themselves: a write that the device does not take, and a read."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import serial

from tests.system.serial_lines import Device
from tests.windows.installed_host import WindowsHost
from tests.windows.wine import Wine

pytestmark = pytest.mark.windows

MORE_THAN_A_PTY_TAKES = 13_000
"""Bytes; 8 to 12 KB fit into the kernel's buffers."""


@pytest.fixture
def host(wine: Wine, program_folder: Path, running: ExitStack, tmp_path: Path, device: Device) -> WindowsHost:
    host = WindowsHost(wine, program_folder, tmp_path / "serial_host.log", "--protocol", "rfc2217")
    running.callback(host.kill)
    host.wait_until_listening()
    return host


@pytest.fixture
def client(running: ExitStack, host: WindowsHost) -> serial.Serial:
    return running.enter_context(serial.serial_for_url(f"rfc2217://127.0.0.1:{host.port}", timeout=20))


def read_up_to(device: Device, end: bytes) -> bytes:
    read = b""
    while not read.endswith(end):
        read += device.read(1)
    return read


def test_a_purge_ends_a_write_that_the_device_does_not_take(device: Device, client: serial.Serial) -> None:
    client.write(b"s" * MORE_THAN_A_PTY_TAKES)
    client.reset_output_buffer()
    client.write(b"fresh")
    read = read_up_to(device, b"fresh")
    assert read.strip(b"s") == b"fresh"
    assert len(read) < MORE_THAN_A_PTY_TAKES
    client.write(b"and more")
    assert device.read(8) == b"and more"


def test_a_purge_brings_the_reader_out_of_the_driver_and_back(device: Device, client: serial.Serial) -> None:
    for number in range(20):
        client.reset_input_buffer()
        device.write(b"answer %d" % number)
        assert client.read(len(b"answer %d" % number)) == b"answer %d" % number


def test_the_host_stops_while_the_device_takes_nothing(host: WindowsHost, client: serial.Serial) -> None:
    client.write(b"s" * MORE_THAN_A_PTY_TAKES)
    client.reset_input_buffer()  # the host has read what came before
    status, output = host.command("stop")
    assert status == 0, output
    assert host.program.wait() == 0, host.program.log
