"""One port's life: a virtual serial port here, a connection to the serial server there, and the bytes between.

`Relay.run` reads top to bottom as that life. The byte's way is `application_data` -> `Remote.write` and
`device_data` -> `VirtualPort.write`: each end calls the relay when it has bytes and when it can take no more, and
the relay passes both on to the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from serial_relay.config import Connect, LineSettings, PortConfig, Protocol, WhileDisconnected
from serial_relay.plumbing.backoff import Backoff
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.held_bytes import HeldBytes
from serial_relay.remote.connect import connect
from serial_relay.remote.connection import Remote, RemoteError
from serial_relay.remote.raw import RawRemote
from serial_relay.remote.rfc2217_remote import Rfc2217Remote
from serial_relay.status import ErrorCode, NotSupportedError, PortError, PortStatus, State
from serial_relay.virtual_port.links import LinkDirectory, LinkError
from serial_relay.virtual_port.pty_pair import PtyPair
from serial_relay.virtual_port.termios_map import ApplicationLine, wanted_line
from serial_relay.virtual_port.virtual_port import VirtualPort

log = logging.getLogger(__name__)

_FIRST_RETRY = 0.1
_RETRY_CAP = 1.0
_LINK_RETRY_CAP = 10.0
_WAKE_FLOOR = 0.05
"""Seconds between two attempts however often an application opens the port."""

_STABLE_AFTER = 5.0
"""Seconds that a connection must stand to count as good when the device says nothing."""

_LINGER = 5.0
"""Seconds that a connection of `connect: onOpen` outlives the last close."""

_FIRST_ATTEMPT_GRACE = 3.0
"""Seconds that bytes written right after open wait for the connection attempt that the open caused."""

_HOLD_SIZE = 8192
_HOLD_TIME = 5.0
"""Bytes and seconds that `whileDisconnected: hold` keeps."""

_NO_LINES_IN_RAW = "protocol `raw` carries bytes only; set `protocol` to `rfc2217` at both ends"


class Relay:
    """Relays one port until its task is cancelled; `status` is its only output besides bytes."""

    def __init__(
        self, config: PortConfig, links: LinkDirectory, watches: Inotify, on_change: Callable[[], None]
    ) -> None:
        self._config = config
        self._links = links
        self._watches = watches
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self.status = PortStatus(State.CONNECTING, time.time(), str(links.path(config.link)))
        self._port: VirtualPort | None = None
        self._link: str | None = None
        """The link in place."""
        self._device_paused = False
        """The application does not read, so the host must wait."""
        self._remote: Remote | None = None
        """The connection, once it can be used."""
        self._com_port: Rfc2217Remote | None = None
        """The same, also while it negotiates, if it is of the kind that carries more than bytes."""
        self._application_line: ApplicationLine | None = None
        """What an application set last; it outlives the application, as the settings of a UART do."""
        self._lost: asyncio.Future[RemoteError | None] | None = None
        """Done when the connection is over: with the reason, or None when it is not wanted any more."""
        self._connecting: asyncio.Task[None] | None = None
        """`_keep_connected`, from one (re)start to the next."""
        self._awake = asyncio.Event()
        """Set when a sleeping `_keep_connected` shall look again before its time."""
        self._linger: asyncio.TimerHandle | None = None
        """Runs while a connection of `connect: onOpen` outlives the last close."""
        self._first_attempt: asyncio.TimerHandle | None = None
        """Runs while what was written right after open waits; see `_FIRST_ATTEMPT_GRACE`."""
        self._held = HeldBytes(_HOLD_SIZE)
        self._hold_timer: asyncio.TimerHandle | None = None

    @property
    def config(self) -> PortConfig:
        """What the relay acts on."""
        return self._config

    async def run(self) -> None:
        """Live until cancelled; no failure of link, network, host or device ends it."""
        port = await self._open_port()
        try:
            while True:
                self._connecting = self._loop.create_task(self._keep_connected(port, self._config))
                try:
                    await asyncio.wait({self._connecting})
                finally:
                    self._connecting.cancel()
                    await asyncio.wait({self._connecting})
                if not self._connecting.cancelled():
                    self._connecting.result()  # it ends by a restart, or by a defect that shows here
        finally:
            for timer in (self._linger, self._first_attempt, self._hold_timer):
                if timer is not None:
                    timer.cancel()
            self._linger = self._first_attempt = self._hold_timer = None
            self._remove_link(port)
            port.close()
            self._port = None
            self._device_paused = False
            self.status.application_open = False

    def update(self, config: PortConfig) -> None:
        """Act on another configuration of the same port; an application keeps its descriptor whatever changes."""
        previous, self._config = self._config, config
        if (port := self._port) is not None:
            if _owner(config) != _owner(previous):
                port.set_owner(*_owner(config))
            if config.link != previous.link and not self._place_link(port):
                self.restart()
            port.follow_settings(enabled=config.protocol is Protocol.RFC2217)
        if _endpoint(config) != _endpoint(previous):
            self.restart()
        elif self._com_port is not None:
            self._com_port.set_line(self._wanted_line())
        self._look_again()

    def restart(self) -> None:
        """Connect anew at once; the virtual port stays, and so does an application's descriptor."""
        if self._connecting is not None:
            self._connecting.cancel()

    def set_modem_lines(self, dtr: bool | None, rts: bool | None) -> None:  # noqa: FBT001 - line states
        """Set the modem lines of the real port; None leaves a line as it is.

        Raises:
            NotSupportedError: the connection cannot carry modem lines (now).
        """
        self._usable_com_port().set_modem_lines(dtr, rts)

    async def send_break(self, milliseconds: int) -> None:
        """Send a break on the real port and return when it is over.

        Raises:
            NotSupportedError: the connection cannot carry a break (now).
        """
        await self._usable_com_port().send_break(milliseconds)

    def _usable_com_port(self) -> Rfc2217Remote:
        if self._config.protocol is Protocol.RAW:
            raise NotSupportedError(_NO_LINES_IN_RAW)
        if self._remote is None or self._com_port is None:
            raise NotSupportedError(f"not connected: the port is {self.status.state}")
        return self._com_port

    # The steps of a life.

    async def _open_port(self) -> VirtualPort:
        backoff = Backoff(_FIRST_RETRY, _LINK_RETRY_CAP)
        while True:
            try:
                port: VirtualPort = PtyPair(self._loop, self._watches, self)
            except OSError as error:
                self._failed(RemoteError(ErrorCode.LINK, f"cannot make a pty: {error.strerror or error}"))
                await self._sleep(backoff.next_delay())
            else:
                port.set_owner(*_owner(self._config))
                port.follow_settings(enabled=self._config.protocol is Protocol.RFC2217)
                self._port = port
                return port

    async def _keep_connected(self, port: VirtualPort, config: PortConfig) -> None:
        """Connect, relay until the connection is lost, wait a little, and again."""
        backoff = Backoff(_FIRST_RETRY, _LINK_RETRY_CAP)
        while not self._place_link(port):  # each time: somebody may have removed it
            await self._sleep(backoff.next_delay())
        backoff = Backoff(_FIRST_RETRY, _RETRY_CAP)
        self._set_state(State.CONNECTING)
        while True:
            if not self._wanted():
                self._set_state(State.IDLE)
                while not self._wanted():
                    await self._sleep(None)
                backoff.reset()
                self._set_state(State.CONNECTING)
            try:
                self._lost = self._loop.create_future()
                self._remote = await self._open_remote(config, self._lost)
                if self._remote is not None:
                    self._connected(self._remote)
                since, received = self._loop.time(), self.status.bytes_from_device
                error = await self._lost
                if self._loop.time() - since >= _STABLE_AFTER or self.status.bytes_from_device > received:
                    backoff.reset()
            except RemoteError as failure:
                error = failure
            finally:
                self._disconnected()
            if error is not None:
                self._failed(error)
                delay = backoff.next_delay()
                await asyncio.sleep(min(delay, _WAKE_FLOOR))
                await self._sleep(delay - _WAKE_FLOOR)

    async def _open_remote(
        self, config: PortConfig, lost: asyncio.Future[RemoteError | None]
    ) -> Remote | None:
        """Give a connection that can be used, None if it was `lost` before it could be."""
        connection, address = await connect(self._loop, config.host, config.tcp_port)
        if config.protocol is Protocol.RAW:
            return RawRemote(self._loop, connection, address, self)
        if self.status.state is State.CONNECTING:
            self._set_state(State.NEGOTIATING)
        self._com_port = Rfc2217Remote(self._loop, connection, address, self._wanted_line(), self)
        either: set[asyncio.Future[Any]] = {self._com_port.ready, lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return None if lost.done() else self._com_port

    def _connected(self, remote: Remote) -> None:
        if self._device_paused:
            remote.pause_reading()
        self.status.remote_address = remote.address
        self.status.connects += 1
        self.com_port_changed()
        self._set_state(State.CONNECTED)
        self._end_first_attempt()
        for data in self._held.take():
            self.application_data(data)

    def _disconnected(self) -> None:
        """Come back from a connection or an attempt, whichever way it ended."""
        if (remote := self._remote or self._com_port) is not None:
            self.status.discarded.disconnected += remote.close()
            self._remote = self._com_port = None
            self.status.remote_address = None
            self.status.line = self.status.modem = self.status.round_trip_seconds = None
        self._end_first_attempt()
        if self._config.while_disconnected is WhileDisconnected.DISCARD:
            self.status.discarded.disconnected += self._held.discard()

    # The byte's way from the application to the device.

    def application_data(self, data: bytes) -> None:
        """See `VirtualPortEvents`."""
        if self._remote is not None:
            self.status.bytes_to_device += len(data)
            self._remote.write(data)
        elif self._first_attempt is not None or self._config.while_disconnected is WhileDisconnected.HOLD:
            now = self._loop.time()
            self.status.discarded.overrun += self._held.add(data, now + _HOLD_TIME)
            if self._hold_timer is None:
                self._hold_timer = self._loop.call_later(_HOLD_TIME, self._expire_held)
        else:
            self.status.discarded.disconnected += len(data)

    def pause_application(self) -> None:
        """See `RemoteEvents`."""
        if self._port is not None:
            self._port.pause_reading()

    def resume_application(self) -> None:
        """See `RemoteEvents`."""
        if self._port is not None:
            self._port.resume_reading()

    # The byte's way from the device to the application.

    def device_data(self, data: bytes) -> None:
        """See `RemoteEvents`."""
        status = self.status
        status.bytes_from_device += len(data)
        if status.application_open and self._port is not None:
            self._port.write(data)
        else:
            status.discarded.closed += len(data)

    def pause_device(self) -> None:
        """See `VirtualPortEvents`."""
        self._device_paused = True
        if self._remote is not None:
            self._remote.pause_reading()

    def resume_device(self) -> None:
        """See `VirtualPortEvents`."""
        self._device_paused = False
        if self._remote is not None:
            self._remote.resume_reading()

    # What travels beside the bytes (RFC 2217).

    def application_set_line(self, line: ApplicationLine) -> None:
        """See `VirtualPortEvents`."""
        self._application_line = line
        if self._com_port is not None:
            self._com_port.set_line(self._wanted_line())

    def application_flushed(self, *, received: bool, transmitted: bool) -> None:
        """See `VirtualPortEvents`."""
        if self._com_port is not None:
            self._com_port.purge(received=received, transmitted=transmitted)

    def com_port_changed(self) -> None:
        """See `ComPortEvents`; what a host says of a port that cannot be used (yet) is not shown."""
        if self._com_port is not None and self._remote is not None:
            self.status.line, self.status.modem = self._com_port.line, self._com_port.modem
            self._on_change()

    def round_trip_measured(self, seconds: float) -> None:
        """See `ComPortEvents`."""
        self.status.round_trip_seconds = seconds

    def device_unavailable(self, error: RemoteError) -> None:
        """See `ComPortEvents`."""
        self._failed(error)

    def _wanted_line(self) -> LineSettings:
        return wanted_line(self._config.line, self._application_line)

    # Application and host come and go.

    def application_opened(self) -> None:
        """See `VirtualPortEvents`."""
        self.status.application_open = True
        if self._remote is None:
            self._begin_first_attempt()
        self._look_again()
        self._on_change()

    def application_closed(self, unread: int) -> None:
        """See `VirtualPortEvents`."""
        self.status.application_open = False
        self.status.discarded.closed += unread
        if self._linger is not None:
            self._linger.cancel()
        self._linger = self._loop.call_later(_LINGER, self._end_linger)
        self._on_change()

    def remote_lost(self, error: RemoteError) -> None:
        """See `RemoteEvents`."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(error)

    def _wanted(self) -> bool:
        return (
            self._config.connect is Connect.ALWAYS or self.status.application_open or self._linger is not None
        )

    def _end_linger(self) -> None:
        self._linger = None
        self._look_again()

    def _look_again(self) -> None:
        if self._lost is not None and not self._lost.done() and not self._wanted():
            self._lost.set_result(None)
        self._awake.set()

    async def _sleep(self, delay: float | None) -> None:
        """Sleep for seconds, or until `_look_again`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._awake.wait()
        self._awake.clear()

    # Bytes that wait for a connection.

    def _begin_first_attempt(self) -> None:
        """Leave what the application writes in the pty until the next attempt is over, for 3 s at most."""
        if self._first_attempt is None and self._port is not None:
            self._port.pause_reading()
            self._first_attempt = self._loop.call_later(_FIRST_ATTEMPT_GRACE, self._end_first_attempt)

    def _end_first_attempt(self) -> None:
        if self._first_attempt is not None:
            self._first_attempt.cancel()
            self._first_attempt = None
        if self._port is not None:
            self._port.resume_reading()

    def _expire_held(self) -> None:
        self.status.discarded.disconnected += self._held.expire(self._loop.time())
        until = self._held.next_deadline
        self._hold_timer = None if until is None else self._loop.call_at(until, self._expire_held)

    # What the world sees.

    def _place_link(self, port: VirtualPort) -> bool:
        """Put the configured link in place of the present one; a refusal is the port's last error."""
        link = self._config.link
        try:
            self._links.place(link, port.slave)
        except LinkError as error:
            self._failed(RemoteError(ErrorCode.LINK, str(error)))
            return False
        if self._link not in (None, link):
            self._remove_link(port)
        self._link = link
        self.status.link = str(self._links.path(link))
        self._on_change()
        return True

    def _remove_link(self, port: VirtualPort) -> None:
        if self._link is not None:
            self._links.remove(self._link, port.slave)
            self._link = None

    def _failed(self, error: RemoteError) -> None:
        """Say why the port is retrying; failures of one kind in a row keep the first one's words and time."""
        last = self.status.last_error
        if self.status.state is not State.RETRYING or last is None or last.code is not error.code:
            self.status.last_error = PortError(error.code, str(error), time.time())
            log.warning("port %s: %s: %s", self._config.name, error.code, error)
            self._on_change()
        self._set_state(State.RETRYING)

    def _set_state(self, state: State) -> None:
        if self.status.state is state:
            return
        self.status.state = state
        self.status.since = time.time()
        if state is not State.RETRYING:  # whose log line gives the reason
            log.info(
                "port %s: %s%s",
                self._config.name,
                state,
                f" to {self.status.remote_address}" if state is State.CONNECTED else "",
            )
        self._on_change()


def _owner(config: PortConfig) -> tuple[int, int, int]:
    return config.uid, config.gid, config.mode


def _endpoint(config: PortConfig) -> tuple[object, ...]:
    return config.host, config.tcp_port, config.protocol
