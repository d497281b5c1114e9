"""What the device has sent and no application has read: as it came, or line by line (drivers/tty/n_tty.c). Pure.

An erased character is not erased on the device's screen, no signal is sent, and parity errors are not marked: a device
is not a person at a keyboard.
"""

from __future__ import annotations

from collections import deque

from tty_server.ioctl_numbers import (
    ECHO,
    ECHONL,
    ICANON,
    ICRNL,
    IGNCR,
    INLCR,
    ISTRIP,
    IUCLC,
    VEOF,
    VEOL,
    VEOL2,
    VERASE,
    VKILL,
)
from tty_server.termios_settings import Settings

SIZE = 8192
"""Limit of the bytes that are kept here, as the relay is granted no more; far below a READ request's largest answer."""

_LONGEST_LINE = 4095
_NEW_LINE = 0x0A


class InputQueue:
    """Bytes, and in canonical mode the ends of lines among them."""

    def __init__(self, settings: Settings) -> None:
        self._lines: deque[bytes] = deque()
        """Complete lines; an empty one is an end of file."""
        self._bytes = bytearray()
        """In canonical mode the incomplete line."""
        self.size = 0
        """All bytes."""
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Act on other settings; what stands here stays readable."""
        self._canonical = bool(settings.lflag & ICANON)
        self._echo = bool(settings.lflag & ECHO)
        self._echo_new_line = bool(settings.lflag & ECHONL) and self._canonical
        self._characters = settings.characters
        self._table, self._deleted = _translation(settings.iflag)
        if self._canonical and self._bytes:
            self._lines.append(bytes(self._bytes))
            self._bytes.clear()

    @property
    def available(self) -> int:
        """The bytes that a read can have now."""
        return sum(map(len, self._lines)) if self._canonical else self.size

    @property
    def readable(self) -> bool:
        """True if a read returns now, also with an end of file."""
        return bool(self._lines) if self._canonical else self.size > 0

    @property
    def canonical(self) -> bool:
        """True if an application reads line by line."""
        return self._canonical

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the device, and return what is to be echoed to it."""
        if self._table is not None:
            data = data.translate(self._table, self._deleted)
        if not self._canonical:
            self._bytes += data
            self.size += len(data)
            return data if self._echo else b""
        for octet in data:
            self._feed_line(octet)
        self.size = len(self._bytes) + sum(map(len, self._lines))
        if self._echo:
            return data
        return b"\n" * data.count(_NEW_LINE) if self._echo_new_line else b""

    def take(self, size: int) -> bytes:
        """Return at most `size` bytes, in canonical mode of one line."""
        if self._canonical:
            return self._take_line(size) if self._lines else b""
        if self._lines:
            self._bytes[:0] = b"".join(self._lines)
            self._lines.clear()
        data = bytes(self._bytes[:size])
        del self._bytes[:size]
        self.size -= len(data)
        return data

    def clear(self) -> None:
        """Discard everything."""
        self._lines.clear()
        self._bytes.clear()
        self.size = 0

    def _feed_line(self, octet: int) -> None:
        characters, line = self._characters, self._bytes
        if octet == _NEW_LINE or (octet and octet in (characters[VEOL], characters[VEOL2])):
            line.append(octet)
        elif octet and octet == characters[VERASE]:
            del line[-1:]
            return
        elif octet and octet == characters[VKILL]:
            line.clear()
            return
        elif not octet or octet != characters[VEOF]:
            line.append(octet)
            if len(line) < _LONGEST_LINE:
                return
        elif not line and len(self._lines) >= SIZE:
            return  # an end of file has no bytes, for which there would be no room, and is not to fill the process
        self._lines.append(bytes(line))
        line.clear()

    def _take_line(self, size: int) -> bytes:
        line = self._lines.popleft()
        data, rest = line[:size], line[size:]
        if rest:
            self._lines.appendleft(rest)
        self.size -= len(data)
        return data


def _translation(iflag: int) -> tuple[bytes | None, bytes]:
    """Return the table and the bytes to delete, for `bytes.translate`; no table if nothing changes."""
    if not iflag & (ISTRIP | INLCR | IGNCR | ICRNL | IUCLC):
        return None, b""
    table, deleted = bytearray(range(256)), b""
    for octet in range(256):
        value = octet & 0x7F if iflag & ISTRIP else octet
        if iflag & IUCLC and 0x41 <= value <= 0x5A:
            value += 0x20
        if value == 0x0D and iflag & IGNCR:
            deleted += bytes([octet])
        elif value == 0x0D and iflag & ICRNL:
            value = _NEW_LINE
        elif value == _NEW_LINE and iflag & INLCR:
            value = 0x0D
        table[octet] = value
    return bytes(table), deleted
