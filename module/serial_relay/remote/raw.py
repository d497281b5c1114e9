"""A connection that carries the device's bytes and nothing else.

The first bytes of a connection wait for a moment before they go to the application. A serial server whose device is in
use says so in a line of text and closes the connection at once (ser2net: "Port already in use"). The application gets
nothing of a connection that ends in that moment: it would take the text for bytes of its device, while a server that
has the device does not close the connection at once. The text becomes part of the error instead. Bytes that are not
text, such as those of most protocols of devices, cannot be such a line and do not wait. But an alert of TLS waits, also
later: a server with TLS waits some seconds for the first message of a client before it gives up.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from serial_relay.remote.connection import Losses, RemoteError, RemoteEvents
from serial_relay.remote.tcp_stream import TcpStream
from serial_relay.remote.tls_stream import TlsStream
from serial_tls.records import looks_like_alert

if TYPE_CHECKING:  # a connection without TLS needs no OpenSSL
    from serial_relay.remote.secure import Secured

TELNET_NEGOTIATION = (b"\xff\xfb", b"\xff\xfd")
"""IAC WILL and IAC DO (RFC 854): what an RFC 2217 server begins with. A device may begin with these bytes too."""

_FIRST_BYTES_EXPECTED = 1.0
"""Seconds after the connect in which the first bytes may be a server's last words."""

_FIRST_BYTES_WAIT = 0.05
"""Seconds that they wait then, from the first byte on."""

_FIRST_BYTES_LIMIT = 4096
"""Bytes that wait, at most: a server does not say more than this before it closes the connection."""

_FIRST_LOOK, _LONGEST_LOOK = 0.002, 0.05
"""Seconds between two looks whether the host has acknowledged all; nothing tells it."""

_NO_TEXT = re.compile(rb"[^\x07-\x0d\x1b\x20-\x7e]")
"""A byte that does not occur in text for people: neither printable ASCII nor one that moves or colours text on a
terminal."""


class RawRemote:
    """See `Remote`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        address: str,
        events: RemoteEvents,
        telnet_seen: Callable[[], None] = lambda: None,
        secured: Secured | None = None,
    ) -> None:
        """Call `telnet_seen` if the server begins as an RFC 2217 server does; the bytes are delivered nevertheless."""
        self._loop = loop
        self._events = events
        self._telnet_seen = telnet_seen
        self.connection_full = events.connection_full
        self._stream = (
            TlsStream(loop, connection, address, self, secured)
            if secured is not None
            else TcpStream(loop, connection, address, self)
        )
        self._first_bytes = b""
        self._text_expected = True
        """Whether a server's last words in text may still come."""
        self._waits: list[Callable[[], None]] = []
        """What is called when all that was written is acknowledged."""
        self._acknowledged: asyncio.TimerHandle | None = None
        """Runs until the next look whether that is so."""
        self._timer = loop.call_later(_FIRST_BYTES_EXPECTED, self._expect_no_text)
        self.finished = False
        self.address = address
        self.write = self._stream.write
        self.pause_reading = self._stream.pause_reading
        self.resume_reading = self._stream.resume_reading

    @property
    def unacknowledged(self) -> int:
        """See `Remote`."""
        return self._stream.unacknowledged

    def finish(self) -> None:
        """See `Remote`."""
        self.finished = True
        self._stream.finish()

    def when_at_host(self, then: Callable[[], None]) -> None:
        """See `Remote`: when the host's kernel has acknowledged all."""
        if self._acknowledged is not None:
            self._acknowledged.cancel()
        self._waits.append(then)
        self._look_whether_acknowledged(_FIRST_LOOK)

    def _look_whether_acknowledged(self, again_after: float) -> None:
        self._acknowledged = None
        if not self._stream.unacknowledged:
            self._end_waits()
            return
        later = min(2 * again_after, _LONGEST_LOOK)
        self._acknowledged = self._loop.call_later(again_after, self._look_whether_acknowledged, later)

    def _end_waits(self) -> None:
        waits, self._waits = self._waits, []
        for then in waits:
            then()

    def close(self) -> Losses:
        """See `Remote`."""
        self._timer.cancel()
        if self._acknowledged is not None:
            self._acknowledged.cancel()
        self._end_waits()
        losses = self._stream.close()
        return Losses(losses.to_device, losses.from_device + len(self._first_bytes))

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`; this is called for the first bytes only."""
        if not self._first_bytes:
            self._timer.cancel()
            self._timer = self._loop.call_later(_FIRST_BYTES_WAIT, self._deliver_first_bytes)
        self._first_bytes += data
        text = self._text_expected and not _NO_TEXT.search(data)
        may_be_last_words = text or looks_like_alert(self._first_bytes)
        if len(self._first_bytes) > _FIRST_BYTES_LIMIT or not may_be_last_words:
            self._deliver_first_bytes()

    def remote_lost(self, error: RemoteError) -> None:
        """See `RemoteEvents`."""
        self._timer.cancel()
        self._events.remote_lost(error.with_last_words(self._first_bytes, self.address))

    def application_opened(self) -> None:
        """See `Remote`."""
        if self._first_bytes:
            self._deliver_first_bytes()

    def _expect_no_text(self) -> None:
        self._text_expected = False

    def _deliver_first_bytes(self) -> None:
        self._timer.cancel()
        self._stream.deliver_to(self._events.device_data)
        first_bytes, self._first_bytes = self._first_bytes, b""
        if first_bytes:
            if first_bytes.startswith(TELNET_NEGOTIATION):
                self._telnet_seen()
            self._events.device_data(first_bytes)
