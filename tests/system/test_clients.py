"""What docs/clients.md says of libraries and programs, tried with those that the tests have."""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import termios
from collections.abc import Callable
from typing import Any

import pytest
import serial
from pymodbus.client import ModbusSerialClient

from tests.system.conftest import StartHost, StartRelay
from tests.system.processes import PATIENCE, ROOT, free_port
from tests.system.stack import Relay

PORT = "ttyVirtS0"
TIMES = 5


@pytest.fixture
def relayed(start_host: StartHost, start_relay: StartRelay) -> Callable[[str], Relay]:
    """Return a function that relays one port to a simulated device of a kind."""

    def start(kind: str) -> Relay:
        tcp_port = free_port()
        start_host("simulate", kind, str(tcp_port)).wait_until_listening(tcp_port)
        relay = start_relay({PORT: {"tcpPort": tcp_port}})
        relay.wait_for_link(PORT)
        relay.wait(lambda: relay.metric("connected", port=PORT), "the connection")
        return relay

    return start


def documented(name: str) -> str:
    """Return the row of a library or program."""
    (row,) = [
        line
        for line in (ROOT / "docs" / "clients.md").read_text().splitlines()
        if line.startswith(f"| {name} ")
    ]
    return row


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"parity": "E", "bytesize": 7, "stopbits": 2},
        {"parity": "O"},
        {"rtscts": True},
        {"xonxoff": True},
        {"exclusive": True},
    ],
    ids=str,
)
def test_pyserial_opens_with_everything(relayed: Callable[[str], Relay], settings: dict[str, Any]) -> None:
    assert "nothing" in documented("pyserial")
    relay = relayed("echo")
    for number in range(TIMES):
        with serial.Serial(relay.link(PORT), 19200, timeout=30, **settings) as port:
            port.write(b"%08d" % number)
            assert port.read(8) == b"%08d" % number
        relay.wait_for_close(PORT)


def test_pymodbus_works_without_parity(relayed: Callable[[str], Relay]) -> None:
    assert 'leave `parity="N"`' in documented("pymodbus")
    relay = relayed("modbus")
    for _ in range(TIMES):
        client = ModbusSerialClient(relay.link(PORT), baudrate=19200, parity="N", timeout=30, retries=0)
        try:
            assert client.connect()
            answer = client.read_input_registers(0, count=4, device_id=1)
            assert not answer.isError()
        finally:
            client.close()  # type: ignore[no-untyped-call]
        relay.wait_for_close(PORT)


def stty(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["stty", "-F", path, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def test_stty_sets_all_but_parity_and_data_bits(relayed: Callable[[str], Relay]) -> None:
    row = documented("stty")
    relay = relayed("echo")
    for arguments in (("57600",), ("cstopb",), ("crtscts",), ("ixon",), ("raw",), ("raw", "-echo")):
        assert stty(relay.link(PORT), *arguments).returncode == 0, arguments
        relay.wait_for_close(PORT)
    for setting in ("parenb", "cs7"):
        refused = stty(relay.link(PORT), setting)
        assert refused.returncode != 0
        assert "Invalid argument" in refused.stderr
        relay.wait_for_close(PORT)
    assert "`parenb`" in row


def test_line_settings_last_over_a_close(relayed: Callable[[str], Relay]) -> None:
    relay = relayed("echo")
    path = relay.link(PORT)
    assert stty(path, "57600", "cstopb", "crtscts").returncode == 0
    relay.wait_for_close(PORT)
    with open(path, "rb+", buffering=0) as port:  # noqa: PTH123 - an application that wants lines
        modes = termios.tcgetattr(port)
        modes[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(port, termios.TCSANOW, modes)
    for _ in range(3):
        relay.wait_for_close(PORT)
        settings = stty(path, "-a").stdout
        assert "speed 57600 baud" in settings
        assert " cstopb" in settings
        assert " crtscts" in settings
        assert " -icanon" in settings, "a terminal's modes do not last"
        assert " -echo " in settings


def test_the_settings_of_one_port_are_not_those_of_another(
    start_host: StartHost, start_relay: StartRelay
) -> None:
    first, second = free_port(), free_port()
    for tcp_port in (first, second):
        start_host("simulate", "echo", str(tcp_port)).wait_until_listening(tcp_port)
    relay = start_relay({"a": {"tcpPort": first}, "b": {"tcpPort": second}})
    paths = [relay.wait_for_link(name) for name in ("a", "b")]
    assert stty(paths[0], "57600").returncode == 0
    relay.wait_for_close("a")
    assert "speed 57600 baud" not in stty(paths[1], "-a").stdout


EVERY_BYTE = bytes(range(256)) * 4


def through_socat(path: str, options: str) -> bytes:
    """Return what comes back through socat of every byte there is."""
    with subprocess.Popen(
        ["socat", "-", f"FILE:{path}{options}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as socat:
        assert socat.stdin is not None
        assert socat.stdout is not None
        socat.stdin.write(EVERY_BYTE)
        socat.stdin.flush()
        back = b""
        while len(back) < len(EVERY_BYTE) and select.select([socat.stdout], [], [], PATIENCE)[0]:
            back += os.read(socat.stdout.fileno(), 65536)
        socat.kill()
    return back


def test_socat_passes_every_byte_and_sets_the_baud_rate_after_rawer(
    relayed: Callable[[str], Relay],
) -> None:
    row = documented("socat")
    assert ",rawer,b19200`" in row
    relay = relayed("echo")
    path = relay.link(PORT)
    before = stty(path, "-a").stdout.partition(";")[0]
    relay.wait_for_close(PORT)
    for options, speed in (
        ("", before),
        (",b57600,rawer", before),
        (",raw,b57600", "speed 57600 baud"),
        (",rawer,b19200,cstopb=1,parenb", "speed 19200 baud"),
    ):
        assert through_socat(path, options) == EVERY_BYTE, options
        relay.wait_for_close(PORT)
        assert stty(path, "-a").stdout.startswith(speed), options
        relay.wait_for_close(PORT)


def test_libserialport_does_not_know_a_port_that_is_no_device_of_the_kernel() -> None:
    """What it says of a pty anywhere, so there is no need of a relay; a real port of this machine it may know."""
    assert "cannot open" in documented("libserialport")
    library = ctypes.CDLL("libserialport.so.0")
    master, slave = os.openpty()
    try:
        found = ctypes.c_void_p()
        for name in (os.ttyname(slave), "/dev/ttyVirtS0"):
            assert library.sp_get_port_by_name(name.encode(), ctypes.byref(found)) < 0
            assert found.value is None
    finally:
        os.close(master)
        os.close(slave)
