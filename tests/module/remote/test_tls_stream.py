"""TLS over a real TCP connection: order, back-pressure, and every byte delivered or counted."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
import time
from collections.abc import AsyncIterator

import pytest

from serial_relay.config import PortConfig, TlsSettings
from serial_relay.remote import secure as secure_module
from serial_relay.remote.connection import RemoteError
from serial_relay.remote.secure import Secured, secure
from serial_relay.remote.tls_stream import TlsStream
from serial_relay.status import ErrorCode
from serial_tls.endpoint import Endpoint, Pins
from serial_tls.handshake import shake_hands
from serial_tls.identity import make_identity
from serial_tls.session import Role, Session
from tests.module.conditions import until

CLIENT, SERVER = make_identity("client"), make_identity("server")
EVERY_BYTE = bytes(range(256)) * 400


class Owner:
    """What the stream tells."""

    def __init__(self) -> None:
        self.data = b""
        self.full = False
        self.lost: list[RemoteError] = []

    def device_data(self, data: bytes) -> None:
        assert data
        self.data += data

    def connection_full(self, *, full: bool) -> None:
        self.full = full

    def remote_lost(self, error: RemoteError) -> None:
        self.lost.append(error)


class Link:
    """A secured stream, and the peer's session and socket, which a test drives."""

    def __init__(self, owner: Owner, stream: TlsStream, session: Session, peer: socket.socket) -> None:
        self.owner = owner
        self.stream = stream
        self.session = session
        self.peer = peer

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.peer, self.session.write(data))

    async def receive(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            if data := self.session.read(65536):
                found += data
                continue
            taken = await asyncio.get_running_loop().sock_recv(self.peer, 65536)
            assert taken
            self.session.receive(taken)
        return found


def connected() -> tuple[socket.socket, socket.socket]:
    """Return our end of a connection and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    for end in (ours, peer):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, peer


def server_session() -> Session:
    return Endpoint(Role.SERVER, SERVER, Pins({CLIENT.fingerprint}.__contains__)).session()


async def secured_client(ours: socket.socket) -> Secured:
    tls = TlsSettings(host_fingerprints=(SERVER.fingerprint,))
    config = PortConfig(name="a", host="127.0.0.1", tcp_port=1, link="a", tls=tls)
    return await secure(asyncio.get_running_loop(), ours, "127.0.0.1:1", config, tls, CLIENT)


def unacknowledged(connection: socket.socket) -> int:
    """Return the number of bytes that the kernel of the other end has not got yet (tcp(7), SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    loop = asyncio.get_running_loop()
    ours, peer = connected()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server = server_session()
    secured, _ = await asyncio.gather(secured_client(ours), shake_hands(peer, server))
    owner = Owner()
    link = Link(owner, TlsStream(loop, ours, "127.0.0.1:1", owner, secured), server, peer)
    link.stream.resume_reading()
    yield link
    if ours.fileno() >= 0:
        link.stream.close()
    peer.close()


async def test_every_byte_passes_in_its_order_both_ways(link: Link) -> None:
    sending = asyncio.create_task(link.send(EVERY_BYTE))
    receiving = asyncio.create_task(link.receive(len(EVERY_BYTE)))
    for start in range(0, len(EVERY_BYTE), 1000):
        await until(lambda: not link.owner.full)
        link.stream.write(EVERY_BYTE[start : start + 1000])
    await sending
    assert await receiving == EVERY_BYTE
    await until(lambda: link.owner.data == EVERY_BYTE)
    assert not link.owner.lost


async def test_what_comes_as_the_time_for_a_refusal_runs_out_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secure_module, "_VERDICT", (0.05, 0.05))
    loop, (ours, peer), server, owner = asyncio.get_running_loop(), connected(), server_session(), Owner()
    securing = asyncio.create_task(secured_client(ours))
    while not server.shake_hands():
        await loop.sock_sendall(peer, server.output() or b"")
        server.receive(await loop.sock_recv(peer, 65536))
    peer.send(server.output() + server.write(b"the first word"))
    time.sleep(
        0.2
    )  # the event loop stands still, and finds both at once: the bytes, and that the time is over
    stream = TlsStream(loop, ours, "127.0.0.1:1", owner, await securing)
    stream.resume_reading()
    await until(lambda: owner.data or owner.lost)
    assert (owner.data, owner.lost) == (b"the first word", [])
    stream.close()
    peer.close()


async def test_nothing_is_delivered_while_nobody_reads_and_then_all_of_it(link: Link) -> None:
    link.stream.pause_reading()
    await link.send(EVERY_BYTE[:15_000])  # one record, of which the stream reads 4 KB at a time
    await asyncio.sleep(0.1)
    assert link.owner.data == b""
    link.stream.resume_reading()
    await until(lambda: link.owner.data == EVERY_BYTE[:15_000])


async def test_what_was_received_and_not_delivered_is_counted(link: Link) -> None:
    link.stream.pause_reading()
    for _ in range(10):
        await link.send(b"x" * 100)
    await until(lambda: not unacknowledged(link.peer))
    assert link.stream.close().from_device == 1000


async def test_what_the_peer_does_not_acknowledge_is_counted_in_bytes_of_the_application(link: Link) -> None:
    written = 0
    while not link.owner.full:
        link.stream.write(b"x" * 100)
        written += 100
        await asyncio.sleep(0)
    link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    lost = link.stream.close().to_device
    assert 0 < lost <= written
    assert lost % 100 == 0


async def test_what_was_acknowledged_is_not_counted(link: Link) -> None:
    for _ in range(1000):
        link.stream.write(b"8 bytes.")
        await asyncio.sleep(0)
    assert await link.receive(8000) == b"8 bytes." * 1000
    await until(lambda: link.stream._stream.unacknowledged == 0)
    assert link.stream.close().to_device == 0


async def test_an_end_comes_after_the_last_byte(link: Link) -> None:
    await link.send(b"last words")
    await asyncio.get_running_loop().sock_sendall(link.peer, link.session.close())
    await until(lambda: link.owner.lost)
    assert link.owner.data == b"last words"
    assert [error.code for error in link.owner.lost] == [ErrorCode.CLOSED_BY_HOST]


async def test_a_changed_record_ends_the_connection_and_is_not_delivered(link: Link) -> None:
    record = bytearray(link.session.write(b"9600 8N1"))
    record[-1] ^= 1
    await asyncio.get_running_loop().sock_sendall(link.peer, record)
    await until(lambda: link.owner.lost)
    assert link.owner.data == b""
    assert [error.code for error in link.owner.lost] == [ErrorCode.TLS]
    link.stream.write(b"after the end")
    assert link.stream.close().to_device >= len(b"after the end")


async def test_a_peer_that_asks_and_does_not_read_is_given_up(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TLS answers by itself, such as new keys, would fill the process otherwise."""
    monkeypatch.setattr(link.stream._session, "output", lambda: b"x" * 100_000)
    for _ in range(1000):
        if link.owner.lost:
            break
        await link.send(b"x")
        await asyncio.sleep(0)
    await until(lambda: link.owner.lost)
    assert "keeps sending requests of TLS without reading our answers" in str(link.owner.lost[0])
    assert link.stream.unwritten < 200_000


async def test_a_reset_is_told_once(link: Link) -> None:
    link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    link.peer.close()
    await until(lambda: link.owner.lost)
    assert [error.code for error in link.owner.lost] == [ErrorCode.RESET]
