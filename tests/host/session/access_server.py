"""An RFC 2217 server in a process of its own, on a pty with modem lines, and a client that speaks through our codec.

The server needs its own process because the modem lines come by LD_PRELOAD.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

import pytest

from rfc2217 import (
    AccessServerSignature,
    ComPortAgreed,
    ComPortCommand,
    Connection,
    Data,
    Event,
    Role,
    Signature,
    TelnetCommand,
)
from tests.host.commands import CommandLine, ServerProcess
from tests.host.running import PATIENCE
from tests.host.serial_device import SerialDevice
from tests.modem_shim.modem_shim import ModemLines, ModemShim

_PATIENT_HOST = (
    "-c",
    f"""
import runpy
from serial_host.com_port import driver_thread
driver_thread.PATIENCE_SECONDS = {PATIENCE}
runpy.run_module("serial_host", run_name="__main__")
""",
)
"""`serial_host`, for which no driver hangs because the machine is busy."""

EventType = TypeVar("EventType")
Command = TypeVar("Command", bound=ComPortCommand)


class AccessServer:
    """The running server, the device behind its port, and the device's end of the modem lines."""

    def __init__(
        self, process: ServerProcess, device: SerialDevice, shim: ModemShim, lines: ModemLines, tcp_port: int
    ) -> None:
        self.process = process
        self.device = device
        self.tcp_port = tcp_port
        self._shim = shim
        self.lines = lines

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self.tcp_port}"

    def line(self) -> str:
        """The settings in force, as `serial_host status` shows them."""
        return str(self.process.status()["ports"][0]["line"])

    def plug_in(self) -> None:
        """Let the device return, with all its lines off."""

        def lines_off(name: str) -> None:
            self.lines = self._shim.lines(name)

        self.device.plug_in(lines_off)


@contextmanager
def access_server(
    command_line: CommandLine, shim: ModemShim, device: SerialDevice, tcp_port: int, *flags: str
) -> Iterator[AccessServer]:
    """Run a server on `device` until the context is left, which ends it cleanly."""
    command_line.environment.update(
        shim.environment(), XDG_RUNTIME_DIR=command_line.environment["XDG_RUNTIME_DIR"]
    )
    lines = shim.lines(device.path)
    arguments: tuple[str | int, ...] = ("run", device.name, tcp_port, "--protocol", "rfc2217", *flags)
    with command_line.start(*arguments, program=_PATIENT_HOST) as process:
        process.wait_for("listening on")
        yield AccessServer(process, device, shim, lines, tcp_port)
        assert process.terminate() == 0
        assert "Traceback" not in process.output


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModemShim]:
    shim = ModemShim(tmp_path_factory.mktemp("shim"))
    yield shim
    shim.close()


@pytest.fixture
def server(
    command_line: CommandLine, shim: ModemShim, device: SerialDevice, tcp_port: int
) -> Iterator[AccessServer]:
    """An RFC 2217 server on `device`."""
    with access_server(command_line, shim, device, tcp_port) as server:
        yield server


class ComPortClient:
    """A client that waits for what it expects: answers, notifications, data."""

    def __init__(self, tcp_port: int, *, source: str = "127.0.0.1") -> None:
        self.connection = Connection(Role.CLIENT)
        self.events: list[Event] = []
        self._socket = socket.create_connection(("127.0.0.1", tcp_port), PATIENCE, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.start()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(self.connection.data_to_send())

    def receive(self, timeout: float = PATIENCE) -> bool:
        """Take what comes next; False when nothing comes in time, or the connection has ended."""
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        data = self._socket.recv(65536)
        self.events += self.connection.receive_data(data)
        self._flush()
        return bool(data)

    def wait_for(self, kind: type[EventType]) -> EventType:
        """Return the next event of a kind, and forget those before it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for index, event in enumerate(self.events):
                if isinstance(event, kind):
                    del self.events[: index + 1]
                    return event
            assert time.monotonic() < deadline, f"no {kind.__name__}"
            assert self.receive(), f"no {kind.__name__} before the end"

    def agree(self) -> AccessServerSignature:
        """Agree on the com port option, and give what the server says of itself first."""
        self.wait_for(ComPortAgreed)
        return self.signature()

    def signature(self) -> AccessServerSignature:
        """Wait for the server to say what it is."""
        signature = AccessServerSignature.parse(self.wait_for(Signature))
        assert signature is not None
        return signature

    def ask(self, command: Command) -> Command:
        """Send a request and give the answer."""
        self.send(command)
        return self.wait_for(type(command))

    def send(self, *commands: ComPortCommand | TelnetCommand | bytes) -> None:
        """Send commands and data in one piece."""
        for command in commands:
            if isinstance(command, bytes):
                self.connection.send_data(command)
            else:
                self.connection.send(command)
        self._flush()

    def data(self, count: int) -> bytes:
        """Wait for bytes of the device."""
        received = b""
        while len(received) < count:
            received += self.wait_for(Data).data
        return received

    def wait_closed(self) -> None:
        """Return when the server has closed the connection."""
        with contextlib.suppress(BrokenPipeError):  # an answer to what it said last may come too late
            while self.receive():
                pass


@pytest.fixture
def client(server: AccessServer) -> Iterator[ComPortClient]:
    """A client of `server` that has agreed to the com port option."""
    with ComPortClient(server.tcp_port) as client:
        client.agree()
        yield client
