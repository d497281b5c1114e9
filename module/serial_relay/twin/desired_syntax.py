"""How single values of the desired properties are written, and how they are shown back to people.

The checks raise `ValueError` for what they refuse; its text, if any, says what is probably meant instead. Beside each
stands a pattern that says the same in the language of JSON Schema (ECMA-262, as far as Python's `re` agrees with it).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

from serial_monitor.address_patterns import IPV4, IPV6
from serial_relay.twin.limits import MAX_NAME_BYTES

_MAX_HOST_LENGTH = 253  # RFC 1035, 2.3.4, without the root's dot
_RESERVED_LINK = "serial-relay"

_END = r"$(?!\n)"  # Python's `$` alone also matches before a last line feed

# Characters that are not printable, as ranges: controls, the blanks and joiners of Unicode, surrogates, private use.
_UNPRINTABLE = r"\u0000-\u0020\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb"

NAME_PATTERN = rf"^[^{_UNPRINTABLE}.#$]{{1,64}}{_END}"
"""A port's name. What a pattern cannot say: the limit is 64 bytes of UTF-8, and Unicode has unassigned characters."""

LINK_PATTERN = rf"^(?!(?:/dev/)?{_RESERVED_LINK}{_END})(?:/dev/)?(?!\.)[^{_UNPRINTABLE}/]{{1,64}}{_END}"
"""A link, with the limits of `NAME_PATTERN`."""

MODE_PATTERN = rf"^0?[0-7]{{3}}{_END}"


def _host_pattern() -> str:
    ipv4 = rf"(?!0\.0\.0\.0{_END}|22[4-9]\.|23[0-9]\.){IPV4}"
    ipv6 = rf"(?![0:.]+(?:%|{_END}))(?![Ff]{{2}}[0-9A-Fa-f]{{2}}:){IPV6}(?:%[A-Za-z0-9_.-]{{1,15}})?"
    label = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    name = (
        rf"(?=[^\n]{{1,{_MAX_HOST_LENGTH}}}\.?{_END})(?!(?:[^\n]*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?{_END})"
        rf"{label}(?:\.{label})*\.?"
    )
    return rf"^(?:{ipv4}|{ipv6}|{name}){_END}"


HOST_PATTERN = _host_pattern()


def whole_number(value: object) -> object:
    """Return 5002 for 5002.0: JSON has one type of number (RFC 8259, section 6). Other values stay as they are."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def invisible(text: str) -> str | None:
    """Return the name of a character that people do not see in a text, at its ends or anywhere.

    It is None if there is no such character.
    """
    if text != text.strip(" "):
        return "the blank at its beginning" if text.startswith(" ") else "the blank at its end"
    for character in text:
        if character != " " and unicodedata.category(character) in {"Cf", "Zs"}:
            return f"the invisible character U+{ord(character):04X}"
    return None


def check_host(value: str) -> str:
    """Accept an IP address or a host name, both as the resolver takes them."""
    if "://" in value:
        raise ValueError("only the host, no URL; the port stands in `tcpPort`")
    if value.startswith("["):
        raise ValueError("an IPv6 address stands without brackets, the port in `tcpPort`")
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        pass
    else:
        scope = value.partition("%")[2]
        if not re.fullmatch(r"[A-Za-z0-9_.-]{0,15}", scope):  # an interface's name, IFNAMSIZ - 1
            raise ValueError("an interface's name follows the '%'")
        # The versions of Python judge an IPv4 address that is mapped into IPv6 differently, so it is not checked further.
        mapped = address.version == 6 and address.ipv4_mapped is not None
        if not mapped and (address.is_unspecified or address.is_multicast):
            raise ValueError("nothing can be reached at this address")
        return value
    if re.fullmatch(r"[^:]+:\d+", value):
        raise ValueError("without the port, which stands in `tcpPort`")
    # RFC 1123, 2.1: labels of letters, digits and hyphens. Underscores too, because Windows computer names have them.
    name = value.removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_HOST_LENGTH or not all(
        re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", label) for label in labels
    ):
        raise ValueError
    # The resolver reads such names as numbers in the manner of inet_aton(3): 172.18.246 is 172.18.0.246.
    if re.fullmatch(r"\d+|0[xX][0-9A-Fa-f]*", labels[-1]):
        raise ValueError("an IPv4 address has four numbers, 0-255, without leading zeros")
    return value


def check_link(value: str) -> str:
    """Accept a name directly below /dev, with or without that prefix, and return it without."""
    name = value.removeprefix("/dev/")
    if "/" in name:
        raise ValueError("directly below /dev, in no other directory")
    if name.startswith(".") or " " in name or not fits(name):
        raise ValueError
    if name == _RESERVED_LINK:
        raise ValueError("the relay itself uses this name")
    return name


def check_mode(value: object) -> int:
    """Accept permissions as an octal string, without set-user-ID and the like, and return the number."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError
    return int(value, 8)


def fits(name: str) -> bool:
    """Return whether a name is printable and short enough for a port or a link."""
    return name.isprintable() and 1 <= len(name.encode()) <= MAX_NAME_BYTES
