"""The two ways in which a connection goes wrong: by the caller's mistake, or by the peer's."""

from __future__ import annotations


class ProtocolError(Exception):
    """The base of both errors. It is never raised itself."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what the protocol does not allow now. Nothing was sent, and the connection is intact."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol beyond repair. A `Connection` does not raise this; it yields `PeerFailed`."""
