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
from serial_host.plumbing.forwarding import Forwarding
from serial_host.plumbing.tcp_options import (
    answers,
    has_left,
    is_dead,
    never_read,
    never_sent,
    reset_on_close,
)
from serial_host.session.reading import Hold, Reading
from serial_tls.records import looks_like_client_hello

WATCH_SECONDS = 1.0
"""The time between two looks at whether the client's computer still answers."""

CLOSE_SECONDS = 5.0
"""The time that a client has to take what was sent to it before the connection was closed."""

LOOK_AHEAD = 8 * DEVICE_BOUND
"""Limit of the bytes that are taken from a client although its device does not take them: from one that is leaving, or
whose commands behind them end a stop of the device."""

SPEAKS_TLS = (
    "it uses TLS, and this port is served without TLS: add [tls] to the configuration file (not tls = false), or remove"
    " tls from the module's desired properties"
)


class SessionOwner(Protocol):
    """The port that a session serves.

    Each call names its session, because refused and replaced sessions still exist for a moment.
    """

    def session_started(self, session: Session) -> None:
        """Take the client or `refuse` it."""

    def write(self, session: Session, data: bytes | memoryview) -> None:
        """Take all of `data` for the device if this session is served; it may be reused after the call."""

    def purged(self, session: Session, *, to_device: int = 0, from_device: int = 0) -> None:
        """Count bytes that the client asked to be discarded."""

    def unwritten(self, session: Session, size: int) -> None:
        """Count bytes of the client that have come and are not written to the device, as the client is disconnected."""

    def undelivered(self, session: Session, size: int) -> None:
        """Count bytes of the device that were never sent to the client, which is disconnected."""

    def port_failed(self, session: Session, reason: str) -> None:
        """Give up the COM port, whose driver does not return from a call that this session made."""

    def session_ended(self, session: Session, reason: str) -> None:
        """Forget the session, which makes no further calls but this. It is called once, also for a refused session."""


class _Client:
    """The side of a `Reading` that is the client: its transport, which is resumed in a later turn of the event loop."""

    def __init__(self, session: Session, transport: asyncio.Transport) -> None:
        self._session = session
        self._transport = transport
        self._first_read: _FirstRead | None = _FirstRead(session, transport)
        transport.set_protocol(self._first_read)
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
            self._hand_over()
        if not self._paused and not self._transport.is_closing():  # what was handed over may have paused it
            self._transport.resume_reading()

    def _hand_over(self) -> None:
        """Let the session receive from now on, beginning with what was read before it was asked for."""
        if self._first_read is not None:
            first, self._first_read = self._first_read, None
            self._transport.set_protocol(self._session)
            if first.size:
                self._session.buffer_updated(first.size)


class _FirstRead(Forwarding):
    """Receives in the place of a session until the session is read for the first time.

    uvloop, and asyncio's transports of some CPython releases (3.11.2, Debian 12's, is one), begin to read after
    `connection_made` even if they were paused in it. What they read before they are paused waits here.
    """

    def __init__(self, session: Session, transport: asyncio.Transport) -> None:
        super().__init__(session)
        self._transport = transport
        self.size = 0
        """Bytes that wait in the session's buffer."""

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._behind.get_buffer(sizehint))

    def buffer_updated(self, nbytes: int) -> None:
        self.size = nbytes
        self._transport.pause_reading()


