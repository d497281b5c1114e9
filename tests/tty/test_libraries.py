"""Libraries of others on a character device, each in a program of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadHoldingRegistersResponse

from tests.system.processes import PATIENCE, wait_for
from tests.tty.relay_end import RelayEnd
from tty_server.messages import Line

pytestmark = pytest.mark.tty

NODE = Path(__file__).parent / "node"
REGISTERS = [230, 49, 1013]
TIMES = 10


def python(program: str, *arguments: object) -> str:
    """Run a Python program, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_node_serialport_does_everything(plugged: RelayEnd) -> None:
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules").exists():
        pytest.skip("node-serialport is not here: make test-tty installs it")
    done = subprocess.run(
        [node, NODE / "port.mjs", str(plugged.node)],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {
        "echo": "through node",
        "raised": {"cts": True, "dsr": True, "dcd": True, "lowLatency": False},
        "withoutDtr": {"cts": True, "dsr": False, "dcd": False, "lowLatency": False},
        "withoutRts": {"cts": False, "dsr": True, "dcd": True, "lowLatency": False},
        "again": "again",
    }
    wait_for(lambda: not plugged.opened and plugged.outputs == 0, "the close")
    assert plugged.breaks == [True, False]
    assert Line(19200, 7, "even", 1, "none") in plugged.lines
    assert plugged.line == Line(57600, 7, "even", 1, "none")


class Meter:
    """A Modbus RTU device that hears nothing unless the line is 19200 8E1."""

    LINE = Line(19200, 8, "even", 1, "none")

    def __init__(self, line: Callable[[], Line]) -> None:
        self._line = line
        self._framer = FramerRTU(DecodePDU(is_server=True))
        self._heard = b""

    def __call__(self, data: bytes) -> bytes:
        if self._line() != self.LINE:
            return b""
        self._heard += data
        used, request = self._framer.handleFrame(self._heard, 0, 0)
        self._heard = self._heard[used:]
        if not isinstance(request, ReadHoldingRegistersRequest):
            return b""
        return self._framer.buildFrame(
            ReadHoldingRegistersResponse(dev_id=request.dev_id, registers=REGISTERS[: request.count])
        )


PYMODBUS = """
import sys
from pymodbus.client import ModbusSerialClient
client = ModbusSerialClient(sys.argv[1], baudrate=19200, parity="E", timeout=30, retries=0)
for _ in range(int(sys.argv[2])):
    assert client.connect()
    assert client.read_holding_registers(0, count=3, device_id=1).registers == [230, 49, 1013]
    client.close()
print("read")
"""

MINIMALMODBUS = """
import sys, minimalmodbus
for _ in range(int(sys.argv[2])):
    device = minimalmodbus.Instrument(sys.argv[1], 1)
    device.serial.baudrate = 19200
    device.serial.parity = "E"
    device.serial.timeout = 30
    assert device.read_registers(0, 3) == [230, 49, 1013]
    device.serial.close()
print("read")
"""


@pytest.mark.parametrize("program", [PYMODBUS, MINIMALMODBUS], ids=["pymodbus", "minimalmodbus"])
def test_a_modbus_master_with_even_parity_reads_every_time(answering: RelayEnd, program: str) -> None:
    answering.device = Meter(lambda: answering.line)
    assert python(program, answering.node, TIMES) == "read"


RS485 = """
import sys, serial.rs485
port = serial.Serial(sys.argv[1], 19200, timeout=30)
port.rs485_mode = serial.rs485.RS485Settings()
port.write(b"half duplex")
assert port.read(11) == b"half duplex"
port.rs485_mode = None
print("read")
"""


def test_pyserial_asks_for_rs485(serving: RelayEnd) -> None:
    assert python(RS485, serving.node) == "read"


LISTS = """
from serial.tools.list_ports import comports
print(*sorted(port.device for port in comports()))
"""


def test_pyserial_lists_a_port_by_the_name_of_its_link(serving: RelayEnd) -> None:
    assert serving.node is not None
    links = [Path("/dev/ttyUSB90"), Path("/dev/ttyVirtS0")]
    for link in links:
        link.symlink_to(serving.node)
    try:
        listed = python(LISTS).split()
        assert [str(link) in listed for link in links] == [True, False]
    finally:
        for link in links:
            link.unlink()
