"""What the checks of the configuration file accept, as patterns for its JSON Schema (ECMA-262, and Python's `re` alike)."""

from __future__ import annotations

from typing import Any

from serial_monitor.address_patterns import IPV4, IPV6

_END = r"$(?!\n)"  # Python's `$` alone also matches before a last line feed

# Controls, the blanks (but the ordinary one) and joiners of Unicode, surrogates and private use.
_UNPRINTABLE = r"\u0000-\u001f\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb"

TEXT_PATTERN = rf"^(?! )[^{_UNPRINTABLE}]+(?<! ){_END}"
"""Something that can be printed, without blanks at its ends."""

USB_NUMBER_PATTERN = rf"^(?:0[xX])?[0-9a-fA-F]{{1,4}}{_END}"

FINGERPRINT_PATTERN = (
    rf"^(?:[sS][hH][aA]256:)?(?:[0-9a-fA-F]{{64}}|[0-9a-fA-F]{{2}}(?::[0-9a-fA-F]{{2}}){{31}}){_END}"
)
MODULE_PATTERN = rf"^[^/\n]+/[^/\n]+{_END}"


def _network_pattern() -> str:
    masks = [".".join(map(str, (2**32 - 2 ** (32 - bits)).to_bytes(4, "big"))) for bits in range(33)]
    masks += [".".join(map(str, (2 ** (32 - bits) - 1).to_bytes(4, "big"))) for bits in range(33)]
    mask = "|".join(dict.fromkeys(each.replace(".", r"\.") for each in masks))
    # A length may have zeros in front, as Python reads it.
    ipv4_length = rf"(?:0*(?:3[0-2]|[12]?[0-9])|{mask})"
    ipv6_length = "0*(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])"
    scope = "(?:%[^%/\\n]+)?"
    return rf"^(?:{IPV4}(?:/{ipv4_length})?|{IPV6}{scope}(?:/{ipv6_length})?){_END}"


NETWORK_PATTERN = _network_pattern()
"""An address or a network of version 4 or 6, as `ipaddress.ip_network(…, strict=False)` reads it."""


def one_or_several(item: dict[str, Any], *, least: int = 0) -> dict[str, Any]:
    """Return the schema of a value, or of a list of at least so many values."""
    return {"anyOf": [item, {"type": "array", "items": item} | ({"minItems": least} if least else {})]}
