"""What a served RFC 2217 client can do to the server: it costs a bounded amount, and ends with the client."""

from __future__ import annotations

import asyncio

import pytest

from rfc2217 import FlowControlResume, FlowControlSuspend, SetBaudRate, Signature, TelnetCode, TelnetCommand
from serial_host.plumbing.tcp_options import SOCKET_BUFFER
from serial_host.session.rfc2217_session import UNREAD_LIMIT
from tests.host.running import RunningServer, echo_port, serial_port, until
from tests.host.serial_device import SerialDevice
from tests.host.session.access_server import ComPortClient

AGREE = b"\xff\xfb\x2c"
WITHDRAW = b"\xff\xfc\x2c"
ASK_SIGNATURE = b"\xff\xfa\x2c\x00\xff\xf0"
SUSPEND = b"\xff\xfa\x2c\x08\xff\xf0"
BREAK = b"\xff\xf3"
BREAK_ON = b"\xff\xfa\x2c\x05\x05\xff\xf0"
BAUD_RATES = b"\xff\xfa\x2c\x01\x00\x00\x4b\x00\xff\xf0\xff\xfa\x2c\x01\x00\x00\x25\x80\xff\xf0"
PURGE = b"\xff\xfa\x2c\x0c\x03\xff\xf0"


def rfc2217(tcp_port: int) -> RunningServer:
    port = echo_port({"tcp_port": tcp_port, "protocol": "rfc2217"})
    return RunningServer(port, new_loop=asyncio.new_event_loop)


def usually_under_way(server: RunningServer) -> int:
    """Count timers and tasks; of several looks the most, as a timer that is due is missing until it is set anew."""
    return max(len(server.under_way()) for _ in range(5))


def test_agreeing_again_and_again_starts_one_timer(tcp_port: int) -> None:
    with rfc2217(tcp_port) as server:
        with server.client() as client:
            before = usually_under_way(server)
            client.send((WITHDRAW + AGREE) * 2000 + b"done")
            received = b""
            while b"done" not in received:
                received += client.socket.recv(65536)
            until(lambda: len(server.under_way()) <= before + 1, f"there are {server.under_way()}")
        until(lambda: server.status()["client"] is None)


@pytest.mark.parametrize(
    "said",
    [
        AGREE,
        AGREE + WITHDRAW + AGREE,
        AGREE + SUSPEND,
        AGREE + BREAK,
        AGREE + BREAK_ON,
        AGREE + BAUD_RATES * 20,
        AGREE + PURGE * 300,
        AGREE + SUSPEND + ASK_SIGNATURE * 100,
        b"\xff\xfa\x2c" + bytes(5000),
        b"\xff",
        b"",
    ],
)
def test_nothing_of_a_client_is_left_when_it_has_gone(
    device: SerialDevice, tcp_port: int, said: bytes
) -> None:
    port = serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    with RunningServer(port, new_loop=asyncio.new_event_loop) as server:
        server.wait_listening()
        before = usually_under_way(server)
        for source in ("127.0.0.1", "127.0.0.2"):
            with server.client(source=source) as client:
                client.send(said)
                until(lambda: client.socket.recv(65536))
            until(lambda: server.status()["client"] is None)
        until(lambda: len(server.under_way()) <= before, f"left: {server.under_way()}")


def test_a_client_that_asked_for_silence_and_asks_without_end_is_cut(tcp_port: int) -> None:
    with rfc2217(tcp_port) as server, server.client() as client:
        client.send(AGREE + SUSPEND)
        assert client.flood(ASK_SIGNATURE, 20_000_000) < 20_000_000
        until(lambda: server.status()["client"] is None)


def test_a_client_that_asked_for_silence_may_ask_a_little(tcp_port: int) -> None:
    with rfc2217(tcp_port) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            client.send(FlowControlSuspend(), *([SetBaudRate(0)] * 200))
            assert not client.receive(0.2)
            client.send(FlowControlResume())
            assert [client.wait_for(SetBaudRate).value for _ in range(200)] == [9600] * 200


def test_a_client_that_asks_and_does_not_read_is_not_read_until_it_does(tcp_port: int) -> None:
    """It is slow, not hostile: every question that it got rid of is answered, in order."""
    with rfc2217(tcp_port) as server, server.client(receive_buffer=SOCKET_BUFFER) as client:
        question, answer = b"\xff\xfd\x63", b"\xff\xfc\x63"  # DO 99, WONT 99
        sent = client.flood(question, 20_000_000)
        assert sent < 20_000_000
        session = server._server._ports[0]._session
        assert session is not None
        assert session._transport.get_write_buffer_size() <= UNREAD_LIMIT
        client.socket.setblocking(True)
        received = bytearray()
        while not received.endswith(answer * 3) or len(received) < sent // len(question) * len(answer):
            received += client.socket.recv(65536)
        assert server.status()["client"] == client.name


def test_many_requests_in_one_read_are_all_answered_in_order(tcp_port: int) -> None:
    with rfc2217(tcp_port) as server:
        server.wait_listening()
        with ComPortClient(tcp_port) as client:
            client.agree()
            for start in range(300, 1500, 250):
                rates = list(range(start, start + 250))
                client.send(*(SetBaudRate(rate) for rate in rates))
                assert [client.wait_for(SetBaudRate).value for _ in rates] == rates
            client.send(Signature(), TelnetCommand(TelnetCode.NOP))
            assert client.signature().device == "simulated"


def test_a_half_closed_client_that_reads_nothing_does_not_keep_the_port(
    device: SerialDevice, tcp_port: int
) -> None:
    import socket

    port = serial_port({"device": device.name, "tcp_port": tcp_port, "protocol": "rfc2217"})
    with RunningServer(port) as server, server.client(receive_buffer=SOCKET_BUFFER) as client:
        writer = device.sending(bytes(200_000))
        until(lambda: server.status()["bytes_from_device"] > 0)
        client.socket.shutdown(socket.SHUT_WR)
        until(lambda: server.status()["client"] is None)
        writer.join()
