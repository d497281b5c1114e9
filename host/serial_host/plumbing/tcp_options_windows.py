"""Death detection of TCP peers on Windows, where the kernel does all of it once it is told the times.

TCP_MAXRT (ws2ipdef.h) bounds how long sent data may stay unacknowledged; probes of a closed window are
acknowledged, so a peer that stalls is not cut.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import logging
import socket

_TCP_MAXRT = 5
_MAXRT_SECONDS = 8
_KEEPALIVE = (1, 3000, 500)
"""On, milliseconds of idleness, milliseconds between probes; Windows sends ten (mstcpip.h, struct tcp_keepalive)."""

_log = logging.getLogger(__name__)


def own_address(listener: socket.socket) -> None:
    """Keep other programs from taking the port over, which SO_REUSEADDR would let them do on Windows alone."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)


def is_dead(connection: socket.socket) -> bool:  # noqa: ARG001 - the same name and arguments as on Linux
    """Give False always: the kernel itself ends the connection of a dead peer (`notice_death`)."""
    return False


def notice_death(connection: socket.socket) -> None:
    """Have the kernel end the connection within 10 s of the peer's death, idle or being sent to."""
    connection.ioctl(socket.SIO_KEEPALIVE_VALS, _KEEPALIVE)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_MAXRT, _MAXRT_SECONDS)
    except OSError as error:
        _log.debug(
            "TCP_MAXRT is not available, a client that dies while it is sent to is noticed late: %s", error
        )
