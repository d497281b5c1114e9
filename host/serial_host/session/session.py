"""One client of a COM port: the connection, whatever protocol runs inside it.

Not here: what the bytes mean (`raw`, `rfc2217_session`), and who may be a client (`port_server`).
"""

# ruff: noqa: D102  # the methods are documented where their type is: `asyncio.BufferedProtocol`

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from enum import Flag, auto
from ipaddress import ip_address
from typing import Protocol, cast

from serial_host.com_port.port import DEVICE_BOUND, READ_SIZE, ComPort
from serial_host.config import Address
from serial_host.plumbing.tcp_options import is_dead, reset_on_close

WATCH_SECONDS = 1.0


class SessionOwner(Protocol):
    """Whom a session serves; `session` arguments let it tell a replaced client from the present one."""

    def session_started(self, session: Session) -> None:
        """Take the client or `refuse` it."""

    def write(self, data: bytes | memoryview) -> None:
        """Take all of `data` for the device; it may be reused after the call."""

    def client_slow(self, *, slow: bool) -> None:
        """Stop or go on delivering the device's bytes."""

    def purged(self, *, to_device: int = 0, from_device: int = 0) -> None:
        """Count bytes that the client asked to be thrown away."""

    def session_ended(self, session: Session, reason: str) -> None:
        """Forget the session. Called once, also for a refused one."""


class Hold(Flag):
    """Why nothing is read from a client."""

    STARTING = auto()
    """Nobody has decided on the client yet; every session begins with this."""
    DEVICE_SLOW = auto()
    WORKING = auto()
    """What the client asked for takes time, and what it sent after that waits."""


class Session(asyncio.BufferedProtocol):
    """Reads at most 4 KB at a time into one buffer, so that the bound towards the device holds."""

    def __init__(self, owner: SessionOwner, address: Address, peer: str) -> None:
        self.address = address
        """Of the client."""
        self.peer = peer
        """`address:port` of the client."""
        self.local: Address
        """Of ours, that the client connected to; from `connection_made`."""
        self._owner = owner
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._holds = Hold.STARTING
        self._resume_scheduled = False
        self._reason: str | None = None
        self._transport: asyncio.Transport
        self._watch: asyncio.TimerHandle

    @abstractmethod
    def device_present(self, port: ComPort) -> None:
        """Serve the client with this port: it was open when the client came, or was opened since."""

    @abstractmethod
    def device_absent(self, reason: str) -> None:
        """Do without a port: it was lost, or could not be opened."""

    @abstractmethod
    def refuse(self, reason: str) -> None:
        """Turn the client away; it is none of the owner's."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Queue bytes of the device for the client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=DEVICE_BOUND, low=0)
        self.local = ip_address(transport.get_extra_info("sockname")[0].partition("%")[0])
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_SECONDS, self._watch_peer)
        # Not at once: the transports of some CPython releases (3.11.2, Debian 12's, is one) and uvloop's begin to read
        # after this call even if they were paused in it.
        loop.call_soon(self._start)

    def _start(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()
            self._owner.session_started(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the name is the base class's
        return self._buffer

    @abstractmethod
    def buffer_updated(self, nbytes: int) -> None: ...

    def hold_reading(self, why: Hold) -> None:
        """Leave further bytes with the client, until every hold is released."""
        self._holds |= why
        self._transport.pause_reading()

    def release_reading(self, why: Hold) -> None:
        """Take the client's bytes (again), if nothing else holds them."""
        self._holds &= ~why
        if not self._holds and not self._resume_scheduled:
            # Never in the same turn of the loop as a pause: asyncio's proactor would have two reads in flight, and lose
            # the bytes of one (CPython's proactor_events.py, resume_reading).
            self._resume_scheduled = True
            asyncio.get_running_loop().call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        self._resume_scheduled = False
        if not self._holds and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._owner.client_slow(slow=True)

    def resume_writing(self) -> None:
        self._owner.client_slow(slow=False)

    def eof_received(self) -> bool:
        # A client whose process died says no more than this, so a half-closed connection is not kept:
        # on a quiet line it would hold the port for ever.
        self._reason = "closed by the client"
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        reason = self._reason or (f"lost: {exc}" if exc is not None else "closed")
        self._owner.session_ended(self, reason)

    def close(self, reason: str) -> None:
        """Disconnect the client once it has all that was sent to it."""
        self._reason = self._reason or reason
        self._transport.close()

    def abort(self, reason: str) -> None:
        """Disconnect the client at once, with a reset, so that it learns of it whatever it was doing."""
        self._reason = self._reason or reason
        reset_on_close(cast("socket.socket", self._transport.get_extra_info("socket")))
        self._transport.abort()

    def _watch_peer(self) -> None:
        # While reading is paused the loop does not look at the socket, so its death shows only here.
        connection = cast("socket.socket", self._transport.get_extra_info("socket"))
        if is_dead(connection):
            self.abort("it does not answer any more")
            return
        self._watch = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch_peer)
