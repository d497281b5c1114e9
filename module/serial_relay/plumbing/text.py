"""Shows text and values from outside in messages and logs: in one short line, without control characters. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MAX_SHOWN = 40
"""Limit in characters of text from outside in a message."""


def shown(value: object) -> str:
    """Return a value of a document as one short line for a message, whatever the value is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{escaped(value)}"'
        case int():
            return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
        case float():
            return str(value)
        case Mapping():
            return "an object"
        case list() | tuple():
            return "an array"
        case _:
            return escaped(type(value).__name__)


def escaped(text: str, length: int = MAX_SHOWN) -> str:
    """Return text from outside for a message.

    It is cut to `length` characters, and then its control characters are escaped.
    """
    characters = (
        character
        if character.isprintable() and character != "\\"
        else character.encode("unicode_escape").decode("ascii")
        for character in text[:length]
    )
    return "".join(characters) + ("…" if len(text) > length else "")
