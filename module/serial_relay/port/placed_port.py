"""The virtual port of one relay at the place where applications find it: made, owned and linked as configured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from serial_relay.config import PortConfig
from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.links import LinkDirectory, LinkError
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
        link_removed: Callable[[], None],
    ) -> None:
        """Make the port; `place_link` gives it its name. `link_removed` is called when somebody has removed the link.

        Raises:
            OSError: the kernel has no more ptys, or its devpts is not where the link leads.
        """
        self._links = links
        self._link_removed = link_removed
        self.link: str | None = None
        """The link that leads to the port; the present one while the configured one cannot be had."""
        self.port: VirtualPort = PtyPort(loop, watches, _owner(config), self._place, events)
        self._config = config

    def update(self, config: PortConfig) -> None:
        """Apply another configuration of the same port, except for the link, which `place_link` moves."""
        previous, self._config = self._config, config
        if _owner(config) != _owner(previous):
            self.port.set_owner(*_owner(config))

    def place_link(self) -> None:
        """Put the configured link in place of the present one.

        Raises:
            LinkError: the link cannot be made; the present one stays.
        """
        link = self._config.link
        try:
            self._links.place(link, self.port.slave, self._link_removed)
        except LinkError:
            if self.link not in (None, link):  # it stays, and is made again should it have been removed
                with contextlib.suppress(LinkError):
                    self._place(self.port.slave)
            raise
        if self.link not in (None, link):
            self._remove_link()
        self.link = link

    def close(self) -> None:
        """Remove the link and the pair; an application that has the port open sees a hang-up."""
        self._remove_link()
        self.port.close()

    def _place(self, slave: Path) -> None:
        if self.link is not None:
            self._links.place(self.link, slave, self._link_removed)

    def _remove_link(self) -> None:
        if self.link is not None:
            self._links.remove(self.link, self.port.slave)
            self.link = None


def _owner(config: PortConfig) -> tuple[int, int, int]:
    return config.uid, config.gid, config.mode
