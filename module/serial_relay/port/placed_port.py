"""The virtual port of one relay at the place where applications find it: made, owned and linked as configured."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serial_relay.config import PortConfig
from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.links import LinkDirectory
from serial_relay.virtual_port.pty_port import PtyPort
from serial_relay.virtual_port.virtual_port import VirtualPort, VirtualPortEvents


class PlacedPort:
    """A virtual port behind a link."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watches: Inotify,
        links: LinkDirectory,
        config: PortConfig,
        events: VirtualPortEvents,
    ) -> None:
        """Make the port; `place_link` gives it its name.

        Raises:
            OSError: the kernel has no more ptys, or its devpts is not where the link leads.
        """
        self._links = links
        self._link: str | None = None
        """The link in place."""
        self.port: VirtualPort = PtyPort(loop, watches, _owner(config), self._place, events)
        self._config = config

    def update(self, config: PortConfig) -> None:
        """Act on another configuration of the same port, but for the link, which `place_link` moves."""
        previous, self._config = self._config, config
        if _owner(config) != _owner(previous):
            self.port.set_owner(*_owner(config))

    def place_link(self) -> None:
        """Put the configured link in place of the present one.

        Raises:
            LinkError: the link cannot be made.
        """
        link = self._config.link
        self._links.place(link, self.port.slave)
        if self._link not in (None, link):
            self._remove_link()
        self._link = link

    def close(self) -> None:
        """Remove the link and the pair; an application that has the port open sees a hang-up."""
        self._remove_link()
        self.port.close()

    def _place(self, slave: Path) -> None:
        if self._link is not None:
            self._links.place(self._link, slave)

    def _remove_link(self) -> None:
        if self._link is not None:
            self._links.remove(self._link, self.port.slave)
            self._link = None


def _owner(config: PortConfig) -> tuple[int, int, int]:
    return config.uid, config.gid, config.mode
