from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys

import pytest

from serial_relay.remote.remote import RawRemote, RemoteError, connect
from serial_relay.status import ErrorCode
from tests.module.conditions import until
from tests.module.serial_servers import echo, reset, serving
from tests.system.processes import free_port


class Relay:
    """Stands in for the relay: records what the connection tells it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: list[RemoteError] = []
        self.paused = False

    def device_data(self, data: bytes) -> None:
        self.data += data

    def pause_application(self) -> None:
        self.paused = True

    def resume_application(self) -> None:
        self.paused = False

    def remote_lost(self, error: RemoteError) -> None:
        self.lost.append(error)


async def opened(port: int, relay: Relay) -> RawRemote:
    loop = asyncio.get_running_loop()
    connection, address = await connect(loop, "127.0.0.1", port)
    return RawRemote(loop, connection, address, relay)


async def test_bytes_go_and_come() -> None:
    async with serving(echo) as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        assert remote.address == f"127.0.0.1:{server.port}"
        remote.write(bytes(range(256)))
        await until(lambda: len(relay.data) == 256)
        assert relay.data == bytes(range(256))
        assert remote.close() == 0
        assert relay.lost == []


async def test_a_name_is_resolved_and_all_its_addresses_are_tried() -> None:
    """`localhost` has ::1 before 127.0.0.1 on most machines; the server listens on one of them only."""
    async with serving(echo) as server:
        connection, address = await connect(asyncio.get_running_loop(), "localhost", server.port)
        assert address == f"127.0.0.1:{server.port}"
        connection.close()


async def test_an_ipv6_address_is_spelled_with_brackets() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        connection, address = await connect(asyncio.get_running_loop(), "::1", port)
        assert address == f"[::1]:{port}"
        connection.close()


async def test_refused() -> None:
    with pytest.raises(RemoteError, match="refused the connection: does the serial server run") as failure:
        await connect(asyncio.get_running_loop(), "127.0.0.1", free_port())
    assert failure.value.code is ErrorCode.CONNECTION_REFUSED


async def test_without_a_descriptor_to_be_had_an_attempt_fails_as_any_other() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(RemoteError, match="Too many open files"):
            await connect(asyncio.get_running_loop(), "127.0.0.1", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_connection_to_itself_is_refused() -> None:
    """A socket bound to the port that it dials connects to itself: here every outgoing port is that one."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    code = (
        "import asyncio; from serial_relay.remote.remote import connect, RemoteError\n"
        "async def main():\n"
        "    try: await connect(asyncio.get_running_loop(), '127.0.0.1', 40001)\n"
        "    except RemoteError as error: print(error.code)\n"
        "asyncio.run(main())\n"
    )
    range_ = "/proc/sys/net/ipv4/ip_local_port_range"
    script = f'ip link set lo up; echo 40001 40001 > {range_}; exec {sys.executable} -c "$0"'
    done = await asyncio.to_thread(
        subprocess.run,
        ["unshare", "--net", "sh", "-c", script, code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "connectionRefused", done.stderr


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(RemoteError, match=r"cannot resolve 'nowhere\.invalid'") as failure:
        await connect(asyncio.get_running_loop(), "nowhere.invalid", 1)
    assert failure.value.code is ErrorCode.NAME_RESOLUTION


async def test_a_name_that_cannot_be_one() -> None:
    with pytest.raises(RemoteError) as failure:
        await connect(asyncio.get_running_loop(), "a" * 70 + ".example", 1)
    assert failure.value.code is ErrorCode.NAME_RESOLUTION


async def test_no_answer() -> None:
    """A listener whose queue is full drops further SYNs, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with (
            socket.create_connection(address),
            pytest.raises(RemoteError, match="no answer from") as failure,
        ):
            await connect(asyncio.get_running_loop(), "127.0.0.1", address[1])
    assert failure.value.code is ErrorCode.TIMED_OUT


async def test_closed_by_the_host_after_its_last_byte() -> None:
    async with serving() as server:
        relay = Relay()
        remote = await opened(server.port, relay)
        client = await server.clients.get()
        client.sendall(b"last words")
        client.close()
        await until(lambda: relay.lost)
        assert relay.data == b"last words"
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
        await until(lambda: not relay.paused)
        assert remote.close() == 0


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
        lost = remote.close()
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
