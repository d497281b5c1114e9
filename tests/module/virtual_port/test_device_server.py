"""The life of the process that serves the devices, with a program in its place that needs no CUSE."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from serial_relay.virtual_port import device_server
from serial_relay.virtual_port.device_server import DeviceServer
from serial_relay.virtual_port.tty_port import TtyError
from tests.module.conditions import until
from tty_server.messages import MINOR, NO_MINOR, Decoder, Kind

STAND_IN = (sys.executable, str(Path(__file__).with_name("devices_without_cuse.py")))


@pytest.fixture
async def devices() -> AsyncIterator[DeviceServer]:
    devices = DeviceServer(STAND_IN)
    yield devices
    await devices.stop()
    assert not servers()


def servers() -> list[psutil.Process]:
    """The stand-ins that this process has started and that run."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and STAND_IN[1] in child.cmdline()
    ]


def open_now() -> int:
    """The number of this process's descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def minor_of(connection: socket.socket) -> int:
    """Wait for the device, and return its minor number."""
    decoder = Decoder()
    connection.setblocking(False)
    while data := await asyncio.get_running_loop().sock_recv(connection, 4096):
        for kind, rest in decoder.messages(data):
            if kind == Kind.READY:
                return int(MINOR.unpack_from(rest)[0])
    raise AssertionError("the server has ended")


async def test_one_process_serves_all_ports(devices: DeviceServer) -> None:
    assert not servers(), "nothing is started before a port needs it"
    first, second = await devices.connect(NO_MINOR), await devices.connect(7)
    with first, second:
        assert (await minor_of(first), await minor_of(second)) == (0, 7)
        assert len(servers()) == 1


async def test_a_start_that_is_given_up_in_any_moment_leaves_no_descriptor_and_no_process(
    devices: DeviceServer,
) -> None:
    """A port is removed, or the module stopped, while the process is started."""
    (await devices.connect(NO_MINOR)).close()
    await devices.stop()
    before = open_now()
    for turns in range(100):
        start = asyncio.create_task(devices.connect(NO_MINOR))
        for _ in range(turns):
            await asyncio.sleep(0)
        if start.done():
            (await start).close()
            break
        start.cancel()
        await asyncio.wait([start])
    assert turns > 1
    await devices.stop()
    await until(lambda: not servers())
    gc.collect()
    await until(lambda: open_now() <= before)


async def test_a_process_that_dies_is_started_again_for_the_next_port(
    devices: DeviceServer, caplog: pytest.LogCaptureFixture
) -> None:
    with await devices.connect(NO_MINOR) as connection:
        await minor_of(connection)
        [dead] = servers()
        dead.kill()
        while await asyncio.get_running_loop().sock_recv(connection, 4096):
            pass  # what it had said before it died
    await until(lambda: "the server of devices ended with status -9" in caplog.text)
    with await devices.connect(3) as connection:
        assert await minor_of(connection) == 3
    assert [server.pid for server in servers()] != [dead.pid]


async def test_a_process_that_stands_still_is_killed_and_that_is_told(
    devices: DeviceServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_server, "_ASKED_EVERY", 0.5)
    with await devices.connect(NO_MINOR) as connection:
        await minor_of(connection)
        [stopped] = servers()
        stopped.suspend()
        assert await asyncio.get_running_loop().sock_recv(connection, 4096) == b""
    assert devices.why_ended() == "the server of devices has not answered for 2 s and was killed"
    await until(lambda: "the server of devices ended with status -9" in caplog.text)
    with await devices.connect(3) as connection:
        assert await minor_of(connection) == 3
        assert devices.why_ended() is None


async def test_a_process_that_answers_again_in_time_is_not_killed(
    devices: DeviceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_server, "_ASKED_EVERY", 0.05)
    monkeypatch.setattr(device_server, "_MOST_UNANSWERED", 400)
    with await devices.connect(NO_MINOR) as connection:
        await minor_of(connection)
        [process] = servers()
        for _ in range(3):
            process.suspend()
            await asyncio.sleep(0.3)  # some questions stay without an answer
            process.resume()
            with await devices.connect(NO_MINOR) as another:
                await minor_of(another)
        assert [server.pid for server in servers()] == [process.pid]


async def test_a_port_that_is_asked_for_right_after_a_death_finds_the_next_process(
    devices: DeviceServer,
) -> None:
    with await devices.connect(NO_MINOR) as connection:
        await minor_of(connection)
        [dead] = servers()
        dead.kill()
        assert await asyncio.get_running_loop().sock_recv(connection, 4096) == b""
        try:
            another = await devices.connect(NO_MINOR)
        except TtyError:
            another = await devices.connect(NO_MINOR)
        with another:
            await minor_of(another)


async def test_what_the_process_prints_is_logged(
    devices: DeviceServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), await devices.connect(NO_MINOR):
        await until(lambda: "the server of devices printed: the stand-in begins" in caplog.text)


async def test_a_process_that_does_not_end_by_itself_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial_relay.virtual_port.device_server._ENDS_WITHIN", 0.2)
    devices = DeviceServer((*STAND_IN, "stay"))
    with await devices.connect(NO_MINOR) as connection:
        await minor_of(connection)
        [server] = servers()
        server.suspend()
        await devices.stop()
    assert not servers()


async def test_a_program_that_cannot_be_started_is_an_error_with_the_systems_reason() -> None:
    devices = DeviceServer(("/no/such/program",))
    with pytest.raises(TtyError, match="cannot start the server of devices: No such file or directory"):
        await devices.connect(NO_MINOR)
    await devices.stop()


async def test_why_there_can_be_no_device_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert await DeviceServer(cuse="/dev/null").why_not() is None
    missing = await DeviceServer(cuse=str(tmp_path / "cuse")).why_not()
    assert missing is not None
    assert "modprobe cuse" in missing
