"""The relay's side of the TCP connection to the serial server: connecting, death detection, raw bytes.

What RFC 2217 adds stands in `rfc2217_remote`; what a connection means for a port stands in `relay`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import os
import socket
import struct
import termios
from typing import Protocol

from serial_relay.plumbing.byte_channel import ByteChannel
from serial_relay.plumbing.name_resolution import lookup
from serial_relay.status import ErrorCode

_BUFFER = 4096
"""SO_SNDBUF and SO_RCVBUF in bytes (the kernel doubles them for its own bookkeeping).

The defaults let megabytes stand between an application and a 9600 baud line: minutes of it.
"""

_UNSENT_LIMIT = 2048
"""Bytes that the kernel may hold unsent, looked at each time that as many were written.

SO_SNDBUF alone does not bound them: `tcp_sendmsg_locked` (net/ipv4/tcp.c) fills a segment of up to 64 KB before it
looks at the buffer's size. With one read of the application on top, at most 8 KB stand on this side.
"""

_KEEPALIVE_IDLE = 4
_KEEPALIVE_INTERVAL = 2
_KEEPALIVE_COUNT = 2
"""Seconds, seconds, probes: a dead peer of an idle connection is noticed after 8 s."""

_WATCH_INTERVAL = 1.0
_DEAD_AFTER = 6.0
_DEAD_ATTEMPTS = 3
"""A peer that is being sent to is dead when it acknowledged nothing for 6 s and over 3 attempts (TCP_INFO).

TCP_USER_TIMEOUT would also cut a peer that lives and merely takes nothing: its zero window is acknowledged at
each probe, which this rule sees and that option does not.
"""

_ADDRESS_TIMEOUT = 3.0
"""Seconds for one name resolution, and for the connection attempts to all addresses of a name together."""

_TCP_NOTSENT_LOWAT = 25  # include/uapi/linux/tcp.h
_SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h

# struct tcp_info of include/uapi/linux/tcp.h: tcpi_state is its first byte, tcpi_retransmits and tcpi_probes are its bytes 2 and 3,
# tcpi_last_ack_recv (milliseconds) is the 13th of the 32-bit fields that begin at byte 8.
_TCP_INFO_SIZE = 64
_TCP_INFO = struct.Struct("@BxBB52xI")
_TCP_CLOSE = 7  # include/net/tcp_states.h


class RemoteError(Exception):
    """Why there is no connection, with the code for `lastError`."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class RemoteEvents(Protocol):
    """What a connection tells the relay; every call comes from the event loop."""

    def device_data(self, data: bytes) -> None:
        """Bytes of the device; never empty."""

    def pause_application(self) -> None:
        """The connection takes nothing now: write no more until `resume_application`. What was written is kept."""

    def resume_application(self) -> None:
        """There is room again."""

    def remote_lost(self, error: RemoteError) -> None:
        """The connection is over; said once."""


class Remote(Protocol):
    """A connection to a serial server, whatever the protocol inside."""

    @property
    def address(self) -> str:
        """`address:port` of the other end."""

    def write(self, data: bytes) -> None:
        """Send bytes of the application to the device."""

    def pause_reading(self) -> None:
        """Take nothing more from the host, which TCP then holds back."""

    def resume_reading(self) -> None:
        """Take bytes again."""

    def close(self) -> int:
        """End the connection and give the number of bytes that the host has not acknowledged; call it once."""


