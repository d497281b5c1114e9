"""The server of devices alone, in a real kernel: what an application's system calls do, and what the relay is told."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import threading

import pytest

from tests.system.processes import wait_for
from tests.tty.relay_end import RelayEnd, ServerProcess
from tty_server import messages
from tty_server.messages import Kind, Line

pytestmark = pytest.mark.tty


def test_an_application_opens_writes_and_reads(serving: RelayEnd) -> None:
    fd = os.open(str(serving.node), os.O_RDWR | os.O_NOCTTY)
    try:
        assert os.isatty(fd)
        os.write(fd, b"hello")
        assert os.read(fd, 5) == b"hello"
        wait_for(lambda: serving.opened, "the relay to know of the open")
        wait_for(lambda: serving.outputs == messages.DTR | messages.RTS, "DTR and RTS")
    finally:
        os.close(fd)
    wait_for(lambda: not serving.opened, "the relay to know of the close")
    wait_for(lambda: serving.outputs == 0, "DTR and RTS to drop")


def test_settings_are_read_back_and_told(serving: RelayEnd) -> None:
    fd = os.open(str(serving.node), os.O_RDWR | os.O_NOCTTY)
    try:
        attributes = termios.tcgetattr(fd)
        attributes[2] = termios.CS7 | termios.PARENB | termios.CSTOPB | termios.CREAD | termios.CLOCAL
        attributes[4] = attributes[5] = termios.B19200
        termios.tcsetattr(fd, termios.TCSADRAIN, attributes)
        assert termios.tcgetattr(fd)[2] & ~0o17 == attributes[2]
        wait_for(lambda: serving.line == Line(19200, 7, "even", 2, "none"), "the line")
    finally:
        os.close(fd)


def test_poll_wakes_an_application(serving: RelayEnd) -> None:
    fd = os.open(str(serving.node), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 1)
        with select.epoll() as poll:
            poll.register(fd, select.EPOLLIN | select.EPOLLET)
            for _ in range(3):
                os.write(fd, b"x")
                assert poll.poll(30) == [(fd, select.EPOLLIN)]
            assert os.read(fd, 10)
    finally:
        os.close(fd)


def test_a_relay_that_is_gone_leaves_a_hang_up(server: ServerProcess) -> None:
    port = server.add_port()
    fd = os.open(str(port.node), os.O_RDWR | os.O_NOCTTY)
    results: list[object] = []

    def read() -> None:
        try:
            results.append(os.read(fd, 1))
        except OSError as error:
            results.append(error.errno)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        port.wait(lambda: port.opened, "the open")
        server.leave()
        reader.join(30)
        assert results == [b""]
        with pytest.raises(OSError) as failed:
            wait_for(lambda: os.write(fd, b"x") < 0, "an error")
        assert failed.value.errno in (errno.EIO, errno.ECONNABORTED, errno.ENOTCONN)
    finally:
        os.close(fd)
    assert server.process.wait(30) == 0
    assert port.node is not None
    assert not port.node.exists()


def test_two_ports_have_their_own_numbers(server: ServerProcess) -> None:
    one, other = server.add_port(), server.add_port()
    assert one.minor != other.minor
    another_server = ServerProcess()
    try:
        third = another_server.add_port(one.minor)
        assert third.minor not in (one.minor, other.minor)
    finally:
        another_server.close()


def test_a_held_relay_keeps_the_bytes_in_the_port(port: RelayEnd) -> None:
    port.send(Kind.HOLD, b"\1")
    fd = os.open(str(port.node), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        wait_for(lambda: os.write(fd, bytes(100)) == 100, "a write")
        written = 0
        with contextlib.suppress(BlockingIOError):
            while written <= 100_000:
                written += os.write(fd, bytes(1000))
        assert written <= 4096
        port.send(Kind.HOLD, b"\0")
        port.wait(lambda: len(port.data) >= written, "the bytes")
    finally:
        os.close(fd)
