"""The last good configuration on disk, so that ports run from the first second although the hub is not there yet.

It is kept as a desired section, each port with the last configuration that was good for it, and read back like any
other. Without it only that first second is lost, so each failure here is only a warning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serial_relay.plumbing.threads import in_thread
from serial_relay.twin.desired import Desired, to_document
from serial_relay.twin.json_file import UnreadableError, read_object, replace_object

log = logging.getLogger(__name__)

_FILE = "last-good.json"


class LastGood:
    """One document in a directory; without a directory nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / _FILE if directory else None
        self._stored: Mapping[str, Any] | None = None
        self._writing = asyncio.Lock()
        self._failing = False

    def load(self) -> dict[str, Any] | None:
        """Read the document; return None if there is none that can be used."""
        if self._path is None:
            return None
        try:
            document = read_object(self._path)
        except FileNotFoundError:
            return None
        except UnreadableError as error:
            log.warning("%s is not used: %s; ports start when their configuration arrives", self._path, error)
            return None
        self._stored = document
        return document

    async def save(self, desired: Desired) -> None:
        """Replace the document unless it is the same; never raises, and the event loop does not wait for the disk."""
        if self._path is None:
            return
        document = to_document(desired)
        async with self._writing:
            if document == self._stored:
                return
            try:
                await in_thread(_write, self._path, document)
            except OSError as error:
                if not self._failing:
                    log.warning(
                        "cannot keep the configuration in %s: %s; after a restart ports wait for the hub",
                        self._path,
                        error.strerror or error,
                    )
                self._failing = True
            else:
                self._stored = document
                self._failing = False


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_object(path, document, durable=True)
