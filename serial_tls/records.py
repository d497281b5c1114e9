"""The first bytes of a connection by which TLS is recognised; nothing is imported here, so that knowing them costs nothing."""

from __future__ import annotations


def looks_like_client_hello(data: bytes | memoryview) -> bool:
    """Return whether bytes are the beginning of a TLS client's first message (RFC 8446, sections 4.1.2 and 5.1)."""
    return len(data) >= 6 and bytes(data[:2]) == b"\x16\x03" and data[2] <= 4 and data[5] == 1


def looks_like_alert(data: bytes | memoryview) -> bool:
    """Return whether bytes begin with a TLS alert that is not encrypted (RFC 8446, section 6)."""
    return len(data) >= 7 and bytes(data[:2]) == b"\x15\x03" and data[2] <= 4 and bytes(data[3:5]) == b"\0\2"
