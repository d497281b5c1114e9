"""What a test of an open port needs beside it: an owner that keeps what the port reports, and a wait for a condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from serial_host.com_port.port import ComPortError
from tests.host.running import PATIENCE


class Owner:
    """Keeps what an open port, or its pump, reports."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.paused = False
        self.lost: ComPortError | None = None
        self.late_received = self.late_unsent = 0
        self.told_late = 0

    def data_received(self, data: bytes) -> None:
        self.received += data

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def discarded_late(self, *, received: int = 0, unsent: int = 0) -> None:
        self.told_late += 1
        self.late_received += received
        self.late_unsent += unsent

    def port_lost(self, error: ComPortError) -> None:
        self.lost = error


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition was never true"
        await asyncio.sleep(0.005)
