"""Module and host with character devices at both ends: the virtual port, and the COM port with a loopback plug in it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import serial

from tests.system.peers import listens
from tests.system.processes import PATIENCE, Program, free_port, python_program, wait_for
from tests.system.stack import Relay
from tests.tty.relay_end import RelayEnd
from tty_server.messages import DTR, RTS, Line

pytestmark = pytest.mark.tty

NAME = "scale"


@pytest.fixture
def tcp_port(plugged: RelayEnd, tmp_path: Path) -> Iterator[int]:
    """The TCP port at which the host serves the COM port."""
    port = free_port()
    command = python_program(
        "-m", "serial_host", "run", str(plugged.node), str(port), "--protocol", "rfc2217"
    )
    host = Program(command, tmp_path / "host.log", {"XDG_RUNTIME_DIR": str(tmp_path)})
    try:
        wait_for(lambda: listens(port), "the host to listen")
        yield port
    finally:
        host.stop()


@pytest.fixture
def relay(tcp_port: int, tmp_path: Path) -> Iterator[Relay]:
    with relaying(tmp_path, tcp_port) as relay:
        yield relay


@contextlib.contextmanager
def relaying(directory: Path, tcp_port: int, **entry: Any) -> Iterator[Relay]:
    relay = Relay(directory, {NAME: {"tcpPort": tcp_port, "protocol": "rfc2217", **entry}})
    relay.start()
    try:
        relay.wait_for_status(NAME, state="connected")
        yield relay
    finally:
        relay.close()


@contextlib.contextmanager
def opened(relay: Relay, **settings: Any) -> Iterator[serial.Serial]:
    with serial.Serial(relay.wait_for_link(NAME), timeout=PATIENCE, **settings) as port:
        yield port


def exchanges(port: serial.Serial, data: bytes = b"there and back") -> None:
    port.write(data)
    assert port.read(len(data)) == data


def server_of(relay: Relay) -> psutil.Process:
    """The process that serves the relay's devices."""
    [server] = [
        child
        for child in psutil.Process(relay.program.pid).children()
        if "tty_server" in " ".join(child.cmdline())
    ]
    return server


def test_a_port_is_a_character_device_and_carries_bytes_both_ways(relay: Relay) -> None:
    status = relay.status(NAME)
    assert status["kind"] == "tty"
    assert "kindReason" not in status
    node = Path(relay.link(NAME)).resolve()
    assert node.is_char_device()
    assert node.name.startswith("serialrelay")
    with opened(relay) as port:
        for size in (1, 100, 4096):
            exchanges(port, os.urandom(size))


@pytest.mark.parametrize("parity", ["N", "E", "O", "M", "S"])
def test_the_real_port_gets_what_the_application_sets(relay: Relay, plugged: RelayEnd, parity: str) -> None:
    names = {"N": "none", "E": "even", "O": "odd", "M": "mark", "S": "space"}
    with opened(relay, baudrate=19200, bytesize=7, parity=parity, stopbits=2) as port:
        wait_for(
            lambda: plugged.line == Line(19200, 7, names[parity], 2, "none"), "the settings at the real port"
        )
        exchanges(port, b"seven bits")


def test_modem_lines_pass_both_ways(relay: Relay, plugged: RelayEnd) -> None:
    with opened(relay) as port:
        wait_for(lambda: plugged.outputs == DTR | RTS, "both lines to be raised")
        wait_for(lambda: port.cts and port.dsr and port.cd, "the loopback plug's answer")
        port.dtr = False
        wait_for(lambda: plugged.outputs == RTS, "DTR to drop at the real port")
        wait_for(lambda: port.cts and not port.dsr and not port.cd, "DSR and CD to drop here")
        port.dtr, port.rts = True, False
        wait_for(lambda: plugged.outputs == DTR, "RTS to drop at the real port")
        wait_for(lambda: not port.cts and port.dsr, "CTS to drop here")
    wait_for(lambda: plugged.outputs == 0, "the close to drop DTR and RTS")


def test_a_break_reaches_the_real_port(relay: Relay, plugged: RelayEnd) -> None:
    with opened(relay) as port:
        port.break_condition = True
        wait_for(lambda: plugged.breaks == [True], "the break to begin")
        port.break_condition = False
        wait_for(lambda: plugged.breaks == [True, False], "the break to end")
        exchanges(port)


def test_a_drain_waits_until_the_host_has_the_bytes(relay: Relay, plugged: RelayEnd) -> None:
    with opened(relay) as port:
        for _ in range(20):
            plugged.data.clear()
            port.write(b"x" * 500)
            termios.tcdrain(port.fileno())
            wait_for(lambda: bytes(plugged.data) == b"x" * 500, "the bytes at the real port")
            assert port.read(500) == b"x" * 500


