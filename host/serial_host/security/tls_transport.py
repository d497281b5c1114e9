"""TLS between a connection and its session: a protocol to the connection, and a transport to the session.

Nothing waits here: what the session does not read now stays in the TLS session, and then nothing is read from TCP.
"""

# ruff: noqa: D102  # the methods are documented where their types are: `asyncio.BufferedProtocol`, `asyncio.Transport`

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from serial_host.plumbing.forwarding import Forwarding
from serial_tls.errors import TlsError

if TYPE_CHECKING:
    from serial_tls.session import Session

_READ_SIZE = 4096
"""Bytes read at once."""

_MOST_QUEUED = 65536
"""Limit in bytes of what waits for the client. The device is not read when 8 KB wait; a client that goes on asking TLS for
new keys and reads nothing would fill the process."""


class TlsTransport(asyncio.Transport):
    """The transport that a session uses instead of that of its TCP connection."""

    def __init__(self, transport: asyncio.Transport, tls: Session) -> None:
        super().__init__()
        self._transport = transport
        self._tls = tls
        self._upper: asyncio.BufferedProtocol
        self._paused = False
        self._ended = False
        """Whether the end of the stream was written."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._upper = cast("asyncio.BufferedProtocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._upper

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self.deliver()
            if not self._paused and not self._transport.is_closing():
                self._transport.resume_reading()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if data and self._takes_more:
            try:
                self._transport.write(self._tls.write(bytes(data)))
            except TlsError:  # it has failed; the session learns of it by what it reads
                self._transport.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._takes_more:
            self._ended = True
            if last := self._tls.close():
                self._transport.write(last)
            self._transport.write_eof()

    def close(self) -> None:
        if self._takes_more and (last := self._tls.close()):
            self._transport.write(last)
        self._transport.close()

    def received(self, data: memoryview) -> None:
        """Take bytes of TLS."""
        try:
            self._tls.receive(data)
        except TlsError as error:
            self._fail(error)
        else:
            self.deliver()

    def deliver(self) -> None:
        """Hand the session as many bytes as it reads now."""
        while not self._paused and not self._transport.is_closing():
            buffer = memoryview(self._upper.get_buffer(-1))
            try:
                data = self._tls.read(len(buffer))
            except TlsError as error:
                self._fail(error)
                return
            if not data:
                break
            buffer[: len(data)] = data
            self._upper.buffer_updated(len(data))
            if not self._tls.more:
                break
        self._answer()
        if self._transport.get_write_buffer_size() > _MOST_QUEUED:
            self._end("it keeps sending requests of TLS without reading the answers")
        elif self._tls.ended and not self._transport.is_closing():
            self._upper.eof_received()

    @property
    def _takes_more(self) -> bool:
        return not self._ended and not self._transport.is_closing()

    def _answer(self) -> None:
        """Send what TLS says by itself: an alert, the refusal of a renegotiation, new keys that the client asked for."""
        if (output := self._tls.output()) and self._takes_more:
            self._transport.write(output)

    def _fail(self, error: TlsError) -> None:
        self._answer()
        self._end(f"TLS failed: {error}")

    def _end(self, reason: str) -> None:
        self._upper.connection_lost(ConnectionError(reason))
        self._transport.abort()


class Secured(Forwarding):
    """The protocol that the TCP connection's transport calls; it calls `session` in turn."""

    def __init__(self, session: asyncio.BufferedProtocol, tls: Session) -> None:
        super().__init__(session)
        self._tls = tls
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._transport: TlsTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = TlsTransport(cast("asyncio.Transport", transport), self._tls)
        self._transport.set_protocol(self._behind)
        self._behind.connection_made(self._transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the name is the base class's
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._transport.received(self._buffer[:nbytes])
