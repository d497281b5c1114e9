"""A virtual serial port made of a pty pair that behaves like a UART as far as the kernel allows.

The relay holds the master; applications open the slave through the link. The slave is never held open here, since
that would hide from the kernel, and so from the relay, whether an application has the port open:

- inotify on the slave's node is the trigger. It sees opens and closes from every mount namespace, but it merges
  events, so it is never taken for the truth.
- A hang-up of the master is the truth: POLLHUP is set if and only if no slave is open (drivers/tty/pty.c,
  TTY_OTHER_CLOSED), once a slave has been open for the first time.

Limits, all of the kernel: parity and data bits never reach the master (`pty_set_termios` forces CS8 and clears
PARENB); modem-line ioctls give ENOTTY; an application that reopens the port within a fraction of a millisecond of
the last close can still read bytes that the earlier one left unread.
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
from collections.abc import Callable
from pathlib import Path

from serial_relay.plumbing import inotify
from serial_relay.plumbing.byte_channel import ByteChannel
from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.termios_follower import TermiosFollower
from serial_relay.virtual_port.virtual_port import VirtualPortEvents

log = logging.getLogger(__name__)

_WHAT_TO_DO = (
    " (in a container: GroupAdd lets it give the port to a group, CapAdd CHOWN to any user or group)"
)

# include/uapi/asm-generic/ioctls.h
_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441

_INT = struct.Struct("i")

_DRAIN_SIZE = 65536


class PtyPair:
    """One pty pair; raw and without echo before anyone can open it.

    Raises:
        OSError: the kernel has no more ptys (`kernel.pty.max`), or its devpts is not where the link leads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, watches: Inotify, events: VirtualPortEvents) -> None:
        self._loop = loop
        self._events = events
        self._watches = watches
        self._follower: TermiosFollower | None = None
        """There while applications' settings are followed."""
        self._application_open = False
        self._draining = False
        """The application is gone, bytes that it wrote are still to be read."""
        with contextlib.ExitStack() as undo:
            self._master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            undo.callback(os.close, self._master)
            fcntl.ioctl(self._master, _TIOCSPTLCK, _INT.pack(0))
            (number,) = _INT.unpack(fcntl.ioctl(self._master, _TIOCGPTN, _INT.pack(0)))
            self.slave = Path(f"/dev/pts/{number}")
            """The slave's node, `/dev/pts/N`."""
            self._set_idle_termios()
            os.close(self._open_slave())  # a master hangs up only after the first close
            self._poll = select.poll()
            self._poll.register(self._master, 0)
            self._channel = ByteChannel(loop, self._master, self._data_received, self)
            self.write = self._channel.write
            """Hand bytes of the device to the application; only while one has the port open."""
            self._watch = watches.watch(
                self.slave,
                inotify.IN_OPEN | inotify.IN_CLOSE_WRITE | inotify.IN_CLOSE_NOWRITE,
                self._slave_touched,
            )
            undo.pop_all()

    @property
    def application_open(self) -> bool:
        """An application has the port open."""
        return self._application_open

    def set_owner(self, uid: int, gid: int, mode: int) -> None:
        """Give the slave its owner, group and mode; what the system refuses is a warning, not an error.

        A change to a group that the process is in needs no capability, a change to another user needs CAP_CHOWN,
        which hardened hosts take from every module.
        """
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            (f"group {gid}", lambda: os.chown(self.slave, -1, gid)),
            (f"mode {mode:o}", lambda: self.slave.chmod(mode)),
            (f"owner {uid}", lambda: os.chown(self.slave, uid, -1)),
        )
        for wanted, step in steps:
            try:
                step()
            except OSError as error:
                log.warning("%s: cannot set %s: %s%s", self.slave, wanted, error.strerror, _WHAT_TO_DO)

    def follow_settings(self, *, enabled: bool) -> None:
        """Tell of what applications set and flush, or not (any longer); at first not."""
        if enabled and self._follower is None:
            self._follower = TermiosFollower(self._loop, self._master, self._events)
            if self._application_open:
                self._follower.look_at_present_settings()
            else:
                self._follower.reset()
        elif not enabled and self._follower is not None:
            self._follower.stop()
            self._follower = None

    def pause_reading(self) -> None:
        """Take nothing more from the application."""
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Take the application's bytes again."""
        self._channel.resume_reading()

    def close(self) -> None:
        """Remove the pair; an application that has it open sees a hang-up, as of an adapter that is pulled."""
        if self._follower is not None:
            self._follower.stop()
        self._watches.unwatch(self._watch)
        self._channel.stop()
        os.close(self._master)

    # From inotify and the channel.

    def _slave_touched(self, mask: int, _name: str) -> None:
        if mask & inotify.IN_IGNORED:
            return
        if not self._hung_up():
            if not self._application_open:
                self._opened()
        elif self._application_open:
            self._closed(all_read=False)
        else:
            # Opened, written and closed again before we looked (`echo AT > /dev/...`), or our own flush:
            # reading tells. Whoever it was may have set its own termios.
            self._set_idle_termios()
            self._events.nothing_to_read(nothing=False)

    def _data_received(self, data: bytes) -> None:
        if self._follower is not None:
            data = self._follower.unpack(data)
            if not data:
                return
        if not self._application_open and not self._draining:
            self._opened()
        self._events.application_data(data)

    def channel_ended(self, error: OSError | None) -> None:
        """See `ChannelEvents`: EIO is the hang-up, after the last byte that the application wrote."""
        if error is not None and error.errno != errno.EIO:
            log.error("%s: %s", self.slave, error)
        self._events.nothing_to_read(nothing=True)
        self._draining = False
        if self._application_open:
            self._closed(all_read=True)

    def pause_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.virtual_port_full(full=True)

    def resume_writing(self) -> None:
        """See `ChannelEvents`."""
        self._events.virtual_port_full(full=False)

    # The application comes and goes.

    def _opened(self) -> None:
        self._application_open = True
        self._draining = False
        self._events.application_opened()
        self._events.nothing_to_read(nothing=False)

    def _closed(self, *, all_read: bool) -> None:
        """Discard what the application left unread, as a UART would; what it wrote is still read to the end."""
        self._application_open = False
        self._draining = not all_read
        unread = self._channel.drop_unwritten()
        self._set_idle_termios()
        unread += self._discard_unread()
        self._events.application_closed(unread)

    def _discard_unread(self) -> int:
        """Empty the slave's input and give its size in bytes.

        Reading, unlike `tcflush`, also reaches what still waits in the tty's flip buffers: `n_tty_read` moves it
        over before it says EAGAIN (drivers/tty/n_tty.c).
        """
        unread = 0
        try:
            slave = self._open_slave()
        except OSError as error:
            log.warning("%s: cannot discard what the application left unread: %s", self.slave, error)
            return 0
        try:
            while data := os.read(slave, _DRAIN_SIZE):
                unread += len(data)
        except BlockingIOError:
            pass
        finally:
            os.close(slave)
        return unread

    def _hung_up(self) -> bool:
        return bool(self._poll.poll(0))

    def _open_slave(self) -> int:
        """Open the slave by its master, so that no path and no mount namespace can lead elsewhere."""
        return fcntl.ioctl(self._master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def _set_idle_termios(self) -> None:
        """Make the pair raw, and make sure that the next application's `tcsetattr` changes something.

        glibc answers EINVAL to a `tcsetattr` that asks for parity, which a pty drops, and changes nothing else
        (sysdeps/unix/sysv/linux/tcsetattr.c). Applications that set parity set CLOCAL too, so CLOCAL is off
        while no application has the port open; a pty has no carrier that it could matter to.
        """
        if self._follower is not None:
            self._follower.look()
        attributes = termios.tcgetattr(self._master)
        control_characters = attributes[6]
        control_characters[termios.VMIN] = 1
        control_characters[termios.VTIME] = 0
        speed = attributes[4]
        cflag = termios.CS8 | termios.CREAD | termios.HUPCL
        termios.tcsetattr(self._master, termios.TCSANOW, [0, 0, cflag, 0, speed, speed, control_characters])
        if self._follower is not None:
            self._follower.reset()
