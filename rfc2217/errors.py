"""The two ways a connection goes wrong: our mistake, or theirs."""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of both errors; never raised itself."""


class LocalProtocolError(ProtocolError):
    """The application asked for what the protocol does not allow now; nothing was sent, the connection is intact."""


class RemoteProtocolError(ProtocolError):
    """The peer broke telnet's framing beyond repair; a `Connection` tells of it by the event `PeerFailed`."""
