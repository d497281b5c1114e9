"""A supervisor with the ports of a test, and an application that uses one of them."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from serial_relay.config import PortConfig
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import State
from tests.module.conditions import until


class Ports:
    """A supervisor with one port that a test changes."""

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        self.supervisor = supervisor
        self.directory = directory
        self.configurations: dict[str, PortConfig] = {}

    async def configure(self, name: str = "a", **changes: Any) -> None:
        standing = self.configurations.get(name) or PortConfig(
            name=name, host="127.0.0.1", tcp_port=1, link=name, uid=os.geteuid(), gid=os.getegid()
        )
        self.configurations[name] = replace(standing, **changes)
        await self.supervisor.reconcile(self.configurations, {})
        link = self.directory / self.configurations[name].link
        status = self.supervisor.statuses()[name]
        await until(lambda: link.is_symlink() or status.last_error or status.state is State.DISABLED)

    async def remove(self, name: str) -> None:
        del self.configurations[name]
        await self.supervisor.reconcile(self.configurations, {})

    @property
    def status(self) -> Any:
        return self.supervisor.statuses()["a"]

    async def reaches(self, state: State, name: str = "a") -> None:
        await until(lambda: self.supervisor.statuses()[name].state is state)

    async def reconnected(self, connects: int) -> None:
        await until(lambda: self.status.connects > connects)

    def open(self, name: str = "a", flags: int = 0) -> int:
        return os.open(self.directory / name, os.O_RDWR | os.O_NOCTTY | flags)


async def read(slave: int, size: int) -> bytes:
    """Read in a thread, as an application does that waits with `select` or `poll` for 20 s at most."""
    data = b""
    while len(data) < size:
        ready, _, _ = await asyncio.to_thread(select.select, [slave], [], [], 20)
        assert ready, f"only {len(data)} of {size} bytes came"
        data += os.read(slave, size - len(data))
    return data


async def request(slave: int, data: bytes) -> bytes:
    await asyncio.to_thread(os.write, slave, data)
    return await read(slave, len(data))


async def send_until_blocked(client: socket.socket) -> None:
    """Send until nothing takes more for a tenth of a second."""
    client.setblocking(False)
    blocked = 0
    while blocked < 20:
        try:
            client.send(bytes(4096))
            blocked = 0
        except BlockingIOError:
            blocked += 1
            await asyncio.sleep(0.005)


async def write_until_blocked(slave: int) -> int:
    """Write until nothing takes more for a tenth of a second, and return the number of bytes."""
    written = blocked = 0
    while blocked < 20:
        try:
            written += os.write(slave, bytes(1000))
            blocked = 0
        except BlockingIOError:
            blocked += 1
            await asyncio.sleep(0.005)
    return written
