"""The relay's end of the server's sockets, for tests of the server alone: it starts the server and speaks its messages."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.processes import PATIENCE, ROOT, wait_for
from tty_server.messages import (
    MAJOR,
    MINOR,
    NO_MINOR,
    NUMBER,
    OPENED,
    PURGE,
    Decoder,
    Kind,
    Line,
    data_messages,
    message,
)


class ServerProcess:
    """The server, run as the relay runs it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tty_server", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        theirs.close()
        self.ports: list[RelayEnd] = []

    def add_port(self, minor: int = NO_MINOR) -> RelayEnd:
        ours, theirs = socket.socketpair()
        socket.send_fds(self._control, [MINOR.pack(minor)], [theirs.fileno()])
        theirs.close()
        port = RelayEnd(ours)
        self.ports.append(port)
        port.wait(lambda: port.node or port.failed, "the device")
        return port

    def leave(self) -> None:
        """Be gone, as a relay that was killed."""
        for port in self.ports:
            port.close()
        self._control.close()

    def close(self) -> None:
        self.leave()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


class RelayEnd:
    """One port's socket. With `echo` on, what the application writes comes back, as from a loopback plug."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(0.01)
        self._decoder = Decoder()
        self.node: Path | None = None
        self.minor = NO_MINOR
        self.failed = ""
        self.data = bytearray()
        self.opened = False
        self.read_by_application = 0
        self.lines: list[Line] = []
        """Every line that was told."""
        self.outputs = 0
        self.breaks: list[bool] = []
        self.purges: list[int] = []
        self.drains: list[int] = []
        self.answer_drains = True
        self.ended = False
        self.echo = False

    @property
    def line(self) -> Line:
        """What was told last."""
        return self.lines[-1] if self.lines else Line()

    def send(self, kind: Kind, rest: bytes) -> None:
        self._socket.sendall(message(kind, rest))

    def send_data(self, data: bytes) -> None:
        self._socket.sendall(data_messages(data))

    def look(self) -> None:
        """Take what has come."""
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return
        except OSError:
            data = b""
        self.ended = self.ended or not data
        for kind, rest in self._decoder.messages(data):
            self._act_on(kind, rest)

    def _act_on(self, kind: int, rest: bytes) -> None:
        match kind:
            case Kind.READY:
                self.minor = MINOR.unpack_from(rest)[0]
                self.node = Path("/dev") / rest[MINOR.size :].decode()
                assert self.node.stat().st_rdev == os.makedev(MAJOR, self.minor)
            case Kind.FAILED:
                self.failed = rest.decode()
            case Kind.DATA:
                self.data += rest
                if self.echo:
                    self.send_data(rest)
            case Kind.OPEN:
                self.opened, self.read_by_application = OPENED.unpack(rest)
            case Kind.LINE:
                self.lines.append(Line.unpack(rest))
            case Kind.OUTPUTS:
                self.outputs = rest[0]
            case Kind.BREAK:
                self.breaks.append(bool(rest[0]))
            case Kind.PURGE:
                what, number = PURGE.unpack(rest)
                self.purges.append(what)
                self.send(Kind.PURGED, NUMBER.pack(number))
            case Kind.DRAIN:
                self.drains.append(NUMBER.unpack(rest)[0])
                if self.answer_drains:
                    self.send(Kind.DRAINED, rest)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        def met() -> object:
            self.look()
            return condition()

        wait_for(met, what)

    def serve(self, seconds: float) -> None:
        """Take what comes for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()

    def close(self) -> None:
        self._socket.close()
