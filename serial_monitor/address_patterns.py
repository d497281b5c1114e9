"""How IP addresses are written, as patterns for JSON Schema (ECMA-262, and Python's `re` alike)."""

from __future__ import annotations

OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"

IPV4 = rf"{OCTET}(?:\.{OCTET}){{3}}"


def _ipv6() -> str:
    group = "[0-9A-Fa-f]{1,4}"
    forms = [rf"(?:{group}:){{6}}(?:{group}:{group}|{IPV4})"]
    for before in range(8):  # groups before the `::`; at most seven stand beside it
        start = "" if before == 0 else rf"{group}(?::{group}){{{before - 1}}}"
        rest = 7 - before
        ends = [""]
        if rest >= 1:
            ends.append(rf"{group}(?::{group}){{0,{rest - 1}}}")
        if rest >= 2:
            ends.append(rf"(?:{group}:){{0,{rest - 2}}}{IPV4}")
        forms.append(rf"{start}::(?:{'|'.join(ends)})")
    return rf"(?:{'|'.join(forms)})"


IPV6 = _ipv6()
"""Without the zone that may follow (RFC 4007, section 11)."""
