"""The way of the bytes between a real client and a real port: all of them, in order, at any speed of either side."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from serial_host.com_port.port import DEVICE_BOUND
from serial_host.plumbing.tcp_options import SOCKET_BUFFER
from serial_host.serving import admission
from serial_host.session.session import LOOK_AHEAD
from tests.host.running import PATIENCE, Client, RunningServer, echo_port, serial_port, until
from tests.host.serial_device import SerialDevice

MEGABYTE = 1_000_000

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps what came before a reset")


def test_a_megabyte_each_way_at_once(device: SerialDevice, tcp_port: int, *, threads: bool) -> None:
    to_device, from_device = os.urandom(MEGABYTE), os.urandom(MEGABYTE)
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server, server.client() as client:
        writers = [device.sending(from_device), threading.Thread(target=client.send, args=(to_device,))]
        writers[1].start()
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(client.receive(MEGABYTE)))
        reader.start()
        assert device.receive(MEGABYTE) == to_device
        for thread in (*writers, reader):
            thread.join()
        assert received == [from_device]
        status = server.status()
    assert (status["bytes_to_device"], status["bytes_from_device"]) == (MEGABYTE, MEGABYTE)
    assert (status["discarded_to_device"], status["discarded_from_device"]) == (0, 0)


def test_every_value_of_a_byte_passes_unchanged(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    values = bytes(range(256))
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server, server.client() as client:
        client.send(values)
        assert device.receive(256) == values
        device.send(values)
        assert client.receive(256) == values


def test_a_device_that_takes_nothing_slows_the_client_and_loses_nothing(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server, server.client() as client:
        client.socket.setblocking(False)
        sent = bytearray()
        while select.select([], [client.socket], [], 0.5)[1]:
            part = os.urandom(4096)
            sent += part[: client.socket.send(part)]
        until(lambda: server.status()["unsent"])
        assert server.status()["unsent"] <= DEVICE_BOUND
        assert len(sent) > DEVICE_BOUND
        assert device.receive(len(sent)) == bytes(sent)


def test_a_client_that_reads_nothing_stops_the_device_and_is_not_cut(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    data = os.urandom(300_000)
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server, server.client(receive_buffer=SOCKET_BUFFER) as client:
        writer = device.sending(data)

        def stalled() -> bool:
            before = server.status()["bytes_from_device"]
            time.sleep(0.3)
            return bool(before and server.status()["bytes_from_device"] == before)

        until(stalled)
        assert server.status()["bytes_from_device"] < len(data)
        assert client.receive(len(data)) == data
        writer.join()


def test_what_was_never_sent_to_a_client_that_is_cut_is_counted(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    data = os.urandom(300_000)
    entry = {"device": device.name, "tcp_port": tcp_port, "take_over": True}
    with (
        RunningServer(serial_port(entry, threads=threads)) as server,
        server.client(receive_buffer=SOCKET_BUFFER) as old,
    ):
        writer = device.sending(data)
        session = server._server._ports[0]._session
        assert session is not None
        until(session._transport.get_write_buffer_size)  # for good, as this client reads nothing
        with Client(tcp_port, source="127.0.0.2") as new:
            new.send(b"mine")
            last = data[-16:]
            received = b""
            while not received.endswith(last):
                part = new.socket.recv(65536)
                assert part, f"closed after {len(received)} bytes"
                received += part
        writer.join()
        got = b""
        with suppress(ConnectionResetError):
            while part := old.socket.recv(65536):
                got += part
        lost = server.status()["discarded_from_device"]
    assert data.startswith(got)
    assert data.endswith(received)
    missing = len(data) - len(got) - len(received)
    # What was sent and not acknowledged is not known to be lost; a client that reads nothing has hardly any of it.
    assert 0 < lost <= missing <= lost + SOCKET_BUFFER


def test_what_a_client_sent_before_it_left_reaches_the_device(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    data = os.urandom(60_000)
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server:
        with server.client() as client:
            sender = threading.Thread(target=client.send, args=(data,))
            sender.start()
            got = device.receive(20_000)
            sender.join()
        assert got + device.receive(40_000) == data
        until(lambda: server.status()["client"] is None)


def wait_served(server: RunningServer, connects: int) -> None:
    """Return when so many clients were served, the present one included."""
    until(lambda: server.status()["connects"] == connects)


@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_what_a_client_sent_before_it_left_comes_before_what_the_next_one_sends(
    device: SerialDevice, tcp_port: int, protocol: str, *, threads: bool
) -> None:
    entry = {"device": device.name, "tcp_port": tcp_port, "protocol": protocol}
    jobs = [bytes([number]) * 12_000 for number in range(4)]
    with RunningServer(serial_port(entry, threads=threads)) as server, ExitStack() as clients:
        server.wait_listening()
        device.stop()
        for number, job in enumerate(jobs):
            client = clients.enter_context(Client(tcp_port))
            if protocol == "rfc2217":
                client.send(b"\xff\xfb\x2c")  # the com port option, by which it shows that it is a client
            wait_served(server, number + 1)
            client.send(job)
            client.socket.shutdown(socket.SHUT_WR)
        device.go_on()
        assert device.receive(48_000) == b"".join(jobs)
        assert server.status()["discarded_to_device"] == 0


@needs_linux
def test_what_a_client_sent_before_it_left_survives_a_device_that_speaks_to_it(
    device: SerialDevice, tcp_port: int
) -> None:
    """The client's computer resets a connection that nobody has any more and that is sent something."""
    data = os.urandom(20_000)
    with RunningServer(serial_port({"device": device.name, "tcp_port": tcp_port})) as server:
        with server.client() as client:
            device.stop()
            client.send(data)
        until(lambda: server.status()["unsent"])
        device.send(b"ready")
        until(lambda: server.status()["client"] is None)
        device.go_on()
        assert device.receive(20_000) == data
        assert server.status()["discarded_to_device"] == 0


