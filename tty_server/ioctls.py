"""What an application's ioctls do to a terminal (drivers/tty/tty_ioctl.c, serial_core.c). Pure.

`TABLE` has the number of bytes that each takes and returns. One that is not in it is not for terminals: ENOTTY.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import NamedTuple

from tty_server import ioctl_numbers as numbers
from tty_server.fuse_requests import DONE
from tty_server.messages import RECEIVED, TRANSMITTED
from tty_server.modem_lines import OUTPUTS
from tty_server.terminal import Terminal
from tty_server.termios_settings import TERMIO_SIZE, TERMIOS2_SIZE, TERMIOS_SIZE, Settings

_UINT = struct.Struct("<I")
_SERIAL = struct.Struct("<5i2Ii HBx i2H4x QHxxI Q")
"""`struct serial_struct` (include/uapi/linux/serial.h), 72 bytes."""
_SERIAL_32 = struct.Struct("<5i2Ii HBx i2H I Hxx I xxxx")
"""The same of a program with pointers of 32 bits (`struct serial_struct32`, drivers/tty/tty_io.c), 60 bytes."""
_RS485 = struct.Struct("<3I20x")

_BREAK = 0.25
"""Seconds that TCSBRK and TCSBRKP without a length send a break."""
_TENTH = 0.1
_LONGEST_BREAK = 25.5
"""Seconds of a break that TCSBRKP sends, at most: longer ones are cut, since a caller could not be ended by SIGKILL
alone."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The ioctl fails with this `errno`."""

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


class Call(NamedTuple):
    """One ioctl on its way."""

    terminal: Terminal
    unique: int
    argument: int
    data: bytes
    """What stands at the argument, as far as the ioctl takes something from there."""


Answer = bytes | None
"""The data that the ioctl returns; None if the request waits and is answered later."""


class Ioctl(NamedTuple):
    """One row of the table."""

    takes: int
    gives: int
    act: Callable[[Call], Answer]


def _getter(form: Callable[[Settings], bytes]) -> Callable[[Call], Answer]:
    return lambda call: form(call.terminal.settings)


def _setter(
    form: Callable[[Settings, bytes], Settings], *, drain: bool = False, flush: bool = False
) -> Callable[[Call], Answer]:
    def act(call: Call) -> Answer:
        terminal = call.terminal

        def set_now() -> None:
            if flush:
                terminal.flush(RECEIVED)
            terminal.set_settings(form(terminal.settings, call.data))

        if not drain:
            set_now()
            return b""

        def drained() -> None:
            set_now()
            terminal.kernel.answer(call.unique, DONE)

        terminal.drain(call.unique, drained)
        return None

    return act


def _send_break(call: Call) -> Answer:
    """TCSBRK: drain, and send a break unless the argument is not 0."""
    seconds = 0.0 if call.argument else _BREAK
    _drain_and_break(call, seconds)
    return None


def _send_break_p(call: Call) -> Answer:
    """TCSBRKP: drain, and send a break of this number of tenths of a second."""
    _drain_and_break(call, min(call.argument * _TENTH, _LONGEST_BREAK) if call.argument else _BREAK)
    return None


def _drain_and_break(call: Call, seconds: float) -> None:
    def drained() -> None:
        if seconds:
            call.terminal.send_break(call.unique, seconds)
        else:
            call.terminal.kernel.answer(call.unique, DONE)

    call.terminal.drain(call.unique, drained)


def _flow(call: Call) -> Answer:
    terminal = call.terminal
    match call.argument:
        case numbers.TCOOFF:
            terminal.output.stopped = True
        case numbers.TCOON:
            terminal.output.stopped = False
            terminal.progress()
        case numbers.TCIOFF | numbers.TCION:
            name = numbers.VSTOP if call.argument == numbers.TCIOFF else numbers.VSTART
            character = terminal.settings.characters[name]
            if character:
                terminal.output.insert(bytes([character]))
        case _:
            raise Refused(errno.EINVAL)
    return b""


