"""A connection that carries the device's bytes and nothing else.

The first bytes of a connection wait for a moment before they go to the application. A serial server whose device is in
use says so in a line of text and closes the connection at once (ser2net: "Port already in use"). The application gets
nothing of a connection that ends in that moment: it would take the text for bytes of its device, while a server that
has the device does not close the connection at once. The text becomes part of the error instead.
"""

from __future__ import annotations

import asyncio
import socket

from serial_relay.remote.connection import Losses, RemoteError, RemoteEvents
from serial_relay.remote.tcp_stream import TcpStream

_FIRST_BYTES_EXPECTED = 1.0
"""Seconds after the connect in which the first bytes may be a server's last words."""

_FIRST_BYTES_WAIT = 0.05
"""Seconds that they wait then, from the first byte on."""

_FIRST_BYTES_LIMIT = 4096
"""Bytes that wait, at most: a server does not say more than this before it closes the connection."""


class RawRemote:
    """See `Remote`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: str, events: RemoteEvents
    ) -> None:
        self._loop = loop
        self._events = events
        self._stream = TcpStream(loop, connection, address, self)
        self._first_bytes = b""
        self._timer = loop.call_later(_FIRST_BYTES_EXPECTED, self._deliver_first_bytes)
        self.address = address
        self.write = self._stream.write
        self.pause_reading = self._stream.pause_reading
        self.resume_reading = self._stream.resume_reading
        self.connection_full = events.connection_full

    def close(self) -> Losses:
        """See `Remote`."""
        self._timer.cancel()
        losses = self._stream.close()
        return Losses(losses.to_device, losses.from_device + len(self._first_bytes))

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`; this is called for the first bytes only."""
        if not self._first_bytes:
            self._timer.cancel()
            self._timer = self._loop.call_later(_FIRST_BYTES_WAIT, self._deliver_first_bytes)
        self._first_bytes += data
        if len(self._first_bytes) > _FIRST_BYTES_LIMIT:
            self._deliver_first_bytes()

    def remote_lost(self, error: RemoteError) -> None:
        """See `RemoteEvents`."""
        self._timer.cancel()
        self._events.remote_lost(error.with_last_words(self._first_bytes))

    def deliver_first_bytes(self) -> None:
        """Deliver the first bytes now: the application that is about to come must not get what came before it."""
        if self._first_bytes:
            self._deliver_first_bytes()

    def _deliver_first_bytes(self) -> None:
        self._timer.cancel()
        self._stream.deliver_to(self._events.device_data)
        first_bytes, self._first_bytes = self._first_bytes, b""
        if first_bytes:
            self._events.device_data(first_bytes)