class Session(asyncio.BufferedProtocol):
    """Reads at most 4 KB at a time into one buffer, so that the bound towards the device holds."""

    def __init__(self, owner: SessionOwner, address: Address, peer: str, connection: socket.socket) -> None:
        self.address = address
        """The client's address."""
        self.peer = peer
        """The client's `address:port`."""
        self.socket = connection
        """The connection that the transport reads and writes; here only its options are used."""
        self.fingerprint: str | None = None
        """Of the client's certificate, with TLS."""
        self.local: Address
        """The address of this computer to which the client connected; from `connection_made`."""
        self._owner = owner
        self._buffer = memoryview(bytearray(READ_SIZE))
        self.reading: Reading
        """Whether this client and its device may be read; from `connection_made`."""
        self.ended = False
        """Whether the client is no longer served; its connection may stay open for some seconds after that."""
        self.finishing = False
        """Whether the client is sent nothing more, and what it has sent is still read."""
        self._read_before = False
        self._leaving = False
        """Whether the client is read although the device is slow, because it has ended the connection."""
        self._present: ComPort | None = None
        self._client: _Client
        self._transport: asyncio.Transport
        self._watch: asyncio.TimerHandle

    def device_present(self, port: ComPort) -> None:
        """Serve the client with this port: it was open when the client came, or was opened since."""
        self._present = port
        self.reading.serve(port)
        self.reading.release(Hold.STARTING)

    def device_absent(self, reason: str) -> None:  # noqa: ARG002  # what to do with it depends on the protocol
        """Serve the client without a port: it was lost, or could not be opened."""
        self._present = None
        self.reading.leave()
        self.reading.release(Hold.STARTING)

    def device_slow(self, *, slow: bool) -> None:
        """Stop reading from the client because the device takes nothing more, or go on."""
        if not slow:
            self.reading.release(Hold.DEVICE_SLOW)
        elif not self._leaving:
            self.reading.hold(Hold.DEVICE_SLOW)

    @abstractmethod
    def refuse(self, reason: str) -> None:
        """Disconnect the client, which the owner has decided not to serve, and tell it why if the protocol can."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Queue bytes of the device for the client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=DEVICE_BOUND, low=0)
        self._client = _Client(self, self._transport)
        self.reading = Reading(self._client)
        self.local = ip_address(transport.get_extra_info("sockname")[0].partition("%")[0])
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_SECONDS, self._watch_peer)
        # Not at once, because a transport cannot be paused for good before it has begun to read: see `_FirstRead`.
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
        # Nothing more than this comes from a client whose process died, so a half-closed connection is not kept:
        # on a quiet line it would hold the port for ever.
        self.close("the server stops" if self.finishing else "closed by the client")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"lost: {exc}" if exc is not None else "closed")
        self._watch.cancel()

    def finish(self) -> None:
        """Send the end of the stream after what was sent, and read on until the client ends the connection as well.

        The owner sends nothing more.
        """
        if not self.finishing and not self._transport.is_closing():
            self.finishing = True
            self._transport.write_eof()

    def close(self, reason: str) -> None:
        """Disconnect the client once it has all that was sent to it, or after `CLOSE_SECONDS`."""
        if not self._transport.is_closing():
            self._end(reason)
            self._transport.close()
            self._watch.cancel()
            # A client that reads nothing would keep its connection for ever.
            self._watch = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort, reason)

    def abort(self, reason: str) -> None:
        """Disconnect the client at once, with a reset, so that it learns of it whatever it was doing.

        What was never sent to it is counted. What was sent and not acknowledged it may have got, so that is not known here.
        By RFC 2217 answers are counted among the bytes of the device.
        """
        if not self.ended and not self._transport.is_closing():
            size = self._transport.get_write_buffer_size() + never_sent(self.socket)
            if size:
                self._owner.undelivered(self, size)
        self._end(reason)
        reset_on_close(self.socket)
        self._transport.abort()

    def _speaks_tls(self, nbytes: int) -> bool:
        """End the connection if these bytes are its first ones, and those of a TLS client; return whether they are.

        They must not reach the device, and the log has to say what they were.
        """
        self._read_before = True
        if not looks_like_client_hello(self._buffer[:nbytes]):
            return False
        self.close(SPEAKS_TLS)
        return True

    def answers(self, waited: float) -> bool | None:
        """Return whether the client's computer answers, `waited` seconds after `begin_probe`; None: not known yet."""
        return answers(self.socket, waited)

    def leaves(self) -> bool:
        """Return whether the client has ended the connection; what it sent before is read then, however slow the device is.

        So it makes room for the next one at once, and the bytes of both reach the device in their order.
        """
        if not has_left(self.socket):
            return False
        if not self._leaving and (self._present is None or self._present.unsent <= LOOK_AHEAD):
            self._leaving = True
            self.reading.release(Hold.DEVICE_SLOW)
        return True

    def _end(self, reason: str) -> None:
        """Let go of the device and leave the owner; whoever overrides this ends its timers and tasks."""
        if not self.ended:
            self.ended = True
            if unread := never_read(self.socket):
                self._owner.unwritten(self, unread)
            self.reading.leave()
            self._owner.session_ended(self, reason)

    def _watch_peer(self) -> None:
        # While reading is paused the loop does not look at the socket, so its death shows only here.
        if is_dead(self.socket) and not self.leaves():
            self.abort("it does not answer any more")
            return
        self._watch = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch_peer)
