"""The modem lines of one port and the counters of what happened on it, as TIOCMGET and TIOCGICOUNT tell them. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tty_server import messages
from tty_server.ioctl_numbers import TIOCM_CD, TIOCM_CTS, TIOCM_DSR, TIOCM_DTR, TIOCM_RI, TIOCM_RTS
from tty_server.messages import ErrorCounts

OUTPUTS = TIOCM_DTR | TIOCM_RTS
_COUNTERS = struct.Struct("<20i")
_INPUTS = (
    (messages.CTS, TIOCM_CTS),
    (messages.DSR, TIOCM_DSR),
    (messages.RI, TIOCM_RI),
    (messages.CD, TIOCM_CD),
)


@dataclass(slots=True)
class ModemLines:
    """The bits of TIOCMGET, and counters since the device was made."""

    state: int = 0
    cts: int = 0
    dsr: int = 0
    ring: int = 0
    cd: int = 0
    received: int = 0
    transmitted: int = 0
    errors: ErrorCounts = field(default_factory=ErrorCounts)

    @property
    def carrier(self) -> bool:
        """True if DCD is raised."""
        return bool(self.state & TIOCM_CD)

    def set_inputs(self, lines: int) -> int:
        """Take what the relay tells, and return the TIOCM bits of the lines whose counters have changed.

        Of RI only the end of the ringing is counted, as a UART reports it (drivers/tty/serial/8250, UART_MSR_TERI).
        """
        state = sum(bit for line, bit in _INPUTS if lines & line)
        changed = (self.state ^ state) & ~OUTPUTS
        if state & TIOCM_RI:
            changed &= ~TIOCM_RI
        self.state = self.state & OUTPUTS | state
        self.cts += bool(changed & TIOCM_CTS)
        self.dsr += bool(changed & TIOCM_DSR)
        self.ring += bool(changed & TIOCM_RI)
        self.cd += bool(changed & TIOCM_CD)
        return changed

    def set_outputs(self, lines: int) -> bool:
        """Let the lines of the application be these TIOCM bits, and return True if that changes one."""
        state = self.state & ~OUTPUTS | lines & OUTPUTS
        changed, self.state = state != self.state, state
        return changed

    @property
    def raised(self) -> bytes:
        """The rest of a message `OUTPUTS`."""
        dtr = messages.DTR if self.state & TIOCM_DTR else 0
        return bytes([dtr | (messages.RTS if self.state & TIOCM_RTS else 0)])

    def count(self, errors: ErrorCounts) -> None:
        """Add to the counters of errors."""
        self.errors = ErrorCounts(*map(sum, zip(self.errors, errors, strict=True)))

    def counters(self) -> bytes:
        """Return `struct serial_icounter_struct`."""
        counted = (
            *(self.cts, self.dsr, self.ring, self.cd, self.received, self.transmitted),
            *(self.errors.framing, self.errors.overrun, self.errors.parity, self.errors.breaks),
        )
        return _COUNTERS.pack(*(value & 0x7FFFFFFF for value in counted), 0, *([0] * 9))
