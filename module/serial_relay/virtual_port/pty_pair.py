"""One pty pair: raw before anybody can open it, and watched for what an application does with it.

The relay holds the master; applications open the slave. The slave is never held open here, since that would hide from
the kernel, and so from the relay, whether an application has it open:

- inotify on the slave's node is the trigger. It sees opens and closes from every mount namespace, but it merges
  events, so it is never taken for the truth.
- A hang-up of the master is the truth: POLLHUP is set if and only if no slave is open (drivers/tty/pty.c,
  TTY_OTHER_CLOSED), once a slave has been open for the first time.

A pair serves one application after another only while they follow each other faster than the relay can notice; see
`pty_port`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import select
import struct
import termios
import time
from pathlib import Path
from typing import Protocol

from serial_relay.plumbing import inotify
from serial_relay.plumbing.byte_channel import ByteChannel
from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.termios_follower import TermiosFollower
from serial_relay.virtual_port.termios_map import Termios, read_termios, unused, write_termios
from serial_relay.virtual_port.virtual_port import Left, VirtualPortEvents

log = logging.getLogger(__name__)

# include/uapi/asm-generic/ioctls.h
_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441

_INT = struct.Struct("i")

_TOUCHES = inotify.IN_OPEN | inotify.IN_CLOSE_WRITE | inotify.IN_CLOSE_NOWRITE

_DRAIN_SIZE = 65536

_MOST_WRITTEN = 1024 * 1024
"""Bytes that are counted, at most, when a pair is closed: much more than a pty holds, for an application whose lock
(TIOCEXCL) keeps the relay from blocking its writes."""

_HANDED_OVER_WITHIN = 0.005
"""Seconds from the notice of a close to the notice of an open that came before the close was noticed."""


class PairOwner(Protocol):
    """The events that a pair reports; every call comes from the event loop."""

    def touched(self, pair: PtyPair) -> None:
        """Something was opened or closed: look at `hung_up`."""

    def handed_over(self, pair: PtyPair) -> None:
        """The only application that had the pair open closed it, and another one has it open already."""

    def heard(self, pair: PtyPair) -> None:
        """Bytes of an application whose open was not noticed have come; they follow this call."""

    def all_read(self, pair: PtyPair) -> None:
        """The pair is hung up, and every byte that was written to it is read."""


class PtyPair:
    """A master and its slave's node; made raw and without echo.

    `inherit` gives it the line settings of another pair.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watches: Inotify,
        owner: PairOwner,
        events: VirtualPortEvents,
    ) -> None:
        """Make the pair.

        Raises:
            OSError: the kernel has no more ptys (`kernel.pty.max`), or its devpts is not where the link leads.
        """
        self._watches = watches
        self._owner = owner
        self._events = events
        self._deliver = events.application_data
        self.open = False
        """Whether an application has it open, as far as that was noticed and reported."""
        self.unnoticed = False
        """Whether an application had it open and was gone before that was noticed and reported."""
        self.ended = True
        """All bytes of applications are read: reading on would only give EIO until the next open."""
        self._users = 0
        """Opens less closes since the last hang-up; merged events make it too small."""
        self._blocked = False
        """Whether applications can write nothing more, because the pair is to be closed."""
        self._left_at: float | None = None
        """When the last of the known users closed, although the pair was not hung up then."""
        with contextlib.ExitStack() as undo:
            self._master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            undo.callback(os.close, self._master)
            fcntl.ioctl(self._master, _TIOCSPTLCK, _INT.pack(0))
            (number,) = _INT.unpack(fcntl.ioctl(self._master, _TIOCGPTN, _INT.pack(0)))
            self.slave = Path(f"/dev/pts/{number}")
            """The slave's node, `/dev/pts/N`."""
            write_termios(self._master, unused(None))
            os.close(self._open_slave())  # a master hangs up only after the first close
            self._poll = select.poll()
            self._poll.register(self._master, 0)
            self._input = select.poll()
            self._input.register(self._master, select.POLLIN)
            self._control = select.poll()
            self._control.register(self._master, select.POLLPRI)
            self._follower = TermiosFollower(loop, self._master, events)
            self.channel = ByteChannel(loop, self._master, self._data_received, self)
            self._watch: int | None = watches.watch(self.slave, _TOUCHES, self._slave_touched)
            undo.pop_all()

    @property
    def hung_up(self) -> bool:
        """True if no application has the slave open."""
        return bool(self._poll.poll(0))

    @property
    def settings(self) -> Termios:
        """The settings of the slave."""
        return read_termios(self._master)

    def inherit(self, line: Termios) -> None:
        """Take over the line settings of another pair, while nobody can open this one."""
        write_termios(self._master, unused(line))
        self._follower.begin()

    def begin(self) -> None:
        """Begin to read for an application that has just opened the slave."""
        self.ended = False
        self._follower.look()

    def look_for_flush(self) -> None:
        """Tell of what the application did beside writing, if there is something: a control byte waits (POLLPRI)."""
        if self._control.poll(0):
            self._follower.look()

    def leave(self) -> int:
        """End an application's use of a pair to which no link leads now.

        What it set last is told, what it left unread is discarded. What it wrote is still to be read. Returns the number
        of bytes that it left unread, as far as they can be counted: an exclusive lock that it left behind (TIOCEXCL)
        keeps out everybody who is not privileged, the relay too.
        """
        self._follower.look()
        self._follower.stop()
        attributes = self.settings
        if not attributes.raw:  # else an incomplete line could not be read
            write_termios(self._master, unused(attributes))
        return self.discard_unread()

    def reuse(self) -> int:
        """Leave the pair to the next application, for want of a new one, and return the number of unread bytes.

        Its settings stay as they are: somebody who opens it meanwhile would lose those that it makes.
        """
        self._follower.look()
        return self.discard_unread()

    def return_to_use(self) -> None:
        """Serve an application that has found the pair although it was left."""
        self._follower.resume()

    def discard_unread(self) -> int:
        """Discard what no application has read, and return the number of bytes.

        This needs the slave for a moment, whose events are forgotten, because they look like an application's. So the
        caller has to look at `hung_up` afterwards.
        """
        unread = self.channel.drop_unwritten() + self._read_slave()
        self._forget_own_events()
        return unread

    @property
    def has_written(self) -> bool:
        """Whether something waits to be read."""
        return any(event & select.POLLIN for _fd, event in self._input.poll(0))

    def unread(self) -> int:
        """Return the number of bytes that no application has read; the caller has to look at `hung_up` afterwards.

        What the line discipline has not taken over yet is not seen while it holds nothing, for some microseconds.
        """
        unread = self.channel.unwritten
        with contextlib.suppress(OSError):  # locked by an application (TIOCEXCL)
            slave = self._open_slave()
            try:
                unread += _INT.unpack(fcntl.ioctl(slave, termios.FIONREAD, bytes(_INT.size)))[0]
            finally:
                os.close(slave)
                self._forget_own_events()
        return unread

    def block_writes(self) -> None:
        """Let writes of applications wait until the pair is closed, when they fail; what was written can be read.

        The caller has to look at `hung_up` afterwards. An exclusive lock (TIOCEXCL) keeps out the relay.
        """
        self._blocked = True
        with contextlib.suppress(OSError):
            slave = self._open_slave()
            try:
                termios.tcflow(slave, termios.TCOOFF)
            finally:
                os.close(slave)
                self._forget_own_events()

    def take_rest(self) -> Left:
        """Discard and count what is in the pair, which is to be closed at once."""
        self.block_writes()
        unread = self.leave()
        written = 0
        with contextlib.suppress(OSError):  # nothing more (EAGAIN), or a hang-up (EIO)
            while written < _MOST_WRITTEN and (packet := os.read(self._master, _DRAIN_SIZE)):
                written += len(packet) - 1 if packet[0] == 0 else 0
        return Left(written, unread)

    def _forget_own_events(self) -> None:
        """Forget that this process has opened and closed the slave, and what else was to be noticed of it."""
        if self._watch is not None:
            self._watches.forget_events(self._watch)
        self._users = 0 if self.hung_up else 1

    def close(self) -> None:
        """Remove the pair; an application that has it open sees a hang-up, as of an adapter that is pulled."""
        self._unwatch()
        self._follower.stop()
        self.channel.stop()
        os.close(self._master)

    # From inotify and the channel.

    def _slave_touched(self, mask: int, _name: str) -> None:
        if mask & inotify.IN_IGNORED:
            self._watch = None
            return
        if mask & inotify.IN_OPEN:
            self._users += 1
            left_at, self._left_at = self._left_at, None
            if left_at is not None and time.monotonic() - left_at < _HANDED_OVER_WITHIN and not self.hung_up:
                self._owner.handed_over(self)
                return
        elif mask:
            self._users = max(0, self._users - 1)
            self._left_at = None if self._users else time.monotonic()
        if self.hung_up:
            self._users = 0
            self._left_at = None
        self._owner.touched(self)

    def _data_received(self, packet: bytes) -> None:
        if packet[0]:
            self._follower.act_on(packet[0])
            return
        if self._follower.sampling:
            self._follower.look_at_settings()
        if self.unnoticed:
            self._owner.heard(self)
        self._deliver(packet[1:])

    def channel_ended(self, error: OSError | None) -> None:
        """See `ChannelEvents`: EIO is the hang-up, after the last byte that the application wrote."""
        if error is not None and error.errno != errno.EIO:
            log.error("%s: %s", self.slave, error)
        self.ended = True
        self._owner.all_read(self)

    def pause_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.virtual_port_full(full=True)

    def resume_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.virtual_port_full(full=False)

    # The slave.

    def _read_slave(self) -> int:
        """Empty the slave's input, let its output go on, and return the number of bytes that were unread.

        Reading, unlike `tcflush`, also reaches what still waits in the tty's flip buffers: `n_tty_read` moves it
        over before it says EAGAIN (drivers/tty/n_tty.c).
        """
        unread = 0
        try:
            slave = self._open_slave()
        except OSError:  # locked by an application (TIOCEXCL), or no more descriptors
            return 0
        try:
            if not self._blocked:  # output that an application stopped would stay so for the next one
                termios.tcflow(slave, termios.TCOON)
            while data := os.read(slave, _DRAIN_SIZE):
                unread += len(data)
        except OSError:
            pass
        finally:
            os.close(slave)
        return unread

    def _open_slave(self) -> int:
        """Open the slave by its master, so that no path and no mount namespace can lead elsewhere."""
        return fcntl.ioctl(self._master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watches.unwatch(self._watch)
            self._watch = None