def _flush(call: Call) -> Answer:
    what = {
        numbers.TCIFLUSH: RECEIVED,
        numbers.TCOFLUSH: TRANSMITTED,
        numbers.TCIOFLUSH: RECEIVED | TRANSMITTED,
    }.get(call.argument)
    if what is None:
        raise Refused(errno.EINVAL)
    call.terminal.flush(what)
    return b""


def _exclusive(call: Call) -> Answer:
    call.terminal.exclusive = True
    return b""


def _not_exclusive(call: Call) -> Answer:
    call.terminal.exclusive = False
    return b""


def _set_lines(change: Callable[[int, int], int]) -> Callable[[Call], Answer]:
    def act(call: Call) -> Answer:
        (lines,) = _UINT.unpack(call.data)
        call.terminal.set_outputs(change(call.terminal.lines.state, lines & OUTPUTS) & OUTPUTS)
        return b""

    return act


def _wait_for_lines(call: Call) -> Answer:
    call.terminal.wait_for_lines(call.unique, call.argument)
    return None


def _set_soft_carrier(call: Call) -> Answer:
    settings = call.terminal.settings
    cflag = settings.cflag & ~numbers.CLOCAL | (numbers.CLOCAL if any(call.data) else 0)
    call.terminal.take_settings(settings._replace(cflag=cflag))
    return b""


def _set_break(*, on: bool) -> Callable[[Call], Answer]:
    def act(call: Call) -> Answer:
        call.terminal.set_break(on=on)
        return b""

    return act


def _set_discipline(call: Call) -> Answer:
    if any(call.data):
        raise Refused(errno.EINVAL)  # N_TTY is the only one
    return b""


def _get_serial(call: Call) -> Answer:
    return _SERIAL.pack(*_serial(call.terminal), 0, 0, 0, 0)


def _get_serial_32(call: Call) -> Answer:
    return _SERIAL_32.pack(*_serial(call.terminal), 0, 0, 0)


def _serial(terminal: Terminal) -> tuple[int, ...]:
    """Return what tools ask a UART for, with a type, since some tools take a port without a type for absent."""
    return numbers.PORT_16550A, 0, 0, 0, terminal.serial_flags, 16, 0, 115200, 50, 2, 0, 3000, 0


def _set_serial(call: Call) -> Answer:
    """Keep the flags, such as ASYNC_LOW_LATENCY, so that they are read back; nothing here depends on them."""
    call.terminal.serial_flags = _SERIAL.unpack(call.data)[4]
    return b""


def _set_serial_32(call: Call) -> Answer:
    call.terminal.serial_flags = _SERIAL_32.unpack(call.data)[4]
    return b""


def _rs485(_call: Call) -> Answer:
    """Answer that RS-485 is off, as a driver does that cannot switch it on: the device's host does that."""
    return _RS485.pack(0, 0, 0)


def _keep_window_size(call: Call) -> Answer:
    call.terminal.window_size = call.data
    return b""


INTEGERS: dict[int, Callable[[Terminal], int]] = {
    numbers.FIONREAD: lambda terminal: terminal.received.available,
    numbers.TIOCMGET: lambda terminal: terminal.lines.state,
    numbers.TIOCOUTQ: lambda terminal: terminal.output.size,
    numbers.TIOCGEXCL: lambda terminal: terminal.exclusive,
    numbers.TIOCGSOFTCAR: lambda terminal: bool(terminal.settings.cflag & numbers.CLOCAL),
    numbers.TIOCGETD: lambda _terminal: 0,  # N_TTY
    numbers.TIOCSERGETLSR: lambda terminal: 0 if terminal.output.size else numbers.TIOCSER_TEMT,
}
"""Those that take nothing and give one integer; .NET asks the first two a thousand times a second."""

