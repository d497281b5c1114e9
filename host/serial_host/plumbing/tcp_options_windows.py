"""Death detection of TCP peers on Windows, where the kernel does all of it once it is told the times.

TCP_MAXRT (ws2ipdef.h) bounds how long sent data may stay unacknowledged; probes of a closed window are
acknowledged, so a peer that stalls is not cut.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import contextlib
import ctypes
import logging
import socket
from ctypes import wintypes

_TCP_MAXRT = 5
_MAXRT_SECONDS = 8
_KEEPALIVE = (1, 3000, 500)
"""On, milliseconds of idleness, milliseconds between probes; Windows sends ten (mstcpip.h, struct tcp_keepalive)."""

_PROBE = (1, 200, 150)
"""As `_KEEPALIVE`: ten probes within 1.7 s. It stays so; a probe is 41 bytes."""
_PROBE_SECONDS = 2.5

_SIO_TCP_INFO = 0xD8000027
_TCP_INFO_SIZE = 136
_TCPSTATE_CLOSED = 0
_TCPSTATE_CLOSE_WAIT = 7
"""mstcpip.h: enum TCPSTATE, the first member of TCP_INFO_v0 (at most as long as TCP_INFO_v1)."""

_wsa_ioctl = ctypes.WinDLL("ws2_32").WSAIoctl
_wsa_ioctl.argtypes = (
    ctypes.c_size_t,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
)

_log = logging.getLogger(__name__)


def own_address(listener: socket.socket) -> None:
    """Keep other programs from taking the port over, which SO_REUSEADDR would let them do on Windows alone."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)


def is_dead(connection: socket.socket) -> bool:  # noqa: ARG001 - the same name and arguments as on Linux
    """Return False always: the kernel itself ends the connection of a dead peer (`notice_death`)."""
    return False


def never_sent(connection: socket.socket) -> int:  # noqa: ARG001 - the same name and arguments as on Linux
    """Return 0: Windows does not report how many of the bytes that it has taken wait to be sent."""
    return 0


def never_read(connection: socket.socket) -> int:  # noqa: ARG001 - the same name and arguments as on Linux
    """Return 0: Python's sockets do not ask Windows for that number."""
    return 0


def begin_probe(connection: socket.socket) -> None:
    """Let the kernel ask an idle peer now whether it is alive, and end the connection if it is not."""
    with contextlib.suppress(OSError):
        connection.ioctl(socket.SIO_KEEPALIVE_VALS, _PROBE)


def answers(connection: socket.socket, waited: float) -> bool | None:
    """Return whether the peer is alive, `waited` seconds after `begin_probe`; None while that is not known.

    If it is not, the kernel has ended the connection by then.
    """
    if _state(connection) in (_TCPSTATE_CLOSED, _TCPSTATE_CLOSE_WAIT):
        return False
    return None if waited < _PROBE_SECONDS else True


def has_left(connection: socket.socket) -> bool:
    """Return whether the peer has closed its side; what it sent before that may not be read yet."""
    return _state(connection) == _TCPSTATE_CLOSE_WAIT


def _state(connection: socket.socket) -> int | None:
    """Return the state of the connection, even if nobody has read as far as the end of what the peer has sent.

    Windows tells it since version 1703 of Windows 10 (mstcpip.h, SIO_TCP_INFO); an earlier one never does.
    """
    version, state = wintypes.DWORD(0), (ctypes.c_ubyte * _TCP_INFO_SIZE)()
    returned = wintypes.DWORD()
    failed = _wsa_ioctl(
        connection.fileno(),
        _SIO_TCP_INFO,
        ctypes.byref(version),
        ctypes.sizeof(version),
        ctypes.byref(state),
        ctypes.sizeof(state),
        ctypes.byref(returned),
        None,
        None,
    )
    if failed or returned.value < 4:
        return None
    return int.from_bytes(bytes(state[:4]), "little")


def notice_death(connection: socket.socket) -> None:
    """Have the kernel end the connection within 10 s of the peer's death, idle or being sent to."""
    connection.ioctl(socket.SIO_KEEPALIVE_VALS, _KEEPALIVE)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_MAXRT, _MAXRT_SECONDS)
    except OSError as error:
        _log.debug(
            "TCP_MAXRT is not available, a client that dies while it is sent to is noticed late: %s", error
        )
