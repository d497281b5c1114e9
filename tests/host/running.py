"""A server that runs in the test's own process, in a thread with its own event loop.

For: driving the server with blocking sockets and real ports, on every operating system. The command line is tested in
`test_main`, with processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Self

from serial_host import config
from serial_host.com_port.port import OpenComPort
from serial_host.com_port.serial_port import opener
from serial_host.com_port.simulated import loopback_plug, simulated
from serial_host.configuration import config_file
from serial_host.listening.interfaces import InterfaceAddress, Interfaces
from serial_host.plumbing.event_loop import new_event_loop
from serial_host.security.security import Security
from serial_host.serving.server import Served, Server

PATIENCE = 30.0
"""Seconds after which a condition counts as never true; generous, because the machine may be busy."""

LOOPBACK = {"lo": [InterfaceAddress(IPv4Address("127.0.0.1"), IPv4Network("127.0.0.0/8"))]}


def until(condition: Callable[[], object], what: str = "") -> None:
    """Return as soon as `condition()` is true; fail when it is not within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what or "the condition was never true"
        time.sleep(0.005)


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Return a TCP port that nobody else is given meanwhile: bound, never listened on, so that a server may still bind it."""
    with socket.socket() as reservation:
        if sys.platform != "win32":
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        port = int(reservation.getsockname()[1])
        if sys.platform == "win32":
            reservation.close()
        yield port


def echo_port(entry: Mapping[str, Any]) -> tuple[config.PortConfig, OpenComPort]:
    """Return a port with a loopback plug."""
    port = config_file.parse_port({"device": "simulated", **entry}, "test")
    return port, simulated("simulated", port.line, loopback_plug)


class RunningServer:
    """Serves from entering the context to leaving it, then checks that the server ended without an exception."""

    def __init__(
        self,
        *ports: tuple[config.PortConfig, OpenComPort],
        faults: tuple[config.ConfigFault, ...] = (),
        new_loop: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
        security: Security | None = None,
    ) -> None:
        self._security = security
        self._new_loop = new_loop
        self._ports = [Served(*port) for port in ports]
        self._faults = faults
        self.interfaces: Interfaces = LOOPBACK
        """What the server sees when it looks next."""
        self.look_up_fails: Exception | None = None
        """What is raised when the server looks next."""
        self.looks = 0
        self._server: Server
        self._loop: asyncio.AbstractEventLoop
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # raised in the test's thread by __exit__
            self._failure = error

    def _look_up(self) -> Interfaces:
        self.looks += 1
        if self.look_up_fails is not None:
            raise self.look_up_fails
        return self.interfaces

    async def _serve(self) -> None:
        self._server = Server(
            self._ports, self._faults, look_up_interfaces=self._look_up, security=self._security
        )
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.run()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def stop(self) -> None:
        """Tell the server to stop, and go on."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the server does not stop"
        if self._failure is not None:
            raise self._failure

    def status(self, number: int = 0) -> dict[str, Any]:
        """Return what the server says of its port with this number."""

        async def ask() -> dict[str, Any]:
            port: dict[str, Any] = self._server.status()["ports"][number]
            return port

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(PATIENCE)

    @property
    def running(self) -> bool:
        """Whether the server has not ended."""
        return self._thread.is_alive()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The server's event loop."""
        return self._loop

    def call(self, function: Callable[[], object]) -> None:
        """Call `function` on the server's event loop."""

        async def called() -> None:
            function()

        asyncio.run_coroutine_threadsafe(called(), self._loop).result(PATIENCE)

    def under_way(self) -> list[str]:
        """Name the timers and tasks that the event loop has now, except those that each look makes anew.

        For a server with `new_loop=asyncio.new_event_loop`, because uvloop does not tell which timers it has.
        """

        async def look() -> list[str]:
            timers = [repr(timer) for timer in self._loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            return timers + [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]

        return asyncio.run_coroutine_threadsafe(look(), self._loop).result(PATIENCE)

    def wait_taken(self, count: int) -> None:
        """Return when the server has taken so many bytes for the device."""
        until(lambda: self.status()["bytes_to_device"] == count)

    def keeps_unsent(self) -> bool:
        """Whether bytes stay unsent, because the device takes no more."""
        if not self.status()["unsent"]:
            return False
        time.sleep(0.1)
        return bool(self.status()["unsent"])

    @property
    def waiting(self) -> int:
        """Newcomers at the first port that wait for the decision about its present client."""
        return len(self._server._ports[0]._entrance._waiting)

    def connection(self) -> socket.socket:
        """Return the server's own end of the first port's present connection."""
        session = self._server._ports[0]._session
        assert session is not None
        connection: socket.socket = session._transport.get_extra_info("socket")
        return connection

    def wait_listening(self, number: int = 0) -> None:
        """Return when the port can be connected to."""
        until(lambda: self.status(number)["listening"], "the server never listens")

    @contextlib.contextmanager
    def client(self, *, number: int = 0, **options: Any) -> Iterator[Client]:
        """Connect to the port with this number, and return when the server has taken the client: what the device sends now reaches it."""
        self.wait_listening(number)
        with Client(self._ports[number].config.tcp_port, **options) as client:
            until(lambda: self.status(number)["client"] == client.name, "the client is never served")
            yield client


def serial_port(entry: Mapping[str, Any], *, threads: bool = False) -> tuple[config.PortConfig, OpenComPort]:
    """Return a port of the operating system."""
    port = config_file.parse_port(entry, "test")
    return port, opener(port, threads=threads)


class Client:
    """A TCP client; `source` is the address it comes from, any of 127.0.0.0/8 on Linux."""

    def __init__(
        self, tcp_port: int, *, source: str = "127.0.0.1", receive_buffer: int | None = None
    ) -> None:
        self._reset = True
        self.socket = socket.socket()
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.settimeout(PATIENCE)
            self.socket.bind((source, 0))
            with contextlib.suppress(ConnectionResetError):
                self.socket.connect(("127.0.0.1", tcp_port))
                self._reset = False
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def name(self) -> str:
        """The client's `address:port`, as `status` shows it."""
        return "{}:{}".format(*self.socket.getsockname())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def flood(self, part: bytes, size: int) -> int:
        """Send up to `size` bytes without reading any; returns how many were taken until the server took no more."""
        data, sent = part * (size // len(part)), 0
        self.socket.setblocking(False)
        try:
            while sent < len(data) and select.select([], [self.socket], [], 0.5)[1]:
                sent += self.socket.send(data[sent : sent + 65536])
        except (ConnectionResetError, BrokenPipeError):
            pass
        return sent

    def receive(self, count: int) -> bytes:
        """Return `count` bytes, or fewer when the connection ends before."""
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(min(65536, count - len(data)))
            if not part:
                break
            data += part
        return bytes(data)

    def is_cut(self) -> bool:
        """Wait for the end and tell whether it was a reset; it may come before the connection is known to stand.

        On Windows asyncio's proactor shuts a connection down before it closes it, so that a reset can arrive as a clean
        end: there either will do.
        """
        return self._reset or self._end() or sys.platform == "win32"

    def is_closed(self) -> bool:
        """Wait for the end and tell whether it was a clean one."""
        return not self._end()

    def _end(self) -> bool:
        try:
            data = self.socket.recv(1)
        except ConnectionResetError:
            return True
        assert data == b""
        return False
