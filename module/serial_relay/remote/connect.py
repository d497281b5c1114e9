"""Makes TCP connections to a serial server: it resolves the name, tries the addresses and sets the socket's options."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

from serial_relay.plumbing.name_resolution import lookup
from serial_relay.remote.connection import RemoteError, explain
from serial_relay.status import ErrorCode

_BUFFER = 4096
"""SO_SNDBUF and SO_RCVBUF in bytes (the kernel doubles them for its own bookkeeping).

With the default sizes megabytes can wait between an application and a line of 9600 baud, which needs minutes for them.
"""

UNSENT_LIMIT = 2048
"""Bytes that the kernel may hold unsent. The queue is checked each time that as many bytes were written.

SO_SNDBUF alone does not bound them: `tcp_sendmsg_locked` (net/ipv4/tcp.c) fills a segment of up to 64 KB before it
checks the buffer's size. Together with one read of the application, at most 8 KB wait on this side.
"""

_KEEPALIVE_IDLE = 4
_KEEPALIVE_INTERVAL = 2
_KEEPALIVE_COUNT = 2
"""Seconds, seconds and a number of probes: the death of an idle connection's peer is noticed after 8 s."""

_ADDRESS_TIMEOUT = 3.0
"""Seconds for one name resolution, and for the connection attempts to all addresses of a name together."""

_HEAD_START = 0.5
"""Seconds, at most, that an attempt has before the one to the next address begins."""

_MOST_ADDRESSES = 16
"""Addresses of one name that are tried."""

_TCP_NOTSENT_LOWAT = 25  # include/uapi/linux/tcp.h


Address = tuple[str, int] | tuple[str, int, int, int]

_MOST_TELLING = (
    ErrorCode.CONNECTION_REFUSED,
    ErrorCode.RESET,
    ErrorCode.TIMED_OUT,
    ErrorCode.HOST_UNREACHABLE,
)
"""Of the failures of several addresses the first of these is reported: it comes closest to the server."""


async def connect(loop: asyncio.AbstractEventLoop, host: str, port: int) -> tuple[socket.socket, str]:
    """Resolve the name again, and return a connection to one of its addresses and that address (`address:port`).

    Raises:
        RemoteError: see `connect_to_one`; or the name cannot be resolved.
    """
    return await connect_to_one(loop, await resolve(host, port))


async def connect_to_one(
    loop: asyncio.AbstractEventLoop, addresses: Sequence[tuple[int, Address]]
) -> tuple[socket.socket, str]:
    """Return a connection to the first address that answers, and that address (`address:port`).

    `addresses` holds address families and socket addresses; there is at least one. The attempt to the next address
    begins when one has failed, or when the last one has had its head start; earlier ones go on meanwhile, because a slow
    address is better than none. The head start is longer than that of RFC 8305, so that a server which answers at all
    does not get two connections: many serial servers serve one client, and some let the newest one replace it.

    Raises:
        RemoteError: no address answered. The error is the most telling one, and its text names all addresses.
    """
    tried, left = list(addresses[:_MOST_ADDRESSES]), len(addresses) - _MOST_ADDRESSES
    head_start = min(_HEAD_START, _ADDRESS_TIMEOUT / 2 / len(tried))
    attempts: list[asyncio.Task[socket.socket]] = []
    until = loop.time() + _ADDRESS_TIMEOUT
    try:
        while True:
            more = len(attempts) < len(tried)
            if more:
                attempts.append(loop.create_task(_attempt(loop, *tried[len(attempts)])))
            await asyncio.wait(
                [attempt for attempt in attempts if not attempt.done()],
                timeout=head_start if more and len(attempts) < len(tried) else max(0.0, until - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            for number, attempt in enumerate(attempts):
                if attempt.done() and attempt.exception() is None:
                    del attempts[number]
                    return attempt.result(), spell(tried[number][1])
            over = len(attempts) == len(tried) and all(attempt.done() for attempt in attempts)
            if over or loop.time() >= until:
                raise _most_telling(attempts, [spell(address) for _family, address in tried], left)
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_close_connection)


async def _attempt(loop: asyncio.AbstractEventLoop, family: int, address: Address) -> socket.socket:
    connection = _new_socket(family)  # it fails without descriptors, and with a kernel that has no IPv6
    try:
        await _established(loop, connection, address)
        if connection.getsockname() == connection.getpeername():
            # Nobody listens on a port of this machine's own outgoing range, and TCP's simultaneous open
            # has connected the socket to itself.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "")  # noqa: TRY301
    except BaseException:
        connection.close()
        raise
    return connection


async def _established(loop: asyncio.AbstractEventLoop, connection: socket.socket, address: Address) -> None:
    """Connect the socket.

    `loop.sock_connect` would do so too, but uvloop's looks up the numeric address in a thread.
    """
    error = connection.connect_ex(address)
    if error == errno.EINPROGRESS:
        decided = loop.create_future()

        def decide() -> None:
            # It is called again and again, also once more after the attempt was cancelled.
            if not decided.done():
                decided.set_result(None)

        loop.add_writer(connection.fileno(), decide)
        try:
            await decided
        finally:
            loop.remove_writer(connection.fileno())
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _close_connection(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the connection of an attempt that succeeded when it was no longer needed."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _most_telling(attempts: list[asyncio.Task[socket.socket]], names: list[str], left: int) -> RemoteError:
    failures = []
    for name, attempt in zip(names, attempts, strict=False):
        error = attempt.exception() if attempt.done() else None
        if isinstance(error, OSError):
            failures.append((name, explain(error, name)))
        elif error is not None:
            raise error
        else:
            what = f"no answer from {name} within {_ADDRESS_TIMEOUT:.0f} s"
            ask = "is the host up, and does its firewall let this port in?"
            failures.append((name, RemoteError(ErrorCode.TIMED_OUT, f"{what}: {ask}")))
    best = min(
        (failure for _name, failure in failures), key=lambda failure: _MOST_TELLING.index(failure.code)
    )
    others = [f"{name} ({failure.code})" for name, failure in failures if failure is not best]
    if left > 0:
        others.append(f"but not {left} more addresses")
    return RemoteError(best.code, f"{best}; also tried {', '.join(others)}" if others else str(best))


def _new_socket(family: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # The receive buffer counts only when it is set before the connection: the window is negotiated then.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
    return connection


async def resolve(host: str, port: int) -> list[tuple[int, Address]]:
    """Return the address families and socket addresses of a host, which is an IP address or a name.

    Raises:
        RemoteError: the name cannot be resolved.
    """
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (host, port))]
    try:
        async with asyncio.timeout(_ADDRESS_TIMEOUT):
            found = await lookup(host)
    except TimeoutError:
        raise RemoteError(
            ErrorCode.NAME_RESOLUTION, f"cannot resolve {host!r}: no answer within {_ADDRESS_TIMEOUT:.0f} s"
        ) from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise RemoteError(
            ErrorCode.NAME_RESOLUTION,
            f"cannot resolve {host!r}: {reason}; check `host`, or give the IP address",
        ) from error
    return list(dict.fromkeys((family, (address[0], port, *address[2:])) for family, address in found))


def spell(address: tuple[object, ...]) -> str:
    """Write a socket address as `address:port`."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
