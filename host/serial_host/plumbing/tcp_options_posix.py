"""Death detection of TCP peers on Linux: keepalive for an idle peer, TCP_INFO for one that is being sent to."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import socket
import struct

IDLE_SECONDS = 3
PROBE_SECONDS = 2
PROBES = 3
"""An idle peer that died is noticed after 3 s + 3 x 2 s."""

_SILENCE_MILLISECONDS = 5000
_RETRANSMITS = 3
_TCP_CLOSE = 7

_TCP_INFO = struct.Struct("=8B13I")
"""The beginning of Linux's struct tcp_info, to tcpi_last_ack_recv."""


def own_address(listener: socket.socket) -> None:
    """Let the listener bind its address although connections of an earlier server are still being closed there."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def notice_death(connection: socket.socket) -> None:
    """Have the kernel end an idle connection whose peer has died; `is_dead` finds the others."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def is_dead(connection: socket.socket) -> bool:
    """Tell whether the peer acknowledges nothing any more, although something was sent to it.

    Keepalive does not run while data is unacknowledged, and the kernel goes on retransmitting for minutes.
    """
    try:
        info = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except OSError:
        return True
    state, _, retransmits, probes = info[:4]
    silence: int = info[-1]
    return bool(state == _TCP_CLOSE) or (
        max(retransmits, probes) >= _RETRANSMITS and silence >= _SILENCE_MILLISECONDS
    )
