"""What applications see when the server stands still or dies, and what many of them at once leave behind."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.processes import PATIENCE, wait_for
from tests.tty.relay_end import RelayEnd, ServerProcess
from tty_server import messages
from tty_server.messages import Kind

pytestmark = pytest.mark.tty

_STANDS_STILL = 10.0
"""Seconds."""

_LOCKS_AND_SLEEPS = """
import fcntl, os, sys, termios, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
fcntl.ioctl(fd, termios.TIOCEXCL)
print("locked", flush=True)
time.sleep(600)
"""


class Application(threading.Thread):
    """A thread that makes one call of the system on a port, and keeps what came of it."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.result: object = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except (OSError, termios.error) as error:
            self.result = type(error)

    def wait(self) -> object:
        self.join(PATIENCE)
        assert not self.is_alive(), "the call has not ended"
        return self.result


def open_port(port: RelayEnd) -> int:
    return os.open(str(port.node), os.O_RDWR | os.O_NOCTTY)


def test_a_server_that_stands_still_loses_nothing(server: ServerProcess, serving: RelayEnd) -> None:
    reading, writing, asking, closing = (open_port(serving) for _ in range(4))
    try:
        wait_for(lambda: serving.opened, "the open")
        server.process.send_signal(signal.SIGSTOP)
        try:
            applications = [
                Application(lambda: os.read(reading, 5)),
                Application(lambda: os.write(writing, b"bytes")),
                Application(lambda: termios.tcgetattr(asking)[2] & termios.CSIZE),
                Application(lambda: os.close(closing)),
            ]
            threading.Event().wait(_STANDS_STILL)
            assert all(application.is_alive() for application in applications[:3])
        finally:
            server.process.send_signal(signal.SIGCONT)
        results = [application.wait() for application in applications]
        assert results == [b"bytes", 5, termios.CS8, None]
    finally:
        for fd in (reading, writing, asking):
            os.close(fd)


def test_a_killed_server_ends_every_call_and_the_port_can_be_opened_again(server: ServerProcess) -> None:
    port = server.add_port()
    port.answer_drains = False
    reading, draining = open_port(port), open_port(port)
    try:
        applications = [
            Application(lambda: os.read(reading, 1)),
            Application(lambda: termios.tcdrain(draining)),
        ]
        port.wait(lambda: port.drains, "the drain")
        server.process.kill()
        assert applications[0].wait() in (b"", ConnectionAbortedError, OSError)
        assert applications[1].wait() is termios.error
        assert port.node is not None
        wait_for(lambda: not Path(str(port.node)).exists(), "the node to go")
    finally:
        os.close(reading)
        os.close(draining)
    another = ServerProcess()
    try:
        again = another.add_port(port.minor)
        assert again.minor == port.minor
        fd = open_port(again)
        again.wait(lambda: again.opened, "the open")
        os.close(fd)
    finally:
        another.close()


def test_sixty_four_ports_carry_bytes(server: ServerProcess) -> None:
    ports = [server.add_port() for _ in range(64)]
    files = [open_port(port) for port in ports]
    try:
        for number, (port, fd) in enumerate(zip(ports, files, strict=True)):
            os.write(fd, bytes([number]))
            port.wait(lambda port=port, number=number: port.data == bytes([number]), f"the byte of {number}")  # type: ignore[misc]
            port.send_data(bytes([number, 255]))
        for number, fd in enumerate(files):
            assert os.read(fd, 1) == bytes([number])
    finally:
        for fd in files:
            os.close(fd)


def test_a_thousand_opens_leave_nothing_behind(server: ServerProcess, serving: RelayEnd) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    os.close(open_port(serving))
    before = descriptors()
    for _ in range(1000):
        os.close(open_port(serving))
    wait_for(lambda: not serving.opened and serving.outputs == 0, "the port to be closed")
    assert descriptors() == before


def test_the_port_stays_open_until_the_last_of_two_openers_and_a_child_is_gone(serving: RelayEnd) -> None:
    one, other = open_port(serving), open_port(serving)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[other])
    try:
        wait_for(lambda: serving.outputs == messages.DTR | messages.RTS, "DTR and RTS")
        os.close(other)
        os.write(one, b"still")
        assert os.read(one, 5) == b"still"
        os.close(one)
        serving.send(Kind.INPUTS, bytes([messages.CTS]))
        late = open_port(serving)  # what follows shows that the server has seen the closes before it
        wait_for(lambda: carries(late, termios.TIOCM_CTS), "the server to have come so far")
        os.close(late)
        assert serving.opened, "the child has it open"
    finally:
        child.communicate(b"\n", PATIENCE)
    wait_for(lambda: not serving.opened and serving.outputs == 0, "the port to be closed")


def carries(fd: int, line: int) -> bool:
    """Return True if a modem line is raised."""
    return bool(struct.unpack("I", fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))[0] & line)


def test_an_application_that_is_killed_leaves_no_lock(serving: RelayEnd) -> None:
    assert serving.node is not None
    with subprocess.Popen(
        [sys.executable, "-c", _LOCKS_AND_SLEEPS, str(serving.node)], stdout=subprocess.PIPE, text=True
    ) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "locked\n"
        refused = subprocess.run(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "cat", str(serving.node)],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert "Device or resource busy" in refused.stderr
        application.kill()
    wait_for(lambda: not serving.opened and serving.outputs == 0, "the port to be closed")
    fd = open_port(serving)
    try:
        os.write(fd, b"free")
        assert os.read(fd, 4) == b"free"
    finally:
        os.close(fd)


def test_a_relay_that_sends_nonsense_loses_its_own_port_alone(server: ServerProcess) -> None:
    ports: dict[str, Callable[[RelayEnd], None]] = {
        "more bytes than were granted": lambda port: port.send_ungranted(bytes(20_000)),
        "a line that is none": lambda port: port.send(Kind.FORCED, bytes(3)),
        "a number that is none": lambda port: port.send(Kind.DRAINED, b""),
        "a kind that is none": lambda port: port.send(Kind.OPEN, b""),
    }
    other = server.add_port()
    for nonsense in ports.values():
        port = server.add_port()
        fd = open_port(port)
        nonsense(port)
        port.wait(lambda port=port: port.ended, "the end of the port")  # type: ignore[misc]
        os.close(fd)
    fd = open_port(other)
    os.write(fd, b"still")
    other.wait(lambda: other.data == b"still", "the bytes of the other port")
    os.close(fd)
