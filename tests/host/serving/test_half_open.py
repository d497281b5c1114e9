"""A client whose cable is cut: noticed within seconds, idle or being sent to; one that only stalls is never cut.

A network namespace plays the other computer; taking its interface down leaves a connection that no packet ends.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_interface

import pytest

from serial_host.listening.interfaces import InterfaceAddress
from serial_host.plumbing.tcp_options import SOCKET_BUFFER
from serial_host.plumbing.tcp_options_posix import IDLE_SECONDS, PROBE_SECONDS, PROBES
from tests.host.running import PATIENCE, RunningServer, echo_port, reserved_port, serial_port, until
from tests.host.serial_device import SerialDevice

needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux"
    or os.geteuid() != 0
    or shutil.which("ip") is None
    or shutil.which("socat") is None,
    reason="needs root, iproute2 and socat",
)

_numbers = itertools.count()


class OtherComputer:
    """A network namespace joined to this one by a cable."""

    def __init__(self) -> None:
        # Many tests may do this at once on one machine: the process id keeps names and networks apart.
        number = (os.getpid() * 7 + next(_numbers)) % 16384
        self.name = f"host-test-{number}"
        self._cable = f"ht{number}"
        third, fourth = divmod(number * 4, 256)
        self.here, self.there = f"198.18.{third}.{fourth + 1}", f"198.18.{third}.{fourth + 2}"
        self._ip("netns", "add", self.name)
        try:
            self._ip("link", "add", self._cable, "type", "veth", "peer", "name", "cable", "netns", self.name)
            self._ip("addr", "add", f"{self.here}/30", "dev", self._cable)
            self._ip("link", "set", self._cable, "up")
            self._ip("-n", self.name, "addr", "add", f"{self.there}/30", "dev", "cable")
            self._ip("-n", self.name, "link", "set", "cable", "up")
        except BaseException:
            self.remove()
            raise

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, timeout=PATIENCE, capture_output=True)

    @property
    def interfaces(self) -> dict[str, list[InterfaceAddress]]:
        here = ip_interface(f"{self.here}/30")
        return {"cable": [InterfaceAddress(here.ip, here.network)]}

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def cut_cable(self) -> None:
        """Drop every packet; the link here stays up, so that nothing but silence tells."""
        self._ip("-n", self.name, "addr", "flush", "dev", "cable")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=False, timeout=PATIENCE)
        subprocess.run(
            ["ip", "link", "delete", self._cable], check=False, timeout=PATIENCE, capture_output=True
        )


@pytest.fixture
def other_computer() -> Iterator[OtherComputer]:
    computer = OtherComputer()
    yield computer
    computer.remove()


@needs_namespaces
def test_a_dead_client_is_noticed_idle_and_streaming(
    other_computer: OtherComputer, device: SerialDevice, tcp_port: int
) -> None:
    """Both at once, because both take the time that keepalive and retransmission take."""
    with reserved_port() as idle_port:
        server = RunningServer(
            serial_port({"device": device.name, "tcp_port": tcp_port, "listen": "cable"}),
            echo_port({"tcp_port": idle_port, "listen": "cable"}),
        )
        server.interfaces = other_computer.interfaces
        with server:
            server.wait_listening(0)
            server.wait_listening(1)
            clients = [
                other_computer.start("socat", "-u", f"tcp:{other_computer.here}:{port}", "-")
                for port in (tcp_port, idle_port)
            ]
            try:
                until(lambda: server.status(0)["client"] and server.status(1)["client"])
                other_computer.cut_cable()
                device.send(b"towards nobody")
                until(lambda: server.status(0)["client"] is None)
                until(lambda: server.status(1)["client"] is None)
            finally:
                for client in clients:
                    client.kill()
                    client.communicate()


def test_a_client_that_reads_nothing_for_long_is_not_cut(device: SerialDevice, tcp_port: int) -> None:
    """Longer than it takes to find a dead one: the one test whose subject is time itself."""
    data = os.urandom(400_000)
    with (
        RunningServer(serial_port({"device": device.name, "tcp_port": tcp_port})) as server,
        server.client(receive_buffer=SOCKET_BUFFER) as client,
    ):
        writer = device.sending(data)
        time.sleep(IDLE_SECONDS + PROBE_SECONDS * PROBES + 3)
        assert writer.is_alive()
        assert server.status()["client"] == client.name
        assert client.receive(len(data)) == data
        writer.join()


@needs_namespaces
def test_a_client_of_an_address_that_went_is_dropped_without_waiting_for_silence(
    other_computer: OtherComputer, tcp_port: int
) -> None:
    server = RunningServer(echo_port({"tcp_port": tcp_port, "listen": "cable"}))
    server.interfaces = other_computer.interfaces
    with server:
        server.wait_listening()
        client = other_computer.start("socat", "-u", f"tcp:{other_computer.here}:{tcp_port}", "-")
        try:
            until(lambda: server.status()["client"])
            server.interfaces = {}
            until(lambda: server.status()["client"] is None)
            assert server.status()["listening"] == []
        finally:
            client.kill()
            client.communicate()
