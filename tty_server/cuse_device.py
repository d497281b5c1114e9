"""One character device: the kernel's requests for it, handed to its terminal, and the terminal's answers.

The device exists while the descriptor of /dev/cuse is open (fs/fuse/cuse.c). Its node below /dev is the kernel's own
(devtmpfs), belongs to root alone at first, and goes with the device.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from tty_server import fuse_requests as fuse
from tty_server.device_errors import CUSE, DeviceError, NumberTakenError, explain
from tty_server.fuse_requests import Opcode
from tty_server.ioctls import INTEGERS, TABLE, TABLE_32, Call, Refused
from tty_server.messages import MAJOR
from tty_server.sides import RelaySide
from tty_server.terminal import Terminal

log = logging.getLogger(__name__)

_CAP_SYS_ADMIN = 1 << 21
_MOST_RETRIES_KEPT = 1024


class CuseDevice:
    """The device with this minor number, and its terminal."""

    def __init__(self, minor: int, relay: RelaySide) -> None:
        """Make the device.

        Raises:
            NumberTakenError: another minor number may do.
            DeviceError: there can be no device.
        """
        self.minor = minor
        self.name = f"serialrelay{minor}"
        """Of the node below /dev. The rules that come with udev leave it alone: they know tty names, and would set their own
        group and mode."""
        self.ended = False
        """True once the kernel serves the device no more; `close` is to follow."""
        self._cuse = self._open()
        self._buffer = bytearray(fuse.BUFFER_SIZE)
        self._buffers = [self._buffer]
        self._view = memoryview(self._buffer)
        self._retries: dict[tuple[int, ...], bytes] = {}
        """By ioctl, argument and sizes the answer that asks for the data: an application asks again and again."""
        try:
            self._initialise()
        except BaseException:
            os.close(self._cuse)
            raise
        self.terminal = Terminal(self, relay, time.monotonic)

    def _open(self) -> int:
        try:
            return os.open(CUSE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise explain(error) from error

    def fileno(self) -> int:
        """For the poll."""
        return self._cuse

    def close(self) -> None:
        """End the device: whoever has it open gets ECONNABORTED from now on. Call it once."""
        self.ended = True
        os.close(self._cuse)

    def _initialise(self) -> None:
        # A stale file at the node's place would keep the kernel from making the node, without a word.
        node = Path("/dev") / self.name
        if node.is_symlink() or node.is_file():
            node.unlink()
        try:
            length = os.readv(self._cuse, [self._buffer])
            _length, opcode, unique, *_rest = fuse.IN_HEADER.unpack_from(self._buffer)
            body = fuse.init_answer(self._view[fuse.IN_HEADER.size : length], self.name, MAJOR, self.minor)
            if opcode != Opcode.CUSE_INIT or body is None:
                raise DeviceError("the kernel's CUSE is too old: Linux 4 or newer is needed")
            os.write(self._cuse, fuse.answer(unique, body))
        except OSError as error:
            raise explain(error) from error
        try:
            os.readv(self._cuse, [self._buffer])
        except BlockingIOError:
            return  # the device exists, and the kernel has asked for nothing
        except OSError as error:
            raise NumberTakenError(
                f"the kernel refuses a device with the number {MAJOR}:{self.minor} and the name {self.name}:"
                " something else has one of them"
            ) from error
        raise DeviceError("the kernel asked for something before the device was made")

    # From the kernel.

    def readable(self) -> None:
        """Read one request and act on it; a fault of this program fails the request, and not the other ports."""
        try:
            length = os.readv(self._cuse, self._buffers)
        except OSError as error:
            # ENOENT: the request was given up meanwhile. ENODEV: somebody ended the device (its `abort` in sysfs).
            if error.errno not in (errno.EAGAIN, errno.EINTR, errno.ENOENT):
                self.ended = True
            return
        opcode, unique = fuse.IN_HEADER_START.unpack_from(self._buffer)
        try:
            if opcode == Opcode.IOCTL:
                self._ioctl(unique, length)
            else:
                self._act_on(opcode, unique)
        except Exception:
            log.exception("%s: the request %d fails", self.name, opcode)
            self.fail(unique, errno.EIO)

    def _act_on(self, opcode: int, unique: int) -> None:
        terminal = self.terminal
        match opcode:
            case Opcode.READ:
                number, _offset, size, _flags, _owner, flags, _pad = fuse.READ_IN.unpack_from(
                    self._buffer, 40
                )
                size = min(size, fuse.MOST_READ - 1)
                terminal.read(unique, terminal.handle(number), size, nonblock=bool(flags & os.O_NONBLOCK))
            case Opcode.WRITE:
                number, _offset, size, _flags, _owner, flags, _pad = fuse.WRITE_IN.unpack_from(
                    self._buffer, 40
                )
                data = bytes(self._view[80 : 80 + size])
                terminal.write(unique, terminal.handle(number), data, nonblock=bool(flags & os.O_NONBLOCK))
            case Opcode.POLL:
                number, kernel_handle, flags, events = fuse.POLL_IN.unpack_from(self._buffer, 40)
                terminal.poll(unique, terminal.handle(number), kernel_handle, flags, events)
            case Opcode.OPEN:
                *_start, process, _pad, _pad = fuse.IN_HEADER.unpack_from(self._buffer)
                flags, _open_flags = fuse.OPEN_IN.unpack_from(self._buffer, 40)
                terminal.open(
                    unique, nonblock=bool(flags & os.O_NONBLOCK), privileged=lambda: _is_privileged(process)
                )
            case Opcode.RELEASE:
                (number, *_rest) = fuse.RELEASE_IN.unpack_from(self._buffer, 40)
                terminal.release(unique, number)
            case Opcode.INTERRUPT:
                (interrupted,) = fuse.INTERRUPT_IN.unpack_from(self._buffer, 40)
                terminal.interrupt(interrupted)
            case _:
                self.fail(unique, errno.ENOSYS)

    def _ioctl(self, unique: int, length: int) -> None:
        number, flags, command, argument, in_size, out_size = fuse.IOCTL_IN.unpack_from(self._buffer, 40)
        tell = INTEGERS.get(command)
        if tell is not None:
            if out_size < fuse.INTEGER:
                self._ask_again(unique, command, argument, 0, fuse.INTEGER)
            elif self.terminal.handle(number).hung_up:
                self.fail(unique, errno.EIO)
            else:
                self._write(fuse.integer_answer(unique, tell(self.terminal)))
            return
        ioctl = (TABLE_32 if flags & fuse.IOCTL_COMPAT else TABLE).get(command)
        if ioctl is None:
            self.fail(unique, errno.ENOTTY)
            return
        if (ioctl.takes and in_size < ioctl.takes) or (ioctl.gives and out_size < ioctl.gives):
            self._ask_again(unique, command, argument, ioctl.takes, ioctl.gives)
            return
        terminal = self.terminal
        if terminal.handle(number).hung_up:
            self.fail(unique, errno.EIO)
            return
        data = bytes(self._view[72 : min(72 + ioctl.takes, length)]) if ioctl.takes else b""
        try:
            given = ioctl.act(Call(terminal, unique, argument, data))
        except Refused as refused:
            self.fail(unique, refused.error)
            return
        if given is not None:
            self.answer(unique, fuse.DONE + given if given else fuse.DONE)

    def _ask_again(self, unique: int, command: int, argument: int, takes: int, gives: int) -> None:
        """Let the kernel send the ioctl again with room for what it takes and gives."""
        key = command, argument, takes, gives
        retry = self._retries.get(key)
        if retry is None:
            if len(self._retries) >= _MOST_RETRIES_KEPT:
                self._retries.clear()
            retry = self._retries[key] = fuse.retry(argument, takes, gives)
        self.answer(unique, retry)

    # To the kernel: see `Kernel`.

    def answer(self, unique: int, body: bytes) -> None:
        """See `Kernel`."""
        self._write(fuse.answer(unique, body))

    def fail(self, unique: int, error: int) -> None:
        """See `Kernel`."""
        self._write(fuse.failure(unique, error))

    def notify(self, handle: int) -> None:
        """See `Kernel`."""
        self._write(fuse.poll_notification(handle))

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._cuse, data)
        except OSError:
            # ENOENT: the request does not exist any more, since its caller was killed. Nothing is to be done about any error
            # here, and an end of the device shows when the next request is read.
            return


def _is_privileged(process: int) -> bool:
    """Return whether a process has CAP_SYS_ADMIN; one of another container, whose number is 0 here, has not."""
    try:
        with Path(f"/proc/{process}/status").open(encoding="ascii", errors="replace") as status:
            line = next((line for line in status if line.startswith("CapEff:")), "")
    except OSError:
        return False
    return bool(line) and bool(int(line.split()[1], 16) & _CAP_SYS_ADMIN)


Make = Callable[[int, RelaySide], CuseDevice]
"""What makes a device; a test puts something else in its place."""
