"""Connection attempts to real sockets: addresses that answer, refuse, are slow or do not answer."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serial_relay.remote import connect as connect_module
from serial_relay.remote.connect import Address, connect, connect_to_one
from serial_relay.remote.connection import RemoteError, explain
from serial_relay.status import ErrorCode
from tests.module.conditions import until
from tests.module.conftest import open_descriptors
from tests.module.serial_servers import echo, serving
from tests.system.processes import free_port


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


async def test_an_attempt_that_is_cancelled_in_any_moment_leaves_no_error() -> None:
    loop = asyncio.get_running_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    before = open_descriptors()
    async with serving(echo) as server:
        for turn in range(300):
            attempt = asyncio.create_task(connect(loop, "127.0.0.1", server.port))
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            attempt.cancel()
            await asyncio.wait({attempt})
            if not attempt.cancelled():
                attempt.result()[0].close()
    assert errors == []
    assert open_descriptors() <= before


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
        "import asyncio; from serial_relay.remote.connect import connect; from serial_relay.remote.connection import RemoteError\n"
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


@contextmanager
def silent(address: str, port: int) -> Iterator[socket.socket]:
    """A listener whose queue is full: it drops further SYNs, as a firewall does, until a connection is accepted."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        with socket.create_connection((address, port)):
            yield listener


def accept_one(listener: socket.socket) -> None:
    listener.accept()[0].close()


def ipv4(port: int, *hosts: str) -> list[tuple[int, Address]]:
    return [(socket.AF_INET, (host, port)) for host in hosts]


async def test_no_answer() -> None:
    port = free_port()
    with silent("127.0.0.1", port), pytest.raises(RemoteError, match="no answer from") as failure:
        await connect(asyncio.get_running_loop(), "127.0.0.1", port)
    assert failure.value.code is ErrorCode.TIMED_OUT


async def test_an_address_that_does_not_answer_does_not_keep_the_next_one_waiting_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        connect_module, "_ADDRESS_TIMEOUT", 3600.0
    )  # so long it would be, without a head start
    async with serving(echo) as server:
        with silent("127.0.0.2", server.port), silent("127.0.0.3", server.port):
            addresses = ipv4(server.port, "127.0.0.2", "127.0.0.3", "127.0.0.1")
            async with asyncio.timeout(30):
                connection, address = await connect_to_one(asyncio.get_running_loop(), addresses)
        assert address == f"127.0.0.1:{server.port}"
        connection.close()


async def test_an_address_that_answers_late_is_waited_for_when_no_other_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers the second SYN, which the kernel sends after 1 s, or a later one."""
    monkeypatch.setattr(connect_module, "_ADDRESS_TIMEOUT", 30.0)
    port = free_port()
    loop = asyncio.get_running_loop()
    with silent("127.0.0.2", port) as slow, silent("127.0.0.3", port), silent("127.0.0.4", port):
        loop.call_later(0.9, accept_one, slow)
        connection, address = await connect_to_one(loop, ipv4(port, "127.0.0.2", "127.0.0.3", "127.0.0.4"))
        assert address == f"127.0.0.2:{port}"
        connection.close()


async def test_a_server_with_two_addresses_gets_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may let a second connection replace the first."""
    monkeypatch.setattr(
        connect_module, "_HEAD_START", 30.0
    )  # a busy machine connects later than within half a second
    monkeypatch.setattr(connect_module, "_ADDRESS_TIMEOUT", 3600.0)
    async with serving(echo) as server:
        connection, _ = await connect_to_one(
            asyncio.get_running_loop(), ipv4(server.port, "127.0.0.1", "127.0.0.1")
        )
        await until(lambda: server.accepted)
        await asyncio.sleep(0.7)
        assert server.accepted == 1
        connection.close()


async def test_of_several_failures_the_most_telling_is_reported_and_all_are_named() -> None:
    port = free_port()
    addresses = [*ipv4(port, "127.0.0.2", "127.0.0.1"), (socket.AF_INET6, ("fe80::1", port, 0, 0))]
    with silent("127.0.0.2", port), pytest.raises(RemoteError) as failure:
        await connect_to_one(asyncio.get_running_loop(), addresses)
    assert failure.value.code is ErrorCode.CONNECTION_REFUSED
    text = str(failure.value)
    assert text.startswith(f"127.0.0.1:{port} refused the connection")
    assert f"also tried 127.0.0.2:{port} (timedOut), [fe80::1]:{port} (hostUnreachable)" in text


async def test_of_a_name_with_very_many_addresses_some_are_tried() -> None:
    port = free_port()
    with pytest.raises(RemoteError, match="but not 84 more addresses") as failure:
        await connect_to_one(
            asyncio.get_running_loop(), ipv4(port, *(f"127.0.1.{number}" for number in range(100)))
        )
    assert str(failure.value).count("connectionRefused") == 15


async def test_an_attempt_that_is_given_up_leaves_no_descriptor() -> None:
    before = open_descriptors()
    port = free_port()
    loop = asyncio.get_running_loop()
    with silent("127.0.0.2", port), silent("127.0.0.3", port):
        attempt = loop.create_task(connect_to_one(loop, ipv4(port, "127.0.0.2", "127.0.0.3")))
        await asyncio.sleep(0.7)
        attempt.cancel()
        await asyncio.wait({attempt})
    await until(lambda: open_descriptors() <= before)


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED])
def test_a_connection_that_is_gone_was_reset(number: int) -> None:
    assert explain(OSError(number, os.strerror(number)), "10.0.0.1:5002").code is ErrorCode.RESET
