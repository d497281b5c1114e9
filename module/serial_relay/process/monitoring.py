"""Lets the local command `monitor` watch the ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing

from serial_monitor.records import Record
from serial_monitor.watchers import TooManyWatchersError, Watchers
from serial_relay.control.server import StreamRefusedError
from serial_relay.plumbing.text import shown
from serial_relay.port.supervisor import Supervisor
from serial_relay.status import PortStatus


class Monitoring:
    """Sends what passes the ports to those who ask for it over the control channel."""

    def __init__(self, ports: Supervisor) -> None:
        self._ports = ports
        self._watchers = Watchers(ports.taps)

    async def watch(self, payload: object) -> AsyncGenerator[bytes, None]:
        """Yield lines for as long as they are wanted, beginning with the state of the ports; the payload may name one port.

        Raises:
            StreamRefusedError: there is no such port, or there are too many watchers.
        """
        name = payload.get("port") if isinstance(payload, Mapping) else None
        statuses = self._ports.statuses()
        if name is not None and not (isinstance(name, str) and name in statuses):
            ports = ", ".join(sorted(statuses)) or "none"
            raise StreamRefusedError(404, f"there is no port {shown(name)}; there are {ports}")
        watched = {name: statuses[name]} if name is not None else statuses
        first = [record for port, status in watched.items() for record in _standing(port, status)]
        try:
            async with aclosing(self._watchers.watch(name, first)) as batches:
                async for lines in batches:
                    yield lines
        except TooManyWatchersError as error:
            raise StreamRefusedError(409, str(error)) from error


def _standing(name: str, status: PortStatus) -> Iterator[Record]:
    """Return the state of a port as events, with the time at which that state began."""
    to = f" to {status.remote_address}" if status.remote_address else ""
    yield Record(status.since, name, "state", text=f"{status.state}{to}")
    if status.line is not None:
        yield Record(status.since, name, "line", text=str(status.line))
    if status.modem is not None:
        yield Record(status.since, name, "modem", text=str(status.modem))
    if status.last_error is not None and status.remote_address is None:
        yield Record(status.last_error.at, name, "error", text=status.last_error.message)
