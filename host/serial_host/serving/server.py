"""All served ports of one process, and what they share: the interfaces' addresses and the answer to `status`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import serial_host
from serial_host.com_port.port import OpenComPort
from serial_host.config import ConfigFault, PortConfig
from serial_host.listening.interfaces import Interfaces, snapshot
from serial_host.plumbing.event_log import Event
from serial_host.plumbing.text import described
from serial_host.serving.monitoring import Monitoring
from serial_host.serving.port_server import PortServer
from serial_host.serving.traffic import Traffic
from serial_host.status import PortStatus, State
from serial_monitor.taps import Taps

if TYPE_CHECKING:  # without TLS nothing of OpenSSL is loaded
    from serial_host.security.security import Security

INTERFACES_SECONDS = 2.0
"""Seconds between two looks at the interfaces, and so until the server listens at an address that appears late."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A configuration, and how its COM port is opened."""

    config: PortConfig
    open_port: OpenComPort


class Server:
    """Serves any number of ports; one port's trouble never touches another."""

    def __init__(
        self,
        ports: Sequence[Served],
        faults: Sequence[ConfigFault] = (),
        *,
        traffic: Traffic | None = None,
        security: Security | None = None,
        look_up_interfaces: Callable[[], Interfaces] = snapshot,
    ) -> None:
        self._look_up_interfaces = look_up_interfaces
        self._interfaces: Interfaces = {}
        self._interfaces_problem: str | None = None
        taps = Taps()
        self._ports = [
            PortServer(
                port.config,
                port.open_port,
                lambda: self._interfaces,
                traffic,
                taps.tap(port.config.name),
                security,
            )
            for port in ports
        ]
        self.monitoring = Monitoring(taps, self._statuses, self._look_at_lines)
        """The traffic of the ports, for those who ask for it."""
        self._security = security
        if security is not None:
            security.on_revoked = self._revoke
        self._faults = faults
        self._started_at = time.time()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`, then close every connection and port."""
        _log.info(
            "serial_host %s, process %d", serial_host.__version__, os.getpid(), extra=Event.STARTED.mark
        )
        self._look_at_interfaces()
        tasks = [asyncio.create_task(port.run(), name=port.name) for port in self._ports]
        watch = asyncio.create_task(self._watch_interfaces(), name="interfaces")
        stop = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            # The task of a port ends only by a defect. Then the process has to end, so that it is started again.
            done, _ = await asyncio.wait([*tasks, watch, stop], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            watch.cancel()
            ends = await asyncio.gather(*(port.finish() for port in self._ports), return_exceptions=True)
            for port, end in zip(self._ports, ends, strict=True):
                if isinstance(end, Exception):  # a defect in one port must not keep the others
                    _log.error("%s: unexpected error while the port was stopped", port.name, exc_info=end)
        finally:
            for task in (*tasks, watch, stop):
                task.cancel()
            await asyncio.gather(*tasks, watch, stop, return_exceptions=True)
            _log.info("stopped", extra=Event.STOPPED.mark)

    async def _watch_interfaces(self) -> None:
        while True:
            await asyncio.sleep(INTERFACES_SECONDS)
            self._look_at_interfaces()
            for port in self._ports:
                port.update_listener()

    def _look_at_interfaces(self) -> None:
        try:
            self._interfaces = self._look_up_interfaces()
            self._interfaces_problem = None
        except Exception as error:  # noqa: BLE001  # whatever the system raises: the ports go on as they are
            problem = described(error)
            if problem != self._interfaces_problem:
                _log.warning("the network interfaces cannot be listed (%s); trying again", problem)
            self._interfaces_problem = problem

    def status(self) -> dict[str, Any]:
        """Answer `serial_host status`."""
        return {
            "version": serial_host.__version__,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "ports": [port.as_json() for port in self._statuses()],
            "tls": None if self._security is None else self._security.status(),
        }

    def _statuses(self) -> list[PortStatus]:
        ports = [port.status() for port in self._ports]
        for fault in self._faults:
            invalid = PortStatus(fault.name, None, None, State.INVALID, self._started_at)
            invalid.fail(fault.message)
            ports.append(invalid)
        return ports

    def _look_at_lines(self, anew: bool) -> None:  # noqa: FBT001  # see `Monitoring`
        for port in self._ports:
            port.look_at_line(anew=anew)

    def _revoke(self, fingerprint: str) -> None:
        for port in self._ports:
            port.revoke(fingerprint)
