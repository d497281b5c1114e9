"""Listens on one TCP port at the present addresses, and hands on each connection with the endpoint at which it arrived.

Addresses come and go: a virtual switch gets new ones at every start of Windows. So `update` is called again and again and
opens and closes sockets. An address that cannot be bound, or at which listening failed, is tried again by the next call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

from serial_host.config import Address
from serial_host.listening.interfaces import Endpoint
from serial_host.plumbing.backoff import Backoff
from serial_host.plumbing.tcp_options import prepare_listener

_BACKLOG = 8
"""Connections that the kernel holds until they are accepted."""

_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 2.0
"""Seconds before the next attempt to accept after one that failed: at first, and at most."""

_FEW_FAILURES = 20
"""Number of failures in a row, with no connection between them, after which the socket is opened again."""

Accept = Callable[[socket.socket, Endpoint], None]
"""Takes a connection over. It is called on the thread of the event loop."""


class TcpListener:
    """One TCP port at any number of addresses."""

    def __init__(self, tcp_port: int, accept: Accept, log: logging.LoggerAdapter[logging.Logger]) -> None:
        self._tcp_port = tcp_port
        self._accept = accept
        self._log = log
        self._endpoints: dict[Address, Endpoint] = {}
        self._tasks: dict[Address, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}

    @property
    def addresses(self) -> list[str]:
        """The addresses at which the port is open, as `address:port`."""
        return [socket_name(address, self._tcp_port) for address in self._tasks]

    @property
    def problems(self) -> list[str]:
        """A message for each address at which the port should be open and is not."""
        return list(self._problems.values())

    def update(self, endpoints: Sequence[Endpoint], missing: Sequence[str] = ()) -> None:
        """Listen at `endpoints` and nowhere else.

        `missing` holds a message for each place for which there is no endpoint.
        """
        self._endpoints = {endpoint.address: endpoint for endpoint in endpoints}
        for gone in self._tasks.keys() - self._endpoints.keys():
            self._tasks.pop(gone).cancel()
            self._log.info("no longer listening on %s", socket_name(gone, self._tcp_port))
        problems = {message: message for message in missing}
        for address in self._endpoints:
            if address not in self._tasks:
                name = socket_name(address, self._tcp_port)
                try:
                    listener = self._bind(address)
                except OSError as error:
                    problems[name] = f"cannot listen on {name}: {_explain(error)}"
                else:
                    self._start(listener, address, name)
                    self._log.info("listening on %s", name)
                    if self._endpoints[address].external:
                        self._log.warning(
                            "%s seems to belong to an external switch: computers of the local network can connect; "
                            "narrow it by allow",
                            name,
                        )
        for key, problem in problems.items():
            if self._problems.get(key) != problem:
                self._log.warning("%s", problem)
        self._problems = problems

    def _start(self, listener: socket.socket, address: Address, name: str) -> None:
        task = asyncio.create_task(self._accept_all(listener, address), name=f"accept {name}")
        self._tasks[address] = task
        task.add_done_callback(lambda _: self._ended(address, task))

    def _ended(self, address: Address, task: asyncio.Task[None]) -> None:
        """Forget a socket that ended by itself, so that the next `update` opens it again."""
        if self._tasks.get(address) is task:
            del self._tasks[address]

    async def close(self) -> None:
        """Stop listening everywhere."""
        tasks = list(self._tasks.values())
        self.update(())
        await asyncio.gather(*tasks, return_exceptions=True)

    def _bind(self, address: Address) -> socket.socket:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            prepare_listener(listener)
            listener.bind((str(address), self._tcp_port))
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    async def _accept_all(self, listener: socket.socket, address: Address) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS)
        accepted_at, failures = loop.time(), 0
        with contextlib.closing(listener):
            while failures < _FEW_FAILURES:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as error:
                    # A client gave up while it waited, or no descriptors are left; neither ends the listener at once.
                    failures += 1
                    self._log.warning("a connection was not accepted: %s", error)
                    await asyncio.sleep(backoff.delay(loop.time() - accepted_at if failures == 1 else 0.0))
                    continue
                accepted_at, failures = loop.time(), 0
                try:
                    self._accept(connection, self._endpoints[address])
                except Exception:  # noqa: BLE001  # one connection must not end the others
                    self._log.exception("a connection could not be served")
                    connection.close()


def socket_name(address: Address | str, port: int) -> str:
    """Write `172.18.240.1:5002` or `[fe80::1]:5002`."""
    text = str(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _explain(error: OSError) -> str:
    if error.errno in _IN_USE:
        return "another program listens there; end that program, or choose another tcp_port"
    if error.errno in _FORBIDDEN:
        return (
            "the system does not allow it; on Windows the port may lie in a range that is reserved, "
            "see 'netsh int ipv4 show excludedportrange tcp'"
        )
    return error.strerror or str(error)


_IN_USE = (98, 48, 10048)
_FORBIDDEN = (13, 10013)
