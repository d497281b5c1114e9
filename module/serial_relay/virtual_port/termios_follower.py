"""Follows what applications set on the slave of a pty pair, as seen from its master.

With TIOCPKT on the master and EXTPROC in the slave's termios, each `tcsetattr` of an application arrives as a control
byte in the stream of what it writes, before the bytes that it writes afterwards (and, as the kernel delivers control
bytes first, before unread bytes that it wrote earlier). EXTPROC also switches the line discipline's processing off,
which would break an application that reads line by line. So EXTPROC is on while the slave is raw; else it is off, and
the settings are looked at before each piece of data is handed on and ten times a second.

CLOCAL is taken away 1 ms after each change. The reason stands at `PtyPair._set_idle_termios`: an application that asks
for parity gets EINVAL from glibc if its `tcsetattr` changed nothing that a pty keeps. With CLOCAL to set each time it
does change something. That holds for changes that are 2 ms apart; of changes back to back the later ones can still
fail, which is a limit of ptys.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios

from serial_relay.virtual_port.termios_map import (
    EXTPROC,
    TERMIOS_SIZE,
    ApplicationLine,
    Termios,
    application_line,
)
from serial_relay.virtual_port.virtual_port import VirtualPortEvents

# include/uapi/asm-generic/ioctls.h
_TIOCSSOFTCAR = 0x541A
_TCGETS2 = 0x802C542A
_TCSETS2 = 0x402C542B

# TIOCPKT_NOSTOP, TIOCPKT_DOSTOP, TIOCPKT_IOCTL: a change of IXON, and any change while EXTPROC is on.
_SETTINGS_CHANGED = 0x10 | 0x20 | 0x40

_CLEAR_CLOCAL_AFTER = 0.001
_SAMPLE_INTERVAL = 0.1

_ON = struct.pack("i", 1)
_OFF = struct.pack("i", 0)


class TermiosFollower:
    """Turns the master's packets into data and tells the port's owner of settings and flushes in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop, master: int, events: VirtualPortEvents) -> None:
        """Switch packet mode on; the caller sets the slave's termios and calls `reset`."""
        self._loop = loop
        self._master = master
        self._events = events
        self._line: ApplicationLine | None = None
        """What was told last, since the last `reset`."""
        self._sampling: asyncio.TimerHandle | None = None
        """Runs while the slave is not raw."""
        self._clearing: asyncio.TimerHandle | None = None
        fcntl.ioctl(master, termios.TIOCPKT, _ON)

    def stop(self) -> None:
        """Switch packet mode off."""
        self._cancel_timers()
        fcntl.ioctl(self._master, termios.TIOCPKT, _OFF)
        self._set_extproc(on=False)

    def reset(self) -> None:
        """Take the slave's present termios, which is raw, as nobody's wish, and wait for an application's."""
        self._cancel_timers()
        self._line = None
        self._set_extproc(on=True)
        self._take_status()

    def look(self) -> None:
        """Tell of what an application set up to now, before its settings are overwritten."""
        self._act_on(self._take_status())
        if self._sampling is not None:
            self._settings_changed()

    def look_at_present_settings(self) -> None:
        """Tell of the settings as they stand: an application that has the port open made them."""
        self._settings_changed()

    def unpack(self, packet: bytes) -> bytes:
        """Give the data of a packet read from the master; b"" if it was a control byte."""
        if packet[0] == termios.TIOCPKT_DATA:
            if self._sampling is not None:
                self._settings_changed()
            return packet[1:]
        self._act_on(packet[0])
        return b""

    def _act_on(self, status: int) -> None:
        if status & (termios.TIOCPKT_FLUSHREAD | termios.TIOCPKT_FLUSHWRITE):
            self._events.application_flushed(
                received=bool(status & termios.TIOCPKT_FLUSHREAD),
                transmitted=bool(status & termios.TIOCPKT_FLUSHWRITE),
            )
        if status & _SETTINGS_CHANGED:
            self._settings_changed()

    def _settings_changed(self) -> None:
        attributes = self._attributes()
        line = application_line(attributes)
        if line != self._line:
            self._line = line
            self._events.application_set_line(line)
        self._set_extproc(on=attributes.raw)
        if not attributes.raw:
            self._sampling = self._sampling or self._loop.call_later(_SAMPLE_INTERVAL, self._sample)
        elif self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None
        if attributes.cflag & termios.CLOCAL and self._clearing is None:
            self._clearing = self._loop.call_later(_CLEAR_CLOCAL_AFTER, self._clear_clocal)

    def _sample(self) -> None:
        self._sampling = self._loop.call_later(_SAMPLE_INTERVAL, self._sample)
        self._settings_changed()

    def _clear_clocal(self) -> None:
        """Change one bit, and in the kernel alone: no change of the application can be lost (tty_change_softcar)."""
        self._clearing = None
        fcntl.ioctl(self._master, _TIOCSSOFTCAR, _OFF)

    def _set_extproc(self, *, on: bool) -> None:
        """Set EXTPROC if it is not so already; the two calls stand side by side, as nothing makes them one."""
        attributes = self._attributes()
        lflag = attributes.lflag | EXTPROC if on else attributes.lflag & ~EXTPROC
        if lflag != attributes.lflag:
            fcntl.ioctl(self._master, _TCSETS2, attributes._replace(lflag=lflag).pack())

    def _attributes(self) -> Termios:
        """Give the slave's termios: on a pty both ends' ioctls mean the slave's (drivers/tty/tty_ioctl.c)."""
        return Termios.unpack(fcntl.ioctl(self._master, _TCGETS2, bytes(TERMIOS_SIZE)))

    def _take_status(self) -> int:
        """Read the control byte that waits, 0 if none does; a read of one byte takes no data."""
        try:
            return os.read(self._master, 1)[0]
        except OSError:
            return 0

    def _cancel_timers(self) -> None:
        for timer in (self._sampling, self._clearing):
            if timer is not None:
                timer.cancel()
        self._sampling = self._clearing = None
