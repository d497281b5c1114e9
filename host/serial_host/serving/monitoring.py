"""Lets `serial_host monitor` watch the ports: the bytes that pass, and the state of the lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing

from serial_host.com_port.port import ComPort
from serial_host.config import is_called
from serial_host.line import LineErrors, ModemLines
from serial_host.plumbing.text import printable
from serial_host.status import PortStatus
from serial_monitor.records import Record
from serial_monitor.taps import Tap, Taps
from serial_monitor.watchers import Watchers, WatchRefusedError

LOOK_SECONDS = 0.1
"""The time between two looks at modem lines and error counts, while somebody watches."""


class LineLook:
    """Reports changes of a port's line settings, modem lines and error counts to its tap."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._line = ""
        self._modem: ModemLines | None = None
        self._errors = LineErrors()

    def opened(self, port: ComPort) -> None:
        """Start again with a port that was just opened."""
        self._line, self._modem, self._errors = str(port.line), None, LineErrors()
        self._tap.event("line", self._line)

    def look(self, port: ComPort, *, anew: bool) -> None:
        """Look at an open port; with `anew`, report the modem lines also if they have not changed.

        It never raises, because a port that is about to be lost says so itself.
        """
        try:
            line, modem, errors = str(port.line), port.modem_lines(), port.line_errors()
        except Exception:  # noqa: BLE001  # whatever a driver raises
            return
        if line != self._line:
            self._line = line
            self._tap.event("line", line)
        if anew or modem != self._modem:
            self._modem = modem
            self._tap.event("modem", str(modem))
        if errors != self._errors:
            before, self._errors = self._errors, errors
            self._tap.event("lineErrors", _explained(errors, before))


def _explained(errors: LineErrors, before: LineErrors) -> str:
    parts = []
    if new := (errors.framing - before.framing) + (errors.parity - before.parity):
        parts.append(
            f"{new} characters with a framing or parity error: this looks like a wrong line setting, compare baud rate,"
            " parity and stop bits with those of the device"
        )
    if new := errors.overrun - before.overrun:
        parts.append(f"{new} overruns: the device sent bytes faster than they were read")
    if new := errors.breaks - before.breaks:
        parts.append(f"{new} breaks from the device")
    return "; ".join(parts) or "the driver's error counts started again from 0"


class Monitoring:
    """Sends what passes the ports to those who ask for it over the control channel."""

    def __init__(
        self, taps: Taps, statuses: Callable[[], Sequence[PortStatus]], look: Callable[[bool], None]
    ) -> None:
        """`look` lets each port look at its line; its argument is True when somebody has just begun to watch."""
        self._watchers = Watchers(taps)
        self._statuses = statuses
        self._look = look

    async def watch(self, name: object) -> AsyncGenerator[bytes, None]:
        """Yield lines for as long as they are wanted, beginning with the state of the ports; None shows all ports.

        Raises:
            WatchRefusedError: there is no such port, or there are too many watchers.
        """
        statuses = self._statuses()
        port = None if name is None else _meant(str(name), statuses)
        first = [record for status in statuses if port in (None, status.name) for record in _standing(status)]
        looking = asyncio.create_task(self._keep_looking(), name="look at lines")
        try:
            async with aclosing(self._watchers.watch(port, first)) as batches:
                async for lines in batches:
                    yield lines
        finally:
            looking.cancel()

    async def _keep_looking(self) -> None:
        anew = True
        while True:
            self._look(anew)
            anew = False
            await asyncio.sleep(LOOK_SECONDS)


def _meant(asked: str, statuses: Sequence[PortStatus]) -> str:
    """Return the name of the port that somebody asks for by its name, its COM port or its TCP port."""
    for status in statuses:
        if is_called(asked, status.name, status.device, status.tcp_port):
            return status.name
    names = ", ".join(status.name for status in statuses)
    raise WatchRefusedError(f"there is no port {printable(asked, 40)}; there are {names or 'none'}")


def _standing(status: PortStatus) -> Iterator[Record]:
    """Return the state of a port as events, with the time at which that state began."""
    device = f" as {status.device}" if status.device not in {None, status.name} else ""
    yield Record(status.since, status.name, "state", text=f"{status.state}{device}")
    if status.line is not None:
        yield Record(status.since, status.name, "line", text=status.line)
    if status.client is not None and status.client_since is not None:
        yield Record(status.client_since, status.name, "opened", text=f"client {status.client} is connected")
    if status.last_error is not None and status.last_error_at is not None and status.device is None:
        yield Record(status.last_error_at, status.name, "error", text=status.last_error)
