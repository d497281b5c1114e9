"""The overview of a port that both ends show, with the rates of its traffic. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

HISTORY = 60
"""Samples that a sparkline shows."""
BARS = "▁▂▃▄▅▆▇█"

Health = Literal["good", "waiting", "bad"]


@dataclass(frozen=True, slots=True)
class PortView:
    """One row."""

    name: str
    state: str
    health: Health
    where: str
    """The other end of the connection, or where the port listens."""
    user: str
    """Who uses the port."""
    line: str
    """`9600 8N1`; empty if it is not known."""
    to_device: int
    from_device: int
    discarded: int
    """Bytes in all, counted since the program started."""
    error: str = ""
    """What went wrong last, where it still matters."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A program and its ports at one moment."""

    title: str
    ports: Sequence[PortView] = ()


@dataclass(slots=True)
class _Counted:
    at: float
    to_device: int
    from_device: int
    rates: tuple[float, float] = (0.0, 0.0)
    history: deque[float] = field(default_factory=lambda: deque([0.0] * HISTORY, HISTORY))


class Rates:
    """Computes rates from counters."""

    def __init__(self) -> None:
        self._ports: dict[str, _Counted] = {}

    def update(self, ports: Sequence[PortView], now: float) -> None:
        """Take the counters of `now`, a monotonic time in seconds."""
        for port in ports:
            before = self._ports.get(port.name)
            if before is None or port.to_device < before.to_device or port.from_device < before.from_device:
                self._ports[port.name] = _Counted(now, port.to_device, port.from_device)
                continue
            passed = now - before.at
            if passed <= 0:
                continue
            before.rates = (
                (port.to_device - before.to_device) / passed,
                (port.from_device - before.from_device) / passed,
            )
            before.history.append(sum(before.rates))
            before.at, before.to_device, before.from_device = now, port.to_device, port.from_device

    def of(self, name: str) -> tuple[float, float]:
        """Return bytes a second to the device and from it."""
        counted = self._ports.get(name)
        return (0.0, 0.0) if counted is None else counted.rates

    def history(self, name: str) -> list[float]:
        """Return the sums of both rates, the newest last."""
        counted = self._ports.get(name)
        return [0.0] * HISTORY if counted is None else list(counted.history)


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last `width` values, the highest of them at full height."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return BARS[0] * len(shown)
    return "".join(BARS[min(len(BARS) - 1, int(value / top * (len(BARS) - 1) + 0.5))] for value in shown)


def amount(size: float) -> str:
    """Write a number of bytes in three or four characters and a unit."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
