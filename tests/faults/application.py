"""A badly behaved application: `application.py MANNER PORT`. It runs until it is killed, if its manner does not end.

It prints a line when it has done its worst.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import time
from contextlib import suppress


def exclusive(port: int) -> None:
    """Forbid others to open the port, as .NET, screen and libserialport do."""
    fcntl.ioctl(port, termios.TIOCEXCL)


def stopped_output(port: int) -> None:
    """Stop the output, and leave bytes behind it."""
    termios.tcflow(port, termios.TCOOFF)
    os.set_blocking(port, False)
    with suppress(BlockingIOError):
        os.write(port, bytes(100))


def a_terminals_settings(port: int) -> None:
    """Leave the port as a terminal for people, but for the echo: lines, software flow control, translations."""
    attributes = termios.tcgetattr(port)
    attributes[0] |= termios.ICRNL | termios.IXON | termios.IXOFF | termios.ISTRIP
    attributes[1] |= termios.OPOST | termios.ONLCR
    attributes[3] |= termios.ICANON | termios.ISIG
    termios.tcsetattr(port, termios.TCSANOW, attributes)


def writing(port: int) -> None:
    """Write zeros until killed."""
    print("ready", flush=True)
    while True:
        os.write(port, bytes(4096))


def never_reading(port: int) -> None:
    """Have the port open, and leave all that comes."""


def open_and_close(port: int) -> None:
    """Open and close the port 200 times."""
    path = os.ttyname(port)
    os.close(port)
    for _ in range(200):
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))


MANNERS = (
    exclusive,
    stopped_output,
    a_terminals_settings,
    writing,
    never_reading,
    open_and_close,
)


def main() -> None:
    """Open the port and misbehave."""
    manner = {manner.__name__: manner for manner in MANNERS}[sys.argv[1]]
    manner(os.open(sys.argv[2], os.O_RDWR | os.O_NOCTTY))
    print("ready", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
