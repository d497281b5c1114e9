"""Serial lines with an application at one end and a device at the other, which send each other records all the time.

For: what is on a line while faults happen, and what became of it. Not for: the programs between the two ends; `stage`
runs them.
"""

from __future__ import annotations

import os
import termios
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.records import Receiver, Sender
from tests.system.processes import PATIENCE, wait_for
from tests.system.serial_lines import Device

TICK = 0.01
"""Seconds between two looks at all lines."""

RECORDS_A_SECOND = 40
"""That each end sends."""

PROBE_SECONDS = 1.0
"""Seconds after which a record that did not arrive counts as lost, and another is sent."""

READ_SIZE = 65536


class End:
    """One end of a line. Its descriptor is None while it is unplugged, or not open."""

    def __init__(self, sends: int, receives: int, open_: Callable[[], int | None]) -> None:
        """Send and receive the streams of these letters; `open_` returns a descriptor if there is one to be had."""
        self.sender = Sender(sends)
        self.receiver = Receiver(receives)
        self.wanted = True
        """Have the descriptor open whenever it can be had."""
        self.reads = True
        self.burst = 0
        """Records to send at once, beside those that are due."""
        self.descriptor: int | None = None
        self._open = open_
        self._owed = 0.0
        self._probed_at = 0.0

    def look(self, seconds: float, *, flowing: bool) -> None:
        """Read and write what can be at once; `seconds` have passed since the last look."""
        if self.descriptor is None and self.wanted:
            self.descriptor = self._open()
        if self.descriptor is None:
            return
        if flowing:
            self._owed = min(self._owed + seconds * RECORDS_A_SECOND, RECORDS_A_SECOND)
        if not self.sender.waiting:
            due = int(self._owed)
            self._owed -= due
            self.sender.begin(due + self.burst)
            self.burst = 0
        try:
            if self.reads:
                self._read(self.descriptor)
            if self.sender.waiting:
                self.sender.taken(os.write(self.descriptor, self.sender.waiting))
        except BlockingIOError:
            pass
        except OSError:  # the other side of this pty has gone
            self.close()

    def _read(self, descriptor: int) -> None:
        with suppress(BlockingIOError):
            data = os.read(descriptor, READ_SIZE)
            if not data:
                raise OSError("the end of the stream")
            self.receiver.feed(data)

    def probe(self, arrived: int) -> bool:
        """Return whether all that was sent is delivered or lost, given the highest number that arrived."""
        if self.sender.waiting or self.burst:
            return False
        if arrived == self.sender.number and self._probed_at:
            return True
        now = time.monotonic()
        if now - self._probed_at > PROBE_SECONDS:
            self._probed_at = now
            self.burst = 1
        return False

    def begin_probing(self) -> None:
        """Let the next `probe` send a record."""
        self._probed_at = 0.0

    def close(self) -> None:
        """Close the descriptor, after a last look at what can be read."""
        if self.descriptor is not None:
            if self.reads:
                with suppress(OSError):
                    self._read(self.descriptor)
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = None


def _make_raw(descriptor: int) -> None:
    """Set a port as serial libraries do, because the settings of the application before may have lasted."""
    _, _, _, _, input_speed, output_speed, characters = termios.tcgetattr(descriptor)
    cflag = termios.CS8 | termios.CREAD | termios.CLOCAL
    attributes = [0, 0, cflag, 0, input_speed, output_speed, characters]
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


class Line:
    """One port: `path` is the device's path for the host, which leads to another pty each time it is plugged in."""

    def __init__(self, name: str, protocol: str, directory: Path, letters: tuple[int, int]) -> None:
        self.name = name
        self.protocol = protocol
        self.path = directory / f"com-{name}"
        self.link = directory / "relay/dev" / name
        """Of the module, for the application."""
        self._device: Device | None = None
        to_device, from_device = letters
        self.application = End(to_device, from_device, self._open_application)
        self.device = End(from_device, to_device, self._open_device)
        self.plug()

    def _open_application(self) -> int | None:
        try:
            descriptor = os.open(self.link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:  # the module does not run
            return None
        try:
            _make_raw(descriptor)
        except termios.error:  # the module has just ended
            os.close(descriptor)
            return None
        return descriptor

    def _open_device(self) -> int | None:
        if self._device is None:
            return None
        descriptor = os.dup(self._device.descriptor)
        os.set_blocking(descriptor, False)
        return descriptor

    def plug(self) -> None:
        """Make a new device behind the same path."""
        self._device = Device()
        new = self.path.with_suffix(".new")
        new.symlink_to(self._device.path)
        new.replace(self.path)

    def unplug(self) -> None:
        """Take the device away, with a hang-up for whoever has its port open."""
        device, self._device = self._device, None
        self.device.close()
        self.path.unlink(missing_ok=True)
        if device is not None:
            device.close()

    @property
    def ends(self) -> tuple[End, End]:
        """The application's and the device's."""
        return self.application, self.device

    def settled(self) -> bool:
        """Return whether both ways are empty, as the newest record of each has arrived; probe them if not."""
        there = self.application.probe(self.device.receiver.last)
        back = self.device.probe(self.application.receiver.last)
        return there and back

    def close(self) -> None:
        """Close both ends."""
        self.application.wanted = False
        self.application.close()
        self.unplug()


class Traffic:
    """Looks after all lines in a thread of its own; `lock` is held while it does."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.lock = threading.Lock()
        self._flowing = True
        self._probing = False
        self._settled = False
        self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def _run(self) -> None:
        before = time.monotonic()
        try:
            while not self._ended:
                time.sleep(TICK)
                now = time.monotonic()
                with self.lock:
                    self._look(now - before)
                before = now
        except BaseException as error:  # noqa: BLE001  # raised where the traffic is waited for
            self._failure = error

    def _look(self, seconds: float) -> None:
        for line in self.lines:
            for end in line.ends:
                end.look(seconds, flowing=self._flowing)
        if self._probing:
            settled = [line.settled() for line in self.lines]  # each is probed
            self._settled = all(settled)

    def settle(self, timeout: float = 2 * PATIENCE) -> None:
        """Send nothing more, and wait until every byte is delivered or lost. `flow()` lets the traffic go on.

        Raises:
            AssertionError: a line does not carry bytes both ways.
        """
        with self.lock:
            self._flowing, self._settled, self._probing = False, False, True
            for line in self.lines:
                for end in line.ends:
                    end.begin_probing()
        try:
            wait_for(lambda: self._settled or self._failure, "the lines to carry bytes both ways", timeout)
        except AssertionError as error:
            silent = [
                f"{line.name} {way}"
                for line in self.lines
                for way, end, other in (
                    ("to the device", line.application, line.device),
                    ("from the device", line.device, line.application),
                )
                if other.receiver.last != end.sender.number
            ]
            raise AssertionError(f"{error}; silent: {', '.join(silent)}") from None
        finally:
            with self.lock:
                self._probing = False
        if self._failure is not None:
            raise self._failure

    def flow(self) -> None:
        """Let all ends send."""
        with self.lock:
            self._flowing = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if self._thread.ident is not None:
            self._thread.join()
