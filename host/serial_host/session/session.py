"""One client of a COM port: the connection, whatever protocol runs inside it.

Not here: what the bytes mean (`raw`, `rfc2217_session`), and who may be a client (`port_server`).
"""

# ruff: noqa: D102  # the methods are documented where their type is: `asyncio.BufferedProtocol`

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from ipaddress import ip_address
from typing import Protocol, cast

from serial_host.com_port.port import DEVICE_BOUND, READ_SIZE, ComPort
from serial_host.config import Address
from serial_host.plumbing.tcp_options import answers, is_dead, reset_on_close
from serial_host.session.reading import Hold, Reading

WATCH_SECONDS = 1.0
"""The time between two looks at whether the client's computer still answers."""

CLOSE_SECONDS = 5.0
"""The time that a client has to take what was sent to it before the connection was closed."""


class SessionOwner(Protocol):
    """Whom sessions serve. Each call names its session, because refused and replaced ones live on for a moment."""

    def session_started(self, session: Session) -> None:
        """Take the client or `refuse` it."""

    def write(self, session: Session, data: bytes | memoryview) -> None:
        """Take all of `data` for the device if this session is served; it may be reused after the call."""

    def purged(self, session: Session, *, to_device: int = 0, from_device: int = 0) -> None:
        """Count bytes that the client asked to be discarded."""

    def port_failed(self, session: Session, reason: str) -> None:
        """Do without the COM port, whose driver does not return from what this session asked of it."""

    def session_ended(self, session: Session, reason: str) -> None:
        """Forget the session, which sends nothing and asks for nothing any more. Called once, also for a refused one."""


class _Client:
    """The side of a `Reading` that is the client: its transport, which is resumed in a later turn of the event loop."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._paused = False
        self._resume_scheduled = False

    def pause_reading(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if not self._resume_scheduled:
            # Never in the same turn of the loop as a pause: asyncio's proactor would have two reads in flight, and lose
            # the bytes of one (CPython's proactor_events.py, resume_reading).
            self._resume_scheduled = True
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        self._resume_scheduled = False
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()


class Session(asyncio.BufferedProtocol):
    """Reads at most 4 KB at a time into one buffer, so that the bound towards the device holds."""

    def __init__(self, owner: SessionOwner, address: Address, peer: str, connection: socket.socket) -> None:
        self.address = address
        """The client's address."""
        self.peer = peer
        """The client's `address:port`."""
        self.socket = connection
        """The connection that the transport reads and writes; here only its options are used."""
        self.local: Address
        """Of ours, that the client connected to; from `connection_made`."""
        self._owner = owner
        self._buffer = memoryview(bytearray(READ_SIZE))
        self.reading: Reading
        """Whether this client and its device may be read; from `connection_made`."""
        self.ended = False
        """Whether the client is served no more; its connection may stand for some seconds after that."""
        self._client: _Client
        self._transport: asyncio.Transport
        self._watch: asyncio.TimerHandle

    def device_present(self, port: ComPort) -> None:
        """Serve the client with this port: it was open when the client came, or was opened since."""
        self.reading.serve(port)
        self.reading.release(Hold.STARTING)

    def device_absent(self, reason: str) -> None:  # noqa: ARG002  # what to do with it depends on the protocol
        """Do without a port: it was lost, or could not be opened."""
        self.reading.leave()
        self.reading.release(Hold.STARTING)

    def device_slow(self, *, slow: bool) -> None:
        """Stop reading from the client because the device takes nothing more, or go on."""
        if slow:
            self.reading.hold(Hold.DEVICE_SLOW)
        else:
            self.reading.release(Hold.DEVICE_SLOW)

    @abstractmethod
    def refuse(self, reason: str) -> None:
        """Disconnect the client, which the owner has decided not to serve, and tell it why if the protocol can."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Queue bytes of the device for the client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=DEVICE_BOUND, low=0)
        self._client = _Client(self._transport)
        self.reading = Reading(self._client)
        self.local = ip_address(transport.get_extra_info("sockname")[0].partition("%")[0])
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_SECONDS, self._watch_peer)
        # Not at once: the transports of some CPython releases (3.11.2, Debian 12's, is one) and uvloop's begin to read
        # after this call even if they were paused in it.
        loop.call_soon(self._start)

    def _start(self) -> None:
        if not self._transport.is_closing():
            self._client.pause_reading()
            self._owner.session_started(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the name is the base class's
        return self._buffer

    @abstractmethod
    def buffer_updated(self, nbytes: int) -> None: ...

    def pause_writing(self) -> None:
        self.reading.hold(Hold.CLIENT_SLOW)

    def resume_writing(self) -> None:
        self.reading.release(Hold.CLIENT_SLOW)

    def eof_received(self) -> bool:
        # A client whose process died says no more than this, so a half-closed connection is not kept:
        # on a quiet line it would hold the port for ever.
        self.close("closed by the client")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"lost: {exc}" if exc is not None else "closed")
        self._watch.cancel()

    def close(self, reason: str) -> None:
        """Disconnect the client once it has all that was sent to it, or after `CLOSE_SECONDS`."""
        if not self._transport.is_closing():
            self._end(reason)
            self._transport.close()
            self._watch.cancel()
            # A client that reads nothing would keep its connection for ever.
            self._watch = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort, reason)

    def abort(self, reason: str) -> None:
        """Disconnect the client at once, with a reset, so that it learns of it whatever it was doing."""
        self._end(reason)
        reset_on_close(self.socket)
        self._transport.abort()

    def answers(self, waited: float) -> bool | None:
        """Return whether the client's computer answers, `waited` seconds after `begin_probe`; None: not known yet."""
        return answers(self.socket, waited)

    def _end(self, reason: str) -> None:
        """Let go of the device and leave the owner; whoever overrides this ends its timers and tasks."""
        if not self.ended:
            self.ended = True
            self.reading.leave()
            self._owner.session_ended(self, reason)

    def _watch_peer(self) -> None:
        # While reading is paused the loop does not look at the socket, so its death shows only here.
        if is_dead(self.socket):
            self.abort("it does not answer any more")
            return
        self._watch = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch_peer)
