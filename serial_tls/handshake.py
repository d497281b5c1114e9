"""The handshake over a socket of asyncio, with a limit of time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from serial_tls.errors import Reason, TlsError

if TYPE_CHECKING:  # who only knows the name needs no OpenSSL
    from serial_tls.session import Session

TIMEOUT = 5.0
"""Seconds for a whole handshake."""

SILENCE = 2.0
"""Seconds for a client's first byte. A client of TLS speaks first (RFC 8446, section 2); a raw client may wait for ever."""

_LAST_WORDS = 1.0
"""Seconds that a peer has at most to read why it was refused."""

_NOT_WITHOUT_TLS = b"\x15\x03\x03\0\2\2\x46"
"""The alert `protocol_version`, which tells a peer of ours that sent no TLS what is missing (`looks_like_alert`)."""

_PLAIN = frozenset({Reason.NOT_TLS, Reason.SILENT})
"""The failures of a peer that does not speak TLS, as far as can be known."""

_SIZE = 4096
"""Bytes read at once."""


async def shake_hands(connection: socket.socket, session: Session) -> None:
    """Do the handshake over a connected socket that does not block; the caller closes it, whatever happens.

    Bytes of the peer that follow the handshake are kept in the session.

    Raises:
        TlsError: the handshake failed. The peer has been told why, if TLS has an alert for it.
        OSError: the connection failed.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + TIMEOUT
    first_byte = end if session.speaks_first else min(end, loop.time() + SILENCE)
    heard = False
    try:
        try:
            async with asyncio.timeout_at(first_byte) as limit:
                while not session.shake_hands():
                    await _send(loop, connection, session)
                    if data := await loop.sock_recv(connection, _SIZE):
                        session.receive(data)
                    else:
                        session.refuse(Reason.CLOSED)
                    heard = True
                    limit.reschedule(end)
                await _send(loop, connection, session)
        except TimeoutError:
            reason = Reason.TIMED_OUT if heard or session.speaks_first else Reason.SILENT
            raise TlsError(reason, "", session.peer_fingerprint) from None
    except TlsError as error:
        words = session.output() or (_NOT_WITHOUT_TLS if error.reason in _PLAIN else b"")
        with contextlib.suppress(OSError, TimeoutError):
            await say_last_words(connection, words)
        raise


async def say_last_words(connection: socket.socket, words: bytes) -> None:
    """Send something, and wait until the peer has closed the connection, for a second at most.

    A connection that is closed while something of the peer is unread is reset, and with it goes what was sent before.

    Raises:
        OSError, TimeoutError: the peer did not read it.
    """
    if not words:
        return
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_LAST_WORDS):
        await loop.sock_sendall(connection, words)
        connection.shutdown(socket.SHUT_WR)
        while await loop.sock_recv(connection, _SIZE):
            pass


async def _send(loop: asyncio.AbstractEventLoop, connection: socket.socket, session: Session) -> None:
    if output := session.output():
        await loop.sock_sendall(connection, output)
