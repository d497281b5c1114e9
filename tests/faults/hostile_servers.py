"""A TCP server that treats its clients badly, in a manner that can be changed while it runs.

For: what the module must bear from whatever listens at the other end. Not for: servers that a test leads step by step;
`tests.system.tcp_servers` has those.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from rfc2217 import FlowControlSuspend, ModemState, NotifyModemState, SetBaudRate, Signature
from rfc2217.com_port_option import SERVER_CODE_OFFSET, ComPortCommand
from tests.system.processes import free_port

ENOUGH = 2_000_000
"""Bytes that a flood sends to one client."""

Manner = Callable[[socket.socket], None]
"""What is done with a connection; an `OSError` ends it."""


def command(command: ComPortCommand, offset: int = SERVER_CODE_OFFSET) -> bytes:
    """Return a com port command as a server sends it, or a client if `offset` is 0."""
    payload = command.payload().replace(b"\xff", b"\xff\xff")
    return b"\xff\xfa\x2c" + bytes([command.CODE + offset]) + payload + b"\xff\xf0"


def wait_for_the_end(client: socket.socket) -> None:
    """Read until the client goes."""
    while client.recv(65536):
        pass


def accept_and_close(client: socket.socket) -> None:
    """Hang up at once."""


def in_use(client: socket.socket) -> None:
    """Answer as ser2net does while its port is taken."""
    client.sendall(b"Port already in use\r\n")


def garbage(client: socket.socket) -> None:
    """Send what is no protocol, with many bytes that telnet means something by."""
    generator = random.Random(1)
    for _ in range(200):
        client.sendall(
            bytes(generator.choice((255, 250, 240, 44, generator.randrange(256))) for _ in range(500))
        )
    wait_for_the_end(client)


def flood(client: socket.socket) -> None:
    """Send as much as the client takes."""
    for _ in range(ENOUGH // 10_000):
        client.sendall(b"measurement " * 833)
    wait_for_the_end(client)


def command_storm(client: socket.socket) -> None:
    """Agree on the com port option, then send notifications and answers that nobody asked for, without end."""
    client.sendall(b"\xff\xfb\x2c\xff\xfd\x2c\xff\xfb\x00\xff\xfd\x00\xff\xfb\x03\xff\xfd\x03")
    client.sendall(command(SetBaudRate(9600)) + command(Signature("storm")))
    storm = (
        command(NotifyModemState(ModemState(0xF0)))
        + command(NotifyModemState(ModemState(0x0F)))
        + command(SetBaudRate(9600))
    )
    for _ in range(ENOUGH // 10 // len(storm) // 100):
        client.sendall(storm * 100)
    wait_for_the_end(client)


def negotiation_storm(client: socket.socket) -> None:
    """Flap with every option there is, and with the com port option."""
    flapping = b"".join(b"\xff" + bytes([verb, 44]) for verb in (251, 252, 253, 254))
    others = b"".join(b"\xff\xfd" + bytes([option]) for option in range(255))
    for _ in range(50):
        client.sendall(flapping * 50 + others)
    wait_for_the_end(client)


def suspend(client: socket.socket) -> None:
    """Agree on the com port option, forbid the client to send, and never allow it again."""
    client.sendall(b"\xff\xfb\x2c\xff\xfd\x2c" + command(SetBaudRate(9600)) + command(FlowControlSuspend()))
    wait_for_the_end(client)


def read_nothing(client: socket.socket) -> None:
    """Take no byte, until the connection is over."""
    over = select.poll()
    over.register(client, 0)  # a hang-up is reported whatever is asked for
    over.poll()


MANNERS: dict[str, Manner] = {
    manner.__name__: manner
    for manner in (
        accept_and_close,
        in_use,
        garbage,
        flood,
        command_storm,
        negotiation_storm,
        suspend,
        read_nothing,
    )
}


class HostileServer:
    """Listens on 127.0.0.1; `change` ends all connections and treats later ones in another manner."""

    def __init__(self) -> None:
        self.port = free_port()
        self.accepted = 0
        """Connections since the last change."""
        self._manner: Manner = wait_for_the_end
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="hostile server", daemon=True)
        self._thread.start()

    def change(self, manner: Manner) -> None:
        """Treat clients in this manner from now on."""
        with self._lock:
            self._manner, self.accepted = manner, 0
            clients = list(self._clients)
        for client in clients:
            with suppress(OSError):
                # With a reset, as what was sent and not read would keep an orderly end from the module.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        for client in self._connections():
            with self._lock:
                self.accepted += 1
                self._clients.append(client)
                manner = self._manner
            threading.Thread(target=self._serve, args=(client, manner), daemon=True).start()

    def _connections(self) -> Iterator[socket.socket]:
        with suppress(OSError):  # the server was closed
            while True:
                yield self._listening.accept()[0]

    def _serve(self, client: socket.socket, manner: Manner) -> None:
        with client, suppress(OSError):
            manner(client)
        with self._lock:
            self._clients.remove(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        self.change(wait_for_the_end)
