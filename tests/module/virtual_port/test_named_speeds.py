"""The settings of a real pty, without the two ioctls that user-mode emulation lacks, are the same as with them."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from collections.abc import Iterator
from typing import Any

import pytest

from serial_relay.virtual_port import named_speeds
from serial_relay.virtual_port.termios_map import EXTPROC, Termios, read_termios, unused, write_termios


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    yield master, slave
    os.close(slave)
    os.close(master)


def lack_termios2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TCGETS2 and TCSETS2 fail as QEMU 7.2 lets them fail, where the kernel has them."""
    real = fcntl.ioctl

    def ioctl(descriptor: int, request: int, *arguments: Any) -> Any:
        if request in (0x802C542A, 0x402C542B):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return real(descriptor, request, *arguments)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


@pytest.mark.parametrize("speed", [termios.B300, termios.B9600, termios.B115200, termios.B4000000])
def test_what_an_application_set_is_read_the_same(
    speed: int, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = pair
    attributes = termios.tcgetattr(slave)
    attributes[2] |= termios.CSTOPB | termios.CRTSCTS
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    expected = read_termios(master)
    lack_termios2(monkeypatch)
    assert read_termios(master) == expected


def test_what_is_set_can_be_read_the_same_with_either(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, _ = pair
    wanted = unused(None)
    with monkeypatch.context() as context:
        lack_termios2(context)
        write_termios(master, wanted)
        assert read_termios(master) == wanted
    assert read_termios(master) == wanted
    assert wanted.lflag & EXTPROC


def test_a_speed_without_a_name_is_taken_for_the_next_lower_one(pair: tuple[int, int]) -> None:
    master, _ = pair
    named_speeds.write(master, unused(None)._replace(input_speed=12_345, output_speed=12_345))
    assert Termios(*named_speeds.read(master)).output_speed == 9600


@pytest.mark.parametrize("lacking", [False, True])
def test_another_error_is_not_hidden(lacking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacking:
        lack_termios2(monkeypatch)
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            read_termios(reading)
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            write_termios(writing, unused(None))
    finally:
        os.close(reading)
        os.close(writing)
