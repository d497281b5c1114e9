"""One port's life: a virtual serial port here, a connection to the serial server there.

`Relay.run` reads top to bottom as that life. `bridge` passes the bytes between the two ends. The rules of time stand in
`rules`; one `alarm` waits for the earliest of their deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from serial_monitor.taps import Tap
from serial_relay.config import Connect, PortConfig, Protocol
from serial_relay.identity.identities import Identities
from serial_relay.port.alarm import Alarm, Rule
from serial_relay.port.bridge import Bridge
from serial_relay.port.capture import Capture
from serial_relay.port.hosts import Hosts
from serial_relay.port.placed_port import Maker, PlacedPort
from serial_relay.port.reaching import needs_new_connection, reach
from serial_relay.port.record import Record
from serial_relay.port.rules import LINGER, Retry, Span
from serial_relay.remote.connection import RemoteError
from serial_relay.remote.raw import RawRemote
from serial_relay.remote.rfc2217_remote import Rfc2217Remote
from serial_relay.status import ErrorCode, State
from serial_relay.virtual_port.links import LinkError
from serial_relay.virtual_port.tty_port import TtyError


class Relay:
    """Relays one port until its task is cancelled; `status` is its only output besides bytes."""

    def __init__(
        self,
        config: PortConfig,
        maker: Maker,
        hosts: Hosts,
        identities: Identities,
        on_change: Callable[[], None],
        tap: Tap,
    ) -> None:
        """Call `on_change` when something in `status` is worth reporting; `tap` shows what passes."""
        self._config = config
        self._identities = identities
        self._maker = maker
        self._hosts = hosts
        self._loop = asyncio.get_running_loop()
        self._record = Record(tap, str(maker.links.path(config.link)), on_change)
        self.status = self._record.status
        self._linger = Span(LINGER)
        self._lingers_for: object = None
        """What was on its way when the time was over last."""
        self._link_retry = Retry.of_links()
        """When the link is placed again, if it cannot be had or was removed, while the port goes on."""
        self._retry = Retry.of_connections()
        self._alarm = Alarm(self._loop, self._rules, self._time_passed)
        self._bridge = Bridge(self._loop, config, self._record, self._alarm, self, tap)
        self.capture = Capture(tap, config.capture_seconds)
        self.com_port = self._bridge.com_port
        self._placed: PlacedPort | None = None
        self._choose_again = False
        """The configuration may ask for another kind of port, or the system may have become able to have one."""
        self._made_for = config
        """The configuration for which the virtual port was chosen last."""
        self._port_lost = False
        """The virtual port is gone and must be made anew."""
        self._finishing = False
        """The port is to be stopped: the connection stands until its end, and no other is made."""
        self._lost: asyncio.Future[RemoteError | None] | None = None
        """Done when the connection is over: with the reason, or with None when it is no longer wanted."""
        self._trusted_peer: str | None = None
        """The fingerprint that the host showed last."""
        self._connecting: asyncio.Task[None] | None = None
        """`_keep_connected`, from one (re)start to the next."""

    @property
    def config(self) -> PortConfig:
        """The configuration that the relay acts on."""
        return self._config

    async def run(self) -> None:
        """Run until cancelled; no failure of link, network, host or device ends it."""
        while True:
            await self._serve_one_virtual_port()

    async def _serve_one_virtual_port(self) -> None:
        """Serve applications by one virtual port, until it is cancelled, lost, or to be one of the other kind."""
        self._choose_again = self._port_lost = False
        self._made_for = self._config
        self._placed = placed = await self._make_port()
        self._bridge.add_port(placed.port)
        self._record.made(placed.choice.kind, placed.choice.reason)
        placed.update(self._config)
        try:
            while not self._port_lost:
                if self._choose_again:
                    if await self._is_to_be_another(placed):
                        break
                    continue  # the port may have been lost meanwhile, or the configuration changed
                self._connecting = self._loop.create_task(self._keep_connected(placed, self._config))
                try:
                    await asyncio.wait({self._connecting})
                finally:
                    self._connecting.cancel()
                    await asyncio.wait({self._connecting})
                if not self._connecting.cancelled():
                    self._connecting.result()  # it ends by a restart, or by a defect that is raised here
        finally:
            self._placed = None
            self._bridge.remove_port(placed.close())
            self._linger.end()
            self._alarm.stop()

    async def _is_to_be_another(self, placed: PlacedPort) -> bool:
        """Return whether a port of the other kind is to take this one's place."""
        self._choose_again = False
        config, made_for = self._config, self._made_for
        choice = await self._maker.choose(config)
        if choice.kind != placed.choice.kind:
            is_asked_for = (config.kind, config.protocol) != (made_for.kind, made_for.protocol)
            return is_asked_for or not self.status.application_open
        self._made_for, placed.choice = config, choice
        self._record.made(*choice)
        return False

    def update(self, config: PortConfig) -> None:
        """Apply another configuration of the same port; an application keeps its descriptor whatever changes."""
        previous, self._config = self._config, config
        self._bridge.update(config)
        self.capture.configure(config.capture_seconds)
        if self._placed is not None:
            self._placed.update(config)
            if config.link != previous.link:
                self._link_retry = Retry.of_links()
                self._try_link(self._placed)
        if (config.kind, config.protocol) != (previous.kind, previous.protocol):
            self._choose_again = True
            self.restart()
        elif needs_new_connection(previous, config, self._trusted_peer):
            self.restart()
        else:
            self._bridge.set_line()
        self._retry.hurry()
        self._look_again()

    def restart(self) -> None:
        """Make the connection again at once; the virtual port stays, and so does an application's descriptor.

        The connection of a port that is to be stopped goes on to its end.
        """
        if self._finishing:
            return
        if not self.status.application_open:
            self._choose_again = True
        if self._connecting is not None:
            self._connecting.cancel()

    async def finish(self) -> None:
        """Let what is on its way arrive, see `Bridge.finish`; the caller is to cancel `run` then."""
        self._finishing = True
        # A link that cannot be had, or was removed, is not wanted any more.
        self._link_retry = Retry.of_links()
        if self._placed is not None:
            self._placed.hide()
            await self._bridge.finish()

    # The steps of a life.

    async def _make_port(self) -> PlacedPort:
        self._retry = Retry.of_links()
        while True:
            try:
                return await self._maker.make(self._config, self._bridge, self.link_removed)
            except OSError as error:
                what = f"cannot make a pty: {error.strerror or error}"
            except TtyError as error:
                what = f"cannot make a tty: {error}"
            self._record.made(None)
            await self._retry_after(RemoteError(ErrorCode.LINK, what))

    async def _keep_connected(self, placed: PlacedPort, config: PortConfig) -> None:
        """Connect, relay until the connection is lost, wait a little, and again."""
        self._retry = Retry.of_links()
        if placed.link is not None:
            self._try_link(placed)
        while placed.link is None and (link_error := self._place_link(placed)) is not None:
            await self._retry_after(link_error)
        self._retry = Retry.of_connections()
        self._record.set_state(State.CONNECTING)
        while True:
            if not self._wanted():
                if not self._finishing:
                    self._record.set_state(State.IDLE)
                await self._alarm.wait_for(lambda _now: self._wanted())
                self._retry = Retry.of_connections()
                self._record.set_state(State.CONNECTING)
            try:
                self._lost = self._loop.create_future()
                await self._connect(self._config, self._lost)
                error = await self._lost
            except RemoteError as failure:
                error = failure
            finally:
                self._bridge.remove_remote()
            if error is not None:
                with self._hosts.waiting(config.host, self._host_reached) as factor:
                    await self._retry_after(error, factor)

    async def _connect(self, config: PortConfig, lost: asyncio.Future[RemoteError | None]) -> None:
        """Hand the bridge a connection that can be used, unless it is `lost` before."""
        reached = await reach(self._loop, config, self._identities, self._tcp_connected)
        connection, address, secured = reached
        self._trusted_peer = reached.fingerprint
        if config.protocol is Protocol.RAW:
            seen = self._record.telnet_seen
            self._bridge.add_remote(RawRemote(self._loop, connection, address, self._bridge, seen, secured))
        else:
            line, is_tty = self._bridge.wanted_line, self.status.kind == "tty"
            remote = Rfc2217Remote(
                self._loop, connection, address, line, self._bridge, secured, counts_errors=is_tty
            )
            self._bridge.add_remote(remote)
            either: set[asyncio.Future[Any]] = {remote.ready, lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not lost.done():
            self._retry.connected(self._loop.time())
            self._bridge.use_remote()
            self._hosts.reached(config.host)

    def _tcp_connected(self) -> None:
        negotiates = self._config.tls is not None or self._config.protocol is not Protocol.RAW
        if negotiates and self.status.state is State.CONNECTING:
            self._record.set_state(State.NEGOTIATING)

    async def _retry_after(self, error: RemoteError, factor: float = 1.0) -> None:
        """Record a failure and wait until the next attempt is due, `factor` times as long as the rule says."""
        self._record.failed(error)
        self._retry.failed(self._loop.time(), factor)
        await self._alarm.wait_for(self._retry.due)

    def _place_link(self, placed: PlacedPort) -> RemoteError | None:
        """Place the link; return the reason if that fails."""
        try:
            placed.place_link()
        except LinkError as error:
            return RemoteError(ErrorCode.LINK, str(error))
        self._record.link_placed(str(self._maker.links.path(self._config.link)))
        return None

    def _try_link(self, placed: PlacedPort) -> None:
        """Place the link while the port goes on, with the link that it has until this succeeds."""
        error = self._place_link(placed)
        if error is None:
            self._link_retry.connected(self._loop.time())
        else:
            link = self._config.link if placed.link is None else placed.link
            self._record.link_failed(error, str(self._maker.links.path(link)))
            self._link_retry.failed(self._loop.time())
        self._alarm.set()

    # Events meanwhile.

    def remote_lost(self, error: RemoteError) -> None:
        """See `BridgeEvents`."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None if self._finishing else error)

    def virtual_port_lost(self, reason: str) -> None:
        """See `BridgeEvents`."""
        self._record.port_lost(reason)
        self._port_lost = True
        if self._connecting is not None:
            self._connecting.cancel()

    def _host_reached(self) -> None:
        self._retry.as_alone()
        self._alarm.wake()

    def application_came_or_went(self) -> None:
        """See `BridgeEvents`."""
        if self.status.application_open:
            self._retry.hurry()
        else:
            self._linger.begin(self._loop.time())
        self._look_again()

    def link_removed(self) -> None:
        """Place the link again after a moment, which grows if somebody removes the link again and again."""
        if self._link_retry.deadline is None:
            self._record.link_removed()
            self._link_retry.failed(self._loop.time())
            self._alarm.set()

    def _rules(self) -> tuple[Rule, ...]:
        return self._bridge.first_attempt, self._bridge.held, self._linger, self._retry, self._link_retry

    def _time_passed(self, now: float) -> None:
        self._bridge.time_passed(now)
        if self._placed is not None and self._link_retry.deadline is not None and self._link_retry.due(now):
            self._try_link(self._placed)
        if self._linger.expire(now):
            before, self._lingers_for = self._lingers_for, self._bridge.on_its_way
            # A device that is slow goes on to take what the application left.
            if self._lingers_for not in (None, before):
                self._linger.begin(now)
            self._look_again()

    def _wanted(self) -> bool:
        if self._finishing:
            return False
        return self._config.connect is Connect.ALWAYS or self.status.application_open or self._linger.running

    def _look_again(self) -> None:
        """Act on a change of what is wanted: end a connection that is no longer wanted, or wake the waiting attempt."""
        if self._lost is not None and not self._lost.done() and not self._wanted() and not self._finishing:
            self._lost.set_result(None)
        self._alarm.wake()
