from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys

import pytest

from serial_relay.remote.connect import connect
from serial_relay.remote.connection import RemoteError
from serial_relay.status import ErrorCode
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
