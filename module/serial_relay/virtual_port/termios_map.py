"""Reads from a termios what an application has set on the virtual port.

A pty carries the baud rate (any, not only the ones with a name), the stop bits and the flow control. It carries no
data bits and no parity: `pty_set_termios` (drivers/tty/pty.c) forces CS8 and clears PARENB, so these come from the
configuration alone.
"""

from __future__ import annotations

import errno
import fcntl
import struct
import termios
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

from serial_relay.config import LineSettings, Parity
from serial_relay.virtual_port import named_speeds

EXTPROC = 0o200000
"""c_lflag: "external processing", which makes a pty tell its master of every `tcsetattr` (tty_ioctl(4), TIOCPKT)."""

_COOKED_INPUT = termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | 0o001000  # the last: IUCLC
_COOKED = termios.ICANON | termios.ECHO | termios.ISIG


class Termios(NamedTuple):
    """`struct termios2` (include/uapi/asm-generic/termbits.h)."""

    iflag: int
    oflag: int
    cflag: int
    lflag: int
    line: int
    control_characters: bytes
    input_speed: int
    output_speed: int
    """Bits per second, also without a `B` constant."""

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what TCGETS2 gave."""
        return cls(*_TERMIOS2.unpack(data))

    def pack(self) -> bytes:
        """Write what TCSETS2 takes."""
        return _TERMIOS2.pack(*self)

    @property
    def raw(self) -> bool:
        """Whether the application takes its input as it comes, so that the line discipline has nothing to do."""
        return not (self.lflag & _COOKED or self.iflag & _COOKED_INPUT)


_TERMIOS2 = struct.Struct("=4IB19s2I")

# include/uapi/asm-generic/ioctls.h
_TCGETS2 = 0x802C542A
_TCSETS2 = 0x402C542B

_DEFAULT_CHARACTERS = bytes(
    {termios.VINTR: 3, termios.VQUIT: 28, termios.VERASE: 127, termios.VKILL: 21, termios.VEOF: 4,
     termios.VSTART: 17, termios.VSTOP: 19, termios.VSUSP: 26, termios.VMIN: 1}.get(index, 0)
    for index in range(19)
)  # fmt: skip

_LASTING_INPUT = termios.IXON | termios.IXOFF | termios.IXANY
_LASTING_CONTROL = 0o010017 | termios.CSTOPB | termios.CRTSCTS  # the first: CBAUD, with BOTHER
_DEFAULT_SPEED = 38_400
_B38400 = 0o000017
"""The kernel's number (include/uapi/asm-generic/termbits.h). Python has the C library's, which from glibc 2.42 on is 38400."""


def read_termios(master: int) -> Termios:
    """Return the slave's settings: on a pty both ends' ioctls mean the slave's (drivers/tty/tty_ioctl.c)."""
    try:
        return Termios.unpack(fcntl.ioctl(master, _TCGETS2, bytes(_TERMIOS2.size)))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return Termios(*named_speeds.read(master))


def write_termios(master: int, attributes: Termios) -> None:
    """Set the slave's settings."""
    try:
        fcntl.ioctl(master, _TCSETS2, attributes.pack())
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        named_speeds.write(master, attributes)


def unused(line: Termios | None) -> Termios:
    """Return the settings of a port that no application has open: raw, without echo, CLOCAL off and EXTPROC on.

    Baud rate, stop bits and flow control are those of `line`, else 38400 baud, one stop bit and none.
    """
    if line is None or not line.output_speed:
        flow, control, speeds = 0, _B38400, (_DEFAULT_SPEED, _DEFAULT_SPEED)
    else:
        flow, control = line.iflag & _LASTING_INPUT, line.cflag & _LASTING_CONTROL
        speeds = (line.output_speed, line.output_speed)
    control |= termios.CS8 | termios.CREAD | termios.HUPCL
    return Termios(flow, 0, control, EXTPROC, 0, _DEFAULT_CHARACTERS, *speeds)


@dataclass(frozen=True, slots=True)
class ApplicationLine:
    """The line settings that an application made, as far as its port carries them."""

    baud_rate: int | None
    """Bits per second; None for B0, which is not a speed but means "hang up"."""
    stop_bits: Literal[1, 2]
    flow_control: Literal["none", "rtsCts", "xonXoff"]
    data_bits: Literal[5, 6, 7, 8] | None = None
    parity: Parity | None = None
    """None for both at a pty, which cannot carry them."""


@dataclass(frozen=True, slots=True)
class ModemOutputs:
    """The modem lines that the application drives, at a port that carries them."""

    dtr: bool = False
    rts: bool = False


def application_line(attributes: Termios) -> ApplicationLine:
    """Return the line settings that an application's termios asks for."""
    if attributes.cflag & termios.CRTSCTS:
        flow_control: Literal["none", "rtsCts", "xonXoff"] = "rtsCts"
    elif attributes.iflag & termios.IXON:
        flow_control = "xonXoff"
    else:
        flow_control = "none"
    return ApplicationLine(
        baud_rate=attributes.output_speed or None,
        stop_bits=2 if attributes.cflag & termios.CSTOPB else 1,
        flow_control=flow_control,
    )


def wanted_line(
    configured: LineSettings, application: ApplicationLine | None, outputs: ModemOutputs | None = None
) -> LineSettings:
    """Return the settings that the real port should have: the configured ones, or else the application's.

    A setting that neither states is None: the real port keeps it. `outputs` is None at a port that carries no modem lines.
    """
    if outputs is not None:
        configured = replace(
            configured,
            dtr=outputs.dtr if configured.dtr is None else configured.dtr,
            rts=outputs.rts if configured.rts is None else configured.rts,
        )
    if application is None:
        return configured
    return replace(
        configured,
        baud_rate=configured.baud_rate or application.baud_rate,
        data_bits=configured.data_bits or application.data_bits,
        parity=configured.parity or application.parity,
        stop_bits=configured.stop_bits or application.stop_bits,
        flow_control=configured.flow_control or application.flow_control,
    )
