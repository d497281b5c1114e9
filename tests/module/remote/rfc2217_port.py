"""A port with `protocol: rfc2217` that is connected to a scripted access server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rfc2217 import (
    SetBaudRate,
)
from serial_relay.config import Protocol
from serial_relay.status import State
from tests.module.port.ports import Ports
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.serial_servers import serving

RFC2217: dict[str, Any] = {"protocol": Protocol.RFC2217}


@asynccontextmanager
async def relayed(
    ports: Ports, host: ScriptedAccessServer | None = None, **config: Any
) -> AsyncIterator[ScriptedAccessServer]:
    """Serve a port, and have it connected."""
    host = host or ScriptedAccessServer()
    async with serving(host.serve) as server:
        host.port = server.port
        await ports.configure(tcp_port=server.port, **RFC2217, **config)
        await ports.reaches(State.CONNECTED)
        yield host


def told(host: ScriptedAccessServer) -> list[object]:
    """What the host was told, without the heartbeat's questions."""
    return [event for event in host.events if event != SetBaudRate()]
