"""The interface between the relay and its configuration: a source of desired documents, and a sink of reported patches.

`edge.EdgeTwin` (IoT Edge) and `file_twin.FileTwin` (two files) stand on one side, `service.Service` on the other.
Everything here is called on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

ConfigSource = Literal["hub", "cache", "file"]

Document = Mapping[str, Any]
"""A JSON object: the whole desired section (with `$version` when it comes from a hub), or a reported patch."""


class TwinUnavailableError(Exception):
    """The patch was not accepted (not connected, refused, timed out): keep it and try again later."""


class TwinEvents(Protocol):
    """The events that a twin reports to the service."""

    def desired_received(self, document: Document, source: ConfigSource) -> None:
        """Act on a whole desired section; it may repeat an earlier one or be older than that. Never raises."""

    def desired_unreadable(self, message: str) -> None:
        """Record that the source holds no usable document, such as a file that is not JSON; the last one stays."""

    def synchronised(self, reported: Document | None = None) -> None:
        """Send the whole reported state, because the other side is connected (again) and may not have it.

        `reported` is what the other side showed, which may be older than what was sent last; None where nothing is kept.
        """

    async def method_called(self, name: str, payload: object) -> tuple[int, object]:
        """Carry out a direct method and return its status (with HTTP's meaning) and JSON answer. Never raises."""


class Twin(Protocol):
    """A module twin, wherever it lives."""

    @property
    def hub_connected(self) -> bool | None:
        """Whether the hub is connected at present; None where there is no hub."""

    async def run(self, events: TwinEvents) -> None:
        """Deliver documents and method calls until cancelled; never returns because the other side is away."""

    async def report(self, patch: Document) -> None:
        """Merge a patch into the reported properties (None removes a key).

        Raises:
            TwinUnavailableError: nothing was stored; bounded in time.
        """
