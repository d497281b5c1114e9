"""The virtual port of one relay at the place where applications find it: made, owned and linked as configured."""

from __future__ import annotations

import asyncio

from serial_relay.config import PortConfig, Protocol
from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.links import LinkDirectory
from serial_relay.virtual_port.pty_pair import PtyPair
from serial_relay.virtual_port.virtual_port import VirtualPort, VirtualPortEvents


class PlacedPort:
    """A pty pair behind a link."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watches: Inotify,
        links: LinkDirectory,
        config: PortConfig,
        events: VirtualPortEvents,
    ) -> None:
        """Make the pair; `place_link` gives it its name.

        Raises:
            OSError: the kernel has no more ptys, or its devpts is not where the link leads.
        """
        self._links = links
        self.port: VirtualPort = PtyPair(loop, watches, events)
        self._config = config
        self._link: str | None = None
        """The link in place."""
        self.port.set_owner(*_owner(config))
        self.port.follow_settings(enabled=config.protocol is Protocol.RFC2217)

    def update(self, config: PortConfig) -> None:
        """Act on another configuration of the same port, but for the link, which `place_link` moves."""
        previous, self._config = self._config, config
        if _owner(config) != _owner(previous):
            self.port.set_owner(*_owner(config))
        self.port.follow_settings(enabled=config.protocol is Protocol.RFC2217)

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

    def _remove_link(self) -> None:
        if self._link is not None:
            self._links.remove(self._link, self.port.slave)
            self._link = None


def _owner(config: PortConfig) -> tuple[int, int, int]:
    return config.uid, config.gid, config.mode
