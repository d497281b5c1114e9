"""The settings of a terminal in the forms in which applications get and set them. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

from tty_server.ioctl_numbers import (
    B9600,
    BOTHER,
    CBAUD,
    CLOCAL,
    CMSPAR,
    CREAD,
    CRTSCTS,
    CS8,
    CSIZE,
    CSTOPB,
    HUPCL,
    IBSHIFT,
    IXOFF,
    IXON,
    PARENB,
    PARODD,
    SPEED_CODES,
    SPEEDS,
    VEOF,
    VERASE,
    VKILL,
    VMIN,
    VSTART,
    VSTOP,
)
from tty_server.messages import Line

_TERMIOS = struct.Struct("<4IB19s")
_TERMIOS2 = struct.Struct("<4IB19s2I")
_TERMIO = struct.Struct("<4HB8sx")
TERMIOS_SIZE, TERMIOS2_SIZE, TERMIO_SIZE = _TERMIOS.size, _TERMIOS2.size, _TERMIO.size

_CHARACTERS = bytes(
    {0: 3, 1: 28, VERASE: 127, VKILL: 21, VEOF: 4, VMIN: 1, VSTART: 17, VSTOP: 19, 10: 26}.get(index, 0)
    for index in range(19)
)
_STOP_BITS = {1: 0, 2: CSTOPB}
_PARITY = {
    "none": 0,
    "odd": PARENB | PARODD,
    "even": PARENB,
    "mark": PARENB | PARODD | CMSPAR,
    "space": PARENB | CMSPAR,
}
_PARITY_BITS = PARENB | PARODD | CMSPAR
_FLOW = {"none": (0, 0), "rtsCts": (CRTSCTS, 0), "xonXoff": (0, IXON | IXOFF), "dtrDsr": (0, 0)}


class Settings(NamedTuple):
    """`struct ktermios`."""

    iflag: int = 0
    oflag: int = 0
    cflag: int = B9600 | CS8 | CREAD | HUPCL | CLOCAL
    """As an application set it, to the bit: most libraries read back what they set, and compare."""
    lflag: int = 0
    line: int = 0
    characters: bytes = _CHARACTERS
    input_speed: int = 9600
    output_speed: int = 9600
    """Bits per second, 0 for "hang up"."""

    # What applications get.

    def termios(self) -> bytes:
        """Return `struct termios`."""
        return _TERMIOS.pack(*self[:6])

    def termios2(self) -> bytes:
        """Return `struct termios2`."""
        return _TERMIOS2.pack(*self)

    def termio(self) -> bytes:
        """Return `struct termio`, the lower halves of the flags."""
        return _TERMIO.pack(*(flags & 0xFFFF for flags in self[:4]), self.line, self.characters[:8])

    # What applications set.

    def with_termios(self, data: bytes) -> Self:
        """Return what `struct termios` makes of these settings; a rate without a name stays as it was."""
        iflag, oflag, cflag, lflag, line, characters = _TERMIOS.unpack(data)
        speeds = self.input_speed, self.output_speed
        return self._replace(
            iflag=iflag, oflag=oflag, cflag=cflag, lflag=lflag, line=line, characters=characters
        ).with_speeds(*speeds)

    def with_termios2(self, data: bytes) -> Self:
        """Return what `struct termios2` makes of these settings."""
        settings = type(self)(*_TERMIOS2.unpack(data))
        return settings.with_speeds(settings.input_speed, settings.output_speed)

    def with_termio(self, data: bytes) -> Self:
        """Return what `struct termio` makes of these settings; it sets the lower halves of the flags."""
        *lower, line, characters = _TERMIO.unpack(data)
        iflag, oflag, cflag, lflag = (
            before & ~0xFFFF | after for before, after in zip(self[:4], lower, strict=True)
        )
        characters += self.characters[8:]
        return self._replace(
            iflag=iflag, oflag=oflag, cflag=cflag, lflag=lflag, line=line, characters=characters
        ).with_speeds(self.input_speed, self.output_speed)

    def with_speeds(self, input_speed: int, output_speed: int) -> Self:
        """Take the speeds that the flags name (tty_termios_baud_rate), else these."""
        code, input_code = self.cflag & CBAUD, self.cflag >> IBSHIFT & CBAUD
        if code != BOTHER:
            output_speed = SPEEDS.get(code, output_speed)
        if input_code not in (0, BOTHER):
            input_speed = SPEEDS.get(input_code, input_speed)
        elif input_code == 0:
            input_speed = output_speed
        return self._replace(input_speed=input_speed, output_speed=output_speed)

    def forced(self, line: Line) -> Self:
        """Return these settings with what `line` sets."""
        iflag, cflag, settings = self.iflag, self.cflag, self
        if line.baud_rate:
            cflag = cflag & ~(CBAUD | CBAUD << IBSHIFT) | SPEED_CODES.get(line.baud_rate, BOTHER)
            settings = settings._replace(input_speed=line.baud_rate, output_speed=line.baud_rate)
        if line.data_bits:
            cflag = cflag & ~CSIZE | line.data_bits - 5 << 4
        if line.parity:
            cflag = cflag & ~_PARITY_BITS | _PARITY[line.parity]
        if line.stop_bits:
            cflag = cflag & ~CSTOPB | _STOP_BITS[line.stop_bits]
        if line.flow_control:
            hardware, software = _FLOW[line.flow_control]
            cflag, iflag = cflag & ~CRTSCTS | hardware, iflag & ~(IXON | IXOFF) | software
        return settings._replace(iflag=iflag, cflag=cflag)

    # What they mean.

    @property
    def wanted_line(self) -> Line:
        """Return the settings that the real port should have."""
        parity = next(name for name, bits in _PARITY.items() if bits == self._parity_bits())
        software = "xonXoff" if self.iflag & IXON else "none"
        return Line(
            self.output_speed,
            5 + (self.cflag & CSIZE) // 16,
            parity,
            2 if self.cflag & CSTOPB else 1,
            "rtsCts" if self.cflag & CRTSCTS else software,
        )

    def _parity_bits(self) -> int:
        bits = self.cflag & _PARITY_BITS
        return bits if bits & PARENB else 0
