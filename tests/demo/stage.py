"""The parts of the demo: emulated edgeHub, module with the real Azure SDK, host with a simulated device, a client.

Everything lives in one temporary directory and on loopback, needs no root and is gone at the end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ModbusException

from tests.demo.scene import Reading, Scene
from tests.edgehub.hub import EdgeHub
from tests.system import peers
from tests.system.processes import PATIENCE, Program, free_port, python_program, wait_for

PORT = "ttyVirtS0"
SECOND_PORT = "ttyVirtS1"
POLL_INTERVAL = 0.1
"""Seconds between two polls."""

ANSWER_TIMEOUT = 0.5
"""Seconds that a poll waits."""

UNIT = 1
"""Modbus address of the simulated device."""


class Stage:
    """Starts and ends the parts and keeps the scene up to date; what happens when is the script's business."""

    def __init__(self, directory: Path, scene: Scene) -> None:
        self._directory = directory
        self._scene = scene
        self._running = ExitStack()
        self._ending = threading.Event()
        self._host: Program | None = None
        self._module: Program | None = None
        self._hub: EdgeHub | None = None
        self.links = directory / "dev"
        scene.link = str(self.links / PORT)
        scene.host_port = free_port()

    def close(self) -> None:
        """End all parts, the client first."""
        self._ending.set()
        self._running.close()

    # The parts in the order of their start.

    def start_host(self) -> None:
        """Serve a simulated Modbus RTU device; used again after `kill_host`."""
        self._host = self._program("host", "serial_host", "simulate", "modbus", str(self._scene.host_port))
        self._wait_for(self._host, lambda: peers.listens(self._scene.host_port), "the host to listen")
        self._scene.host_up = True

    def kill_host(self) -> None:
        """Take the host away without warning."""
        assert self._host is not None
        self._host.kill()
        self._scene.host_up = False

    def start_hub(self) -> EdgeHub:
        """Start the emulated edgeHub; its twin names one port."""
        desired = {"host": "127.0.0.1", "serialPorts": {PORT: self.port_entry(self._scene.host_port)}}
        self._hub = self._running.enter_context(EdgeHub(desired))
        self._in_background(self._follow_twin)
        return self._hub

    @staticmethod
    def port_entry(tcp_port: int, **settings: Any) -> dict[str, Any]:
        """An entry of `serialPorts`; the owner is whoever runs the demo."""
        return {"tcpPort": tcp_port, "uid": os.getuid(), "gid": os.getgid(), **settings}

    def start_module(self) -> None:
        """Start the module as edgeAgent would: configured by its environment and its twin alone."""
        self.links.mkdir()
        self._module = self._program(
            "module",
            "serial_relay",
            environment={
                **self.hub.environment,
                "LINK_DIR": str(self.links),
                "STATE_DIR": str(self._directory / "state"),
                "SERIAL_GID": str(os.getgid()),
                "METRICS_PORT": "0",
            },
        )

    def start_client(self) -> None:
        """Poll the device through the virtual port from now on."""
        self._in_background(self._poll)

    def start_echo(self) -> int:
        """Start a second host, an RFC 2217 access server with a loopback plug in its port; give its TCP port."""
        port = free_port()
        echo = self._program(
            "echo-host", "serial_host", "simulate", "echo", str(port), "--protocol", "rfc2217"
        )
        self._wait_for(echo, lambda: peers.listens(port), "the second host to listen")
        return port

    @property
    def hub(self) -> EdgeHub:
        assert self._hub is not None
        return self._hub

    @property
    def module(self) -> Program:
        assert self._module is not None
        return self._module

    def port_reported(self, name: str = PORT) -> dict[str, Any]:
        """What the module reports of a port, `{}` while nothing is reported."""
        return self.hub.reported.get("serialPorts", {}).get(name) or {}

    def stop_module(self) -> float:
        """Stop the module as Docker does and give the seconds it took."""
        start = time.monotonic()
        self.module.send_signal(signal.SIGTERM)
        self.module.wait()
        return time.monotonic() - start

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Wait as long as the module runs.

        Raises:
            AssertionError: it ended, or the condition was not met in time.
        """
        self._wait_for(self.module, condition, what, timeout)

    def _wait_for(
        self, program: Program, condition: Callable[[], object], what: str, timeout: float = PATIENCE
    ) -> None:
        def met() -> object:
            if self._ending.is_set():
                raise DemoEndedError
            assert program.returncode is None, f"{program} ended:\n{program.log}"
            return condition()

        wait_for(met, what, timeout)

    def sleep(self, seconds: float) -> None:
        """Wait so that the reader can watch.

        Raises:
            DemoEndedError: the demo ends.
        """
        if self._ending.wait(seconds):
            raise DemoEndedError

    def wait_until_ended(self) -> None:
        """Leave everything as it is for the reader, until `close`."""
        self._ending.wait()

    def _program(
        self, name: str, module: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> Program:
        command = python_program("-m", module, *arguments)
        log = self._directory / f"{name}.log"
        runtime = {"XDG_RUNTIME_DIR": str(self._directory)}  # the hosts' control sockets, apart from others'
        return self._running.enter_context(Program(command, log, {**runtime, **(environment or {})}))

    # What goes on beside the script.

    def _in_background(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._running.callback(thread.join)
        thread.start()

    def _poll(self) -> None:
        client = ModbusSerialClient(self._scene.link, timeout=ANSWER_TIMEOUT, retries=0)
        port = None
        while not self._ending.wait(POLL_INTERVAL):
            start = time.perf_counter()
            try:
                answer = client.read_input_registers(0, count=4, device_id=UNIT)
                high, low, temperature, requests = answer.registers
            except (ModbusException, OSError, ValueError):
                self._scene.polled(None)
            else:
                reading = Reading(high << 16 | low, temperature / 10, requests)
                self._scene.polled((time.perf_counter() - start) * 1e3, reading)
            if client.socket is not port:  # the client opens the port when it needs to
                port = client.socket
                self._scene.opens += 1
        client.close()  # type: ignore[no-untyped-call]

    def _follow_twin(self) -> None:
        while not self._ending.wait(0.1):
            self._scene.reported = self.hub.reported
            self._scene.hub_connected = self.hub.connected
            self._scene.hub_messages = self.hub.messages.total


class DemoEndedError(Exception):
    """The person who watches has had enough."""