def test_the_twin_overrides_the_application(tcp_port: int, plugged: RelayEnd, tmp_path: Path) -> None:
    line = {"baudRate": 4800, "parity": "odd", "dataBits": 7}
    with relaying(tmp_path, tcp_port, line=line) as relay:
        fd = os.open(relay.wait_for_link(NAME), os.O_RDWR | os.O_NOCTTY)
        try:
            attributes = termios.tcgetattr(fd)
            attributes[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
            attributes[4] = attributes[5] = termios.B115200
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
            _, _, control, _, _, speed, _ = termios.tcgetattr(fd)
        finally:
            os.close(fd)
        assert speed == termios.B4800
        assert control & (termios.CSIZE | termios.PARENB) == termios.CS8
        for _ in range(3):  # the C library must not find that nothing of what it set was taken
            with opened(relay, baudrate=57600, bytesize=8, parity="N") as port:
                exchanges(port)
                wait_for(
                    lambda: plugged.line[:3] == (4800, 7, "odd"), "the configured settings at the real port"
                )


def test_a_port_changes_its_kind_with_the_desired_properties(relay: Relay, tcp_port: int) -> None:
    entry = {"tcpPort": tcp_port, "protocol": "rfc2217"}
    relay.configure({NAME: {**entry, "kind": "pty"}})
    relay.wait_for_status(NAME, kind="pty", state="connected")
    assert Path(relay.link(NAME)).resolve().parent == Path("/dev/pts")
    with opened(relay) as port:
        exchanges(port)
    relay.configure({NAME: {**entry, "kind": "tty"}})
    relay.wait_for_status(NAME, kind="tty", state="connected")
    with opened(relay) as port:
        exchanges(port)


def test_a_killed_server_is_started_again_and_the_application_gets_an_error(relay: Relay) -> None:
    with opened(relay) as port:
        exchanges(port)
        results: list[object] = []

        def read() -> None:
            try:
                results.append(os.read(port.fileno(), 1))
            except OSError as error:
                results.append(error.errno)

        reader = threading.Thread(target=read)
        reader.start()
        killed = server_of(relay)
        killed.kill()
        reader.join(PATIENCE)
        assert results in ([b""], [errno.EIO], [errno.ENODEV], [errno.ENOTCONN], [errno.ECONNABORTED])
    relay.program.wait_for_log("the server of devices ended")
    relay.wait(lambda: relay.status(NAME).get("connects", 0) >= 2, "the port to be made again")
    relay.wait_for_status(NAME, kind="tty", state="connected")
    with opened(relay) as port:
        exchanges(port)
    assert server_of(relay).pid != killed.pid


def test_a_server_that_stands_still_for_a_while_loses_nothing(relay: Relay) -> None:
    with opened(relay) as port:
        exchanges(port)
        server = server_of(relay)
        server.suspend()
        writer = threading.Thread(target=port.write, args=[b"written while it stood still"])
        writer.start()
        try:
            threading.Event().wait(10)
            assert relay.status(NAME)["state"] == "connected"
        finally:
            server.resume()
        writer.join(PATIENCE)
        assert port.read(28) == b"written while it stood still"
        assert server_of(relay).pid == server.pid


def test_a_server_that_stands_still_for_good_is_killed_and_the_application_gets_an_error(
    relay: Relay,
) -> None:
    with opened(relay) as port:
        exchanges(port)
        server = server_of(relay)
        server.suspend()
        with pytest.raises((OSError, serial.SerialException)):
            port.write(b"nobody takes this")
    relay.program.wait_for_log("the server of devices has not answered for 20 s and was killed")
    relay.wait(lambda: relay.status(NAME).get("connects", 0) >= 2, "the port to be made again")
    status = relay.wait_for_status(NAME, kind="tty", state="connected")
    assert (
        "has not answered for 20 s and was killed; the port is made again" in status["lastError"]["message"]
    )
    with opened(relay) as port:
        exchanges(port)


def test_a_pty_becomes_a_character_device_when_there_can_be_one_and_no_application_has_it_open(
    tcp_port: int, tmp_path: Path
) -> None:
    cuse, away = Path("/dev/cuse"), Path("/dev/cuse-away")
    cuse.rename(away)
    try:
        with relaying(tmp_path, tcp_port) as relay:
            status = relay.wait_for_status(NAME, kind="pty")
            assert status["kindReason"].startswith("there is no /dev/cuse: load the kernel module cuse")
            with opened(relay) as port:
                exchanges(port)
                relay.wait_for_status(NAME, applicationOpen=True)
                away.rename(cuse)
                assert relay.call("restartPort", {"port": NAME})[0] == 200
                relay.wait(lambda: relay.program.log.count(": connected to ") == 2, "the connection")
                exchanges(port)
                assert relay.status(NAME)["kind"] == "pty"
            status = relay.wait_for_status(NAME, timeout=90, kind="tty", state="connected")
            assert "kindReason" not in status
            with opened(relay) as port:
                exchanges(port)
    finally:
        if away.exists():
            away.rename(cuse)


def test_a_killed_module_leaves_no_server_and_its_next_start_brings_the_port_back(
    relay: Relay, tcp_port: int
) -> None:
    with opened(relay) as port:
        exchanges(port)
        server = server_of(relay)
        relay.program.send_signal(signal.SIGKILL)
        relay.program.wait()
        wait_for(lambda: fails(port.fileno()), "the application to get an error")
    wait_for(lambda: not server.is_running(), "the server to end")
    wait_for(lambda: not listens_to_a_client(tcp_port), "the host to have noticed")
    relay.start()
    relay.wait_for_status(NAME, kind="tty", state="connected")
    with opened(relay) as port:
        exchanges(port)


def fails(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"x")
    except OSError:
        return True
    return False


def listens_to_a_client(tcp_port: int) -> bool:
    return any(
        connection.laddr.port == tcp_port and connection.status == psutil.CONN_ESTABLISHED
        for connection in psutil.net_connections("tcp")
        if connection.laddr
    )
