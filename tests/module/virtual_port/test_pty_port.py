"""The virtual port against real applications' ways with a serial port, on real ptys."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator

import pytest
import serial

from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.gate import Gate, Reason
from serial_relay.virtual_port.pty_port import PtyPort
from serial_relay.virtual_port.termios_map import EXTPROC, ApplicationLine
from tests.module.conditions import until
from tests.module.virtual_port.of_a_tty import NothingOfATty


class Relay(NothingOfATty):
    """Stands in for the relay: records what the port tells it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.lines: list[ApplicationLine] = []
        self.data = bytearray()
        self.unread = 0
        self.paused = False
        self.port: PtyPort | None = None
        self.gate = Gate(self.read_application, lambda _may_be_read: None)

    def application_opened(self) -> None:
        self.events.append("opened")

    def application_closed(self, unread: int) -> None:
        self.events.append("closed")
        self.unread += unread

    def application_data(self, data: bytes) -> None:
        assert self.events[-1:] == ["opened"] or "opened" in self.events
        self.data += data

    def application_set_line(self, line: ApplicationLine) -> None:
        self.lines.append(line)

    def application_flushed(self, *, received: bool, transmitted: bool) -> None:
        self.events.append(f"flushed{' received' * received}{' transmitted' * transmitted}")

    def nothing_to_read(self, *, nothing: bool) -> None:
        self.gate.set(Reason.NOTHING_TO_READ, hold=nothing)

    def virtual_port_full(self, *, full: bool) -> None:
        self.paused = full

    def read_application(self, may_be_read: bool) -> None:
        assert self.port is not None
        (self.port.resume_reading if may_be_read else self.port.pause_reading)()


OWNER = (os.geteuid(), os.getegid(), 0o660)


def new_port(watches: Inotify, relay: Relay) -> PtyPort:
    return PtyPort(asyncio.get_running_loop(), watches, OWNER, lambda _slave: None, relay)


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
async def port(watches: Inotify, relay: Relay) -> AsyncIterator[PtyPort]:
    pair = new_port(watches, relay)
    relay.port = pair
    yield pair
    pair.close()


def open_slave(port: PtyPort, flags: int = 0) -> int:
    return os.open(port.slave, os.O_RDWR | os.O_NOCTTY | flags)


async def test_raw_and_without_echo_before_anybody_opens_it(port: PtyPort) -> None:
    slave = open_slave(port)
    iflag, oflag, cflag, lflag, *_ = termios.tcgetattr(slave)
    os.close(slave)
    assert (iflag, oflag, lflag & ~EXTPROC) == (0, 0, 0)
    assert cflag & termios.CSIZE == termios.CS8


async def test_device_bytes_are_not_echoed_back_and_arrive_unchanged(port: PtyPort, relay: Relay) -> None:
    slave = open_slave(port)
    await until(lambda: relay.events == ["opened"])
    everything = bytes(range(256))
    port.write(everything)
    received = b""
    while len(received) < 256:
        received += os.read(slave, 256)
    assert received == everything
    os.write(slave, b"end")
    await until(lambda: relay.data)
    assert relay.data == b"end"
    os.close(slave)


