"""Makes a TCP connection behave like a serial cable: without delay, with small buffers, and with dead peers noticed.

A peer that merely stalls answers keepalives and zero-window probes, so nothing here cuts it: that is why
TCP_USER_TIMEOUT, which does, is not used.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

if sys.platform == "win32":
    from serial_host.plumbing.tcp_options_windows import (
        answers,
        begin_probe,
        has_left,
        is_dead,
        never_read,
        never_sent,
        notice_death,
        own_address,
    )
else:
    from serial_host.plumbing.tcp_options_posix import (
        answers,
        begin_probe,
        has_left,
        is_dead,
        never_read,
        never_sent,
        notice_death,
        own_address,
    )

__all__ = [
    "answers",
    "begin_probe",
    "has_left",
    "is_dead",
    "never_read",
    "never_sent",
    "prepare_connection",
    "prepare_listener",
    "reset_on_close",
]

SOCKET_BUFFER = 16384
"""Bytes asked of the kernel for each direction; deeper buffers would hold minutes of a 9600 baud line."""


def prepare_listener(listener: socket.socket) -> None:
    """Set what accepted connections inherit; the receive window is agreed on before `accept` returns."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    own_address(listener)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def prepare_connection(connection: socket.socket) -> None:
    """Set up a connection that was accepted."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    notice_death(connection)


def reset_on_close(connection: socket.socket) -> None:
    """Make the close send a reset, so that the peer learns at once that it is refused."""
    with contextlib.suppress(OSError):
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        )
