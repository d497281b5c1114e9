"""What the host's tests share: a TCP port, a serial device, and a check that no descriptor is left open."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from serial_host.com_port import driver_thread, thread_pump
from serial_host.plumbing.event_loop import new_event_loop
from tests.host.commands import CommandLine
from tests.host.running import PATIENCE, reserved_port, until
from tests.host.serial_device import SerialDevice

if sys.platform == "win32":
    # They need terminals of POSIX, or peers from Debian.
    collect_ignore = [
        "com_port/test_com_port.py",
        "com_port/test_serial_port.py",
        "control/test_control.py",
        "serving/test_half_open.py",
        "session/test_hostile_clients.py",
        "session/test_refused.py",
        "session/test_stopped_device.py",
        "session/test_rfc2217_clients.py",
        "session/test_rfc2217_commands.py",
        "session/test_rfc2217_session.py",
        "serving/test_socat.py",
    ]
else:
    from tests.host.session.access_server import client, server, shim  # noqa: F401  # fixtures


# libuv's first loop opens a pipe for signals that stands until the process ends (unix/signal.c, uv__signal_global_init).
new_event_loop().close()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every coroutine test on the event loop that the server runs on."""
    return {"server": new_event_loop}


def _open_descriptors() -> set[str]:
    if sys.platform != "linux":
        return set()
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:  # the descriptor of this very listing
            continue
        if target.startswith(("/dev/ptmx", "/dev/pts/", "socket:", "pipe:", "anon_inode:")):
            found.add(f"{entry.name} -> {target}")
    return found


@pytest.fixture(autouse=True)
def _no_descriptor_left_open() -> Iterator[None]:
    before = _open_descriptors()
    yield

    def none_left() -> bool:
        gc.collect()
        return _open_descriptors() <= before

    until(none_left, "descriptors are left open")


@pytest.fixture(autouse=True)
def _no_driver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine no driver counts as one that hangs; the tests of those that hang set their own limits."""
    monkeypatch.setattr(driver_thread, "PATIENCE_SECONDS", PATIENCE)
    monkeypatch.setattr(thread_pump, "PURGE_SECONDS", PATIENCE)


@pytest.fixture
def tcp_port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


@pytest.fixture
def device(tmp_path: Path) -> Iterator[SerialDevice]:
    if sys.platform == "win32":
        pytest.skip("no pty on Windows: COM ports are tested there by tests/windows")
    with SerialDevice(tmp_path / "port") as device:
        yield device


@pytest.fixture(params=["descriptor", "threads"])
def threads(request: pytest.FixtureRequest) -> bool:
    """Which pump drives the port: both are to behave alike."""
    return bool(request.param == "threads")


@pytest.fixture
def command_line(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    # A short name: the path of a Unix socket has room for 107 characters.
    return CommandLine(tmp_path_factory.mktemp("c"))
