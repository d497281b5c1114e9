"""The place in the path of the bytes at which watchers see what passes a port.

A port's owner tests one attribute for each chunk of bytes, and formats nothing while it is None:

    if (watched := tap.watched) is not None:
        watched(TO_DEVICE, data)

Everything here is called on the thread of the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from serial_monitor.records import Record


class Sink(Protocol):
    """Takes records; it must neither block nor raise."""

    def take(self, record: Record) -> None:
        """Take one record."""


@runtime_checkable
class Keeper(Sink, Protocol):
    """A sink that takes bytes as they are; where it is the only one, no record is made for it."""

    def keep(self, direction: str, data: bytes | memoryview) -> None:
        """Take bytes that pass now."""


class Tap:
    """The tap of one port."""

    __slots__ = ("_sinks", "name", "watched")

    def __init__(self, name: str) -> None:
        self.name = name
        self.watched: Callable[[str, bytes | memoryview], None] | None = None
        """The function that hands a direction and its bytes to those who watch; None while nobody does."""
        self._sinks: tuple[Sink, ...] = ()

    def add(self, sink: Sink) -> None:
        """Let this sink see what passes from now on."""
        if sink not in self._sinks:
            self._set((*self._sinks, sink))

    def remove(self, sink: Sink) -> None:
        """Let this sink see nothing more."""
        self._set(tuple(other for other in self._sinks if other is not sink))

    def event(self, name: str, text: str) -> None:
        """Report what happened between the bytes. If the text is costly to make, test `watched` first."""
        if self._sinks:
            self._give(Record(time.time(), self.name, name, text=text))

    def _set(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks
        match sinks:
            case ():
                self.watched = None
            case (Keeper() as only,):
                self.watched = only.keep
            case _:
                self.watched = self._pass

    def _pass(self, direction: str, data: bytes | memoryview) -> None:
        self._give(Record(time.time(), self.name, direction, bytes(data)))

    def _give(self, record: Record) -> None:
        for sink in self._sinks:
            sink.take(record)


class Taps:
    """The taps of a process by the names of their ports."""

    def __init__(self) -> None:
        self._taps: dict[str, Tap] = {}
        self._sinks: dict[Sink, str | None] = {}
        """Who watches, and which port; None stands for all, also for those that come later."""

    def tap(self, name: str) -> Tap:
        """Return the tap of a port, which is made when it is first asked for."""
        if name not in self._taps:
            self._taps[name] = tap = Tap(name)
            for sink, port in self._sinks.items():
                if port in (None, name):
                    tap.add(sink)
        return self._taps[name]

    def forget(self, name: str) -> None:
        """Forget the tap of a port that is gone; those who watch are told."""
        if (tap := self._taps.pop(name, None)) is not None:
            tap.event("state", "stopped")

    def watch(self, sink: Sink, port: str | None) -> None:
        """Let a sink see one port, or with None all of them."""
        self._sinks[sink] = port
        for name, tap in self._taps.items():
            if port in (None, name):
                tap.add(sink)

    def unwatch(self, sink: Sink) -> None:
        """Let a sink see nothing more."""
        self._sinks.pop(sink, None)
        for tap in self._taps.values():
            tap.remove(sink)
