"""A module twin made of two files, for machines without IoT Edge: desired properties in one, reported in the other.

The desired file holds the desired section itself, `{"host": …, "serialPorts": {…}}`. It is followed however it is
changed: written in place, replaced as editors do, removed and put back, or reached through symbolic links that are
switched as in a Kubernetes ConfigMap. There are no direct methods.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serial_relay.plumbing import inotify
from serial_relay.plumbing.text import shown
from serial_relay.plumbing.threads import in_thread
from serial_relay.twin.json_file import UnreadableError, read_object, replace_object
from serial_relay.twin.reported import apply_merge_patch
from serial_relay.twin.twin import Document, TwinEvents, TwinUnavailableError

log = logging.getLogger(__name__)

_SETTLE = 0.1
"""Seconds without a further event until the file is read: an editor causes several."""

_MAX_SETTLING = 10
"""Times that long at most, should the directory never be quiet."""

_SETTLE_UNREADABLE = 0.4
"""Seconds until a file that cannot be used is read once more: it may be half written."""

_LOOK_INTERVAL = 5.0
"""Seconds between looks without any event: directories further up that were replaced, network file systems."""

_EVENTS = (
    inotify.IN_CLOSE_WRITE
    | inotify.IN_CREATE
    | inotify.IN_MOVED_TO
    | inotify.IN_MOVED_FROM
    | inotify.IN_DELETE
    | inotify.IN_DELETE_SELF
    | inotify.IN_MOVE_SELF
)


class FileTwin:
    """A `twin.Twin` over two files; without a second one, what is reported goes nowhere."""

    def __init__(self, desired: Path, reported: Path | None, watches: inotify.Inotify) -> None:
        """Use `desired` and `reported`; neither needs to exist.

        Raises:
            ValueError: both are the same file.
        """
        if reported and reported.resolve() == desired.resolve():
            raise ValueError(f"the desired and the reported properties cannot both be in {desired}")
        self._desired_path = desired
        self._reported_path = reported
        self._watches = watches
        self._reported: dict[str, Any] = {}
        self._own_names = {reported.name, f".{reported.name}.new"} if reported else set()
        self._changed = asyncio.Event()
        self._directories: dict[Path, int] = {}
        self._failing = False
        self._repeated: set[str] = set()
        """The keys that stand more than once in an object of the file, so that each is logged once."""

    @property
    def hub_connected(self) -> None:
        """See `twin.Twin`: files have no hub."""
        return None

    async def run(self, events: TwinEvents) -> None:
        """Deliver the document, and every later one that differs, until cancelled."""
        events.synchronised()
        delivered: Mapping[str, Any] | None = None
        complained: str | None = None
        try:
            while True:
                self._changed.clear()
                self._watch_directories()
                document = await self._read()
                if isinstance(document, str):
                    if document != complained:
                        events.desired_unreadable(document)
                    # What comes after a complaint is delivered even if it is what was before: it takes that back.
                    delivered, complained = None, document
                else:
                    if document != delivered:
                        events.desired_received(document, "file")
                    delivered, complained = document, None
                await self._wait_for_change()
        finally:
            for descriptor in self._directories.values():
                self._watches.unwatch(descriptor)
            self._directories.clear()

    async def report(self, patch: Document) -> None:
        """Merge a patch into the reported file.

        Raises:
            TwinUnavailableError: it cannot be written.
        """
        self._reported = apply_merge_patch(self._reported, patch)
        if self._reported_path is None:
            return
        try:
            await in_thread(replace_object, self._reported_path, self._reported, durable=False)
        except OSError as error:
            message = f"cannot write {self._reported_path}: {error.strerror or error}"
            if not self._failing:
                log.warning("%s; it is tried again", message)
            self._failing = True
            raise TwinUnavailableError(message) from error
        self._failing = False

    async def _read(self) -> dict[str, Any] | str:
        """Return the document, or the reason why it cannot be used."""
        try:
            result = await in_thread(_read, self._desired_path)
            if isinstance(result, str):
                await asyncio.sleep(_SETTLE_UNREADABLE)
                result = await in_thread(_read, self._desired_path)
        except OSError as error:
            return f"{self._desired_path} cannot be read now: {error.strerror or error}"
        if isinstance(result, str):
            return result
        document, repeated = result
        for key in sorted(repeated - self._repeated):
            log.warning(
                "%s: the key %s stands more than once in one object, and only its last value counts",
                self._desired_path,
                shown(key),
            )
        self._repeated = repeated
        return document

    async def _wait_for_change(self) -> None:
        with contextlib.suppress(TimeoutError):
            # Not `asyncio.wait_for`, which in Python 3.11 swallows a cancellation that comes in the same turn of the loop
            # as the event.
            async with asyncio.timeout(_LOOK_INTERVAL):
                await self._changed.wait()
        for _ in range(_MAX_SETTLING):
            if not self._changed.is_set():
                break
            self._changed.clear()
            await asyncio.sleep(_SETTLE)

    def _watch_directories(self) -> None:
        """Watch where the file's name stands and where a symbolic link leads; again, since either may be new."""
        wanted = {self._desired_path.absolute().parent}
        with contextlib.suppress(OSError, RuntimeError):  # a loop of links
            wanted.add(self._desired_path.resolve().parent)
        watched: dict[Path, int] = {}
        for directory in wanted:
            with contextlib.suppress(OSError):
                watched[directory] = self._watches.watch(directory, _EVENTS, self._directory_changed)
        for descriptor in set(self._directories.values()) - set(watched.values()):
            self._watches.unwatch(descriptor)
        self._directories = watched

    def _directory_changed(self, _mask: int, name: str) -> None:
        if name not in self._own_names:
            self._changed.set()


def _read(path: Path) -> tuple[dict[str, Any], set[str]] | str:
    """Return the document and the keys that are repeated in it, or the reason why it cannot be used."""
    repeated: set[str] = set()
    try:
        document = read_object(path, repeated)
    except FileNotFoundError:
        return f"{path} does not exist"
    except UnreadableError as error:
        return f"{path} cannot be used: {error}"
    if "serialPorts" not in document:
        return f'{path} cannot be used: it has no key "serialPorts", which holds an entry for each port'
    return document, repeated
