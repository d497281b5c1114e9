"""Writes a port's status: its state, its last error and its log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from serial_monitor.taps import Tap
from serial_relay.remote.connection import Losses, RemoteError
from serial_relay.status import ErrorCode, PortError, PortStatus, State, VirtualPortKind

log = logging.getLogger(__name__)


class Record:
    """The status of one port, for the relay that writes it."""

    def __init__(self, tap: Tap, link: str, on_change: Callable[[], None]) -> None:
        """Call `on_change` when something in `status` is worth reporting; `tap` is told the same."""
        self._name = tap.name
        self._tap = tap
        self.on_change = on_change
        self.status = PortStatus(State.CONNECTING, time.time(), link)
        self._link_error: str | None = None

    def failed(self, error: RemoteError) -> None:
        """Record why the port retries; of several failures of one kind in a row the first keeps its words and time."""
        last = self.status.last_error
        if self.status.state is not State.RETRYING or last is None or last.code is not error.code:
            self.status.last_error = PortError(error.code, str(error), time.time())
            log.warning("port %s: %s: %s", self._name, error.code, error)
            self._tap.event("error", str(error))
            self.on_change()
        self.set_state(State.RETRYING)

    def link_failed(self, error: RemoteError, link: str) -> None:
        """Record that another link cannot be had, while the port goes on with `link`, the one that it has.

        If it has none any more, `link` is the one that it is to have.

        This is logged once, and once more when a connection's error has taken its place and is over.
        """
        text, last = str(error), self.status.last_error
        is_new = text != self._link_error
        overwritten = last is None or last.code is not error.code
        self._link_error = text
        if is_new:
            log.warning("port %s: %s: %s; the port goes on", self._name, error.code, text)
        if self.status.link != link:
            self.status.link = link
            self.on_change()
        if is_new or (overwritten and self.status.state is State.CONNECTED):
            self.status.last_error = PortError(error.code, text, time.time())
            self.on_change()

    def made(self, kind: VirtualPortKind | None, reason: str | None = None) -> None:
        """Record which kind of virtual port there is, None while there is none; `reason` says why it is no better one."""
        if (self.status.kind, self.status.kind_reason) == (kind, reason):
            return
        if reason is not None and reason != self.status.kind_reason:
            log.info("port %s: a %s: %s", self._name, kind, reason)
        self.status.kind, self.status.kind_reason = kind, reason
        self.on_change()

    def port_lost(self, reason: str) -> None:
        """Record that the virtual port is gone, which is made again."""
        what = f"{reason}; the port is made again, and applications that had it open must open it again"
        log.warning("port %s: %s", self._name, what)
        self._tap.event("error", what)
        self.status.last_error = PortError(ErrorCode.LINK, what, time.time())
        self.set_state(State.CONNECTING)
        self.on_change()

    def link_placed(self, link: str) -> None:
        """Record that the port has this link."""
        self._link_error = None
        self.status.link = link
        self.on_change()

    def link_removed(self) -> None:
        """Record that somebody removed the link, which is placed again."""
        log.warning("port %s: somebody removed %s; it is made again", self._name, self.status.link)

    def set_state(self, state: State) -> None:
        """Record a change of state."""
        if self.status.state is state:
            return
        self.status.state = state
        self.status.since = time.time()
        if state is not State.RETRYING:  # the log line with the reason stands for it
            to = f" to {self.status.remote_address}" if state is State.CONNECTED else ""
            log.info("port %s: %s%s", self._name, state, to)
            self._tap.event("state", f"{state}{to}")
        self.on_change()

    def connected(self, address: str) -> None:
        """Record a connection that can be used."""
        self.status.remote_address = address
        self.status.connects += 1
        self.set_state(State.CONNECTED)

    def telnet_seen(self) -> None:
        """Record that the server of a raw connection begins with telnet negotiation."""
        self.status.telnet_seen = True
        log.warning(
            "port %s: the server begins with telnet negotiation: if it is an RFC 2217 server, set `protocol` to `rfc2217`",
            self._name,
        )

    def disconnected(self, losses: Losses) -> None:
        """Record the end of a connection or attempt, with the bytes that are lost with it."""
        self.status.discarded.disconnected += losses.to_device
        self.status.discarded.undelivered += losses.from_device
        if losses.to_device or losses.from_device:
            self._tap.event(
                "discarded",
                f"with the connection {losses.to_device} bytes to the device and {losses.from_device} from it were lost",
            )
        self.status.bytes_from_device += losses.from_device
        self.status.remote_address = None
        self.status.telnet_seen = False
        self.status.line = self.status.modem = self.status.round_trip_seconds = None
