"""What one served port is doing, for `serial_host status`.

A `PortStatus` is written by its `PortServer` alone. Times are Unix seconds.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The state of the COM port."""

    OPENING = "opening"
    """Not opened yet."""
    OPEN = "open"
    IDLE = "idle"
    """`open = "on_client"`, and no client is there."""
    ABSENT = "absent"
    """It cannot be opened or was lost; it is tried again."""
    INVALID = "invalid"
    """Its entry in the configuration is faulty."""


@dataclass(slots=True)
class PortStatus:
    """Everything that is known of one entry."""

    name: str
    """As configured: `COM3`, or what a USB adapter is found by."""
    tcp_port: int | None
    protocol: str | None
    state: State = State.OPENING
    since: float = field(default_factory=time.time)
    """Of the last change of `state`."""
    device: str | None = None
    """The operating system's name of the open port."""
    line: str | None = None
    """The settings in force, `9600 8N1`."""
    latency_timer: int | None = None
    """Milliseconds for which the USB adapter of the open port may collect bytes before it sends them."""
    listening: list[str] = field(default_factory=list)
    not_listening: list[str] = field(default_factory=list)
    """A message for each address at which it should listen and does not."""
    client: str | None = None
    client_since: float | None = None
    connects: int = 0
    refused: int = 0
    """Connections that were turned away: not allowed, or the port has a client or no device."""
    contention: str | None = None
    """Which living clients replace each other again and again, if any do."""
    bytes_to_device: int = 0
    """Taken from clients for the device, `unsent` ones among them."""
    unsent: int = 0
    """Waiting, because the device or its driver takes no more."""
    bytes_from_device: int = 0
    discarded_to_device: int = 0
    """Taken from clients, but the device was lost before the driver took them."""
    discarded_from_device: int = 0
    """Received from the device while no client was there."""
    overruns: int = 0
    """Received by the hardware but lost, because neither it nor the driver could hold them (Windows: occasions)."""
    last_error: str | None = None
    last_error_at: float | None = None

    def fail(self, message: str) -> bool:
        """Record an error, and return whether it differs from the one before."""
        new = message != self.last_error
        self.last_error, self.last_error_at = message, time.time()
        return new

    def enter(self, state: State) -> None:
        """Record a change of state."""
        if state is not self.state:
            self.state, self.since = state, time.time()

    def as_json(self) -> dict[str, Any]:
        """Return all fields under their names."""
        return dataclasses.asdict(self)
