"""The relay's end of the server's sockets, for tests of the server alone: it starts the server and speaks its messages."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.processes import PATIENCE, ROOT, wait_for
from tty_server.messages import (
    CD,
    CTS,
    DSR,
    DTR,
    MAJOR,
    MINOR,
    NO_MINOR,
    NUMBER,
    OPENED,
    PURGE,
    RECEIVED,
    RTS,
    TOTAL,
    Decoder,
    Kind,
    Line,
    data_messages,
    message,
)


def looped(outputs: int) -> int:
    """Return the inputs of a port with a loopback plug."""
    return (CTS if outputs & RTS else 0) | (DSR | CD if outputs & DTR else 0)


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
    """One port's socket, with a device behind it.

    With `echo` on, what the application writes comes back. With `plugged` on, its modem lines do too, as through a loopback
    plug: RTS as CTS, DTR as DSR and CD. A `device` is handed what the application writes, and returns its answer. A port
    that is `joined` to another one has that at the other end of a null-modem cable, and waits for CTS if its application has
    switched RTS/CTS flow control on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(0.01)
        self._decoder = Decoder()
        self._granted = 0
        self._sent = 0
        self._unsent = bytearray()
        """Bytes of the device that the server has not granted."""
        self._holds: set[str] = set()
        """Why the application's bytes are held."""
        self._sending = threading.Lock()
        self._joined: RelayEnd | None = None
        self._inputs = 0
        self._read_early: list[tuple[int, bytes]] = []
        """Messages that were read before their turn, because the other end of the cable had bytes to send."""
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
        self.plugged = False
        self.device: Callable[[bytes], bytes] | None = None

    @property
    def line(self) -> Line:
        """What was told last."""
        return self.lines[-1] if self.lines else Line()

    def send(self, kind: Kind, rest: bytes) -> None:
        with self._sending:
            self._socket.sendall(message(kind, rest))

    def send_data(self, data: bytes) -> None:
        """Send bytes of the device as far as the server has granted, and the others when it grants them.

        Meanwhile the bytes of the application that they come from are held, so that no more is taken than is read.
        """
        with self._sending:
            self._unsent += data
            if ready := bytes(self._unsent[: self._granted - self._sent]):
                del self._unsent[: len(ready)]
                self._sent += len(ready)
                self._socket.sendall(data_messages(ready))
            waiting = bool(self._unsent)
        (self._joined or self)._hold("the other end takes no more", held=waiting)

    def _hold(self, reason: str, *, held: bool) -> None:
        with self._sending:
            before = bool(self._holds)
            (self._holds.add if held else self._holds.discard)(reason)
            if before is not bool(self._holds):
                self._socket.sendall(message(Kind.HOLD, bytes([not before])))

    def join(self, other: RelayEnd) -> None:
        """Connect the two by a null-modem cable."""
        self._joined, other._joined = other, self

    def _set_inputs(self, inputs: int) -> None:
        self._inputs = inputs
        self.send(Kind.INPUTS, bytes([inputs]))
        self._look_at_cts()

    def _look_at_cts(self) -> None:
        if self._joined is not None:
            waits = self.line.flow_control == "rtsCts" and not self._inputs & CTS
            self._hold("CTS is down", held=waits)

    def send_ungranted(self, data: bytes) -> None:
        """Send bytes of the device without being granted, as no relay may."""
        self._socket.sendall(data_messages(data))

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def has_come(self) -> bool:
        """True if `look` has something to do now."""
        return not self.ended and bool(self._read_early or select.select([self._socket], (), (), 0)[0])

    def look(self) -> None:
        """Take what has come."""
        early, self._read_early = self._read_early, []
        for kind, rest in early or self._read():
            self._act_on(kind, rest)

    def _read(self) -> list[tuple[int, bytes]]:
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return []
        except OSError:
            data = b""
        self.ended = self.ended or not data
        return list(self._decoder.messages(data))

    def _look_for_purges(self) -> None:
        """Answer what the application has discarded before it had the other end's bytes sent."""
        while not self.ended and select.select([self._socket], (), (), 0)[0]:
            self._read_early += self._read()
        purges = [message for message in self._read_early if message[0] == Kind.PURGE]
        self._read_early = [message for message in self._read_early if message[0] != Kind.PURGE]
        for purge in purges:
            self._act_on(*purge)

    def _act_on(self, kind: int, rest: bytes) -> None:
        match kind:
            case Kind.READY:
                self.minor = MINOR.unpack_from(rest)[0]
                self.node = Path("/dev") / rest[MINOR.size :].decode()
                assert self.node.stat().st_rdev == os.makedev(MAJOR, self.minor)
            case Kind.FAILED:
                self.failed = rest.decode()
            case Kind.OPEN:
                self.opened, self.read_by_application = OPENED.unpack(rest)
            case Kind.LINE:
                self.lines.append(Line.unpack(rest))
                self._look_at_cts()
            case Kind.BREAK:
                self.breaks.append(bool(rest[0]))
            case _:
                self._answer(kind, rest)

    def _answer(self, kind: int, rest: bytes) -> None:
        """Act on a message that the device or the relay answers."""
        match kind:
            case Kind.DATA:
                self.data += rest
                if self.echo:
                    self.send_data(rest)
                if self.device is not None:
                    self.send_data(self.device(rest))
                if self._joined is not None:
                    self._joined._look_for_purges()
                    self._joined.send_data(rest)
            case Kind.GRANT:
                (self._granted,) = TOTAL.unpack(rest)
                self.send_data(b"")
            case Kind.OUTPUTS:
                self.outputs = rest[0]
                if self.plugged:
                    self.send(Kind.INPUTS, bytes([looped(self.outputs)]))
                if self._joined is not None:
                    self._joined._set_inputs(looped(self.outputs))
            case Kind.PURGE:
                what, number = PURGE.unpack(rest)
                self.purges.append(what)
                if what & RECEIVED:
                    self._unsent.clear()
                    self.send_data(b"")
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

    def detach(self) -> socket.socket:
        """Give up the socket, for something else to be the relay."""
        self._socket.settimeout(None)
        return self._socket

    def close(self) -> None:
        self._socket.close()
