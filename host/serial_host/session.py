"""One raw client and the COM port: bytes as they are, in both directions.

Not here: who may be a client (`port_server`), and RFC 2217.
"""

# ruff: noqa: D102  # the methods are documented where their type is: `asyncio.BufferedProtocol`

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from serial_host.interfaces import Address
from serial_host.port import DEVICE_BOUND, READ_SIZE
from serial_host.tcp_options import is_dead, reset_on_close

WATCH_SECONDS = 1.0


class SessionOwner(Protocol):
    """Whom a session serves; `session` arguments let it tell a replaced client from the present one."""

    def session_started(self, session: RawSession) -> None:
        """Take the client, which begins with reading paused, or abort it."""

    def write(self, data: memoryview) -> None:
        """Take all of `data` for the device; it is reused after the call."""

    def client_slow(self, *, slow: bool) -> None:
        """Stop or go on delivering the device's bytes."""

    def session_ended(self, session: RawSession, reason: str) -> None:
        """Forget the session. Called once."""


class RawSession(asyncio.BufferedProtocol):
    """Reads at most 4 KB at a time into one buffer, so that the bound towards the device holds."""

    def __init__(self, owner: SessionOwner, address: Address, peer: str) -> None:
        self.address = address
        """Of the client."""
        self.peer = peer
        """`address:port` of the client."""
        self._owner = owner
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._reading_wanted = False
        self._resume_scheduled = False
        self._reason: str | None = None
        self._transport: asyncio.Transport
        self._watch: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=DEVICE_BOUND, low=0)
        self._transport.pause_reading()
        self._watch_peer()
        self._owner.session_started(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the name is the base class's
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._owner.write(self._buffer[:nbytes])

    def send(self, data: bytes) -> None:
        """Queue bytes of the device for the client."""
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Leave further bytes with the client."""
        self._reading_wanted = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the client's bytes (again); a session begins paused."""
        self._reading_wanted = True
        if not self._resume_scheduled:
            # Never in the same turn of the loop as a pause: asyncio's proactor would have two reads in flight, and lose
            # the bytes of one (CPython's proactor_events.py, resume_reading).
            self._resume_scheduled = True
            asyncio.get_running_loop().call_soon(self._resume_if_wanted)

    def _resume_if_wanted(self) -> None:
        self._resume_scheduled = False
        if self._reading_wanted and not self._transport.is_closing():
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
