"""A port without CLOCAL and without a carrier: who opens it waits, and can be ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.system.processes import PATIENCE, wait_for
from tests.tty.relay_end import RelayEnd
from tty_server.messages import CD, DTR, RTS, Kind

pytestmark = pytest.mark.tty

OPENS = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)  # Python opens again after it
print("opening", flush=True)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def modem(serving: RelayEnd) -> RelayEnd:
    """A port on which CLOCAL is off, after the one who switched it off has closed it."""
    fd = os.open(str(serving.node), os.O_RDWR | os.O_NOCTTY)
    attributes = termios.tcgetattr(fd)
    attributes[2] &= ~termios.CLOCAL
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    wait_for(lambda: serving.opened and serving.outputs == DTR | RTS, "the open")
    os.close(fd)
    wait_for(lambda: not serving.opened and serving.outputs == 0, "the close")
    return serving


@contextlib.contextmanager
def opening(port: RelayEnd) -> Iterator[subprocess.Popen[str]]:
    """An application that waits for the carrier in its `open`."""
    with subprocess.Popen(
        [sys.executable, "-c", OPENS, str(port.node)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as application:
        try:
            assert application.stdout is not None
            assert application.stdout.readline() == "opening\n"
            wait_for(lambda: port.outputs == DTR | RTS, "DTR and RTS, which tell the modem of it")
            yield application
        finally:
            application.kill()


def test_an_open_waits_for_the_carrier(modem: RelayEnd) -> None:
    with opening(modem) as application:
        application.send_signal(signal.SIGUSR1)
        modem.send(Kind.INPUTS, bytes([CD]))
        assert application.stdout is not None
        assert application.stdout.readline() == "open\n"
        application.communicate("\n", PATIENCE)
    wait_for(lambda: not modem.opened and modem.outputs == 0, "the close")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_an_open_that_waits(modem: RelayEnd, number: signal.Signals) -> None:
    with opening(modem) as application:
        application.send_signal(number)
        assert application.wait(PATIENCE) == -number
    wait_for(lambda: not modem.opened and modem.outputs == 0, "the close")


def test_an_open_that_may_not_wait_needs_no_carrier(modem: RelayEnd) -> None:
    fd = os.open(str(modem.node), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.write(fd, b"ATZ")
        wait_for(lambda: modem.data == b"ATZ", "the bytes")
    finally:
        os.close(fd)


def test_a_lost_carrier_ends_the_reader(modem: RelayEnd) -> None:
    modem.send(Kind.INPUTS, bytes([CD]))
    with opening(modem) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "open\n"
        fd = os.open(str(modem.node), os.O_RDWR | os.O_NOCTTY)
        try:
            modem.send(Kind.INPUTS, bytes([0]))
            assert os.read(fd, 1) == b""
            with pytest.raises(OSError, match="Input/output error"):
                os.write(fd, b"x")
        finally:
            os.close(fd)
    wait_for(lambda: not modem.opened and modem.outputs == 0, "the close")


def test_without_hupcl_the_lines_stay_raised(serving: RelayEnd) -> None:
    fd = os.open(str(serving.node), os.O_RDWR | os.O_NOCTTY)
    attributes = termios.tcgetattr(fd)
    attributes[2] &= ~termios.HUPCL
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    wait_for(lambda: serving.opened and serving.outputs == DTR | RTS, "the open")
    os.close(fd)
    wait_for(lambda: not serving.opened, "the close")
    assert serving.outputs == DTR | RTS
