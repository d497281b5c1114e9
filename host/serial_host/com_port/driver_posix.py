"""What the driver of a terminal knows of a serial line on Linux: settings, modem lines, error counts.

Ioctl numbers and structures as in Linux's `asm-generic/ioctls.h`, `asm-generic/termbits.h` and `linux/serial.h`.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import errno
import fcntl
import os
import struct
import termios
from typing import Literal

from serial_host.line import FlowControl, LineErrors, LineSettings, ModemLines, Parity

_TCGETS2 = 0x802C542A
_TERMIOS2 = struct.Struct("=4IB19s2I")
_CMSPAR = 0o10000000000
_TIOCGICOUNT = 0x545D
_ICOUNTER = struct.Struct("=11i36x")

_DATA_BITS: dict[int, Literal[5, 6, 7, 8]] = {termios.CS5: 5, termios.CS6: 6, termios.CS7: 7, termios.CS8: 8}
_READ_SIZE = 4096
_MOST_DISCARDED = 1_000_000
"""Bytes; more than any driver holds."""
_NOT_FOR_THIS_TERMINAL = (errno.ENOTTY, errno.EINVAL, errno.EIO)
"""What a pseudo-terminal, or a driver without the feature, answers. A vanished device is noticed at the next read."""


class Driver:
    """Asks the driver behind the file descriptor of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._errors_before = LineErrors()
        self._errors_before = self.line_errors()

    def line(self) -> LineSettings:
        """Return the settings in force, also with an arbitrary baud rate. Raises `OSError`."""
        iflag, _, cflag, _, _, _, _, speed = _TERMIOS2.unpack(self._ask(_TCGETS2, _TERMIOS2.size))
        parity = Parity.NONE
        if cflag & termios.PARENB:
            odd = bool(cflag & termios.PARODD)
            if cflag & _CMSPAR:
                parity = Parity.MARK if odd else Parity.SPACE
            else:
                parity = Parity.ODD if odd else Parity.EVEN
        flow_control = FlowControl.NONE
        if cflag & termios.CRTSCTS:
            flow_control = FlowControl.RTS_CTS
        elif iflag & termios.IXON:
            flow_control = FlowControl.XON_XOFF
        return LineSettings(
            baud_rate=speed,
            data_bits=_DATA_BITS[cflag & termios.CSIZE],
            parity=parity,
            stop_bits=(1.5 if cflag & termios.CSIZE == termios.CS5 else 2) if cflag & termios.CSTOPB else 1,
            flow_control=flow_control,
        )

    def discard_received(self) -> int:
        """Discard what has arrived and return its size; at most `_MOST_DISCARDED` of a device that goes on sending.

        It is read, since a flush would also discard what comes between counting it and flushing. Raises `OSError`.
        """
        discarded = 0
        while discarded < _MOST_DISCARDED:
            try:
                data = os.read(self._descriptor, _READ_SIZE)
            except BlockingIOError:
                break
            if not data:
                break
            discarded += len(data)
        return discarded

    def modem_lines(self) -> ModemLines:
        """Return the lines that the device drives; all are off if the terminal has none. Raises `OSError`."""
        try:
            (bits,) = struct.unpack("=I", self._ask(termios.TIOCMGET, 4))
        except OSError as error:
            if error.errno in _NOT_FOR_THIS_TERMINAL:
                return ModemLines()
            raise
        return ModemLines(
            cts=bool(bits & termios.TIOCM_CTS),
            dsr=bool(bits & termios.TIOCM_DSR),
            ri=bool(bits & termios.TIOCM_RI),
            cd=bool(bits & termios.TIOCM_CD),
        )

    def line_errors(self) -> LineErrors:
        """Return the counts of the driver since this object was made; all are 0 if it keeps none. Raises `OSError`."""
        try:
            counts = _ICOUNTER.unpack(self._ask(_TIOCGICOUNT, _ICOUNTER.size))
        except OSError as error:
            if error.errno in _NOT_FOR_THIS_TERMINAL:
                return LineErrors()
            raise
        # struct serial_icounter_struct: cts dsr rng dcd rx tx frame overrun parity brk buf_overrun
        *_, framing, overrun, parity, breaks, buffer_overrun = counts
        before = self._errors_before
        return LineErrors(
            overrun=overrun + buffer_overrun - before.overrun,
            parity=parity - before.parity,
            framing=framing - before.framing,
            breaks=breaks - before.breaks,
        )

    def received_waiting(self) -> int:
        """Return the number of received bytes that the driver holds. Raises `OSError`."""
        (waiting,) = struct.unpack("=I", self._ask(termios.FIONREAD, 4))
        return int(waiting)

    def unsent_waiting(self) -> int:
        """Return the number of bytes that the driver holds for the device. Raises `OSError`."""
        (waiting,) = struct.unpack("=I", self._ask(termios.TIOCOUTQ, 4))
        return int(waiting)

    def wait_sent(self) -> None:
        """Wait until the buffer of the UART itself is empty, which no count includes. Raises `OSError`."""
        try:
            termios.tcdrain(self._descriptor)
        except termios.error as error:
            raise OSError(*error.args) from error

    def forget(self) -> None:
        """Do not use the descriptor any more: its number may soon belong to another file."""
        self._descriptor = -1

    def _ask(self, request: int, size: int) -> bytes:
        return fcntl.ioctl(self._descriptor, request, bytes(size))
