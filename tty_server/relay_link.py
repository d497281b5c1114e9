"""One port's socket to the relay: messages both ways, and never a wait for the relay."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tty_server.messages import HEADER, LONGEST, MINOR, PURGE, Decoder, Kind, data_messages, message

_READ_SIZE = 16384
_SEND_BUFFER = 16384
"""Bytes that the system keeps for a relay that does not read; an application waits behind them."""


class RelayLink:
    """See `RelaySide`. While the relay does not read, the last message of each kind is kept, and no bytes are."""

    def __init__(self, connection: socket.socket, wants_to_write: Callable[[RelayLink], None]) -> None:
        """Call `wants_to_write` when `writing` has changed."""
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._socket = connection
        self._wants_to_write = wants_to_write
        self._unsent = b""
        """The rest of a message that was sent in part."""
        self._states: dict[Kind, bytes] = {}
        self._decoder = Decoder()
        self.writing = False
        """True while the socket takes nothing, and is to be waited for."""

    def fileno(self) -> int:
        """For the poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def tell(self, kind: Kind, rest: bytes) -> None:
        """See `RelaySide`."""
        if not self.writing:
            self._send(message(kind, rest))
            return
        if kind is Kind.PURGE and kind in self._states:
            what, number = PURGE.unpack(rest)
            rest = PURGE.pack(what | PURGE.unpack(self._states[kind])[0], number)
        self._states[kind] = rest

    def send(self, data: bytes) -> int:
        """See `RelaySide`."""
        if self.writing:
            return 0
        if len(data) > LONGEST:
            data = data[:LONGEST]
        sent = self._try_to_send(data_messages(data))
        if not sent:
            self._wait()
            return 0
        whole = HEADER.size + len(data)
        if sent < whole:
            self._unsent = message(Kind.DATA, data)[sent:]
            self._wait()
        return len(data)

    def writable(self) -> None:
        """Send what was kept."""
        unsent, self._unsent = self._unsent, b""
        states, self._states = self._states, {}
        self.writing = False
        kept = unsent + b"".join(message(kind, rest) for kind, rest in states.items())
        if kept:
            self._send(kept)
        self._wants_to_write(self)

    def messages(self) -> list[tuple[int, bytes]] | None:
        """Return what the relay sent; None if it is gone.

        Raises:
            MessageError: the relay sent something that is not a message.
        """
        try:
            data = self._socket.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        return list(self._decoder.messages(data)) if data else None

    def _send(self, data: bytes) -> None:
        sent = self._try_to_send(data)
        if sent < len(data):
            self._unsent = data[sent:]
            self._wait()

    def _try_to_send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:  # the relay is gone, which shows when it is read
            return len(data)

    def _wait(self) -> None:
        if not self.writing:
            self.writing = True
            self._wants_to_write(self)


def receive(control: socket.socket) -> tuple[bytes, socket.socket | None]:
    """Return what came by the control socket: `MINOR` with a new port's socket, or `QUESTION`; no bytes if the relay is gone.

    Raises:
        BlockingIOError: nothing came.
    """
    try:
        data, descriptors, _flags, _address = socket.recv_fds(control, MINOR.size, 1)
    except (BlockingIOError, InterruptedError):
        raise
    except OSError:
        return b"", None
    return data, socket.socket(fileno=descriptors[0]) if descriptors else None
