"""The virtual port of one relay at the place where applications find it: made, owned and linked as configured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from serial_relay.config import Kind, PortConfig
from serial_relay.plumbing.inotify import Inotify
from serial_relay.port.choice import Choice, choose, pty_instead
from serial_relay.virtual_port.device_server import DeviceServer
from serial_relay.virtual_port.links import LinkDirectory, LinkError
from serial_relay.virtual_port.pty_port import PtyPort
from serial_relay.virtual_port.tty_port import TtyError, TtyPort
from serial_relay.virtual_port.virtual_port import Left, VirtualPort, VirtualPortEvents
from tty_server.messages import NO_MINOR

_ANSWERS_WITHIN = 15.0
"""Seconds that the server of devices may take to make a device: more than a machine that is short of time needs."""

_ATTEMPTS = 3
"""Times that a device is asked for before a port that may be a pty becomes one."""


class Maker:
    """Makes the virtual ports of all relays."""

    def __init__(self, links: LinkDirectory, watches: Inotify, devices: DeviceServer | None) -> None:
        """Without `devices` all ports are ptys."""
        self.links = links
        self._watches = watches
        self._devices = devices
        self._minors: dict[str, int] = {}
        """By the port's name the number of its last device, which the next one gets too, if it is free."""

    async def choose(self, config: PortConfig) -> Choice:
        """Return what a port is to be, see `choice.choose`."""
        return await choose(config, self._devices)

    async def make(
        self, config: PortConfig, events: VirtualPortEvents, link_removed: Callable[[], None]
    ) -> PlacedPort:
        """Make a port; `PlacedPort.place_link` gives it its name.

        `link_removed` is called when somebody has removed the link.

        Raises:
            OSError: the kernel has no more ptys, or its devpts is not where the link leads.
            TtyError: the port is to be a character device, and there is none.
        """
        placed = PlacedPort(self.links, config, link_removed)
        loop = asyncio.get_running_loop()
        choice = await self.choose(config)
        if choice.kind == "tty":
            if choice.reason is not None:
                raise TtyError(choice.reason)
            try:
                placed.begin(await self._make_tty(loop, config, events), choice)
            except TtyError as error:
                if config.kind is Kind.TTY:
                    raise
                choice = pty_instead(error)
        if choice.kind == "pty":
            placed.begin(PtyPort(loop, self._watches, owner_of(config), placed.place, events), choice)
        return placed

    async def _make_tty(
        self, loop: asyncio.AbstractEventLoop, config: PortConfig, events: VirtualPortEvents
    ) -> TtyPort:
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(TtyError):
                return await self._try_to_make_tty(loop, config, events)
        return await self._try_to_make_tty(loop, config, events)

    async def _try_to_make_tty(
        self, loop: asyncio.AbstractEventLoop, config: PortConfig, events: VirtualPortEvents
    ) -> TtyPort:
        if self._devices is None:
            raise TtyError("there is no server of devices")
        connection = await self._devices.connect(self._minors.get(config.name, NO_MINOR))
        port = TtyPort(loop, connection, owner_of(config), events, self._devices.why_ended)
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await port.ready
        except TimeoutError:
            port.close()
            what = f"the server of devices has made no device within {_ANSWERS_WITHIN:.0f} s"
            raise TtyError(what) from None
        except BaseException:
            port.close()
            raise
        self._minors[config.name] = port.minor
        return port


class PlacedPort:
    """A virtual port behind a link."""

    port: VirtualPort

    def __init__(self, links: LinkDirectory, config: PortConfig, link_removed: Callable[[], None]) -> None:
        self._links = links
        self._link_removed = link_removed
        self._config = config
        self.link: str | None = None
        """The link that leads to the port; the present one while the configured one cannot be had. It is None when that
        is the link of another port by now."""
        self.choice = Choice("pty")
        """What the port is, and why."""

    def begin(self, port: VirtualPort, choice: Choice) -> None:
        """Let this be the port."""
        self.port, self.choice = port, choice

    def update(self, config: PortConfig) -> None:
        """Apply another configuration of the same port, except for the link, which `place_link` moves."""
        previous, self._config = self._config, config
        if owner_of(config) != owner_of(previous):
            self.port.set_owner(*owner_of(config))

    def place_link(self) -> None:
        """Put the configured link in place of the present one.

        Raises:
            LinkError: the link cannot be made; the present one stays, unless another port has it by now.
        """
        link = self._config.link
        try:
            self._links.place(link, self.port.slave, self._link_removed)
        except LinkError:
            if self.link not in (None, link):  # it stays, and is made again should it have been removed
                with contextlib.suppress(LinkError):
                    self.place(self.port.slave)
            raise
        if self.link not in (None, link):
            self._remove_link()
        self.link = link

    def hide(self) -> None:
        """Remove the link, so that no further application finds the port."""
        self._remove_link()

    def close(self) -> Left:
        """Remove the link and the port, and return what is lost; an application that has it open sees a hang-up."""
        self._remove_link()
        return self.port.close()

    def place(self, slave: Path) -> None:
        """Point the link, if there is one, at another node."""
        if self.link is not None and self._links.is_of_another(self.link, self._link_removed):
            self.link = None
        if self.link is not None:
            self._links.place(self.link, slave, self._link_removed)

    def _remove_link(self) -> None:
        if self.link is not None:
            self._links.remove(self.link, self.port.slave)
            self.link = None


def owner_of(config: PortConfig) -> tuple[int, int, int]:
    """Return user, group and mode of a port's node."""
    return config.uid, config.gid, config.mode
