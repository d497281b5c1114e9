"""TCP connections to a serial server: the name's addresses, the attempts, and the options of the socket."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket

from serial_relay.plumbing.name_resolution import lookup
from serial_relay.remote.connection import RemoteError, explain
from serial_relay.status import ErrorCode

_BUFFER = 4096
"""SO_SNDBUF and SO_RCVBUF in bytes (the kernel doubles them for its own bookkeeping).

The defaults let megabytes stand between an application and a 9600 baud line: minutes of it.
"""

UNSENT_LIMIT = 2048
"""Bytes that the kernel may hold unsent, looked at each time that as many were written.

SO_SNDBUF alone does not bound them: `tcp_sendmsg_locked` (net/ipv4/tcp.c) fills a segment of up to 64 KB before it
looks at the buffer's size. With one read of the application on top, at most 8 KB stand on this side.
"""

_KEEPALIVE_IDLE = 4
_KEEPALIVE_INTERVAL = 2
_KEEPALIVE_COUNT = 2
"""Seconds, seconds, probes: a dead peer of an idle connection is noticed after 8 s."""

_ADDRESS_TIMEOUT = 3.0
"""Seconds for one name resolution, and for the connection attempts to all addresses of a name together."""

_TCP_NOTSENT_LOWAT = 25  # include/uapi/linux/tcp.h


async def connect(loop: asyncio.AbstractEventLoop, host: str, port: int) -> tuple[socket.socket, str]:
    """Resolve the name anew, try all its addresses in turn, and give the first connection, with its address.

    Raises:
        RemoteError: of the last address tried.
    """
    addresses = await _resolve(host, port)
    timeout = _ADDRESS_TIMEOUT / len(addresses)
    failure: RemoteError | None = None
    for family, address in addresses:
        try:
            connection = _new_socket(family)
        except OSError as error:  # no more descriptors, or a kernel without IPv6
            failure = explain(error, _spell(address))
            continue
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_connect(connection, address)
            if connection.getsockname() == connection.getpeername():
                # Nobody listens on a port of this machine's own outgoing range, and TCP's simultaneous open
                # has connected the socket to itself.
                raise ConnectionRefusedError(errno.ECONNREFUSED, "")  # noqa: TRY301
        except TimeoutError:
            connection.close()
            failure = RemoteError(
                ErrorCode.TIMED_OUT,
                f"no answer from {_spell(address)} within {timeout:.1f} s: is the host up, and does its firewall"
                " let this port in?",
            )
        except OSError as error:
            connection.close()
            failure = explain(error, _spell(address))
        except BaseException:
            connection.close()
            raise
        else:
            return connection, _spell(address)
    assert failure is not None  # noqa: S101 - there is at least one address
    raise failure


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


_Address = tuple[str, int] | tuple[str, int, int, int]


async def _resolve(host: str, port: int) -> list[tuple[int, _Address]]:
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
    return [(family, (address[0], port, *address[2:])) for family, address in found]


def _spell(address: tuple[object, ...]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
