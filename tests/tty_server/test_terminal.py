"""One port's terminal without a kernel: its requests come from here, and its answers and messages are recorded."""

from __future__ import annotations

import errno
import struct
import termios
from dataclasses import dataclass, field

import pytest

from tty_server import input_queue
from tty_server import ioctl_numbers as numbers
from tty_server.drains import LONGEST_DRAIN
from tty_server.fuse_requests import OPEN_OUT, POLL_OUT, POLL_SCHEDULE_NOTIFY, WRITE_OUT
from tty_server.ioctls import INTEGERS, TABLE, TABLE_32, Call
from tty_server.messages import CD, CTS, DTR, NUMBER, RTS, Kind, Line
from tty_server.purges import LONGEST_PURGE
from tty_server.terminal import Terminal

_HEADER = struct.Struct("<QII")


@dataclass
class Recorder:
    """Stands for the kernel and for the relay: it keeps what they are told, and takes `room` bytes."""

    answers: dict[int, bytes | int] = field(default_factory=dict)
    """By request: the answer, or the error's number."""
    notified: list[int] = field(default_factory=list)
    told: list[tuple[Kind, bytes]] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    room: int = 1 << 30
    now: float = 100.0

    def answer(self, unique: int, body: bytes) -> None:
        assert unique not in self.answers, f"request {unique} is answered twice"
        self.answers[unique] = body

    def fail(self, unique: int, error: int) -> None:
        assert unique not in self.answers, f"request {unique} is answered twice"
        self.answers[unique] = error

    def notify(self, handle: int) -> None:
        self.notified.append(handle)

    def tell(self, kind: Kind, rest: bytes) -> None:
        self.told.append((kind, rest))

    def send(self, data: bytes) -> int:
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)


