"""SIGTERM while bytes flow in both directions: each of them arrives, or is counted as discarded."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import termios
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import StartHost, StartRelay
from tests.system.processes import PATIENCE, free_port, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay
from tests.system.test_reopen import WITHOUT_CAPABILITIES

NAME = "ttyVirtS0"
GRACE_SECONDS = 10.0
"""Seconds that a container has for its end, where nothing else is set (docker stop)."""

STOPPED = re.compile(
    rf"port {NAME}: stopped(?:; (\d+) bytes of applications and (\d+) bytes of the device did not arrive)?"
)


def numbered(first: int, size: int) -> bytes:
    """Return bytes that are found in one place of the stream only, so that a gap or a repetition shows."""
    return b"".join(number.to_bytes(4, "big") for number in range(first // 4, (first + size) // 4 + 2))[
        first % 4 :
    ][:size]


class End:
    """One end of the stream: a thread that writes without a pause, and one that reads, until the other end is gone."""

    def __init__(
        self, write: Callable[[bytes], int], read: Callable[[int], bytes], *, reads: bool = True
    ) -> None:
        self.written = 0
        """Bytes that the system took."""
        self.received = bytearray()
        self.quiet = threading.Event()
        """Set it to write no more."""
        self._write, self._read = write, read
        self._threads = [threading.Thread(target=self._keep_writing, daemon=True)]
        if reads:
            self._threads.append(threading.Thread(target=self.read_all, daemon=True))
        for thread in self._threads:
            thread.start()

    def _keep_writing(self) -> None:
        with suppress(OSError):
            while not self.quiet.is_set():
                self.written += self._write(numbered(self.written, 256))
                time.sleep(0.001)  # a fast device, and the machine has time for the others

    def read_all(self) -> None:
        with suppress(OSError):
            while data := self._read(4096):
                self.received += data
        self.quiet.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def has_whole(self, start: int) -> bool:
        """Whether what was received is the other's stream without a gap, up to some byte."""
        return bytes(self.received) == numbered(start, len(self.received))


class Server:
    """A TCP server with one client, to which it sends a stream."""

    def __init__(self, *, reads: bool = True) -> None:
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port: int = self.listener.getsockname()[1]
        self._reads = reads
        self.client: socket.socket
        self.end: End

    def accept(self) -> None:
        self.listener.settimeout(PATIENCE)
        self.client, _ = self.listener.accept()
        self.client.settimeout(PATIENCE)
        self.end = End(self.client.send, self.client.recv, reads=self._reads)

    def close(self) -> None:
        self.listener.close()
        if hasattr(self, "client"):
            self.client.close()


@pytest.fixture
def server(running: ExitStack) -> Server:
    server = Server()
    running.callback(server.close)
    return server


class Application(End):
    def __init__(self, path: str, *, reads: bool = True) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        super().__init__(
            lambda data: os.write(self.descriptor, data),
            lambda size: os.read(self.descriptor, size),
            reads=reads,
        )

    def close(self) -> None:
        self.join()
        os.close(self.descriptor)


def end_of_device(device: Device) -> End:
    """Let the device send and receive until its end is told to be quiet; a host that has gone blocks neither."""
    over = threading.Event()

    def write(data: bytes) -> int:
        _, writable, _ = select.select([], [device.descriptor], [], 0.1)
        return os.write(device.descriptor, data) if writable else 0

    def read(size: int) -> bytes:
        while not over.is_set():
            if select.select([device.descriptor], [], [], 0.1)[0]:
                return os.read(device.descriptor, size)
        return b""

    end = End(write, read)
    end.quiet = over
    return end


def start_application(running: ExitStack, relay: Relay, **more: Any) -> Application:
    application = Application(relay.wait_for_link(NAME), **more)
    running.callback(application.close)
    return application


def stop(relay: Relay) -> tuple[int, int]:
    """Stop the module as a container is stopped; return what it counts as discarded, of applications and of the device."""
    began = time.monotonic()
    assert relay.stop() == 0, relay.program.log
    assert time.monotonic() - began < GRACE_SECONDS
    assert not Path(relay.link(NAME)).is_symlink()
    match = STOPPED.search(relay.program.log)
    assert match, relay.program.log
    return int(match[1] or 0), int(match[2] or 0)


def test_a_module_that_is_stopped_loses_nothing(
    start_relay: StartRelay, running: ExitStack, server: Server
) -> None:
    relay = start_relay({NAME: {"tcpPort": server.port}})
    server.accept()
    application = start_application(running, relay)
    wait_for(lambda: len(server.end.received) > 20_000, "bytes of the application")
    wait_for(lambda: len(application.received) > 20_000, "bytes of the device")
    assert stop(relay) == (0, 0)
    application.join()
    server.end.join()
    assert len(server.end.received) == application.written
    assert server.end.has_whole(0)
    before = server.end.written - len(application.received)  # nobody had the port open
    assert application.has_whole(before)


