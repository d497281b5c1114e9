"""Ports that wait for the same host share their attempts to reach it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

_FULL_RATE = 16
"""Ports of one host that each make their attempts as often as a single port would. More of them take turns."""

_LONGEST = 10.0
"""Limit of the factor by which a port waits longer than it would alone."""


class Hosts:
    """Which ports wait before they try to reach their host again, by the host's name as it is configured.

    Without this, each port of a host that is away makes its own attempts, and 64 ports cost 64 times as much as one. With
    it, the attempts of all ports together come about as often as those of sixteen. The first port that gets through calls the
    others, so an outage of the host ends for all of them as soon as it would for each alone. A port that alone becomes
    available among many that do not is found later: within 10 s instead of 1 s, if there are 160 of them.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[object, Callable[[], None]]] = {}

    @contextlib.contextmanager
    def waiting(self, host: str, reached: Callable[[], None]) -> Iterator[float]:
        """Let a port wait inside this context, and call `reached` when another port reaches the host.

        The value is the factor, 1 to 10, by which this port's wait is longer than it would be alone.
        """
        ports = self._waiting.setdefault(host, {})
        key = object()
        ports[key] = reached
        try:
            yield min(_LONGEST, max(1.0, len(ports) / _FULL_RATE))
        finally:
            del ports[key]
            if not ports and self._waiting.get(host) is ports:
                del self._waiting[host]

    def reached(self, host: str) -> None:
        """Call the ports that wait for this host."""
        for call in tuple(self._waiting.get(host, {}).values()):
            call()
