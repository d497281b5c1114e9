"""A chain for pictures and for the page: a Modbus meter that is polled, a scale that sends weights, and a port in trouble."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import serial
from pymodbus.client import ModbusSerialClient

from tests.system.meter import REGISTERS, Meter
from tests.system.processes import Program, free_port, python_program
from tests.system.serial_lines import Device
from tests.system.stack import Host, Relay

POLL_SECONDS = 0.4


class Scene:
    """Runs until it is closed; `polls` counts what the meter answered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self.polls = 0
        self._end = threading.Event()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        self.meter = self._stack.enter_context(Meter(9600))
        self.scale = self._stack.enter_context(Device())
        meter_port, scale_port = free_port(), free_port()
        configuration = self._directory / "host.toml"
        entries = (
            ("COM3", self.meter.path, meter_port),
            ("COM4", self.scale.path, scale_port),
            ("COM9", "/dev/null/COM9", free_port()),
        )
        configuration.write_text(
            "\n".join(
                f'[[ports]]\ndevice = "{path}"\ntcp_port = {port}\nprotocol = "rfc2217"\nlisten = ["127.0.0.1"]\n'
                for _, path, port in entries
            )
        )
        self.host = Host(self._directory, "run", "--config", configuration)
        self._stack.callback(self.host.close)
        self.host.wait_until_listening(meter_port)
        ports: dict[str, dict[str, object]] = {
            "ttyMeter": {"tcpPort": meter_port, "protocol": "rfc2217", "line": {"baudRate": 9600}},
            "ttyScale": {"tcpPort": scale_port, "protocol": "rfc2217", "line": {"baudRate": 9600}},
            "ttySpare": {"tcpPort": free_port()},
        }
        self.relay = Relay(self._directory, ports)
        self._stack.callback(self.relay.close)
        self.relay.start()
        for name in ("ttyMeter", "ttyScale"):
            self.relay.wait_for_status(name, state="connected")
        self.relay.wait_for_status("ttySpare", state="retrying")
        for work in (self._poll, self._weigh):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._stack.callback(thread.join)
        self._stack.callback(self._end.set)

    def _poll(self) -> None:
        client = ModbusSerialClient(self.relay.link("ttyMeter"), baudrate=9600, timeout=5)
        assert client.connect()
        while not self._end.wait(POLL_SECONDS):
            answer = client.read_holding_registers(0, count=len(REGISTERS), device_id=1)
            self.polls += not answer.isError()
        client.close()  # type: ignore[no-untyped-call]

    def _weigh(self) -> None:
        with serial.Serial(self.relay.link("ttyScale"), timeout=0.1) as application:
            weight = 0
            while not self._end.wait(3 * POLL_SECONDS):
                weight = (weight + 37) % 500
                self.scale.write(b"S S %9.1f g\r\n" % (weight / 10))
                application.read(100)

    def command(self, end: str, *arguments: str, log: str) -> Program:
        """Start a local command of `serial_relay` or `serial_host`; it ends with the scene."""
        watched = self.relay if end == "serial_relay" else self.host
        command: Sequence[str] = python_program("-m", end, *arguments)
        return self._stack.enter_context(Program(command, self._directory / log, watched.runtime))

    def page(self, end: str) -> tuple[Program, str]:
        """Start `monitor --web` without a browser; return the command and the page's address."""
        program = self.command(end, "monitor", "--web", "--no-browser", log=f"page-{end}.log")
        program.wait_for_log("the page is at ")
        found = re.search(r"http://\S+/", program.log)
        assert found is not None, program.log
        return program, found[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
