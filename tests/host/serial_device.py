"""A serial device on a pty, which can be unplugged and plugged in again under the same name (POSIX)."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.host.running import PATIENCE

CHUNK = 4096


class SerialDevice:
    """The device's end is `descriptor`; the port that a server opens is named `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = -1
        self.plug_in()

    @property
    def name(self) -> str:
        return str(self.path)

    def plug_in(self, prepare: Callable[[str], None] = lambda _: None) -> None:
        """Appear, as another terminal than before; `prepare` is called with its name before a server can find it."""
        assert sys.platform != "win32"
        import tty  # not on Windows, where this module is imported all the same

        self.descriptor, port = os.openpty()
        tty.setraw(port)
        prepare(os.ttyname(port))
        self.path.symlink_to(os.ttyname(port))
        # Held open, so that the device side sees no hang-up while no server has the port.
        self._port = port
        os.set_blocking(self.descriptor, False)

    def unplug(self) -> None:
        """Vanish with a hang-up, as a USB adapter does."""
        if self.descriptor >= 0:
            self.path.unlink()
            os.close(self._port)
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def stop(self) -> None:
        """Take nothing more from the port, as a device that stops the line."""
        assert sys.platform != "win32"
        import termios

        termios.tcflow(self._port, termios.TCOOFF)

    def go_on(self) -> None:
        """Take bytes again after `stop`."""
        assert sys.platform != "win32"
        import termios

        termios.tcflow(self._port, termios.TCOON)

    def send(self, data: bytes) -> None:
        """Write all of `data`, as fast as it is taken."""
        view = memoryview(data)
        while view:
            _, writable, _ = select.select([], [self.descriptor], [], PATIENCE)
            assert writable, f"{len(view)} of {len(data)} bytes are not taken"
            view = view[os.write(self.descriptor, view[:CHUNK]) :]

    def receive(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        data = bytearray()
        while len(data) < count:
            readable, _, _ = select.select([self.descriptor], [], [], PATIENCE)
            assert readable, f"only {len(data)} of {count} bytes came"
            data += os.read(self.descriptor, min(CHUNK, count - len(data)))
        return bytes(data)

    def receive_until(self, end: bytes) -> bytes:
        """Return what comes, up to `end`, after which nothing more may have come."""
        data = b""
        while not data.endswith(end):
            readable, _, _ = select.select([self.descriptor], [], [], PATIENCE)
            assert readable, f"no {end!r} came, but {len(data)} bytes"
            data += os.read(self.descriptor, CHUNK)
        return data

    def sending(self, data: bytes) -> threading.Thread:
        """Write `data` from another thread, which is returned running."""
        thread = threading.Thread(target=self.send, args=(data,), daemon=True)
        thread.start()
        return thread
