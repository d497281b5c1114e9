"""What the tests of the edge twin share: a recorder of what it says, and a twin that runs against an emulated edgeHub."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import psutil

from serial_relay.plumbing.backoff import Backoff
from serial_relay.twin.edge import EdgeTwin, Timing
from serial_relay.twin.twin import ConfigSource, Document

QUICK = Timing(connect=30.0, call=10.0, method=10.0, probe=900.0, settled=0.0)
"""Long enough for a loaded machine, with a back-off that starts over after each connection."""


class Recorder:
    """A `TwinEvents` that keeps everything; methods are answered with what they were called with."""

    def __init__(self) -> None:
        self.documents: list[Mapping[str, Any]] = []
        self.synchronisations = 0
        self.methods: list[tuple[str, object]] = []
        self.answer_methods = asyncio.Event()
        self.answer_methods.set()

    @property
    def desired(self) -> dict[str, Any]:
        """The newest document without its version; empty before the first."""
        newest = self.documents[-1] if self.documents else {}
        return {key: value for key, value in newest.items() if key != "$version"}

    @property
    def versions(self) -> list[Any]:
        return [document.get("$version") for document in self.documents]

    def desired_received(self, document: Document, source: ConfigSource) -> None:
        assert source == "hub"
        self.documents.append(document)

    def desired_unreadable(self, message: str) -> None:
        raise AssertionError(message)

    def synchronised(self, reported: Document | None = None) -> None:
        assert reported is not None
        self.synchronisations += 1

    async def method_called(self, name: str, payload: object) -> tuple[int, object]:
        self.methods.append((name, payload))
        await self.answer_methods.wait()
        return 200, {"name": name, "payload": payload}


@contextlib.asynccontextmanager
async def running(recorder: Recorder, timing: Timing = QUICK) -> AsyncIterator[EdgeTwin]:
    """A twin on the edgeHub of this process's environment; it tries again at once, a few times a second."""
    twin = EdgeTwin(timing, Backoff(first=0.05, cap=0.5))
    task = asyncio.create_task(twin.run(recorder))
    try:
        yield twin
        assert not task.done(), "run() never returns by itself"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def children() -> list[psutil.Process]:
    """The running processes of the SDK that this process started."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "edge_client.py" in " ".join(child.cmdline()):
                found.append(child)
    return found
