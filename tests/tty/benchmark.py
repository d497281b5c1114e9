"""What a character device costs beside a pty, in the same kernel: `make bench-tty`, in user-mode Linux.

Each has an echo in a process of its own at its far end, with nothing between: in the module both go the same way from
there on. The application writes 8 bytes and reads them back, in turns on one and on the other, so that what else the
machine does meets both alike.

A call of the system costs twenty times more in user-mode Linux than on an ordinary kernel. So `python -m
tests.tty.benchmark requests` measures here, with a socket in place of /dev/cuse, what the server itself costs.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import statistics
import sys
import tempfile
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.system.processes import free_port
from tests.system.stack import Host, Relay
from tests.tty.relay_end import ServerProcess
from tty_server import fuse_requests as fuse
from tty_server.cuse_device import CuseDevice
from tty_server.messages import HEADER, MINOR, NO_MINOR, Kind, message
from tty_server.server import Server
from tty_server.sides import RelaySide

ROUNDS, TURNS = 200, 7
DATA = b"8 bytes."
IDLE_SECONDS = 5.0
NONE = bytes(4)


def echo_pty(fd: int) -> None:
    while True:
        os.write(fd, os.read(fd, 4096))


def echo_relay(connection: socket.socket) -> None:
    """Send every message with bytes back as it is (both ways they look the same), and answer what waits for an answer."""
    rest = b""
    while data := connection.recv(65536):
        rest += data
        while len(rest) >= HEADER.size:
            kind, length = HEADER.unpack_from(rest)
            whole, rest = rest[: HEADER.size + length], rest[HEADER.size + length :]
            if kind == Kind.DATA:
                connection.sendall(whole)
            elif kind == Kind.DRAIN:
                connection.sendall(message(Kind.DRAINED, whole[HEADER.size :]))
            elif kind == Kind.PURGE:
                connection.sendall(message(Kind.PURGED, whole[HEADER.size + 1 :]))


@contextmanager
def process(work: Callable[[], None]) -> Iterator[int]:
    """Do the work in a child, whose number this returns."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def blocking(fd: int) -> None:
    os.write(fd, DATA)
    got = 0
    while got < len(DATA):
        got += len(os.read(fd, 64))


def selecting(fd: int) -> None:
    os.write(fd, DATA)
    got = 0
    while got < len(DATA):
        select.select([fd], [], [])
        got += len(os.read(fd, 64))


def settings(fd: int) -> None:
    termios.tcgetattr(fd)


def waiting_bytes(fd: int) -> None:
    fcntl.ioctl(fd, termios.FIONREAD, NONE)


MEASURES: dict[str, Callable[[int], None]] = {
    "write, blocking read": blocking,
    "write, select, read": selecting,
    "tcgetattr": settings,
    "FIONREAD": waiting_bytes,
}


def once(act: Callable[[int], None], fd: int) -> list[float]:
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        act(fd)
        took.append((time.perf_counter() - start) * 1e6)
    return took


def cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def share(pid: int, work: Callable[[], None]) -> float:
    """Return the percentage of a processor that a process used while `work` was done."""
    start, before = time.monotonic(), cpu_seconds(pid)
    work()
    return (cpu_seconds(pid) - before) / (time.monotonic() - start) * 100


def ask_as_dotnet(ioctl: Callable[[int], None]) -> None:
    """Ask FIONREAD and TIOCMGET as .NET does for DataReceived and PinChanged: about 1,000 times a second each."""
    until = time.monotonic() + IDLE_SECONDS
    while time.monotonic() < until:
        ioctl(termios.FIONREAD)
        ioctl(termios.TIOCMGET)
        time.sleep(0.001)


def compare(files: dict[str, int], measures: tuple[str, ...]) -> None:
    """Print the medians of a pty and a character device, which are measured in turns."""
    print(f"{'':24}{'pty':>10}{'device':>10}{'ratio':>8}")
    for name in measures:
        took: dict[str, list[float]] = {kind: [] for kind in files}
        for _ in range(TURNS):
            for kind, fd in files.items():
                took[kind].append(statistics.median(once(MEASURES[name], fd)))
        pty_median, device_median = (statistics.median(took[kind]) for kind in ("pty", "tty"))
        print(
            f"{name:24}{pty_median:7.0f} us{device_median:7.0f} us{device_median / pty_median:8.2f}",
            flush=True,
        )


