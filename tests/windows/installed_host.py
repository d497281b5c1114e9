"""The host of the installed bundle before a device, in Windows Python under wine, and what a test does with them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import serial

from tests.system import peers
from tests.system.processes import Program, free_port, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay
from tests.windows.wine import START_SECONDS, Wine

COM_PORT = "COM3"


class WindowsHost:
    """serial_host of the installed bundle, serving COM3 at one TCP port of this machine."""

    def __init__(self, wine: Wine, program_folder: Path, log: Path, *options: str) -> None:
        self.port = free_port()
        self._wine = wine
        self._python = program_folder / "runtime" / "python.exe"
        self._log = log
        self._options = options
        self.start()

    def start(self) -> None:
        self.program: Program = self._wine.start(
            self._log,
            *(self._python, "-I", "-m", "serial_host", "run", COM_PORT, str(self.port)),
            *("--listen", "127.0.0.1", *self._options),
        )

    def kill(self) -> None:
        self.program.kill()

    def wait_until_listening(self) -> None:
        self._wait(lambda: peers.listens(self.port), "serial_host to listen")

    def wait_until_closed(self) -> None:
        self._wait(lambda: not peers.listens(self.port), "serial_host to stop listening")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def met() -> bool:
            done = condition()
            assert self.program.returncode is None, f"serial_host ended:\n{self.program.log}"
            return done

        try:
            wait_for(met, what, START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.program.log}") from None

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run another command of serial_host against this server; give its exit status and output.

        wine cannot list named pipes, which is how a command finds the one server of a Windows machine: it is told.
        """
        ended = self._wine.run(
            self._python, "-I", "-m", "serial_host", *arguments, "--pid", str(self.windows_pid)
        )
        return ended.returncode, ended.stdout

    def start_command(self, log: Path, *arguments: str) -> Program:
        """Start another command of serial_host against this server, which runs until it is stopped."""
        return self._wine.start(
            log, self._python, "-I", "-m", "serial_host", *arguments, "--pid", str(self.windows_pid)
        )

    @property
    def windows_pid(self) -> int:
        """The process id by Windows' count."""
        pids: list[str] = re.findall(r"serial_host \S+, process (\d+)", self.program.log)
        return int(pids[-1])

    def open_and_leave_control(self, times: int) -> None:
        """Open the control channel again and again and close it without a word."""
        path = rf"\\.\pipe\serial-host-{self.windows_pid}"
        program = f"""
import _winapi
for _ in range({times}):
    _winapi.WaitNamedPipe({path!r}, 20000)
    open({path!r}, "r+b", buffering=0).close()
"""
        ended = self._wine.run(self._python, "-I", "-c", program)
        assert ended.returncode == 0, ended.stdout

    def status(self) -> dict[str, Any]:
        """What `serial_host status` says of the port."""
        status, output = self.command("status", "--json")
        assert status == 0, output
        [server] = json.loads(output)["servers"]
        [port] = server["ports"]
        assert isinstance(port, dict)
        return port

    def connect(self) -> socket.socket:
        """Connect a TCP client that is not the module."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


class PluggedDevice(Device):
    """A device at COM3 until it is unplugged."""

    def __init__(self, wine: Wine) -> None:
        super().__init__()
        self._wine = wine
        self._plugged = True
        wine.plug_in(COM_PORT.lower(), self.path)

    def close(self) -> None:
        if self._plugged:
            self._plugged = False
            self._wine.unplug(COM_PORT.lower())
            super().close()


def open_as_application(running: ExitStack, relay: Relay) -> serial.Serial:
    return running.enter_context(serial.Serial(relay.wait_for_link("scale"), 9600, timeout=20))


def exchange(application: serial.Serial, device: Device, request: bytes, response: bytes) -> None:
    """One transaction, as every Modbus or NMEA query is one."""
    application.write(request)
    assert device.read(len(request)) == request
    device.write(response)
    assert application.read(len(response)) == response