def test_clients_that_come_and_go_before_a_device_that_takes_nothing_fill_nothing(
    device: SerialDevice, tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LEAVE_SECONDS", 0.1)
    port = serial_port({"device": device.name, "tcp_port": tcp_port})
    with RunningServer(port) as server:
        server.wait_listening()
        device.stop()
        for number in range(20):
            with Client(tcp_port) as client:
                wait_served(server, number + 1)
                client.send(bytes(12_000))
        with Client(tcp_port):
            wait_served(server, 21)
        status = server.status()
        assert status["bytes_to_device"] + status["discarded_to_device"] == 240_000
        assert LOOK_AHEAD < status["unsent"] <= LOOK_AHEAD + 12_000


def test_device_bytes_without_a_client_are_discarded_and_counted(
    device: SerialDevice, tcp_port: int, *, threads: bool
) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server:
        server.wait_listening()
        device.send(b"nobody hears this")
        until(lambda: server.status()["discarded_from_device"] == len(b"nobody hears this"))
        with server.client() as client:
            device.send(b"heard")
            assert client.receive(5) == b"heard"


def test_requests_and_responses_alternate(device: SerialDevice, tcp_port: int, *, threads: bool) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port}, threads=threads)
    with RunningServer(port) as server, server.client() as client:
        for number in range(200):
            message = number.to_bytes(8, "big")
            client.send(message)
            assert device.receive(8) == message
            device.send(message[::-1])
            assert client.receive(8) == message[::-1]


def test_what_a_client_sends_with_its_first_packet_is_delivered_whole(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port})) as server:
        server.wait_listening()
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", tcp_port), PATIENCE) as client:
                client.sendall(FIRST)
                received = b""
                while len(received) < len(FIRST):
                    data = client.recv(65536)
                    assert data, f"closed after {len(received)} bytes"
                    received += data
            assert received == FIRST


FIRST = bytes(range(256)) * 32
"""More than a session reads at a time."""
