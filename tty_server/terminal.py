"""One serial port as applications see it: open, read, write, poll and close as a UART's driver does it. Pure.

The kernel's requests come in by number and are answered by number, at once or later: a read waits for bytes or a timer,
a write for room, a drain for the relay's word. Nothing waits in here, `now` is a function, and `deadline` says when
`time_passed` is due. What an ioctl does stands in `ioctls`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from tty_server import input_queue
from tty_server.drains import LONGEST_DRAIN, Drains
from tty_server.fuse_requests import DONE, OPEN_OUT, POLL_OUT, POLL_SCHEDULE_NOTIFY
from tty_server.input_queue import InputQueue
from tty_server.ioctl_numbers import (
    CLOCAL,
    HUPCL,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    VMIN,
    VTIME,
)
from tty_server.messages import (
    NUMBER,
    OPENED,
    PURGE,
    RECEIVED,
    TOTAL,
    TRANSMITTED,
    ErrorCounts,
    Kind,
    Line,
    MessageError,
)
from tty_server.modem_lines import OUTPUTS, ModemLines
from tty_server.open_files import Handle, OpenFiles
from tty_server.output_queue import OutputQueue
from tty_server.purges import Purges
from tty_server.reads import Reads
from tty_server.sides import Kernel, RelaySide
from tty_server.termios_settings import Settings
from tty_server.writes import Writes

_HUNG_UP = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM
_READABLE, _WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM


class Terminal:
    """The state of one port. Every method is called by the server's one thread."""

    def __init__(self, kernel: Kernel, relay: RelaySide, now: Callable[[], float]) -> None:
        self.kernel = kernel
        self.relay = relay
        self.now = now
        self.settings = Settings()
        self.forced = Line()
        self.lines = ModemLines()
        self.received = InputQueue(self.settings)
        self.output = OutputQueue(self._send)
        self.exclusive = False
        self.breaking: tuple[int, float] | None = None
        """The request that sends a break of fixed length, and when that ends."""
        self.serial_flags = 0
        """Of `struct serial_struct`; nothing here depends on them."""
        self.window_size = bytes(8)
        self._files = OpenFiles()
        self.users = 0
        """Open files that were not hung up, and opens that wait."""
        self._closing: float | None = None
        """After the last close: how long what was written may take to leave."""
        self._reads = Reads(
            kernel, self.received, now, lambda: self.settings.characters, self._read_by_application
        )
        self._writes = Writes(kernel, self.output)
        self._drains = Drains(lambda number: relay.tell(Kind.DRAIN, NUMBER.pack(number)))
        self._waits: dict[int, int] = {}
        """The requests that wait for a modem line to change, with the TIOCM bits (TIOCMIWAIT)."""
        self._polls: dict[int, int] = {}
        """The open files that are to be notified, by `kh`, with the events."""
        self._come = 0
        """Bytes that the relay has sent, in all."""
        self._granted = input_queue.SIZE
        """Bytes that the relay may send, in all."""
        self._read = 0
        """Bytes that applications have read or discarded, in all."""
        self._purges = Purges()
        self.purged, self.drained = self._purges.answered, self._drains.confirmed
        """For the relay's answers."""
        self._break = False
        relay.tell(Kind.GRANT, TOTAL.pack(self._granted))

    # Open and close.

    def open(self, unique: int, *, nonblock: bool, privileged: Callable[[], bool]) -> None:
        """Open the port; without CLOCAL an open waits for the carrier unless it may not.

        TIOCEXCL keeps out everybody who has not CAP_SYS_ADMIN, as in `tty_open`.
        """
        if self.exclusive and self.users and not privileged():
            self.kernel.fail(unique, errno.EBUSY)
            return
        self.users += 1
        if self.users == 1:
            self._closing = None
            self.output.stopped = False
            if self.settings.output_speed:
                self.set_outputs(OUTPUTS)
            self._tell_open()
        if nonblock or self._may_open:
            self.kernel.answer(unique, OPEN_OUT.pack(self._files.add(), 0, 0))
        else:
            self._files.waiting.append(unique)

    @property
    def _may_open(self) -> bool:
        return bool(self.settings.cflag & CLOCAL) or self.lines.carrier

    def _serve_opens(self) -> None:
        if self._files.waiting and self._may_open:
            for unique in self._files.stop_waiting():
                self.kernel.answer(unique, OPEN_OUT.pack(self._files.add(), 0, 0))

    def release(self, unique: int, handle: int) -> None:
        """Close an open file; it is answered at once, since nothing can end an application's `close`."""
        file = self._files.remove(handle)
        self.kernel.answer(unique, b"")
        if file is None:
            return
        if file.polled_as is not None:
            self._polls.pop(file.polled_as, None)
        if not file.hung_up:
            self._leave()

    def _leave(self) -> None:
        self.users -= 1
        if not self.users:
            self._last_close()

    def handle(self, number: int) -> Handle:
        """Return an open file; one that is not known counts as hung up."""
        return self._files.get(number)

    def _last_close(self) -> None:
        self.exclusive = False
        self._polls.clear()
        self.received.clear()
        self.grant()  # what was written may wait for a device that waits for room for its answer
        self.output.stopped = False
        if self.breaking is not None or self.output.size:
            self._closing = self.now() + LONGEST_DRAIN
            self.progress()
        else:
            self._end_use()

    def _end_use(self) -> None:
        self._closing = None
        self.output.clear()
        if self.settings.cflag & HUPCL:
            self.set_outputs(0)
        self.set_break(on=False)
        self._tell_open()

    def _tell_open(self) -> None:
        self.relay.tell(Kind.OPEN, OPENED.pack(self.users > 0, self._read))

    def hang_up(self) -> None:
        """End every open file, as a lost carrier does: reads give an end of file, everything else EIO."""
        if not self.users:
            return
        self._files.hang_up()
        self.users = 0
        self._reads.hang_up()
        self._writes.hang_up()
        for unique in (*self._drains.hang_up(), *self._files.stop_waiting(), *self._waits):
            self.kernel.fail(unique, errno.EIO)
        if self.breaking is not None:
            self.kernel.fail(self.breaking[0], errno.EIO)
        self.breaking = None
        self._waits.clear()
        self.output.clear()
        self.wake(_HUNG_UP)
        self._last_close()

    # Read.

    def read(self, unique: int, handle: Handle, size: int, *, nonblock: bool) -> None:
        """Read as VMIN and VTIME say (termios(3)), or a line."""
        if handle.hung_up or not size:
            self.kernel.answer(unique, b"")
            return
        self._reads.read(unique, size, nonblock=nonblock)

    def _read_by_application(self, size: int) -> None:
        self._read += size
        self.grant()

    # Write.

    def write(self, unique: int, handle: Handle, data: bytes, *, nonblock: bool) -> None:
        """Write: what there is no room for waits, or is for the application to write again."""
        if handle.hung_up:
            self.kernel.fail(unique, errno.EIO)
        else:
            self._writes.write(unique, data, nonblock=nonblock)

    def progress(self) -> None:
        """Send what can be sent, and act on what that makes possible."""
        self.output.pump()
        self._writes.serve()
        if self.output.writable and not self._writes:
            self.wake(_WRITABLE)
        self._ask_for_drains()
        if self._closing is not None and not self.output.size and self.breaking is None:
            self._end_use()

    def _send(self, data: bytes) -> int:
        sent = self.relay.send(data)
        self.lines.transmitted += sent
        return sent

    # Drain.

    def drain(self, unique: int, then: Callable[[], None]) -> None:
        """Call `then`, which answers the request, when all that was written is at the device's host."""
        self._drains.add(unique, self.now(), then)
        self._ask_for_drains()

    def _ask_for_drains(self) -> None:
        if not self.output.size and not self._writes:
            self._drains.all_sent()

    # Poll.

    def poll(self, unique: int, handle: Handle, kernel_handle: int, flags: int, events: int) -> None:
        """Answer the present state, and remember whom to wake at the next change."""
        if flags & POLL_SCHEDULE_NOTIFY and not handle.hung_up:
            handle.polled_as = kernel_handle
            # Several threads can poll one open file, each for events of its own.
            self._polls[kernel_handle] = self._polls.get(kernel_handle, 0) | events
        self.kernel.answer(unique, POLL_OUT.pack(_HUNG_UP if handle.hung_up else self._events(), 0))

    def _events(self) -> int:
        received, characters = self.received, self.settings.characters
        minimum = 1 if received.canonical or characters[VTIME] else max(1, characters[VMIN])
        readable = received.readable if received.canonical else received.size >= minimum
        writable = self.output.writable and not self._writes
        return (_READABLE if readable else 0) | (_WRITABLE if writable else 0)

    def wake(self, events: int) -> None:
        """Notify those who poll for any of these events; an errored poll concerns everybody."""
        due = [kh for kh, wanted in self._polls.items() if events & (wanted | POLLERR | POLLHUP)]
        for kernel_handle in due:
            del self._polls[kernel_handle]
            self.kernel.notify(kernel_handle)

    # From the relay.

    def device_data(self, data: bytes) -> None:
        """Take bytes of the device; those that come while nobody has the port open, or in a purge, are dropped.

        Raises:
            MessageError: the relay sent more bytes than it was granted.
        """
        self._come += len(data)
        if self._come > self._granted:
            raise MessageError(f"{self._come - self._granted} bytes more than it may")
        self.lines.received += len(data)
        if not self.users or self._purges.waiting:
            if self.users:
                self._read += len(data)
            self.grant()
            return
        echo = self.received.feed(data)
        if echo:
            self.output.insert(echo)
        self._reads.serve()
        if self.received.size or self.received.readable:
            self.wake(_READABLE)
        self.grant()

    def grant(self) -> None:
        """Let the relay send more, if there is room for half of what may stand here."""
        granted = self._come + input_queue.SIZE - self.received.size
        if granted - self._granted >= input_queue.SIZE // 2:
            self._granted = granted
            self.relay.tell(Kind.GRANT, TOTAL.pack(granted))

    def hold(self, *, held: bool) -> None:
        """Keep what applications write, or send it."""
        self.output.held = held
        if not held:
            self.progress()

    def set_inputs(self, lines: int) -> None:
        """Take the modem lines of the device; a carrier that goes ends the open files unless CLOCAL is set."""
        had_carrier = self.lines.carrier
        changed = self.lines.set_inputs(lines)
        for unique in [unique for unique, mask in self._waits.items() if mask & changed]:
            del self._waits[unique]
            self.kernel.answer(unique, DONE)
        self._serve_opens()
        if had_carrier and not self.lines.carrier and not self.settings.cflag & CLOCAL:
            self.hang_up()

    def count(self, errors: ErrorCounts) -> None:
        """Count errors on the line."""
        self.lines.count(errors)

    def force(self, line: Line) -> None:
        """Let these settings be in force, whatever applications set."""
        self.forced = line
        self.take_settings(self.settings.forced(line))

    # What ioctls share.

    def set_settings(self, settings: Settings) -> None:
        """Let the settings be in force that an application sets, and tell the line, also if it was the same before.

        So the relay knows whether the real port is to have what stands here, or whether nobody has asked for it.
        """
        self.take_settings(settings)
        self.relay.tell(Kind.LINE, self.settings.wanted_line.pack())

    def take_settings(self, settings: Settings) -> None:
        """Let other settings be in force.

        An application reads parity and data bits back as it set them, also where others are forced: the C library compares
        them, and fails with EINVAL if they differ (sysdeps/unix/sysv/linux/tcsetattr.c of glibc).
        """
        before, self.settings = self.settings, settings.forced(self.forced._replace(data_bits=0, parity=""))
        if (before.iflag, before.lflag, before.characters) != (
            self.settings.iflag,
            self.settings.lflag,
            self.settings.characters,
        ):
            self.received.configure(self.settings)
            self._reads.serve()
        self.output.configure(self.settings.oflag)
        self._serve_opens()
        if self.users and bool(before.output_speed) is not bool(self.settings.output_speed):
            self.set_outputs(OUTPUTS if self.settings.output_speed else 0)  # B0 means "hang up"

    def set_outputs(self, lines: int) -> None:
        """Raise and drop DTR and RTS (TIOCM bits)."""
        if self.lines.set_outputs(lines):
            self.relay.tell(Kind.OUTPUTS, self.lines.raised)

    def flush(self, what: int) -> None:
        """Discard what was received, or what was written and not sent."""
        if what & RECEIVED:
            self._read += self.received.size
            self.received.clear()
            self._purges.begin(self.now())
            self.grant()
        if what & TRANSMITTED:
            self.output.clear()
        self.relay.tell(Kind.PURGE, PURGE.pack(what, self._purges.number))
        if what & TRANSMITTED:
            self.progress()

    def wait_for_lines(self, unique: int, mask: int) -> None:
        """Answer when one of these lines has changed."""
        self._waits[unique] = mask

    # Signals and time.

    def interrupt(self, unique: int) -> None:
        """End a request that waits, because its caller got a signal."""
        if self._reads.interrupt(unique):
            return
        if unique in self._files.waiting:
            self._files.waiting.remove(unique)
            self._leave()
            self.kernel.fail(unique, errno.EINTR)
            return
        if self._writes.interrupt(unique):
            self.progress()
            return
        drains = self._drains.interrupt(unique)
        breaking = self.breaking is not None and self.breaking[0] == unique
        if drains or breaking or self._waits.pop(unique, None) is not None:
            if breaking:
                self._end_break()
            self.kernel.fail(unique, errno.EINTR)

    def send_break(self, unique: int, seconds: float) -> None:
        """Send a break of this length, and answer when it is over."""
        if self.breaking is not None:
            self.kernel.fail(unique, errno.EBUSY)
            return
        self.set_break(on=True)
        self.breaking = unique, self.now() + seconds

    def _end_break(self) -> None:
        self.breaking = None
        self.set_break(on=False)

    def set_break(self, *, on: bool) -> None:
        """Begin or end a break (TIOCSBRK, TIOCCBRK)."""
        if on is not self._break:
            self._break = on
            self.relay.tell(Kind.BREAK, bytes([on]))

    @property
    def deadline(self) -> float | None:
        """When `time_passed` is due."""
        due = self._reads.deadline
        breaking = self.breaking and self.breaking[1]
        for other in (self._drains.deadline, self._purges.deadline, self._closing, breaking):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def time_passed(self) -> None:
        """Act on what is due."""
        now = self.now()
        self._reads.time_passed(now)
        self._drains.time_passed(now)
        self._purges.time_passed(now)
        if self.breaking is not None and self.breaking[1] <= now:
            unique = self.breaking[0]
            self._end_break()
            self.kernel.answer(unique, DONE)
            self.progress()
        if self._closing is not None and self._closing <= now:
            self._end_use()
