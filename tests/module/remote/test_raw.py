"""A connection that carries bytes only, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import pytest

from serial_relay.remote.connect import connect
from serial_relay.remote.connection import Losses, RemoteError
from serial_relay.remote.raw import RawRemote
from serial_relay.remote.tcp_stream import TcpStream
from serial_relay.status import ErrorCode
from tests.module.conditions import until
from tests.module.serial_servers import echo, reset, serving


class Relay:
    """Stands in for the relay: records what the connection tells it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: list[RemoteError] = []
        self.paused = False

    def device_data(self, data: bytes) -> None:
        self.data += data

    def connection_full(self, *, full: bool) -> None:
        self.paused = full

    def remote_lost(self, error: RemoteError) -> None:
        self.lost.append(error)


async def opened(port: int, relay: Relay) -> RawRemote:
    loop = asyncio.get_running_loop()
    connection, address = await connect(loop, "127.0.0.1", port)
    remote = RawRemote(loop, connection, address, relay)
    remote.resume_reading()
    return remote


def unacknowledged(remote: RawRemote) -> int:
    """Return the number of bytes that the host's kernel has not acknowledged yet."""
    assert isinstance(remote._stream, TcpStream)
    return remote._stream.unacknowledged


async def test_bytes_go_and_come() -> None:
    async with serving(echo) as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        assert remote.address == f"127.0.0.1:{server.port}"
        remote.write(bytes(range(256)))
        await until(lambda: len(relay.data) == 256)
        assert relay.data == bytes(range(256))
        assert remote.close() == Losses()
        assert relay.lost == []


async def test_closed_by_the_host_after_its_last_byte() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        await begun(client, relay)
        client.sendall(b"the last record")
        client.close()
        await until(lambda: relay.lost)
        assert relay.data == b"!the last record"
        assert relay.lost[0].code is ErrorCode.CLOSED_BY_HOST
        remote.close()


async def test_reset_by_the_host() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        reset(await server.clients.get())
        await until(lambda: relay.lost)
        assert relay.lost[0].code is ErrorCode.RESET
        remote.close()


async def test_at_most_a_few_kilobytes_stand_towards_a_host_that_does_not_read() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        sent = bytearray()
        while not relay.paused:
            piece = os.urandom(1000)
            sent += piece
            remote.write(piece)
            await asyncio.sleep(0.01)  # what the host's kernel takes is the host's
        loop = asyncio.get_running_loop()
        received = bytearray()
        while len(received) < len(sent):
            received += await loop.sock_recv(client, 65536)
        assert received == sent
        await until(lambda: not relay.paused and not unacknowledged(remote))
        assert remote.close() == Losses()


async def test_what_the_host_did_not_acknowledge_is_counted_at_close() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sent = 0
        while not relay.paused:
            remote.write(bytes(1000))
            sent += 1000
        lost = remote.close().to_device
        assert 0 < lost <= 8192
        received = 0
        while data := await asyncio.get_running_loop().sock_recv(client, 65536):
            received += len(data)
        # The kernel still delivers what is in its send queue after a close, so "lost" errs on the side of caution.
        assert sent - lost <= received <= sent


async def test_paused_reading_holds_the_host_back() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        remote.pause_reading()
        client = await server.clients.get()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = bytearray()
        quiet = 0
        while quiet < 20:
            try:
                piece = os.urandom(512)
                sent += piece[: client.send(piece)]
                quiet = 0
            except BlockingIOError:
                quiet += 1
                await asyncio.sleep(0.005)
        assert not relay.data
        assert len(sent) <= 32_768  # of it 8 KB at most here, the rest in the host's own send buffer
        remote.resume_reading()
        await until(lambda: len(relay.data) == len(sent))
        assert relay.data == sent
        remote.close()


async def begun(client: socket.socket, relay: Relay) -> None:
    """Get over the moment in which the first bytes wait."""
    client.sendall(b"!")
    await until(lambda: relay.data)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
async def test_a_server_that_closes_at_once_has_said_why_to_people_and_not_to_the_application(
    end: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_EXPECTED", 3600)
    monkeypatch.setattr(
        "serial_relay.remote.raw._FIRST_BYTES_WAIT", 3600
    )  # at once, however slow the machine is
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        client.sendall(b"Port already in use\r\n\x1b[31m" + b"!" * 500)
        await asyncio.sleep(0.01)
        end(client)
        await until(lambda: relay.lost)
        said = 'before that it sent "Port already in use\\r\\n\\x1b[31m' + "!" * 74 + '…"'
        assert said in str(relay.lost[0])
        assert relay.data == b""
        assert remote.close() == Losses(from_device=526)


async def test_the_first_bytes_of_a_device_are_delivered_after_a_moment_and_the_others_at_once() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        sent = b"".join(b"%06d" % number for number in range(1000))
        for start in range(0, len(sent), 600):
            client.sendall(sent[start : start + 600])
            await asyncio.sleep(0.01)
        await until(lambda: len(relay.data) == len(sent))
        assert relay.data == sent
        client.close()
        await until(lambda: relay.lost)
        assert "before that it sent" not in str(relay.lost[0])
        assert remote.close() == Losses()


async def test_a_server_with_tls_that_waited_for_a_client_hello_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_EXPECTED", 0.01)
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        await until(lambda: not remote._text_expected)
        client.sendall(b"\x15\x03\x03\0\2\2\x46")
        client.close()
        await until(lambda: relay.lost)
        assert relay.lost[0].code is ErrorCode.TLS
        assert "uses TLS for this port: set `tls` in the desired properties" in str(relay.lost[0])
        assert relay.data == b""
        assert remote.close() == Losses(from_device=7)


async def test_text_that_comes_later_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_EXPECTED", 0.01)
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_WAIT", 3600)
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        await until(lambda: not remote._text_expected)
        client.sendall(b"12.5 kg")
        await until(lambda: relay.data == b"12.5 kg")
        remote.close()


@pytest.mark.parametrize(
    "answer", [b"\x01\x03\x02\x00\x2a\x38\x5b", b"OK\x00", b"\xff", b"\x02weight 12.5\x03"]
)
async def test_bytes_that_are_no_text_do_not_wait(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_WAIT", 3600)
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        client.sendall(answer)
        await until(lambda: relay.data)
        assert relay.data == answer
        client.sendall(b"text that follows")
        await until(lambda: relay.data == answer + b"text that follows")
        remote.close()


async def test_an_application_that_opens_does_not_get_what_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_EXPECTED", 3600)
    monkeypatch.setattr("serial_relay.remote.raw._FIRST_BYTES_WAIT", 3600)
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        client.sendall(b"before")
        await until(lambda: remote._first_bytes)
        remote.application_opened()
        assert relay.data == b"before", (
            "delivered while nobody has the port open, and so discarded and counted"
        )
        remote.close()


async def test_a_stream_is_not_held_up_beyond_its_first_kilobytes() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        client.sendall(bytes(5000))
        client.close()
        await until(lambda: relay.lost)
        assert len(relay.data) == 5000
        assert "before that it sent" not in str(relay.lost[0])
        remote.close()


async def test_what_was_received_and_not_delivered_is_counted_at_close() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        await begun(client, relay)
        remote.pause_reading()
        client.sendall(bytes(1000))
        reset(client)
        await until(lambda: relay.lost)
        assert relay.lost[0].code is ErrorCode.RESET
        assert remote.close() == Losses(from_device=1000)
