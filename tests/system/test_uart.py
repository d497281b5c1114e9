"""The virtual port behaves like a UART, as an application sees it that knows nothing of relays."""

from __future__ import annotations

import os
import termios
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system import peers
from tests.system.conftest import OpenPort, StartRelay
from tests.system.processes import wait_for
from tests.system.serial_lines import pending, read_exactly, write_all
from tests.system.stack import Relay
from tests.system.tcp_servers import Listener, receive_exactly

NAME = "ttyVirtS0"


@pytest.fixture
def listener(running: ExitStack) -> Listener:
    return running.enter_context(Listener())


@pytest.fixture
def relay(start_relay: StartRelay, listener: Listener) -> Relay:
    return start_relay({NAME: {"tcpPort": listener.port}})


def open_plainly(running: ExitStack, path: str) -> int:
    """Open as `cat` or a shell's redirection does, without a look at the settings."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
    running.callback(os.close, descriptor)
    return descriptor


def test_device_bytes_are_never_echoed_to_the_device(
    relay: Relay, listener: Listener, running: ExitStack
) -> None:
    server = listener.accept()
    server.sendall(b"before anyone opened the port\r\n")
    wait_for(lambda: not peers.bytes_under_way(listener.port), "the relay to take the bytes")
    application = open_plainly(running, relay.wait_for_link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    server.sendall(b"to an application that set nothing\r\n")
    assert read_exactly(application, 36) == b"to an application that set nothing\r\n"

    write_all(application, b"only this")
    assert receive_exactly(server, 9) == b"only this"


def test_bytes_pass_unchanged_without_any_setting(
    relay: Relay, listener: Listener, running: ExitStack
) -> None:
    server = listener.accept()
    application = open_plainly(running, relay.wait_for_link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    every_byte = bytes(range(256))
    write_all(application, every_byte)
    assert receive_exactly(server, 256) == every_byte
    server.sendall(every_byte)
    assert read_exactly(application, 256) == every_byte


def test_bytes_that_came_while_closed_are_discarded_and_counted(
    relay: Relay, listener: Listener, open_port: OpenPort
) -> None:
    server = listener.accept()
    server.sendall(b"x" * 30000)
    wait_for(lambda: not peers.bytes_under_way(listener.port), "the relay to take the bytes")
    application = open_port(relay.wait_for_link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    server.sendall(b"fresh")
    assert application.read(5) == b"fresh"
    listener.go_away()
    status = relay.wait_for_status(NAME, state="retrying")
    assert {reason: count for reason, count in status["bytesDiscarded"].items() if count} == {"closed": 30000}
    assert status["bytesFromDevice"] == 30005


def test_bytes_left_unread_do_not_reach_the_next_application(
    relay: Relay, listener: Listener, open_port: OpenPort
) -> None:
    server = listener.accept()
    first = open_port(relay.wait_for_link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    server.sendall(b"stale")
    wait_for(lambda: pending(first.fileno()) == 5, "the bytes to be there unread")
    first.close()
    relay.wait_for_status(NAME, applicationOpen=False)

    second = open_port(relay.link(NAME))
    relay.wait_for_status(NAME, applicationOpen=True)
    server.sendall(b"fresh")
    assert second.read(5) == b"fresh"


def test_bytes_written_just_before_close_arrive(
    relay: Relay, listener: Listener, open_port: OpenPort
) -> None:
    server = listener.accept()
    for number in range(20):
        application = open_port(relay.wait_for_link(NAME))
        application.write(b"last words %02d" % number)
        application.close()
        assert receive_exactly(server, 13) == b"last words %02d" % number


def test_opening_with_parity_works_every_time(relay: Relay, listener: Listener, open_port: OpenPort) -> None:
    server = listener.accept()
    for number in range(100):
        application = open_port(relay.wait_for_link(NAME), baudrate=19200, parity="E", bytesize=7, stopbits=2)
        application.write(b"%03d" % number)
        assert receive_exactly(server, 3) == b"%03d" % number
        application.close()
        # The limit that is stated: an application that is back before its close was noticed may be too early.
        relay.wait_for_close(NAME)


def test_canonical_reader_gets_lines(relay: Relay, listener: Listener, running: ExitStack) -> None:
    server = listener.accept()
    application = open_plainly(running, relay.wait_for_link(NAME))
    settings = termios.tcgetattr(application)
    settings[3] |= termios.ICANON
    termios.tcsetattr(application, termios.TCSANOW, settings)
    relay.wait_for_status(NAME, applicationOpen=True)

    server.sendall(b"$GPGGA,1*00\n$GPRMC,2")
    assert os.read(application, 100) == b"$GPGGA,1*00\n"
    server.sendall(b"*00\n")
    assert os.read(application, 100) == b"$GPRMC,2*00\n"


def test_hung_up_port_does_not_keep_the_processor_busy(
    relay: Relay, listener: Listener, open_port: OpenPort
) -> None:
    listener.accept()
    open_port(relay.wait_for_link(NAME)).close()
    relay.wait_for_status(NAME, applicationOpen=False)
    before, start = processor_seconds(relay.program.pid), time.monotonic()
    time.sleep(2)
    busy = (processor_seconds(relay.program.pid) - before) / (time.monotonic() - start)
    assert busy < 0.2, "a loop that spins on the hang-up takes all it can get"


def processor_seconds(pid: int) -> float:
    nanoseconds = Path(f"/proc/{pid}/schedstat").read_text().split()[0]
    return int(nanoseconds) / 1e9


def test_application_that_reopens_at_once_is_served(
    relay: Relay, listener: Listener, open_port: OpenPort
) -> None:
    server = listener.accept()
    for number in range(50):
        application = open_port(relay.wait_for_link(NAME))
        application.write(b"%02d" % number)
        assert receive_exactly(server, 2) == b"%02d" % number
        server.sendall(b"%02d" % number)
        assert application.read(2) == b"%02d" % number
        application.close()


def test_two_applications_at_once_share_the_port(
    relay: Relay, listener: Listener, open_port: OpenPort
) -> None:
    server = listener.accept()
    first = open_port(relay.wait_for_link(NAME))
    second = open_port(relay.link(NAME))
    first.write(b"first")
    assert receive_exactly(server, 5) == b"first"
    first.close()
    second.write(b"second")
    assert receive_exactly(server, 6) == b"second"
    server.sendall(b"still here")
    assert second.read(10) == b"still here"
