"""Listens at the addresses that shall be listened at now, and hands on each connection with the endpoint it came to.

Addresses come and go (a virtual switch gets new ones at every boot), so `update` is called again and again and
brings the sockets in line; an address that cannot be bound is tried again by the next call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

from serial_host.config import Address
from serial_host.listening.interfaces import Endpoint
from serial_host.plumbing.tcp_options import prepare_listener

_BACKLOG = 8
_ACCEPT_PAUSE_SECONDS = 0.1

Accept = Callable[[socket.socket, Endpoint], None]
"""Takes a connection over; called on the event loop's thread."""


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
        """Where it listens, as `address:port`."""
        return [socket_name(address, self._tcp_port) for address in self._tasks]

    @property
    def problems(self) -> list[str]:
        """Why it does not listen everywhere it should."""
        return list(self._problems.values())

    def update(self, endpoints: Sequence[Endpoint], missing: Sequence[str] = ()) -> None:
        """Listen at `endpoints` and nowhere else; `missing` says why others could not be looked up."""
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
                    self._tasks[address] = asyncio.create_task(
                        self._accept_all(listener, address), name=f"accept {name}"
                    )
                    self._log.info("listening on %s", name)
        for key, problem in problems.items():
            if self._problems.get(key) != problem:
                self._log.warning("%s; trying again", problem)
        self._problems = problems

    async def close(self) -> None:
        """Listen nowhere."""
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
        with contextlib.closing(listener):
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as error:
                    # A client that gave up while it waited, or no descriptors left: neither ends the listener.
                    self._log.warning("a connection was not accepted: %s", error)
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                    continue
                self._accept(connection, self._endpoints[address])


def socket_name(address: Address | str, port: int) -> str:
    """Write `172.18.240.1:5002` or `[fe80::1]:5002`."""
    text = str(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _explain(error: OSError) -> str:
    if error.errno in _IN_USE:
        return "another program listens there; end it or choose another tcp_port"
    if error.errno in _FORBIDDEN:
        return "the system does not allow it (on Windows: the port lies in a range reserved by 'netsh int ipv4 show excludedportrange tcp')"
    return error.strerror or str(error)


_IN_USE = (98, 48, 10048)
_FORBIDDEN = (13, 10013)
