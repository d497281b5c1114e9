"""Death detection of TCP peers on Linux: keepalive for an idle peer, TCP_INFO for one that is being sent to."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import fcntl
import socket
import struct
import termios
from dataclasses import dataclass

IDLE_SECONDS = 3
PROBE_SECONDS = 2
PROBES = 3
"""The death of an idle peer is noticed after 3 s + 3 x 2 s."""

_SILENCE_MILLISECONDS = 5000
_RETRANSMITS = 3
_TCP_CLOSE = 7
_TCP_CLOSE_WAIT = 8

_PROBE_IDLE_SECONDS = 1
_PROBE_SECONDS = 1.5
"""The probe is sent within a second; its answer has at least half a second."""
_TICK_MILLISECONDS = 20
"""The kernel measures the silence in ticks of up to 10 ms."""

_SIOCOUTQNSD = 0x894B
"""include/uapi/linux/sockios.h"""

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


def begin_probe(connection: socket.socket) -> None:
    """Let the kernel ask an idle peer now whether it is alive; `answers` returns the result.

    Linux sends a keepalive probe as soon as TCP_KEEPIDLE is set to less than the connection's idle time
    (net/ipv4/tcp.c, tcp_sock_set_keepidle_locked).
    """
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_IDLE_SECONDS)


def answers(connection: socket.socket, waited: float) -> bool | None:
    """Return whether the peer is alive, `waited` seconds after `begin_probe`; None while that is not known.

    A peer that has closed its side counts as gone, even if nobody has read that far. An answer that comes within a tick of
    the probe looks like one that came before it, and a peer that takes no more bytes is asked less and less often. So in
    the end only a question without an answer counts.
    """
    info = _info(connection)
    if info is None or info.state in (_TCP_CLOSE, _TCP_CLOSE_WAIT):
        return False
    if info.silence + _TICK_MILLISECONDS < 1000 * waited:
        return True
    if waited < _PROBE_SECONDS:
        return None
    return not info.unanswered


def has_left(connection: socket.socket) -> bool:
    """Return whether the peer has closed its side; what it sent before that may not be read yet.

    A reset does not take from Linux what came before it. One comes from a peer that has closed the connection and is sent
    something nevertheless.
    """
    info = _info(connection)
    if info is None:
        return False
    return info.state == _TCP_CLOSE_WAIT or (info.state == _TCP_CLOSE and never_read(connection) > 0)


def is_dead(connection: socket.socket) -> bool:
    """Return whether the peer no longer acknowledges what was sent to it.

    Keepalive does not run while data is unacknowledged, and the kernel goes on retransmitting for minutes.
    """
    info = _info(connection)
    return (
        info is None
        or info.state == _TCP_CLOSE
        or (info.unanswered >= _RETRANSMITS and info.silence >= _SILENCE_MILLISECONDS)
    )


def never_sent(connection: socket.socket) -> int:
    """Return the number of bytes that the kernel has taken and not sent to the peer yet (tcp(7), SIOCOUTQNSD)."""
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), _SIOCOUTQNSD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def never_read(connection: socket.socket) -> int:
    """Return the number of bytes of the peer that the kernel has and nobody has read (tcp(7), SIOCINQ)."""
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # it is closed
        return 0


@dataclass(frozen=True, slots=True)
class _Info:
    """What the kernel knows of a connection."""

    state: int
    unanswered: int
    """Retransmissions or probes in a row without an answer."""
    silence: int
    """Milliseconds since the peer's last acknowledgement."""


def _info(connection: socket.socket) -> _Info | None:
    try:
        data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None
    # QEMU's user-mode emulation returns 4 bytes of any TCP option (7.2, linux-user/syscall.c, do_getsockopt).
    info = _TCP_INFO.unpack(data.ljust(_TCP_INFO.size, b"\0"))
    state, _, retransmits, probes = info[:4]
    return _Info(state, max(retransmits, probes), info[-1])
