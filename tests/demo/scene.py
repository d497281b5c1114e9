"""What the demo knows of its parts at one moment: written by the script and its poller, drawn by the view."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Tone = Literal["good", "bad", "outage"]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the demo's story."""

    at: float
    """Seconds since the start."""
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Reading:
    """What the simulated device's input registers say."""

    uptime: int
    """Seconds since the device was switched on."""
    temperature: float
    """Degrees Celsius."""
    requests: int
    """Requests that it has answered."""


@dataclass(slots=True)
class Scene:
    """The present state; every method may be called from any thread."""

    started: float = field(default_factory=time.monotonic)
    link: str = ""
    host_port: int = 0
    host_up: bool = False
    hub_connected: bool = False
    hub_messages: int = 0
    outage_since: float | None = None
    """Seconds since the start, None while there is no outage."""
    next_step: str = ""
    """What happens next, for the reader."""
    reported: Mapping[str, Any] = field(default_factory=dict)
    """The module twin's reported properties, as edgeHub has them."""
    reading: Reading | None = None
    """The device's last answer."""
    opens: int = 0
    """How often the client opened the virtual port."""
    answered: int = 0
    unanswered: int = 0
    polls: deque[float | None] = field(default_factory=lambda: deque(maxlen=240))
    """Milliseconds that each poll's answer took, None for a poll without an answer."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=100))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def happened(self, text: str, tone: Tone) -> Event:
        """Add an event of this moment."""
        event = Event(self.elapsed, text, tone)
        with self._lock:
            self.events.append(event)
        return event

    def polled(self, milliseconds: float | None, reading: Reading | None = None) -> None:
        """Take down a poll: its answer and how long it took, or None."""
        with self._lock:
            self.polls.append(milliseconds)
            if milliseconds is None:
                self.unanswered += 1
            else:
                self.answered += 1
                self.reading = reading

    def latest(self, count: int) -> tuple[list[float | None], list[Event]]:
        """The newest polls and events, oldest first."""
        with self._lock:
            return list(self.polls)[-count:], list(self.events)[-count:]
