"""What the module's tests share: its own event loop, its log level, and a check that no descriptor is left open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.links import LinkDirectory


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every coroutine test on the event loop that the module runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _log_level_as_before() -> Iterator[None]:
    """Undo what a test has set by the direct method `setLogLevel`, or later tests would see other messages."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture
async def watches() -> AsyncIterator[Inotify]:
    inotify = Inotify(asyncio.get_running_loop())
    yield inotify
    inotify.close()


@pytest.fixture
def links(tmp_path: Path) -> Iterator[LinkDirectory]:
    directory = LinkDirectory(tmp_path)
    yield directory
    directory.close()


def open_descriptors() -> set[str]:
    """The process's ptys, sockets and inotify instances, which a finished test must not leave behind."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith(("/dev/ptmx", "/dev/pts/", "socket:", "anon_inode:inotify")):
            found.add(f"{entry.name} -> {target}")
    return found
