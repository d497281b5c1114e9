"""An application that opens a port right after another one closed it, 0 to 1,000 microseconds later, and what that one left.

The module runs without capabilities, as in a hardened container: with CAP_SYS_ADMIN it could open a locked port.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.system.conftest import StartHost, StartRelay
from tests.system.processes import free_port, wait_for
from tests.system.serial_lines import Device, read_exactly
from tests.system.stack import Relay

NAME = "ttyVirtS0"
WITHOUT_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
DELAYS = [step * 40e-6 for step in range(26)]
"""Seconds from a close to the next open."""

Chain = tuple[str, Device, str]


@pytest.fixture(params=["raw", "rfc2217"])
def chain(
    request: pytest.FixtureRequest, device: Device, start_host: StartHost, start_relay: StartRelay
) -> Chain:
    """The link of a port whose device echoes, the device, and the protocol."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    device.echo()
    port = free_port()
    protocol: str = request.param
    host = start_host("run", device.path, str(port), "--protocol", protocol)
    host.wait_until_listening(port)
    relay: Relay = start_relay(
        {NAME: {"tcpPort": port, "protocol": protocol, "mode": "666"}},
        WITHOUT_CAPABILITIES if os.geteuid() == 0 else (),
    )
    relay.wait_for_status(NAME, state="connected")
    return relay.link(NAME), device, protocol


def open_port(link: str) -> int:
    return os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


def make_raw(descriptor: int, speed: int, *, stop_bits: int = 1, xon: bool = False, cooked: int = 0) -> None:
    attributes: list[Any] = termios.tcgetattr(descriptor)
    attributes[0] = termios.IXON | termios.IXOFF if xon else 0
    attributes[1], attributes[3] = 0, cooked
    attributes[2] = termios.CS8 | termios.CREAD | termios.CLOCAL | (termios.CSTOPB if stop_bits == 2 else 0)
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def line_of(descriptor: int) -> tuple[int, bool, bool]:
    """Return speed, two stop bits, XON/XOFF."""
    attributes = termios.tcgetattr(descriptor)
    return attributes[5], bool(attributes[2] & termios.CSTOPB), bool(attributes[0] & termios.IXON)


def read_until(descriptor: int, end: bytes) -> None:
    """Read until these bytes come; what a predecessor left may come first, or vanish between `select` and `read`."""
    received = b""
    while not received.endswith(end):
        with suppress(BlockingIOError):
            received += read_exactly(descriptor, 1)


def leave_other_settings(descriptor: int) -> None:
    make_raw(descriptor, termios.B9600, xon=True)


def leave_cooked(descriptor: int) -> None:
    make_raw(descriptor, termios.B4800, cooked=termios.ICANON | termios.ECHO | termios.ISIG)


def leave_unread(descriptor: int) -> None:
    make_raw(descriptor, termios.B9600)
    os.write(descriptor, b"unread " * 20)
    wait_for(lambda: struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0], "an echo")


def leave_just_written(descriptor: int) -> None:
    make_raw(descriptor, termios.B9600)
    os.write(descriptor, b"last words ")


def leave_flushed(descriptor: int) -> None:
    make_raw(descriptor, termios.B9600)
    os.write(descriptor, b"flushed ")
    termios.tcflush(descriptor, termios.TCIOFLUSH)


def leave_unlocked(descriptor: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCEXCL)
    make_raw(descriptor, termios.B9600, xon=True)
    fcntl.ioctl(descriptor, termios.TIOCNXCL)


@pytest.mark.parametrize(
    "leave",
    [leave_other_settings, leave_cooked, leave_unread, leave_just_written, leave_flushed, leave_unlocked],
)
def test_an_application_that_opens_right_after_a_close_keeps_its_settings_and_its_answers(
    chain: Chain, leave: Callable[[int], None]
) -> None:
    link, device, protocol = chain
    wanted = (termios.B19200, True, False)
    for number, delay in enumerate(DELAYS):
        predecessor = open_port(link)
        leave(predecessor)
        time.sleep(0.002)
        os.close(predecessor)
        until = time.perf_counter() + delay
        while time.perf_counter() < until:
            pass
        application = open_port(link)
        make_raw(application, termios.B19200, stop_bits=2)
        request = b"<%d>" % number
        os.write(application, request)
        read_until(application, request)
        assert line_of(application) == wanted
        if protocol == "rfc2217":
            wait_for(lambda: line_of(device.descriptor) == wanted, "the real port to be set")
        os.close(application)


_APPLICATION = """
import fcntl, os, signal, sys, termios
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
fcntl.ioctl(descriptor, termios.TIOCEXCL)
attributes = termios.tcgetattr(descriptor)
attributes[0] = attributes[3] = 0
termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
os.write(descriptor, b"never read")
os.read(descriptor, 1)
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "raise RuntimeError",
        "pass",
    ],
    ids=["SIGKILL", "SIGTERM", "exception", "return"],
)
def test_a_lock_dies_with_the_application_that_set_it(chain: Chain, end: str) -> None:
    link, _device, _protocol = chain
    without = WITHOUT_CAPABILITIES if os.geteuid() == 0 else ()
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", _APPLICATION.format(end=end), link], stderr=subprocess.DEVNULL, check=False
        )
        code = (
            "import os, sys, time\n"
            "until = time.monotonic() + 20\n"
            "while True:\n"
            "    try:\n"
            "        descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)\n"
            "    except OSError:\n"
            "        assert time.monotonic() < until\n"
            "        continue\n"
            "    break\n"
            "os.write(descriptor, b'hello')\n"
            "answer = b''\n"
            "while len(answer) < 5:\n"
            "    answer += os.read(descriptor, 100)\n"
            "print(answer.decode())\n"
        )
        successor = subprocess.run(
            [*without, sys.executable, "-c", code, link],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert successor.stdout == "hello\n"


def test_many_opens_and_closes_leave_a_port_that_answers(chain: Chain, running: ExitStack) -> None:
    link, _device, _protocol = chain
    for number in range(300):
        application = open_port(link)
        make_raw(application, (termios.B9600, termios.B19200)[number % 2])
        with suppress(BlockingIOError):
            os.write(application, bytes(range(256)))
        os.close(application)
    time.sleep(0.2)
    application = open_port(link)
    running.callback(os.close, application)
    make_raw(application, termios.B9600)
    os.write(application, b"<still there>")
    read_until(application, b"<still there>")
