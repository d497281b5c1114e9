"""TCP servers that misbehave on purpose, as no well-made server can be told to.

For: the relay's dealings with a server that closes, stalls, sends or vanishes at a chosen moment. Not for: plain
serving, which socat, ser2net and the project's own host do.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.system.processes import PATIENCE, free_port


class Listener:
    """A listening socket on 127.0.0.1 that can go away and come back on the same port."""

    def __init__(self, port: int | None = None, receive_buffer: int | None = None) -> None:
        """`receive_buffer` is SO_RCVBUF in bytes, None for the kernel's default."""
        self.port = port or free_port()
        self._receive_buffer = receive_buffer
        self._socket: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self.listen()

    @property
    def address(self) -> str:
        """As the reported properties write it."""
        return f"127.0.0.1:{self.port}"

    def listen(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listening.bind(("127.0.0.1", self.port))
        listening.listen()
        listening.settimeout(PATIENCE)
        self._socket = listening

    def accept(self, timeout: float = PATIENCE) -> socket.socket:
        """Return the next connection, which the listener closes at its own end if nobody did before.

        Raises:
            TimeoutError: none came within `timeout` seconds.
        """
        assert self._socket is not None, "the listener is away"
        self._socket.settimeout(timeout)
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE)
        self._connections.append(connection)
        return connection

    def go_away(self) -> None:
        """Stop listening and close every connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_away()


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """Receive `count` bytes.

    Raises:
        AssertionError: the connection ended before.
        TimeoutError: they did not come in time.
    """
    data = bytearray()
    while len(data) < count:
        chunk = connection.recv(min(65536, count - len(data)))
        assert chunk, f"the connection ended after {len(data)} of {count} bytes: {bytes(data[:64])!r}"
        data += chunk
    return bytes(data)