def compare_in_the_chain() -> None:
    """Print the same for two ports of the module, with the host's simulated device that sends everything back."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {kind: free_port() for kind in ("pty", "tty")}
        for kind, port in ports.items():
            (folder / kind).mkdir()
            host = Host(folder / kind, "simulate", "echo", str(port), "--protocol", "rfc2217")
            stack.callback(host.close)
        entries = {
            kind: {"tcpPort": port, "protocol": "rfc2217", "kind": kind} for kind, port in ports.items()
        }
        relay = Relay(folder / "relay", entries)
        stack.callback(relay.close)
        relay.start()
        files = {}
        for kind in ports:
            relay.wait_for_status(kind, kind=kind, state="connected")
            files[kind] = os.open(relay.link(kind), os.O_RDWR | os.O_NOCTTY)
            tty.setraw(files[kind])
        compare(files, tuple(MEASURES)[:2])


class SocketDevice(CuseDevice):
    """The server's end of a socket on which this program is the kernel."""

    def __init__(self, minor: int, relay: RelaySide, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        super().__init__(minor, relay)

    def _open(self) -> int:
        return self._connection.fileno()

    def _initialise(self) -> None:
        """There is nothing to be made."""


def serve_socket(control: socket.socket, connection: socket.socket) -> None:
    Server(control, lambda minor, relay: SocketDevice(minor, relay, connection)).run()


class SocketKernel:
    """The kernel's side of an ioctl that gives an integer: asked without room for it first, and then with it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._number = 0
        self.request(fuse.Opcode.OPEN, fuse.OPEN_IN.pack(0, 0))

    def request(self, opcode: int, body: bytes) -> None:
        self._number += 2
        header = fuse.IN_HEADER.pack(
            fuse.IN_HEADER.size + len(body), opcode, self._number, 0, 0, 0, os.getpid(), 0, 0
        )
        self._connection.send(header + body)
        self._connection.recv(fuse.BUFFER_SIZE)

    def ioctl(self, command: int) -> None:
        for room in (0, 4):
            self.request(fuse.Opcode.IOCTL, fuse.IOCTL_IN.pack(1, 0, command, 0x7FFF0000, 0, room))


def ask(fd: int) -> Callable[[int], None]:
    def ioctl(command: int) -> None:
        fcntl.ioctl(fd, command, NONE)

    return ioctl


def measure_requests() -> None:
    """Measure the server on this kernel, asked as by .NET."""
    control, relays = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = socket.socketpair()
    with process(lambda: serve_socket(control, device)) as pid:
        socket.send_fds(relays, [MINOR.pack(NO_MINOR)], [theirs.fileno()])
        ours.recv(4096)
        one = SocketKernel(kernel)
        count = 0

        def ioctl(command: int) -> None:
            nonlocal count
            count += 1
            one.ioctl(command)

        used = share(pid, lambda: ask_as_dotnet(ioctl))
    print(f"server, asked {count / IDLE_SECONDS:.0f} times a second: {used:.1f} % of a processor")


def main() -> None:
    with ExitStack() as stack:
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        stack.enter_context(process(lambda: echo_pty(ours)))
        server = ServerProcess()
        stack.callback(server.close)
        port = server.add_port()
        connection = port.detach()
        stack.enter_context(process(lambda: echo_relay(connection)))
        device = os.open(str(port.node), os.O_RDWR | os.O_NOCTTY)
        tty.setraw(device)
        compare({"pty": theirs, "tty": device}, tuple(MEASURES))
        pid = server.process.pid
        print(f"server, nothing happens: {share(pid, lambda: time.sleep(IDLE_SECONDS)):.1f} % of a processor")
        print(
            f"server, asked as by .NET: {share(pid, lambda: ask_as_dotnet(ask(device))):.1f} % of a processor"
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["requests"]:
        measure_requests()
    else:
        main()
        compare_in_the_chain()
