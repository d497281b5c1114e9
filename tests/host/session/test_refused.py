"""A client that is refused can hurt nobody but itself, whatever it sends and however little it reads."""

from __future__ import annotations

import contextlib
import time

import pytest

from serial_host.plumbing.tcp_options import SOCKET_BUFFER
from serial_host.serving.entrance import MOST_TOLD
from serial_host.session import rfc2217_session
from serial_host.session.rfc2217_session import REFUSAL_SECONDS
from tests.host.running import PATIENCE, Client, RunningServer, echo_port, serial_port, until
from tests.host.serial_device import SerialDevice
from tests.host.session.access_server import ComPortClient

MESSAGES = 100
PACE_SECONDS = 2 * REFUSAL_SECONDS / MESSAGES

FLOODS = {
    "negotiation": b"\xff\xfd\x63",
    "com port option again and again": b"\xff\xfc\x2c\xff\xfb\x2c",
    "suspension": b"\xff\xfb\x2c\xff\xfa\x2c\x08\xff\xf0",
    "signatures": b"\xff\xfa\x2c\x00\xff\xf0",
    "purges": b"\xff\xfa\x2c\x0c\x03\xff\xf0",
    "data": b"x",
}


@pytest.mark.parametrize("part", FLOODS.values(), ids=FLOODS)
def test_a_refused_client_that_floods_and_reads_nothing_stops_nothing_of_the_served_one(
    device: SerialDevice, tcp_port: int, part: bytes
) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    with RunningServer(port) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as served:
            served.agree()
            with Client(tcp_port, source="127.0.0.2", receive_buffer=SOCKET_BUFFER) as refused:
                until(lambda: server.status()["refused"] == 1)
                refused.flood(part, 1_000_000)
                # Until the server has long read what it reads of the flood, and has closed the connection.
                for number in range(MESSAGES):
                    device.send(number.to_bytes(4, "big"))
                    assert served.data(4) == number.to_bytes(4, "big")
                    time.sleep(PACE_SECONDS)
            device.send(b"afterwards")
            assert served.data(10) == b"afterwards"
            served.send(b"to the device")
            assert device.receive(13) == b"to the device"
            status = server.status()
        assert (status["bytes_to_device"], status["discarded_to_device"]) == (13, 0)


def test_little_is_read_from_a_refused_client(tcp_port: int) -> None:
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as served:
            served.agree()
            with Client(tcp_port, source="127.0.0.2") as refused:
                until(lambda: server.status()["refused"] == 1)
                assert refused.flood(b"x", 20_000_000) < 20_000_000


def has_ended(client: Client) -> bool:
    client.socket.setblocking(False)
    try:
        while client.socket.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_clients_that_are_refused_by_the_dozen_take_few_descriptors(
    tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217_session, "REFUSAL_SECONDS", PATIENCE)
    monkeypatch.setattr(rfc2217_session, "LAST_WORDS_SECONDS", PATIENCE)
    count = 3 * MOST_TOLD
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as served, contextlib.ExitStack() as clients:
            served.agree()
            many = [clients.enter_context(Client(tcp_port, source="127.0.0.2")) for _ in range(count)]
            until(lambda: server.status()["refused"] == count)
            until(lambda: sum(map(has_ended, many)) == count - MOST_TOLD)
            for client in many:
                client.socket.close()
            with Client(tcp_port, source="127.0.0.2") as refused:  # there is room again
                refused.send(b"\xff\xfd\x2c\xff\xfb\x2c")
                received = bytearray()
                while b" is connected" not in received:
                    part = refused.socket.recv(65536)
                    assert part, "it was not told why it is refused"
                    received += part
            served.send(b"still served")
            assert served.data(12) == b"still served"


TALKING_ON = {
    "nothing": b"",
    "data": b"x" * 3000,
    "commands": b"\xff\xfa\x2c\x05\x08\xff\xf0" * 200,
    "questions": b"\xff\xfa\x2c\x00\xff\xf0" * 200,
    "negotiation": b"\xff\xfd\x63" * 500,
    "half a command": b"\xff\xfa\x2c\x00",
}


@pytest.mark.parametrize("said", TALKING_ON.values(), ids=TALKING_ON)
def test_a_refused_client_learns_why_although_it_goes_on_sending(
    tcp_port: int, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217_session, "REFUSAL_SECONDS", PATIENCE)
    monkeypatch.setattr(rfc2217_session, "LAST_WORDS_SECONDS", PATIENCE)
    with RunningServer(echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as served:
            served.agree()
            for _ in range(10):
                with Client(tcp_port, source="127.0.0.2") as refused:
                    refused.send(b"\xff\xfd\x2c\xff\xfb\x2c")
                    refused.send(said)
                    time.sleep(0.002)
                    refused.send(said)
                    received = bytearray()
                    while part := refused.socket.recv(65536):
                        received += part
                    assert b" is connected" in received, "the reason was lost"