def test_bytes_of_an_application_that_has_gone_are_sent_at_the_stop(
    start_relay: StartRelay, server: Server
) -> None:
    relay = start_relay({NAME: {"tcpPort": server.port}})
    server.accept()
    server.end.quiet.set()
    relay.wait_for_status(NAME, state="connected")
    application = os.open(relay.wait_for_link(NAME), os.O_RDWR | os.O_NOCTTY)
    assert os.write(application, numbered(0, 4000)) == 4000
    os.close(application)
    assert stop(relay)[0] == 0
    server.end.join()
    assert bytes(server.end.received) == numbered(0, 4000)


def test_an_application_that_goes_on_writing_behind_its_lock_does_not_cost_the_last_bytes_of_the_device(
    start_relay: StartRelay, running: ExitStack, server: Server
) -> None:
    relay = start_relay({NAME: {"tcpPort": server.port}}, WITHOUT_CAPABILITIES if os.geteuid() == 0 else ())
    server.accept()
    server.end.quiet.set()
    application = start_application(running, relay)
    fcntl.ioctl(application.descriptor, termios.TIOCEXCL)
    wait_for(lambda: len(server.end.received) > 20_000, "bytes of the application")
    last_words = numbered(0, 3000)

    def answer() -> None:
        server.end.join()  # the end of the stream
        for start in range(0, len(last_words), 500):
            server.client.send(last_words[start : start + 500])
            time.sleep(0.05)
        server.client.close()

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    to_device, from_device = stop(relay)
    answering.join()
    application.join()
    assert bytes(application.received) == last_words
    assert from_device == 0
    assert len(server.end.received) + to_device == application.written


def test_what_nobody_takes_before_the_module_has_to_end_is_counted(
    start_relay: StartRelay, running: ExitStack
) -> None:
    server = Server(reads=False)
    running.callback(server.close)
    relay = start_relay({NAME: {"tcpPort": server.port}})
    server.accept()
    application = start_application(running, relay, reads=False)
    for end in (server.end, application):
        wait_for(lambda end=end: stands_still(end), "a sender that is held back")  # type: ignore[misc]
    to_device, from_device = stop(relay)
    assert to_device
    assert from_device
    application.join()
    server.end.quiet.set()
    server.end.read_all()
    assert server.end.has_whole(0)
    # What the kernel still delivered of the bytes that were counted arrives as well.
    assert application.written - to_device <= len(server.end.received) <= application.written
    closed_before = relay.status(NAME).get("discarded", {}).get("closed", 0)
    received = from_device + closed_before
    assert 0 < received <= server.end.written


def stands_still(end: End) -> bool:
    before = end.written
    time.sleep(0.5)
    return before > 4096 and end.written == before


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
@pytest.mark.parametrize("stopped", ["module", "host"])
def test_the_whole_chain_loses_nothing_that_is_not_counted(
    start_relay: StartRelay,
    start_host: StartHost,
    running: ExitStack,
    device: Device,
    protocol: str,
    stopped: str,
) -> None:
    tcp_port = free_port()
    host = start_host("run", device.path, str(tcp_port), "--protocol", protocol)
    host.wait_until_listening(tcp_port)
    relay = start_relay({NAME: {"tcpPort": tcp_port, "protocol": protocol}})
    relay.wait_for_status(NAME, state="connected")
    application = start_application(running, relay)
    far = end_of_device(device)
    running.callback(far.join)
    running.callback(far.quiet.set)
    wait_for(lambda: len(far.received) > 20_000, "bytes of the application")
    wait_for(lambda: len(application.received) > 20_000, "bytes of the device")
    if stopped == "module":
        to_device, from_device = stop(relay)
        application.join()
        assert (to_device, from_device) == (0, 0)
        wait_for(lambda: len(far.received) == application.written, "all bytes of the application")
    else:
        assert host.stop() == 0
        application.quiet.set()
        to_device = sum(map(int, re.findall(r"(\d+) bytes did not reach the device", host.program.log)))
        wait_for(
            lambda: (
                application.written
                <= len(far.received)
                + to_device
                + relay.metric("discarded_bytes_total", port=NAME, reason="disconnected")
            ),
            "all bytes of the application, arrived or counted",
        )
        stop(relay)
    assert far.has_whole(0)
    assert bytes(application.received) in numbered(0, far.written)
