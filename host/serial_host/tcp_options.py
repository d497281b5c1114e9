"""Makes a TCP connection behave like a serial cable: no delay, shallow buffers, dead peers noticed.

A peer that merely stalls answers keepalives and zero-window probes, so nothing here cuts it: that is why
TCP_USER_TIMEOUT, which does, is not used.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

if sys.platform == "win32":
    from serial_host import tcp_options_windows

SOCKET_BUFFER = 16384
"""Bytes asked of the kernel for each direction; deeper buffers would hold minutes of a 9600 baud line."""

IDLE_SECONDS = 3
PROBE_SECONDS = 2
PROBES = 3
"""An idle peer that died is noticed after 3 s + 3 x 2 s."""

_SILENCE_MILLISECONDS = 5000
_RETRANSMITS = 3
_TCP_CLOSE = 7

_TCP_INFO = struct.Struct("=8B13I")
"""The beginning of Linux's struct tcp_info, to tcpi_last_ack_recv."""


def prepare_listener(listener: socket.socket) -> None:
    """Set what accepted connections inherit; the receive window is agreed on before `accept` returns."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    if sys.platform == "win32":
        # SO_REUSEADDR would let any program take the port over, on Windows alone.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def prepare_connection(connection: socket.socket) -> None:
    """Set up a connection that was accepted."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    if sys.platform == "win32":
        tcp_options_windows.notice_death(connection)
    else:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def reset_on_close(connection: socket.socket) -> None:
    """Make the close send a reset, so that the peer learns at once that it is refused."""
    with contextlib.suppress(OSError):
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        )


def is_dead(connection: socket.socket) -> bool:
    """Tell whether the peer acknowledges nothing any more, although something was sent to it.

    Keepalive does not run while data is unacknowledged, and the kernel goes on retransmitting for minutes. On Windows
    the kernel itself ends such a connection (`tcp_options_windows`), so this is always False there.
    """
    if sys.platform == "win32":
        return False
    try:
        info = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except OSError:
        return True
    state, _, retransmits, probes = info[:4]
    silence: int = info[-1]
    return bool(state == _TCP_CLOSE) or (
        max(retransmits, probes) >= _RETRANSMITS and silence >= _SILENCE_MILLISECONDS
    )
