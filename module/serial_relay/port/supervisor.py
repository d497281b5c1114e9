"""All ports of the process.

It makes the running ports equal to the configured ones, and no port's failure affects another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from serial_monitor.taps import Taps
from serial_relay.config import PortConfig
from serial_relay.identity.identities import Identities
from serial_relay.plumbing.backoff import Backoff
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.hosts import Hosts
from serial_relay.port.placed_port import Maker
from serial_relay.port.relay import Relay
from serial_relay.status import ConfigFault, Discarded, PortStatus, State
from serial_relay.virtual_port.device_server import DeviceServer
from serial_relay.virtual_port.links import LinkDirectory

log = logging.getLogger(__name__)

_RESTART_AFTER_DEFECT = 1.0

_LOOKS_EVERY, _LONGEST_BETWEEN_LOOKS = 60.0, 3600.0
"""Seconds between two looks whether ports can be character devices by now: so many, and more of them while it seems so and
no device can be made."""


class UnknownPortError(LookupError):
    """No port of that name is running."""


@dataclass(slots=True)
class _Port:
    status: PortStatus
    relay: Relay | None = None
    task: asyncio.Task[None] | None = None


class Supervisor:
    """Runs a relay for each enabled port; every method is called on the event loop's thread."""

    def __init__(
        self,
        links: LinkDirectory,
        watches: Inotify,
        on_change: Callable[[str], None],
        identities: Identities | None = None,
        devices: DeviceServer | None = None,
    ) -> None:
        """Call `on_change` with a port's name when something in its status is worth reporting.

        Without `devices` all ports are ptys.
        """
        self._identities = identities or Identities()
        self._links = links
        self._devices = devices
        self._maker = Maker(links, watches, devices)
        self._on_change = on_change
        self._hosts = Hosts()
        self._ports: dict[str, _Port] = {}
        self._looking: asyncio.Task[None] | None = None
        self.taps = Taps()
        """The taps through which the traffic of the ports can be watched."""

    def statuses(self) -> Mapping[str, PortStatus]:
        """Return the status of each configured port, also of those that are disabled or invalid."""
        return {name: port.status for name, port in self._ports.items()}

    async def reconcile(
        self, configurations: Mapping[str, PortConfig], faults: Mapping[str, ConfigFault]
    ) -> None:
        """Keep ports that are equal, stop those that are gone, change those that have changed, then start new ones.

        Ports that are only in `faults` have no usable configuration and stand as invalid.
        """
        if self._looking is None and self._devices is not None:
            loop = asyncio.get_running_loop()
            self._looking = loop.create_task(self._look_for_devices(self._devices), name="look for devices")
        running = {name: config for name, config in configurations.items() if config.enabled}
        names = [*configurations, *(name for name in faults if name not in configurations)]
        await asyncio.gather(*(self._stop(name) for name in self._ports if name not in running))
        for name in self._ports.keys() - set(names):
            del self._ports[name]
            self._on_change(name)
        for name in names:
            if config := running.get(name):
                self._run(name, config)
            elif name in configurations:
                self._stand(name, State.DISABLED, str(self._links.path(configurations[name].link)))
            else:
                self._stand(name, State.INVALID, "")
            self._ports[name].status.config_error = faults.get(name)
            self._on_change(name)

    async def stop(self) -> None:
        """Stop all ports: connections are closed, links removed."""
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*map(self._stop, self._ports))
        await self._identities.stop()
        if self._devices is not None:
            await self._devices.stop()

    def restart(self, name: str) -> None:
        """Make the connection of a port again; applications keep their descriptors.

        Raises:
            UnknownPortError: no such port is running.
        """
        self._running(name).restart()

    async def set_modem_lines(self, name: str, dtr: bool | None, rts: bool | None) -> None:  # noqa: FBT001 - line states
        """Set the modem lines of the real port, and return when the host has done it; None leaves a line as it is.

        Raises:
            UnknownPortError: no such port is running.
            NotSupportedError: the connection cannot carry modem lines (now), or the host did not do it; the text says why.
        """
        await self._running(name).com_port().set_modem_lines(dtr, rts)

    async def send_break(self, name: str, milliseconds: int) -> None:
        """Send a break on the real port, and return when it is over and the host has confirmed it.

        Raises:
            UnknownPortError, NotSupportedError: as with `set_modem_lines`.
        """
        await self._running(name).com_port().send_break(milliseconds)

    def capture(self, name: str, token: str | None) -> dict[str, Any]:
        """Return a piece of what passed the port lately, see `Capture.piece`.

        Raises:
            UnknownPortError: no such port is running.
            NotSupportedError, TokenError: as `Capture.piece` does.
        """
        return self._running(name).capture.piece(token)

    def _running(self, name: str) -> Relay:
        port = self._ports.get(name)
        if port is None or port.relay is None:
            raise UnknownPortError(name)
        return port.relay

    def _run(self, name: str, config: PortConfig) -> None:
        port = self._ports.get(name)
        if port is not None and port.relay is not None:
            if port.relay.config != config:
                port.relay.update(config)
            return
        on_change, tap = (lambda: self._on_change(name)), self.taps.tap(name)
        relay = Relay(config, self._maker, self._hosts, self._identities, on_change, tap)
        task = asyncio.get_running_loop().create_task(self._keep_running(name, relay), name=f"port {name}")
        self._ports[name] = _Port(relay.status, relay, task)

    def _stand(self, name: str, state: State, link: str) -> None:
        """Keep the status of a port that does not run; one that was in this state already keeps its time."""
        port = self._ports.get(name)
        if port is None or (port.status.state, port.status.link) != (state, link):
            self._ports[name] = _Port(PortStatus(state, time.time(), link))

    async def _keep_running(self, name: str, relay: Relay) -> None:
        while True:
            try:
                await relay.run()
            except Exception:  # a defect in one port must not touch the others
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    log.exception("port %s: unexpected error while the port was stopped", name)
                    return
                log.exception("port %s: unexpected error, starting the port again", name)
                await asyncio.sleep(_RESTART_AFTER_DEFECT)

    async def _look_for_devices(self, devices: DeviceServer) -> None:
        """Let ports that are ptys for want of character devices become some, but for those that an application has open."""
        backoff = Backoff(_LOOKS_EVERY, _LONGEST_BETWEEN_LOOKS, draw=max)
        while True:
            await asyncio.sleep(backoff.next_delay())
            waiting = [
                port.relay
                for port in self._ports.values()
                if port.relay is not None and port.status.kind_reason and not port.status.application_open
            ]
            if not waiting or await devices.why_not() is not None:
                backoff.reset()
                continue
            for relay in waiting:
                relay.restart()

    async def _stop(self, name: str) -> None:
        """Stop a port if it runs, as soon as what is on its way has arrived; no other port waits for it."""
        port = self._ports[name]
        if port.relay is None or port.task is None:
            return
        before = replace(port.status.discarded)
        try:
            await port.relay.finish()
        except Exception:  # a defect in one port must not keep the others
            log.exception("port %s: unexpected error while the port was stopped", name)
        port.task.cancel()
        await asyncio.wait({port.task})
        _log_stopped(name, before, port.status.discarded)
        self.taps.forget(name)
        del self._ports[name]
        self._on_change(name)


def _log_stopped(name: str, before: Discarded, after: Discarded) -> None:
    """Log the end of a port, with the bytes that were discarded from the beginning of its stop."""
    to_device = after.disconnected + after.overrun - before.disconnected - before.overrun
    from_device = sum(
        getattr(after, reason) - getattr(before, reason) for reason in ("closed", "flushed", "undelivered")
    )
    if to_device or from_device:
        log.warning(
            "port %s: stopped; %d bytes of applications and %d bytes of the device did not arrive and were discarded",
            name,
            to_device,
            from_device,
        )
    else:
        log.info("port %s: stopped", name)
