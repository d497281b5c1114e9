"""The two ends of a serial line in a test: the device behind the host's port, and reads with a deadline.

For: standing in for hardware with a pty, whose slave is the port that the host opens. Not for: the application's
side, where the tests use pyserial as applications do.
"""

from __future__ import annotations

import fcntl
import os
import select
import termios
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.system.processes import PATIENCE

CHUNK = 16384


def read_exactly(descriptor: int, count: int, timeout: float = PATIENCE) -> bytes:
    """Read `count` bytes.

    Raises:
        AssertionError: they did not come within `timeout` seconds, or the end of the stream came before.
    """
    deadline = time.monotonic() + timeout
    data = bytearray()
    while len(data) < count:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise AssertionError(f"{len(data)} of {count} bytes within {timeout:g} s: {bytes(data[:64])!r}")
        chunk = os.read(descriptor, min(CHUNK, count - len(data)))
        if not chunk:
            raise AssertionError(f"the stream ended after {len(data)} of {count} bytes")
        data += chunk
    return bytes(data)


def write_all(descriptor: int, data: bytes, timeout: float = PATIENCE) -> None:
    """Write all of `data`, as fast as the other side takes it.

    Raises:
        AssertionError: nothing was taken for `timeout` seconds.
    """
    view = memoryview(data)
    while view:
        _, writable, _ = select.select([], [descriptor], [], timeout)
        if not writable:
            raise AssertionError(f"{len(view)} of {len(data)} bytes were not taken within {timeout:g} s")
        view = view[os.write(descriptor, view[:CHUNK]) :]


def pending(descriptor: int) -> int:
    """Return the number of bytes that can be read at once (FIONREAD)."""
    answer = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
    return int.from_bytes(answer, "little")


class Device:
    """A serial device: `path` is the port it is plugged into, `descriptor` the device's own end of the cable.

    The port stays usable while nobody has it open, as a real one does, because the device holds it open too.
    """

    def __init__(self) -> None:
        self.descriptor, self._port = os.openpty()
        tty.setraw(self._port)
        self.path = Path(os.ttyname(self._port))
        self._echo: threading.Thread | None = None
        self._stop_reader, self._stop_writer = os.pipe()

    def read(self, count: int, timeout: float = PATIENCE) -> bytes:
        return read_exactly(self.descriptor, count, timeout)

    def write(self, data: bytes, timeout: float = PATIENCE) -> None:
        write_all(self.descriptor, data, timeout)

    @property
    def speed(self) -> int:
        """The termios speed code (`termios.B9600`, …) that the port is set to."""
        return int(termios.tcgetattr(self.descriptor)[4])

    def echo(self) -> None:
        """From now on send back whatever comes in."""
        self._echo = threading.Thread(target=self._echo_until_closed, daemon=True)
        self._echo.start()

    def _echo_until_closed(self) -> None:
        while True:
            readable, _, _ = select.select([self.descriptor, self._stop_reader], [], [])
            if self._stop_reader in readable:
                return
            with suppress(OSError):
                os.write(self.descriptor, os.read(self.descriptor, CHUNK))

    def close(self) -> None:
        """Unplug the device: whoever has its port open gets a hang-up."""
        os.close(self._stop_writer)
        if self._echo is not None:
            self._echo.join()
        os.close(self._stop_reader)
        os.close(self.descriptor)
        os.close(self._port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
