"""The supervisor that the tests of a port's life share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.supervisor import Supervisor
from serial_relay.virtual_port.links import LinkDirectory
from tests.module.port.ports import Ports


@pytest.fixture
async def ports(tmp_path: Path, links: LinkDirectory, watches: Inotify) -> AsyncIterator[Ports]:
    links.watch(watches)
    supervisor = Supervisor(links, watches, lambda _name: None)
    yield Ports(supervisor, tmp_path)
    await supervisor.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serial-relay"]
