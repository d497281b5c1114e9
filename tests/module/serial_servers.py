"""TCP servers on loopback that behave as serial servers do, well or badly; every one is a real socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tests.system.processes import free_port

Client = Callable[[socket.socket], Coroutine[Any, Any, None]]


class Server:
    """Accepts clients one after the other on a port that survives `down` and `up`."""

    def __init__(self, serve: Client | None = None, receive_buffer: int | None = None) -> None:
        self._serve = serve
        self._receive_buffer = receive_buffer
        self.accepted = 0
        self.clients: asyncio.Queue[socket.socket] = asyncio.Queue()
        """Connections to be driven by the test, when no `serve` was given."""
        self._listener: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._open: list[socket.socket] = []
        self.port = 0

    def up(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port or free_port()), backlog=16)
        listener.setblocking(False)
        if self._receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._task = asyncio.get_running_loop().create_task(self._accept(listener))

    async def down(self) -> None:
        """Stop listening and close every connection, as a server does that is stopped."""
        assert self._task is not None
        assert self._listener is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        self._listener.close()
        for client in self._open:
            client.close()
        self._open.clear()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                client, _ = await loop.sock_accept(listener)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.accepted += 1
                self._open.append(client)
                if self._serve is None:
                    self.clients.put_nowait(client)
                else:
                    group.create_task(self._serve(client))


async def echo(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(client, 65536):
            await loop.sock_sendall(client, data)
    except OSError:
        pass
    client.close()


async def accept_then_close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    """End a connection with RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@asynccontextmanager
async def serving(serve: Client | None = None, *, receive_buffer: int | None = None) -> AsyncIterator[Server]:
    """`receive_buffer` is that of each connection, in bytes (SO_RCVBUF), where the kernel's default is too large."""
    server = Server(serve, receive_buffer)
    server.up()
    try:
        yield server
    finally:
        await server.down()
