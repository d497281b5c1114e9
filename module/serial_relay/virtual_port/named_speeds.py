"""A pty's settings by `tcgetattr` and `tcsetattr`, for a kernel without TCGETS2 and TCSETS2.

User-mode emulation is such a kernel: QEMU 7.2 answers these two with ENOSYS, as its table of ioctls (linux-user/ioctls.h)
lacks them. A baud rate without a `B` constant cannot be said here, and is taken for the next lower one that has one.
"""

from __future__ import annotations

import re
import termios
from typing import Any

_SPEEDS: dict[int, int] = {
    getattr(termios, name): int(name.removeprefix("B"))
    for name in dir(termios)
    if re.fullmatch(r"B\d+", name)
}
"""`B` constant -> bits per second."""

_SPEED_BITS = 0o010017  # CBAUD
_INPUT_SPEED_BITS = 0o002003600000
"""CIBAUD: glibc fills it in from 2.42 on, and a pty has one speed for both directions."""
CHARACTERS = 19
"""Control characters that the kernel keeps (NCCS in include/uapi/asm-generic/termbits.h); the C library has room for
32."""

Settings = tuple[int, int, int, int, int, bytes, int, int]
"""The fields of `struct termios2` in their order."""


def read(descriptor: int) -> Settings:
    """Return the settings, with speeds in bits per second.

    Raises:
        OSError: the descriptor does not belong to a terminal.
    """
    iflag, oflag, cflag, lflag, input_speed, output_speed, characters = _attributes(descriptor)
    kept = bytes(one if isinstance(one, int) else one[0] for one in characters[:CHARACTERS])
    cflag &= ~_INPUT_SPEED_BITS
    return iflag, oflag, cflag, lflag, 0, kept, _SPEEDS.get(input_speed, 0), _SPEEDS.get(output_speed, 0)


def write(descriptor: int, settings: Settings) -> None:
    """Set the settings at once.

    Raises:
        OSError: the descriptor does not belong to a terminal, or none of the settings could be made.
    """
    iflag, oflag, cflag, lflag, _, characters, input_speed, output_speed = settings
    room = len(_attributes(descriptor)[6])
    padded: list[bytes | int] = [bytes([one]) for one in characters.ljust(room, b"\0")]
    attributes: list[int | list[bytes | int]] = [
        *(iflag, oflag, cflag & ~(_SPEED_BITS | _INPUT_SPEED_BITS), lflag),
        *(_named(input_speed), _named(output_speed)),
        padded,
    ]
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    except termios.error as error:  # which is no OSError
        raise OSError(*error.args) from error


def _attributes(descriptor: int) -> list[Any]:
    try:
        return termios.tcgetattr(descriptor)
    except termios.error as error:
        raise OSError(*error.args) from error


def _named(speed: int) -> int:
    """Return the `B` constant of a speed, or of the next lower one that has one."""
    return max((known, constant) for constant, known in _SPEEDS.items() if known <= speed)[1]
