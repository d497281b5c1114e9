"""TLS between the TCP connection and a protocol: it looks like `TcpStream` to the protocol above it.

Nothing waits here but the part of a record that has not arrived yet (16 KB at most, 4 KB from our own host): what cannot
be delivered stays in the session, and then nothing is read from TCP.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from serial_relay.plumbing.byte_channel import READ_SIZE
from serial_relay.remote.connection import Losses, RemoteError, RemoteEvents
from serial_relay.remote.tcp_stream import TcpStream
from serial_relay.status import ErrorCode
from serial_tls.errors import TlsError

if TYPE_CHECKING:  # a connection without TLS needs no OpenSSL
    from serial_relay.remote.secure import Secured

_MOST_QUEUED = 65536
"""Limit in bytes of what waits for the host. The application is not read when anything waits; a host that goes on asking
TLS for new keys and reads nothing would fill the process."""

_RECORDS = 256
"""Records after which the number of those that the other end has acknowledged is checked."""


class TlsStream:
    """One secured connection. The first byte is read after `resume_reading`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        address: str,
        events: RemoteEvents,
        secured: Secured,
    ) -> None:
        self._loop = loop
        self._events = events
        self._secured = secured
        self._session = secured.session
        self._deliver: Callable[[bytes], None] = events.device_data
        self._reading = False
        self._going_on: asyncio.Handle | None = None
        """Runs when reading is resumed: what waits in the session is delivered first."""
        self._ended = False
        self._sent: deque[tuple[int, int]] = deque()
        """For each record that may not be acknowledged yet, the bytes sent up to its end, and the data in it."""
        self._sent_bytes = 0
        self._look_at = _RECORDS
        self._not_sent = 0
        """Bytes of data for which no record was made, because the connection had failed."""
        self.address = address
        self.connection_full = events.connection_full
        self._stream = TcpStream(loop, connection, address, self)

    @property
    def reading(self) -> bool:
        """True while bytes of the host are read."""
        return self._reading

    @property
    def unwritten(self) -> int:
        """Bytes of records that were not yet taken by the kernel."""
        return self._stream.unwritten

    def write(self, data: bytes) -> None:
        """See `TcpStream`."""
        try:
            record = self._session.write(data)
        except TlsError as error:
            self._not_sent += len(data)
            self._fail(error)
            return
        self._send(record, len(data))

    @property
    def unacknowledged(self) -> int:
        """Bytes of the connection, records included, that the other end's kernel has not acknowledged."""
        return self._stream.unacknowledged

    def deliver_to(self, deliver: Callable[[bytes], None]) -> None:
        """See `TcpStream`."""
        self._deliver = deliver

    def pause_reading(self) -> None:
        """See `Remote`."""
        self._reading = False
        self._do_not_go_on()
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """See `Remote`."""
        if not self._reading:
            self._reading = True
            self._going_on = self._loop.call_soon(self._go_on)

    def finish(self) -> None:
        """See `TcpStream`."""
        if last := self._session.close():
            self._send(last, 0)
        self._stream.finish()

    def close(self) -> Losses:
        """See `Remote`."""
        self._do_not_go_on()
        from_device = 0
        try:
            from_device += self._unread()
            for data in self._stream.unread():
                self._session.receive(data)
                from_device += self._unread()
        except TlsError:
            pass  # what follows is no data
        losses = self._stream.close(self._session.close())
        return Losses(self._not_sent + self._lost(losses.to_device), from_device)

    # Events of the TCP connection.

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`; these are bytes of TLS."""
        try:
            self._session.receive(data)
        except TlsError as error:
            self._fail(error)
        else:
            self._deliver_all()

    def remote_lost(self, error: RemoteError) -> None:
        """See `RemoteEvents`."""
        if not self._ended:
            self._ended = True
            self._events.remote_lost(error)

    # Inside.

    def _go_on(self) -> None:
        self._going_on = None
        self._deliver_all()
        if self._reading and not self._ended:
            self._stream.resume_reading()

    def _do_not_go_on(self) -> None:
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None

    def _deliver_all(self) -> None:
        while self._reading and not self._ended:
            try:
                data = self._session.read(READ_SIZE)
            except TlsError as error:
                self._fail(error)
                return
            if not data:
                break
            self._deliver(data)
            if not self._session.more:
                break
        self._answer()
        if self._stream.unwritten > _MOST_QUEUED:
            what = f"{self.address} keeps sending requests of TLS without reading our answers"
            self._end(RemoteError(ErrorCode.TLS, what))
        elif self._session.ended:
            what = f"{self.address} closed the connection: the device may be absent or in use there"
            self._end(RemoteError(ErrorCode.CLOSED_BY_HOST, what))

    def _answer(self) -> None:
        """Send what TLS says by itself: an alert, the refusal of a renegotiation, new keys that the host asked for."""
        if output := self._session.output():
            self._send(output, 0)

    def _send(self, record: bytes, data: int) -> None:
        self._sent_bytes += len(record)
        self._sent.append((self._sent_bytes, data))
        if len(self._sent) >= self._look_at:
            self._forget_acknowledged(self._stream.unacknowledged)
            self._look_at = 2 * len(self._sent) + _RECORDS
        self._stream.write(record)

    def _forget_acknowledged(self, unacknowledged: int) -> None:
        while self._sent and self._sent[0][0] <= self._sent_bytes - unacknowledged:
            self._sent.popleft()

    def _lost(self, unacknowledged: int) -> int:
        self._forget_acknowledged(unacknowledged)
        return sum(data for _end, data in self._sent)

    def _unread(self) -> int:
        size = 0
        while data := self._session.read(READ_SIZE):
            size += len(data)
        return size

    def _fail(self, error: TlsError) -> None:
        self._answer()
        self._end(self._secured.explain(error))

    def _end(self, error: RemoteError) -> None:
        self._stream.pause_reading()
        self.remote_lost(error)