class Port:
    """A terminal with its recorder; each call is one request of the kernel."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.terminal = Terminal(self.recorder, self.recorder, lambda: self.recorder.now)
        self._unique = 0

    def _next(self) -> int:
        self._unique += 2
        return self._unique

    def try_to_open(self, *, nonblock: bool = False, privileged: bool = False) -> int:
        unique = self._next()
        self.terminal.open(unique, nonblock=nonblock, privileged=lambda: privileged)
        return unique

    def open(self, *, nonblock: bool = False, privileged: bool = False) -> int:
        unique = self.try_to_open(nonblock=nonblock, privileged=privileged)
        answer = self.recorder.answers[unique]
        return -answer if isinstance(answer, int) else int(OPEN_OUT.unpack(answer)[0])

    def read(self, handle: int, size: int = 100, *, nonblock: bool = False) -> int:
        unique = self._next()
        self.terminal.read(unique, self.terminal.handle(handle), size, nonblock=nonblock)
        return unique

    def write(self, handle: int, data: bytes, *, nonblock: bool = False) -> int:
        unique = self._next()
        self.terminal.write(unique, self.terminal.handle(handle), data, nonblock=nonblock)
        return unique

    def ioctl(self, command: int, argument: int = 0, data: bytes = b"") -> int:
        unique = self._next()
        given: bytes | None
        if command in INTEGERS:
            given = INTEGERS[command](self.terminal).to_bytes(4, "little")
        else:
            given = TABLE[command].act(Call(self.terminal, unique, argument, data))
        if given is not None:
            self.recorder.answer(unique, given)
        return unique

    def close(self, handle: int) -> None:
        self.terminal.release(self._next(), handle)

    def answer(self, unique: int) -> bytes | int | None:
        """The answer to a request, None while it waits."""
        return self.recorder.answers.get(unique)

    def pass_time(self, seconds: float) -> None:
        self.recorder.now += seconds
        if self.terminal.deadline is not None and self.terminal.deadline <= self.recorder.now:
            self.terminal.time_passed()

    def told(self, kind: Kind) -> list[bytes]:
        return [rest for what, rest in self.recorder.told if what is kind]

    def set_characters(self, minimum: int, tenths: int) -> None:
        characters = bytearray(self.terminal.settings.characters)
        characters[numbers.VMIN], characters[numbers.VTIME] = minimum, tenths
        self.terminal.set_settings(self.terminal.settings._replace(characters=bytes(characters)))


@pytest.fixture
def port() -> Port:
    return Port()


def test_the_first_open_raises_dtr_and_rts_and_the_last_close_drops_them(port: Port) -> None:
    one, other = port.open(), port.open()
    assert port.told(Kind.OUTPUTS) == [bytes([DTR | RTS])]
    port.close(one)
    assert port.told(Kind.OUTPUTS) == [bytes([DTR | RTS])]
    port.close(other)
    assert port.told(Kind.OUTPUTS)[-1] == b"\0"
    assert port.told(Kind.OPEN)[-1][0] == 0


def test_settings_are_read_back_to_the_bit_and_told_as_a_line(port: Port) -> None:
    port.open()
    b19200 = 0o000016  # the kernel's number, which is not the C library's from glibc 2.42 on
    cflag = b19200 | termios.CS7 | termios.PARENB | termios.CSTOPB | termios.CREAD
    wanted = struct.pack("<4I20s", 0, 0, cflag, 0, bytes([0]) + bytes(range(19)))
    assert port.answer(port.ioctl(numbers.TCSETS, data=wanted)) == b""
    assert port.answer(port.ioctl(numbers.TCGETS)) == wanted
    assert Line.unpack(port.told(Kind.LINE)[-1]) == Line(19200, 7, "even", 2, "none")


def test_a_read_waits_for_vmin_bytes(port: Port) -> None:
    handle = port.open()
    port.set_characters(3, 0)
    waiting = port.read(handle)
    port.terminal.device_data(b"ab")
    assert port.answer(waiting) is None
    port.terminal.device_data(b"c")
    assert port.answer(waiting) == b"abc"


def test_vtime_ends_a_read_between_two_bytes(port: Port) -> None:
    handle = port.open()
    port.set_characters(10, 2)
    waiting = port.read(handle)
    port.pass_time(60)
    assert port.answer(waiting) is None, "the timer begins with the first byte"
    port.terminal.device_data(b"a")
    port.pass_time(0.15)
    port.terminal.device_data(b"b")
    port.pass_time(0.15)
    assert port.answer(waiting) is None, "each byte begins the timer anew"
    port.pass_time(0.1)
    assert port.answer(waiting) == b"ab"


def test_vtime_alone_is_a_limit_for_the_whole_read(port: Port) -> None:
    handle = port.open()
    port.set_characters(0, 5)
    waiting = port.read(handle)
    port.pass_time(0.4)
    assert port.answer(waiting) is None
    port.pass_time(0.2)
    assert port.answer(waiting) == b""


def test_reads_are_answered_in_their_order(port: Port) -> None:
    handle = port.open()
    first, second = port.read(handle, 2), port.read(handle, 2)
    port.terminal.device_data(b"abc")
    assert (port.answer(first), port.answer(second)) == (b"ab", b"c")


def test_a_read_without_bytes_does_not_wait_if_it_may_not(port: Port) -> None:
    assert port.answer(port.read(port.open(), nonblock=True)) == errno.EAGAIN


def test_a_write_waits_for_room_and_loses_nothing(port: Port) -> None:
    handle = port.open()
    port.recorder.room = 10
    data = bytes(range(256)) * 20
    waiting = port.write(handle, data)
    assert port.answer(waiting) is None
    while port.answer(waiting) is None:
        port.recorder.room = 500
        port.terminal.progress()
    assert port.answer(waiting) == WRITE_OUT.pack(len(data), 0)
    port.recorder.room = 10_000
    port.terminal.progress()
    assert bytes(port.recorder.sent) == data


def test_a_signal_ends_a_write_with_what_was_taken(port: Port) -> None:
    handle = port.open()
    port.recorder.room = 100
    waiting = port.write(handle, bytes(10_000))
    port.terminal.interrupt(waiting)
    taken = 100 + 4096
    assert port.answer(waiting) == WRITE_OUT.pack(taken, 0)
    reading = port.read(handle)
    port.terminal.interrupt(reading)
    assert port.answer(reading) == errno.EINTR


def test_a_drain_waits_for_the_relays_word_and_not_for_ever(port: Port) -> None:
    handle = port.open()
    port.write(handle, b"abc")
    drained = port.ioctl(numbers.TCSBRK, 1)
    assert port.answer(drained) is None
    (number,) = (NUMBER.unpack(rest)[0] for rest in port.told(Kind.DRAIN))
    port.terminal.drained(number)
    assert port.answer(drained) is not None
    given_up = port.ioctl(numbers.TCSBRK, 1)
    port.pass_time(LONGEST_DRAIN + 1)
    assert port.answer(given_up) is not None


def test_a_break_of_fixed_length_begins_and_ends(port: Port) -> None:
    port.open()
    breaking = port.ioctl(numbers.TCSBRKP, 3)
    assert port.told(Kind.BREAK) == [], "what was written comes first"
    port.terminal.drained(1)
    assert port.told(Kind.BREAK) == [b"\1"]
    port.pass_time(0.35)
    assert port.told(Kind.BREAK) == [b"\1", b"\0"]
    assert port.answer(breaking) is not None


def test_a_flush_discards_what_was_received_and_what_is_on_its_way(port: Port) -> None:
    handle = port.open()
    port.terminal.device_data(b"stale")
    port.ioctl(numbers.TCFLSH, 0)
    port.terminal.device_data(b"on its way")
    port.terminal.purged(1)
    port.terminal.device_data(b"fresh")
    assert port.answer(port.read(handle)) == b"fresh"


def test_exclusive_use_ends_with_the_last_close(port: Port) -> None:
    handle = port.open()
    port.ioctl(numbers.TIOCEXCL)
    assert port.open() == -errno.EBUSY
    privileged = port.open(privileged=True)
    assert privileged > 0
    port.close(handle)
    port.close(privileged)
    assert port.open() > 0


def test_an_application_waits_for_a_modem_line(port: Port) -> None:
    port.open()
    waiting = port.ioctl(numbers.TIOCMIWAIT, numbers.TIOCM_CTS)
    assert port.answer(waiting) is None
    port.terminal.set_inputs(CTS)
    assert port.answer(waiting) is not None
    lines = port.answer(port.ioctl(numbers.TIOCMGET))
    assert isinstance(lines, bytes)
    assert struct.unpack("<i", lines)[0] & numbers.TIOCM_CTS


def test_a_lost_carrier_hangs_up_unless_clocal_is_set(port: Port) -> None:
    handle = port.open()
    waiting = port.read(handle)
    port.terminal.set_inputs(8)
    port.terminal.set_inputs(0)
    assert port.answer(waiting) is None, "CLOCAL is set at first"
    port.terminal.set_settings(
        port.terminal.settings._replace(cflag=port.terminal.settings.cflag & ~numbers.CLOCAL)
    )
    port.terminal.set_inputs(8)
    port.terminal.set_inputs(0)
    assert port.answer(waiting) == b""
    assert port.answer(port.write(handle, b"x")) == errno.EIO
    assert port.open(nonblock=True) > 0


def test_an_open_waits_for_the_carrier_unless_clocal_is_set_or_it_may_not(port: Port) -> None:
    first = port.open()
    settings = port.terminal.settings
    port.terminal.set_settings(settings._replace(cflag=settings.cflag & ~numbers.CLOCAL))
    waits, interrupted = port.try_to_open(), port.try_to_open()
    assert port.answer(waits) is port.answer(interrupted) is None
    assert port.open(nonblock=True) > 0
    port.terminal.interrupt(interrupted)
    assert port.answer(interrupted) == errno.EINTR
    port.terminal.set_inputs(CD)
    assert isinstance(port.answer(waits), bytes)
    port.terminal.set_inputs(0)  # which hangs up those that are open
    assert port.terminal.users == 0
    alone = port.try_to_open()
    assert port.told(Kind.OUTPUTS)[-1] == bytes([DTR | RTS]), "an open that waits raises them too"
    port.terminal.interrupt(alone)
    assert port.told(Kind.OUTPUTS)[-1] == bytes([0])
    again = port.try_to_open()
    port.terminal.set_settings(settings)
    assert isinstance(port.answer(again), bytes), "CLOCAL, set by another one, ends the wait"
    port.close(first)


def test_without_hupcl_the_lines_stay_raised_after_the_last_close(port: Port) -> None:
    handle = port.open()
    settings = port.terminal.settings
    port.terminal.set_settings(settings._replace(cflag=settings.cflag & ~numbers.HUPCL))
    port.close(handle)
    assert port.told(Kind.OUTPUTS) == [bytes([DTR | RTS])]


def test_the_last_close_makes_room_for_a_device_that_waits_before_it_takes_more(port: Port) -> None:
    handle = port.open()
    port.recorder.room = 0
    port.write(handle, b"unsent")
    port.terminal.device_data(bytes(8192))
    granted = len(port.told(Kind.GRANT))
    port.close(handle)
    assert len(port.told(Kind.GRANT)) > granted
    assert port.told(Kind.OPEN)[-1][0] == 1, "the bytes are still to be sent"
    port.recorder.room = 6
    port.terminal.progress()
    assert bytes(port.recorder.sent) == b"unsent"
    assert port.told(Kind.OPEN)[-1][0] == 0


def test_a_poll_is_woken_by_each_arrival(port: Port) -> None:
    handle = port.open()
    for number in range(3):
        unique = 1000 + number
        port.terminal.poll(unique, port.terminal.handle(handle), 7, POLL_SCHEDULE_NOTIFY, numbers.POLLIN)
        port.terminal.device_data(b"x")
    assert port.recorder.notified == [7, 7, 7]
    port.terminal.poll(2000, port.terminal.handle(handle), 7, 0, numbers.POLLIN)
    answer = port.answer(2000)
    assert isinstance(answer, bytes)
    assert POLL_OUT.unpack(answer)[0] & numbers.POLLIN


def test_a_hang_up_ends_everything_that_waits(port: Port) -> None:
    handle = port.open()
    port.recorder.room = 0
    reading, writing = port.read(handle), port.write(handle, bytes(10_000))
    draining, waiting = port.ioctl(numbers.TCSBRK, 1), port.ioctl(numbers.TIOCMIWAIT, numbers.TIOCM_CTS)
    port.terminal.hang_up()
    assert port.answer(reading) == b""
    assert [port.answer(one) for one in (writing, draining, waiting)] == [errno.EIO] * 3
    assert port.terminal.deadline is None


def test_lines_are_read_as_lines_in_canonical_mode(port: Port) -> None:
    handle = port.open()
    settings = port.terminal.settings
    port.terminal.set_settings(settings._replace(lflag=numbers.ICANON, iflag=numbers.ICRNL))
    waiting = port.read(handle)
    port.terminal.device_data(b"OK")
    assert port.answer(waiting) is None
    port.terminal.device_data(b"\rmore")
    assert port.answer(waiting) == b"OK\n"


def test_ends_of_file_that_nobody_reads_fill_nothing(port: Port) -> None:
    handle = port.open()
    port.terminal.set_settings(port.terminal.settings._replace(lflag=numbers.ICANON))
    for _ in range(10):
        port.terminal.device_data(b"\x04" * input_queue.SIZE)
    ends = 0
    while port.answer(port.read(handle, nonblock=True)) == b"":
        ends += 1
    assert ends == input_queue.SIZE
    port.terminal.device_data(b"line\n")
    assert port.answer(port.read(handle)) == b"line\n"


def test_settings_that_the_twin_demands_win_and_are_read_back_but_for_parity_and_data_bits(
    port: Port,
) -> None:
    port.open()
    port.terminal.force(Line(baud_rate=19200, data_bits=8, parity="even"))
    assert port.terminal.settings.wanted_line == Line(19200, 8, "even", 1, "none")
    assert port.told(Kind.LINE) == [], "no application has set anything"
    b9600 = 0o000015  # the kernel's number, which is not the C library's from glibc 2.42 on
    cflag = b9600 | termios.CS7 | termios.CREAD
    port.ioctl(numbers.TCSETS, data=struct.pack("<4I20s", 0, 0, cflag, 0, bytes(20)))
    assert Line.unpack(port.told(Kind.LINE)[-1]) == Line(19200, 7, "none", 1, "none")
    assert port.terminal.settings.output_speed == 19200
    assert port.terminal.settings.cflag & (termios.CSIZE | termios.PARENB) == termios.CS7


def test_a_line_is_told_each_time_that_an_application_sets_it(port: Port) -> None:
    port.open()
    assert port.told(Kind.LINE) == []
    same = port.answer(port.ioctl(numbers.TCGETS))
    assert isinstance(same, bytes)
    for _ in range(2):
        port.ioctl(numbers.TCSETS, data=same)
    assert port.told(Kind.LINE) == [Line(9600, 8, "none", 1, "none").pack()] * 2


def test_a_purge_without_an_answer_does_not_last_for_ever(port: Port) -> None:
    handle = port.open()
    port.ioctl(numbers.TCFLSH, 0)
    port.pass_time(LONGEST_PURGE - 1)
    port.terminal.device_data(b"on its way")
    port.pass_time(1.5)
    port.terminal.device_data(b"fresh")
    assert port.answer(port.read(handle)) == b"fresh"
    assert port.terminal.deadline is None


def test_threads_that_poll_one_open_file_for_different_events_are_all_woken(port: Port) -> None:
    handle = port.terminal.handle(port.open())
    for events in (numbers.POLLIN, numbers.POLLOUT):
        port.terminal.poll(port._next(), handle, 7, POLL_SCHEDULE_NOTIFY, events)
    port.terminal.device_data(b"a")
    assert port.recorder.notified == [7]


def test_an_open_file_that_is_closed_is_not_notified_any_more(port: Port) -> None:
    port.open()
    for kernel_handle in range(1000):
        handle = port.open()
        port.terminal.poll(
            port._next(),
            port.terminal.handle(handle),
            kernel_handle,
            POLL_SCHEDULE_NOTIFY,
            numbers.POLLIN,
        )
        port.close(handle)
    assert not port.terminal._polls
    port.terminal.device_data(b"a")
    assert port.recorder.notified == []


def test_a_hang_up_ends_the_opens_that_wait_for_the_carrier(port: Port) -> None:
    port.open(nonblock=True)
    settings = port.terminal.settings
    port.terminal.set_settings(settings._replace(cflag=settings.cflag & ~numbers.CLOCAL))
    waiting = port.try_to_open()
    assert port.answer(waiting) is None
    port.terminal.hang_up()
    assert port.answer(waiting) == errno.EIO
    assert port.terminal.users == 0


def test_a_program_with_pointers_of_32_bits_gets_the_structure_that_it_has_room_for(port: Port) -> None:
    assert [table[numbers.TIOCGSERIAL].gives for table in (TABLE, TABLE_32)] == [72, 60]
    port.open()
    call = Call(port.terminal, 0, 0, b"")
    given = TABLE_32[numbers.TIOCGSERIAL].act(call)
    assert given is not None
    assert len(given) == 60
    low_latency = 1 << 13
    changed = struct.pack("<4iI", 4, 0, 0, 0, low_latency) + given[20:]
    TABLE_32[numbers.TIOCSSERIAL].act(call._replace(data=changed))
    read = TABLE[numbers.TIOCGSERIAL].act(call)
    assert read is not None
    assert struct.unpack_from("<16xI", read) == (low_latency,)
