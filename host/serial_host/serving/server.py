"""All served ports of one process, and what they share: the interfaces' addresses and the answer to `status`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import serial_host
from serial_host.com_port.port import OpenComPort
from serial_host.config import ConfigFault, PortConfig
from serial_host.listening.interfaces import Interfaces, snapshot
from serial_host.plumbing.text import described
from serial_host.serving.port_server import PortServer
from serial_host.serving.traffic import Traffic
from serial_host.status import PortStatus, State

INTERFACES_SECONDS = 2.0
"""Between two looks at the interfaces: a switch's address that appears late is listened at after this time."""

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
        look_up_interfaces: Callable[[], Interfaces] = snapshot,
    ) -> None:
        self._look_up_interfaces = look_up_interfaces
        self._interfaces: Interfaces = {}
        self._interfaces_problem: str | None = None
        self._ports = [
            PortServer(port.config, port.open_port, lambda: self._interfaces, traffic) for port in ports
        ]
        self._faults = faults
        self._started_at = time.time()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`, then close every connection and port."""
        _log.info("serial_host %s, process %d", serial_host.__version__, os.getpid())
        self._look_at_interfaces()
        tasks = [asyncio.create_task(port.run(), name=port.name) for port in self._ports]
        watch = asyncio.create_task(self._watch_interfaces(), name="interfaces")
        stop = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            # A port's task ends by a defect alone, and then the process shall end, to be started again.
            done, _ = await asyncio.wait([*tasks, watch, stop], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, watch, stop):
                task.cancel()
            await asyncio.gather(*tasks, watch, stop, return_exceptions=True)
            _log.info("stopped")

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
        ports = [port.status() for port in self._ports]
        for fault in self._faults:
            invalid = PortStatus(fault.name, None, None, State.INVALID, self._started_at)
            invalid.fail(fault.message)
            ports.append(invalid)
        return {
            "version": serial_host.__version__,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "ports": [port.as_json() for port in ports],
        }