class RawRemote:
    """A connection that carries the device's bytes and nothing else."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: str, events: RemoteEvents
    ) -> None:
        self._loop = loop
        self._socket = connection
        self._events = events
        self._channel = ByteChannel(loop, connection.fileno(), events.device_data, self)
        self._paused = False
        self._unwatched = 0
        """Bytes that may still be written before the send queue is looked at; 0 while no watch runs."""
        self._watch: asyncio.TimerHandle | None = None
        self.address = address
        self._channel.resume_reading()

    @property
    def unwritten(self) -> int:
        """Bytes that were given to `write` and not yet taken by the kernel."""
        return self._channel.unwritten

    def write(self, data: bytes) -> None:
        """Send now what the kernel takes; see `Remote`."""
        self._channel.write(data)
        self._unwatched -= len(data)
        if self._unwatched < 0:
            self._unwatched = _UNSENT_LIMIT
            self._keep_watch()
            if self._queued(_SIOCOUTQNSD) >= _UNSENT_LIMIT:
                self._channel.wait_until_writable()

    def pause_reading(self) -> None:
        """See `Remote`."""
        self._paused = True
        self._channel.pause_reading()
        self._keep_watch()  # a reset would not show while nothing is read

    def resume_reading(self) -> None:
        """See `Remote`."""
        self._paused = False
        self._channel.resume_reading()

    def close(self) -> int:
        """See `Remote`."""
        if self._watch is not None:
            self._watch.cancel()
        self._channel.stop()
        lost = self._channel.unwritten + self._queued(termios.TIOCOUTQ)
        self._socket.close()
        return lost

    def channel_ended(self, error: OSError | None) -> None:
        """See `ChannelEvents`."""
        if error is None:
            self._events.remote_lost(
                RemoteError(
                    ErrorCode.CLOSED_BY_HOST,
                    f"{self.address} closed the connection: the device may be absent or in use there",
                )
            )
        else:
            self._events.remote_lost(_explain(error, self.address))

    def pause_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.pause_application()

    def resume_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.resume_application()

    def _keep_watch(self) -> None:
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_INTERVAL, self._look_for_death)

    def _look_for_death(self) -> None:
        """Run each second, but only while something sent is not acknowledged, or nothing is read.

        An idle connection is watched by keepalive alone, which costs this process nothing.
        """
        self._watch = None
        self._unwatched = 0
        waiting = self._channel.unwritten > 0 or self._queued(termios.TIOCOUTQ) > 0
        if not waiting and not self._paused:
            return
        information = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        state, retransmits, probes, silent_milliseconds = _TCP_INFO.unpack_from(information)
        if state == _TCP_CLOSE:
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            self._died(_explain(OSError(number, os.strerror(number)), self.address))
        elif waiting and retransmits + probes >= _DEAD_ATTEMPTS and silent_milliseconds >= _DEAD_AFTER * 1000:
            silence = f"{self.address} acknowledged nothing for {silent_milliseconds / 1000:.0f} s"
            self._died(RemoteError(ErrorCode.TIMED_OUT, silence))
        else:
            self._keep_watch()

    def _died(self, error: RemoteError) -> None:
        self._channel.stop()
        self._events.remote_lost(error)

    def _queued(self, request: int) -> int:
        """Bytes in the send queue (tcp(7)); 0 once the connection is reset."""
        try:
            return int.from_bytes(fcntl.ioctl(self._socket, request, bytes(4)), "little")
        except OSError:
            return 0


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
            failure = _explain(error, _spell(address))
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
            failure = _explain(error, _spell(address))
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
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_LIMIT)
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


def _explain(error: OSError, address: str) -> RemoteError:
    match error.errno:
        case errno.ECONNREFUSED:
            return RemoteError(
                ErrorCode.CONNECTION_REFUSED,
                f"{address} refused the connection: does the serial server run there and listen on this port?",
            )
        case errno.EHOSTUNREACH | errno.ENETUNREACH | errno.ENETDOWN | errno.EHOSTDOWN | errno.EADDRNOTAVAIL:
            return RemoteError(ErrorCode.HOST_UNREACHABLE, f"no way to {address}: {os.strerror(error.errno)}")
        case errno.ETIMEDOUT:
            return RemoteError(ErrorCode.TIMED_OUT, f"{address} does not answer any more")
        case errno.ECONNRESET | errno.EPIPE:
            return RemoteError(ErrorCode.RESET, f"{address} reset the connection")
        case _:
            return RemoteError(ErrorCode.HOST_UNREACHABLE, f"{address}: {error.strerror or error}")