TABLE: dict[int, Ioctl] = {
    numbers.TCGETS: Ioctl(0, TERMIOS_SIZE, _getter(Settings.termios)),
    numbers.TCGETS2: Ioctl(0, TERMIOS2_SIZE, _getter(Settings.termios2)),
    numbers.TCGETA: Ioctl(0, TERMIO_SIZE, _getter(Settings.termio)),
    numbers.TCSETS: Ioctl(TERMIOS_SIZE, 0, _setter(Settings.with_termios)),
    numbers.TCSETSW: Ioctl(TERMIOS_SIZE, 0, _setter(Settings.with_termios, drain=True)),
    numbers.TCSETSF: Ioctl(TERMIOS_SIZE, 0, _setter(Settings.with_termios, drain=True, flush=True)),
    numbers.TCSETS2: Ioctl(TERMIOS2_SIZE, 0, _setter(Settings.with_termios2)),
    numbers.TCSETSW2: Ioctl(TERMIOS2_SIZE, 0, _setter(Settings.with_termios2, drain=True)),
    numbers.TCSETSF2: Ioctl(TERMIOS2_SIZE, 0, _setter(Settings.with_termios2, drain=True, flush=True)),
    numbers.TCSETA: Ioctl(TERMIO_SIZE, 0, _setter(Settings.with_termio)),
    numbers.TCSETAW: Ioctl(TERMIO_SIZE, 0, _setter(Settings.with_termio, drain=True)),
    numbers.TCSETAF: Ioctl(TERMIO_SIZE, 0, _setter(Settings.with_termio, drain=True, flush=True)),
    numbers.TCSBRK: Ioctl(0, 0, _send_break),
    numbers.TCSBRKP: Ioctl(0, 0, _send_break_p),
    numbers.TIOCSBRK: Ioctl(0, 0, _set_break(on=True)),
    numbers.TIOCCBRK: Ioctl(0, 0, _set_break(on=False)),
    numbers.TCXONC: Ioctl(0, 0, _flow),
    numbers.TCFLSH: Ioctl(0, 0, _flush),
    numbers.TIOCEXCL: Ioctl(0, 0, _exclusive),
    numbers.TIOCNXCL: Ioctl(0, 0, _not_exclusive),
    numbers.TIOCGWINSZ: Ioctl(0, 8, lambda call: call.terminal.window_size),
    numbers.TIOCSWINSZ: Ioctl(8, 0, _keep_window_size),
    numbers.TIOCMSET: Ioctl(4, 0, _set_lines(lambda _before, lines: lines)),
    numbers.TIOCMBIS: Ioctl(4, 0, _set_lines(lambda before, lines: before | lines)),
    numbers.TIOCMBIC: Ioctl(4, 0, _set_lines(lambda before, lines: before & ~lines)),
    numbers.TIOCMIWAIT: Ioctl(0, 0, _wait_for_lines),
    numbers.TIOCGICOUNT: Ioctl(0, 80, lambda call: call.terminal.lines.counters()),
    numbers.TIOCSSOFTCAR: Ioctl(4, 0, _set_soft_carrier),
    numbers.TIOCSETD: Ioctl(4, 0, _set_discipline),
    numbers.TIOCGSERIAL: Ioctl(0, _SERIAL.size, _get_serial),
    numbers.TIOCSSERIAL: Ioctl(_SERIAL.size, 0, _set_serial),
    numbers.TIOCGRS485: Ioctl(0, _RS485.size, _rs485),
    numbers.TIOCSRS485: Ioctl(_RS485.size, _RS485.size, _rs485),
}

TABLE_32 = {
    **TABLE,
    numbers.TIOCGSERIAL: Ioctl(0, _SERIAL_32.size, _get_serial_32),
    numbers.TIOCSSERIAL: Ioctl(_SERIAL_32.size, 0, _set_serial_32),
}
"""For programs with pointers of 32 bits; all other structures are the same for them."""
