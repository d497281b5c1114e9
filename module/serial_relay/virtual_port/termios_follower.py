"""Follows what applications set on the slave of a pty pair, as seen from its master.

With TIOCPKT on the master and EXTPROC in the slave's termios, each `tcsetattr` of an application arrives as a control
byte in the stream of what it writes, before the bytes that it writes afterwards (and, as the kernel delivers control
bytes first, before unread bytes that it wrote earlier). A pair begins with EXTPROC, and most applications keep it, as
they change what `tcgetattr` gave. One that writes a fresh termios clears it. It is not set again while an application
has the pair open: no system call changes one bit of a termios alone, so a change that the application makes in the same
moment would be lost. Such an application's settings are looked at before each piece of data is handed on, soon and then
later and later after each change, and ten times a second in the end.

EXTPROC also switches the line discipline's processing off, which would break an application that reads line by line. So
it is taken away, in spite of that, from an application that is not raw.

CLOCAL is taken away 1 ms after each change, by a system call that changes this bit alone. glibc answers EINVAL to a
`tcsetattr` that asks for parity, which a pty drops, and changes nothing else (sysdeps/unix/sysv/linux/tcsetattr.c).
Applications that set parity set CLOCAL too, so with CLOCAL to set each time their `tcsetattr` does change something. A
pty has no carrier that CLOCAL could matter to. That holds for changes that are 2 ms apart; of changes back to back the
later ones can still fail, which is a limit of ptys.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios

from serial_relay.virtual_port.termios_map import (
    EXTPROC,
    ApplicationLine,
    application_line,
    read_termios,
    write_termios,
)
from serial_relay.virtual_port.virtual_port import VirtualPortEvents

_TIOCSSOFTCAR = 0x541A  # include/uapi/asm-generic/ioctls.h

# TIOCPKT_NOSTOP, TIOCPKT_DOSTOP, TIOCPKT_IOCTL: a change of IXON, and any change while EXTPROC is on.
_SETTINGS_CHANGED = 0x10 | 0x20 | 0x40

_CLEAR_CLOCAL_AFTER = 0.001
_SAMPLE_AFTER = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Seconds from one look at the settings to the next, where no event tells of a change; the last one again and again."""

_ON = struct.pack("i", 1)
_OFF = struct.pack("i", 0)


class TermiosFollower:
    """Reports the settings and flushes of applications to the port's owner."""

    def __init__(self, loop: asyncio.AbstractEventLoop, master: int, events: VirtualPortEvents) -> None:
        """Switch packet mode on: each read of the master begins with a control byte, 0 for data, else for `act_on`."""
        self._loop = loop
        self._master = master
        self._events = events
        self._line: ApplicationLine | None = None
        """What was reported last, since `begin`."""
        self.sampling: asyncio.TimerHandle | None = None
        """Runs while no event tells of changes: then the caller looks at the settings before it hands on data."""
        self._samples = 0
        self._clearing: asyncio.TimerHandle | None = None
        self._stopped = False
        fcntl.ioctl(master, termios.TIOCPKT, _ON)
        self.begin()

    def begin(self) -> None:
        """Take the present settings, which are raw and with EXTPROC, as those that no application has set."""
        self._cancel_timers()
        self._line = None
        self._take_status()

    def look(self) -> None:
        """Report what an application has set or flushed up to now."""
        self.act_on(self._take_status())
        if self.sampling is not None:
            self._samples = 0
            self.look_at_settings()

    def stop(self) -> None:
        """Stop reporting."""
        self._cancel_timers()
        self._stopped = True

    def resume(self) -> None:
        """Report again after `stop`."""
        self._stopped = False
        self.look_at_settings()

    def act_on(self, status: int) -> None:
        """Act on the control byte of a packet."""
        if self._stopped:
            return
        if status & (termios.TIOCPKT_FLUSHREAD | termios.TIOCPKT_FLUSHWRITE):
            self._events.application_flushed(
                received=bool(status & termios.TIOCPKT_FLUSHREAD),
                transmitted=bool(status & termios.TIOCPKT_FLUSHWRITE),
            )
        if status & _SETTINGS_CHANGED:
            self.look_at_settings()

    def look_at_settings(self) -> None:
        """Report the settings if they are not those that were reported last."""
        attributes = read_termios(self._master)
        line = application_line(attributes)
        if line != self._line:
            self._line = line
            self._samples = 0
            self._events.application_set_line(line)
        if not attributes.raw and attributes.lflag & EXTPROC:
            # Two system calls, side by side: nothing makes them one.
            write_termios(self._master, attributes._replace(lflag=attributes.lflag & ~EXTPROC))
        if attributes.raw and attributes.lflag & EXTPROC:
            self._cancel_sampling()
        elif self.sampling is None:
            self._samples = 0
            self._sample_later()
        if attributes.cflag & termios.CLOCAL and self._clearing is None:
            self._clearing = self._loop.call_later(_CLEAR_CLOCAL_AFTER, self._clear_clocal)

    def _sample_later(self) -> None:
        delay = _SAMPLE_AFTER[min(self._samples, len(_SAMPLE_AFTER) - 1)]
        self._samples += 1
        self.sampling = self._loop.call_later(delay, self._sample)

    def _sample(self) -> None:
        self._sample_later()
        self.look_at_settings()

    def _clear_clocal(self) -> None:
        """Change one bit, and in the kernel alone: no change of the application can be lost (tty_change_softcar)."""
        self._clearing = None
        fcntl.ioctl(self._master, _TIOCSSOFTCAR, _OFF)

    def _take_status(self) -> int:
        """Read the control byte that waits, 0 if none does; a read of one byte takes no data."""
        try:
            return os.read(self._master, 1)[0]
        except OSError:
            return 0

    def _cancel_sampling(self) -> None:
        if self.sampling is not None:
            self.sampling.cancel()
            self.sampling = None

    def _cancel_timers(self) -> None:
        self._cancel_sampling()
        if self._clearing is not None:
            self._clearing.cancel()
            self._clearing = None
