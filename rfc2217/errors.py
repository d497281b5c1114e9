"""The two ways a connection goes wrong: our mistake, or theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rfc2217.connection import Event


class ProtocolError(Exception):
    """Base of both errors; never raised itself."""


class LocalProtocolError(ProtocolError):
    """The application asked for what the protocol does not allow now; nothing was sent, the connection is intact."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol beyond repair: handle `events`, then close; the connection takes no more data."""

    def __init__(self, message: str, events: tuple[Event, ...] = ()) -> None:
        super().__init__(message)
        self.events = events
        """What was decoded before the violation, in the order it arrived."""