async def test_what_the_last_application_left_unread_is_counted_and_never_seen_again(
    port: PtyPort, relay: Relay
) -> None:
    slave = open_slave(port)
    await until(lambda: relay.events == ["opened"])
    port.write(bytes(40_000))
    assert relay.paused  # more than a pty takes: the rest waits here
    assert len(os.read(slave, 1000)) == 1000
    os.close(slave)
    await until(lambda: relay.events == ["opened", "closed"])
    assert relay.unread == 39_000
    assert not relay.paused
    slave = open_slave(port, os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        os.read(slave, 1)
    os.close(slave)


async def test_an_unread_line_of_a_canonical_reader_is_discarded_too(port: PtyPort, relay: Relay) -> None:
    slave = open_slave(port)
    attributes = termios.tcgetattr(slave)
    attributes[3] |= termios.ICANON
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    await until(lambda: relay.events == ["opened"])
    port.write(b"$GPGGA,1\n$GPG")
    assert os.read(slave, 100) == b"$GPGGA,1\n"
    os.close(slave)
    await until(lambda: relay.events == ["opened", "closed"])
    assert relay.unread == len(b"$GPG")
    slave = open_slave(port, os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        os.read(slave, 1)
    os.close(slave)


async def test_opens_and_closes_are_noticed_each_time(port: PtyPort, relay: Relay) -> None:
    for _ in range(50):
        relay.events.clear()
        slave = open_slave(port)
        await until(lambda: relay.events == ["opened"])
        assert port.application_open
        os.close(slave)
        await until(lambda: relay.events == ["opened", "closed"])
        assert not port.application_open


async def test_only_the_last_of_several_closes_counts(port: PtyPort, relay: Relay) -> None:
    slaves = [open_slave(port) for _ in range(3)]
    await until(lambda: relay.events)
    for slave in slaves[:2]:
        os.close(slave)
    await asyncio.sleep(0.05)
    assert relay.events == ["opened"]
    os.close(slaves[2])
    await until(lambda: relay.events == ["opened", "closed"])


async def test_a_shell_that_only_echoes_into_the_port_is_heard(port: PtyPort, relay: Relay) -> None:
    for _ in range(20):
        relay.data.clear()
        slave = open_slave(port)
        os.write(slave, b"AT\r")
        os.close(slave)  # all before the event loop had a chance to look
        await until(lambda: relay.data == b"AT\r")
    await until(lambda: not port.application_open)


async def test_what_an_application_wrote_before_it_left_is_read_to_the_end(
    port: PtyPort, relay: Relay
) -> None:
    slave = open_slave(port)
    await until(lambda: relay.events == ["opened"])
    relay.gate.set(Reason.CONNECTION_FULL, hold=True)
    os.write(slave, b"last words")
    os.close(slave)
    await until(lambda: relay.events == ["opened", "closed"])
    assert not relay.data
    relay.gate.set(Reason.CONNECTION_FULL, hold=False)
    await until(lambda: relay.data == b"last words")
    assert relay.events == ["opened", "closed"]


async def test_opens_and_closes_of_another_process_in_another_mount_namespace_are_noticed(
    port: PtyPort, relay: Relay
) -> None:
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    process = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "sh", "-c", f"exec 3<>{port.slave}; echo open; read x",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    await until(lambda: relay.events == ["opened"])
    await process.communicate(b"\n")
    await until(lambda: relay.events == ["opened", "closed"])


@pytest.mark.parametrize("parity", "NEOMS")
@pytest.mark.parametrize("bits", [7, 8])
async def test_opening_with_any_parity_works_every_time(port: PtyPort, parity: str, bits: int) -> None:
    for _ in range(100 if parity == "E" else 5):
        with serial.Serial(str(port.slave), 9600, parity=parity, bytesize=bits):
            assert termios.tcgetattr(port._current._master)[2] & termios.CLOCAL
        await until(lambda: not termios.tcgetattr(port._current._master)[2] & termios.CLOCAL)


async def test_a_reader_in_canonical_mode_gets_lines(port: PtyPort, relay: Relay) -> None:
    slave = open_slave(port)
    attributes = termios.tcgetattr(slave)
    attributes[3] |= termios.ICANON
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    await until(lambda: relay.events == ["opened"])
    port.write(b"$GPGGA,1\n$GPGGA,2\n")
    assert [os.read(slave, 100), os.read(slave, 100)] == [b"$GPGGA,1\n", b"$GPGGA,2\n"]
    os.close(slave)


async def test_an_application_that_does_not_read_pauses_the_device(port: PtyPort, relay: Relay) -> None:
    slave = open_slave(port)
    await until(lambda: relay.events == ["opened"])
    sent = bytearray()
    while not relay.paused:
        piece = os.urandom(1000)
        sent += piece
        port.write(piece)
    received = bytearray()
    while len(received) < len(sent):
        received += await asyncio.to_thread(os.read, slave, 4096)
    assert received == sent
    await until(lambda: not relay.paused)
    os.close(slave)


async def test_an_idle_port_costs_no_processor_time(port: PtyPort, relay: Relay) -> None:
    """A level-triggered loop spins on a hung-up master; nothing may run here after a close."""
    slave = open_slave(port)
    await until(lambda: relay.events == ["opened"])
    os.close(slave)
    await until(lambda: relay.events == ["opened", "closed"])
    await asyncio.sleep(0.1)
    before = time.process_time()
    await asyncio.sleep(1.0)
    assert time.process_time() - before < 0.1


async def test_owner_and_mode(port: PtyPort) -> None:
    if os.geteuid() != 0:
        pytest.skip("another owner needs root")
    port.set_owner(1234, 4321, 0o640)
    status = port.slave.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, 0o640)


async def test_a_refused_owner_is_a_warning(port: PtyPort, caplog: pytest.LogCaptureFixture) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving rights up needs them first")
    code = (
        "import asyncio, os, logging, sys, types; from serial_relay.plumbing.inotify import Inotify; from serial_relay.virtual_port.pty_port import PtyPort\n"
        "logging.basicConfig(format='%(message)s')\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop(); port = PtyPort(loop, Inotify(loop), (0, 0, 0o660), print, types.SimpleNamespace(application_data=print))\n"
        "    print(oct(port.slave.stat().st_mode))\n"
        "os.setuid(65534)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0o20660"
    assert "cannot set owner 0: Operation not permitted" in done.stderr


async def test_closing_ends_the_applications_descriptor(watches: Inotify, relay: Relay) -> None:
    pair = new_port(watches, relay)
    relay.port = pair
    slave = open_slave(pair)
    await until(lambda: relay.events == ["opened"])
    pair.close()
    assert os.read(slave, 1) == b""
    os.close(slave)
