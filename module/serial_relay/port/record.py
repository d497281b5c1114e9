"""Writes a port's status: its state, its last error and its log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from serial_relay.remote.connection import Losses, RemoteError
from serial_relay.status import PortError, PortStatus, State

log = logging.getLogger(__name__)


class Record:
    """The status of one port, for the relay that writes it."""

    def __init__(self, name: str, link: str, on_change: Callable[[], None]) -> None:
        """Call `on_change` when something in `status` is worth reporting."""
        self._name = name
        self.on_change = on_change
        self.status = PortStatus(State.CONNECTING, time.time(), link)

    def failed(self, error: RemoteError) -> None:
        """Record why the port retries; of several failures of one kind in a row the first keeps its words and time."""
        last = self.status.last_error
        if self.status.state is not State.RETRYING or last is None or last.code is not error.code:
            self.status.last_error = PortError(error.code, str(error), time.time())
            log.warning("port %s: %s: %s", self._name, error.code, error)
            self.on_change()
        self.set_state(State.RETRYING)

    def set_state(self, state: State) -> None:
        """Record a change of state."""
        if self.status.state is state:
            return
        self.status.state = state
        self.status.since = time.time()
        if state is not State.RETRYING:  # its log line is the one that gives the reason
            to = f" to {self.status.remote_address}" if state is State.CONNECTED else ""
            log.info("port %s: %s%s", self._name, state, to)
        self.on_change()

    def connected(self, address: str) -> None:
        """Record a connection that can be used."""
        self.status.remote_address = address
        self.status.connects += 1
        self.set_state(State.CONNECTED)

    def disconnected(self, losses: Losses) -> None:
        """Record the end of a connection or attempt, with the bytes that are lost with it."""
        self.status.discarded.disconnected += losses.to_device
        self.status.discarded.undelivered += losses.from_device
        self.status.bytes_from_device += losses.from_device
        self.status.remote_address = None
        self.status.line = self.status.modem = self.status.round_trip_seconds = None
