"""Decides whether a new connection replaces the present client: a living client loses its port to no bare connection.

All modules of one virtual machine come from one address, and so do port scans and health probes of that machine. So a
newcomer waits, unread, until one of these is known:

    the present client has ended, or its computer answers nothing    the newcomer is served, behind what that one has sent
    the newcomer has gone again                                      nothing happens
    the newcomer has shown that it is a client, and may replace a    the newcomer is served, but two living clients
    living one (see `shows_client`)                                  replace each other less and less often (`TakeOvers`)
    the present client's computer answers                            the newcomer is refused
"""

from __future__ import annotations

import asyncio
import socket
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from serial_host.config import Address
from serial_host.plumbing.tcp_options import reset_on_close
from serial_tls.errors import TlsError

if TYPE_CHECKING:  # without TLS nothing of OpenSSL is loaded
    from serial_tls.session import Session as TlsSession

LOOK_SECONDS = 0.02
"""The time between two looks at the two connections."""

SHOW_SECONDS = 1.0
"""Seconds that a newcomer has to show that it is a client."""

LEAVE_SECONDS = 3.0
"""Seconds in which what a client sent before it ended its connection is read, if the device is slow; the rest is lost."""

PEEK_BYTES = 256

_TAKEN_AT_MOST = 4096
"""Limit of the TLS bytes that are read from a waiting newcomer."""

COM_PORT_OFFERS = (b"\xff\xfb\x2c", b"\xff\xfd\x2c")
"""IAC WILL COM-PORT-OPTION and IAC DO COM-PORT-OPTION, with which an RFC 2217 client begins."""

KEPT_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds for which a living client keeps the port after it has replaced another living one: the first time, the
second time in a row, and so on."""

PEACE_SECONDS = 300.0
"""Seconds without a take-over after which the next one counts as the first."""


class TakeOvers:
    """Take-overs from living clients; `now` is in seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._count = 0
        self._last = 0.0

    def kept(self, now: float) -> float:
        """Return the number of seconds for which the present client still keeps the port."""
        if not self._count:
            return 0.0
        return max(0.0, self._last + KEPT_SECONDS[min(self._count, len(KEPT_SECONDS)) - 1] - now)

    def happened(self, now: float) -> None:
        """Count a take-over."""
        self._count = self._in_a_row(now) + 1
        self._last = now

    def contended(self, now: float) -> bool:
        """Return whether clients replace each other: there were several take-overs in a row."""
        return self._in_a_row(now) > 1

    def _in_a_row(self, now: float) -> int:
        return self._count if now - self._last < PEACE_SECONDS else 0


class PresentClient(Protocol):
    """The questions that are asked about the client that has the port."""

    ended: bool

    def leaves(self) -> bool:
        """Return whether it has ended the connection; what it sent before is read then, however slow the device is."""

    def answers(self, waited: float) -> bool | None:
        """Return whether its computer answers, `waited` seconds after `begin_probe`; None while that is not known."""


class Verdict(Enum):
    """What happens to a newcomer."""

    FREE = auto()
    """The port no longer has a client, or has one that does not answer."""
    REPLACE = auto()
    """The newcomer is a client, and may replace the living one."""
    REFUSE = auto()
    GONE = auto()


def shows_client(said: bytes, waited: float, *, rfc2217: bool, take_over: bool) -> bool:
    """Return whether a newcomer that has sent `said` is a client that may replace a living one.

    With RFC 2217 it is one that offers the com port option. Raw bytes show nothing, so there a living client is replaced
    only with `take_over`, by whoever sends something or stays for `SHOW_SECONDS`.
    """
    if rfc2217:
        return any(offer in said for offer in COM_PORT_OFFERS)
    return take_over and (bool(said) or waited >= SHOW_SECONDS)


class Newcomer:
    """A connection that is not decided upon yet. With TLS its handshake is done."""

    def __init__(
        self, connection: socket.socket, address: Address, peer: str, tls: TlsSession | None = None
    ) -> None:
        self.connection = connection
        self.address = address
        self.peer = peer
        """`address:port`"""
        self.tls = tls
        self._taken = 0
        """The number of bytes that were read into the TLS session."""

    def peek(self) -> bytes | None:
        """Return the beginning of what has come, and leave it to be read; None when the connection has ended."""
        try:
            if self.tls is None:
                return self.connection.recv(PEEK_BYTES, socket.MSG_PEEK) or None
            if self._taken < _TAKEN_AT_MOST:
                data = self.connection.recv(_TAKEN_AT_MOST)
                if not data:
                    return None
                self._taken += len(data)
                self.tls.receive(data)
        except BlockingIOError:
            if self.tls is None:
                return b""
        except (OSError, TlsError):
            return None
        try:
            return self.tls.peek(PEEK_BYTES)
        except TlsError:
            return None

    def cut(self) -> None:
        """End the connection at once."""
        reset_on_close(self.connection)
        self.connection.close()


async def contend(newcomer: Newcomer, present: PresentClient, *, rfc2217: bool, take_over: bool) -> Verdict:
    """Wait until it is decided what happens to a newcomer; nothing is read from it meanwhile."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        waited = loop.time() - started
        said = newcomer.peek()
        if said is None:
            return Verdict.GONE
        if not present.ended and waited < LEAVE_SECONDS and present.leaves():
            await asyncio.sleep(LOOK_SECONDS)
            continue
        answers = present.answers(waited)
        if present.ended or answers is False:
            return Verdict.FREE
        if shows_client(said, waited, rfc2217=rfc2217, take_over=take_over):
            return Verdict.REPLACE
        may_show = (rfc2217 or take_over) and waited < SHOW_SECONDS
        if answers and not may_show:
            return Verdict.REFUSE
        await asyncio.sleep(LOOK_SECONDS)
