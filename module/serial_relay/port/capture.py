"""The capture of one port: what passed it in the last seconds, where the configuration asks for that."""

from __future__ import annotations

import time
from typing import Any

from serial_monitor.ring import Ring
from serial_monitor.taps import Tap
from serial_relay.status import NotSupportedError


class Capture:
    """Keeps the last seconds of what passes a tap; nothing until `configure` says how many."""

    def __init__(self, tap: Tap, seconds: int) -> None:
        self._tap = tap
        self._ring: Ring | None = None
        self.configure(seconds)

    def configure(self, seconds: int) -> None:
        """Keep this number of seconds from now on; 0 keeps nothing. What was kept for another number is dropped."""
        if seconds == (self._ring.seconds if self._ring else 0):
            return
        if self._ring is not None:
            self._tap.remove(self._ring)
        self._ring = Ring(seconds) if seconds else None
        if self._ring is not None:
            self._tap.add(self._ring)

    def piece(self, token: str | None) -> dict[str, Any]:
        """Return a part of what is kept, see `Ring.piece`.

        Raises:
            NotSupportedError: nothing is kept.
            TokenError: this token was not given out.
        """
        if self._ring is None:
            raise NotSupportedError(
                f"no traffic of {self._tap.name} is kept: set captureSeconds of the port in the desired properties first"
            )
        return {"captureSeconds": self._ring.seconds, **self._ring.piece(token, time.time())}
