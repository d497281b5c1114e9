"""Opens and closes one COM port within a time, however long its driver takes.

A call of the driver that does not return is given up with a message: it stays in its thread, and the port is tried
again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from serial_host.com_port.port import ComPort, ComPortError, ComPortEvents, OpenComPort
from serial_host.plumbing.text import described

OPEN_SECONDS = 10.0
"""The time that opening a port may take; slow drivers of Bluetooth and network adapters need 6 s."""

CLOSE_SECONDS = 5.0
"""The time that closing a port may take."""

MOST_GIVEN_UP = 4
"""Limit of the calls of one port's driver that have not returned; beyond it no further call is made, because each of
them keeps a thread."""


class _Events:
    """The events of an attempt to open a port: they reach the server until the attempt is given up."""

    def __init__(self, events: ComPortEvents) -> None:
        self.data_received: Callable[[bytes], None] = events.data_received
        self.pause_writing: Callable[[], None] = events.pause_writing
        self.resume_writing: Callable[[], None] = events.resume_writing
        self.port_lost: Callable[[ComPortError], None] = events.port_lost
        self._discarded_late = events.discarded_late

    def discarded_late(self, *, received: int = 0, unsent: int = 0) -> None:
        """See `ComPortEvents`; the bytes are counted even after `mute`."""
        self._discarded_late(received=received, unsent=unsent)

    def mute(self) -> None:
        """Report nothing any more."""
        self.data_received = lambda _: None
        self.port_lost = lambda _: None
        self.pause_writing = self.resume_writing = lambda: None


class Opening:
    """Opens the port called `name`, again and again; `given_up` counts the driver's calls that do not return."""

    def __init__(self, name: str, open_port: OpenComPort) -> None:
        self._name = name
        self._open_port = open_port
        self._events: _Events | None = None
        self._given_up: set[asyncio.Future[Any]] = set()

    @property
    def given_up(self) -> int:
        """How many calls of the driver have not returned although they were given up."""
        return len(self._given_up)

    async def open(self, events: ComPortEvents) -> ComPort:
        """Open the port.

        Raises:
            ComPortError: the port cannot be opened now. This also replaces any other exception of a driver, pyserial or
                the system.
        """
        if self.given_up >= MOST_GIVEN_UP:
            raise ComPortError(
                f"{self._name}: {self.given_up} calls of the driver have not returned; unplug the adapter, or restart "
                "the computer"
            )
        attempt = _Events(events)
        task = asyncio.ensure_future(self._open_port(attempt))
        try:
            done, _ = await asyncio.wait({task}, timeout=OPEN_SECONDS)
        except asyncio.CancelledError:
            attempt.mute()
            task.cancel()
            raise
        if not done:
            attempt.mute()
            self._give_up(task)
            task.add_done_callback(self._close_late)
            raise ComPortError(
                f"{self._name}: the driver has not opened the port for {OPEN_SECONDS:g} s; it is tried again"
            )
        try:
            port = task.result()
        except ComPortError as error:
            if self.given_up:
                raise ComPortError(f"{error} (an earlier call of the driver has not returned yet)") from error
            raise
        except Exception as error:
            raise ComPortError(f"{self._name} cannot be opened: {described(error)}") from error
        self._events = attempt
        return port

    async def close(self, port: ComPort) -> bool:
        """Close the port, and return whether the driver did it in time. Never raises."""
        if self._events is not None:
            self._events.mute()
        task = asyncio.ensure_future(_closed(port))
        done, _ = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
        if not done:
            self._give_up(task)
        return bool(done)

    def stop(self) -> None:
        """Stop waiting for calls that were given up."""
        for task in self._given_up:
            task.cancel()

    def _give_up(self, task: asyncio.Future[Any]) -> None:
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)

    def _close_late(self, task: asyncio.Future[ComPort]) -> None:
        """Close a port that was opened after nobody waited for it any more."""
        if not task.cancelled() and task.exception() is None:
            self._give_up(asyncio.ensure_future(_closed(task.result())))


async def _closed(port: ComPort) -> None:
    with contextlib.suppress(Exception):  # a port that cannot be closed is gone nevertheless
        await port.close()
