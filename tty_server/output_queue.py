"""What an application wrote and the relay has not taken. Pure."""

from __future__ import annotations

from collections.abc import Callable

from tty_server.ioctl_numbers import OCRNL, ONLCR, OPOST

SIZE = 4096
"""Limit of the bytes that are kept here; an application that writes more waits, as at a UART (UART_XMIT_SIZE)."""

_ENOUGH_ROOM = 256
"""A poll says "writable" with fewer bytes than these (WAKEUP_CHARS, drivers/tty/n_tty.c)."""


class OutputQueue:
    """Bytes on their way; `send` gives them to the relay and returns how many it took."""

    def __init__(self, send: Callable[[bytes], int]) -> None:
        self._send = send
        self._bytes = bytearray()
        self.held = False
        """The relay takes nothing now."""
        self.stopped = False
        """The application has stopped its output (TCXONC)."""
        self._new_lines = b""
        """What `\\n` is sent as, b"" for itself."""
        self._returns = b""

    def configure(self, oflag: int) -> None:
        """Act on other output modes."""
        self._new_lines = b"\r\n" if oflag & OPOST and oflag & ONLCR else b""
        self._returns = b"\n" if oflag & OPOST and oflag & OCRNL else b""

    @property
    def size(self) -> int:
        """The bytes that stand here."""
        return len(self._bytes)

    @property
    def writable(self) -> bool:
        """True if a poll is to say so."""
        return len(self._bytes) < _ENOUGH_ROOM

    def accept(self, data: bytes) -> int:
        """Take what there is room for, and return how much of `data` that is."""
        if self._new_lines or self._returns:
            return self._accept_processed(data)
        sent = 0
        if not self._bytes and not self.held and not self.stopped:
            sent = self._send(data)
            if sent == len(data):
                return sent
        room = SIZE - len(self._bytes)
        taken = data[sent : sent + room]
        self._bytes += taken
        return sent + len(taken)

    def insert(self, data: bytes) -> None:
        """Put a character of flow control, or an echo, behind what stands here, if there is room; it is lost if not."""
        self._bytes += data[: SIZE - len(self._bytes)]
        self.pump()

    def pump(self) -> bool:
        """Send what can be sent, and return True if anything was."""
        if not self._bytes or self.held or self.stopped:
            return False
        sent = self._send(bytes(self._bytes))
        del self._bytes[:sent]
        return sent > 0

    def clear(self) -> None:
        """Discard everything."""
        self._bytes.clear()

    def _accept_processed(self, data: bytes) -> int:
        taken = 0
        for octet in data:
            piece = bytes([octet])
            if octet == 0x0D and self._returns:
                piece = self._returns
            elif octet == 0x0A and self._new_lines:
                piece = self._new_lines
            if len(self._bytes) + len(piece) > SIZE:
                break
            self._bytes += piece
            taken += 1
        self.pump()
        return taken
