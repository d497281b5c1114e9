"""How a stranger's text and values are shown in messages and logs: one short line, without control characters. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MAX_SHOWN = 40
"""Characters of a stranger's text in a message."""


def shown(value: object) -> str:
    """Show what stands in a document, for a message: one short line, whatever the value is."""
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
    """Make a stranger's text fit for a message: no control characters, `length` characters before escaping."""
    characters = (
        character
        if character.isprintable() and character != "\\"
        else character.encode("unicode_escape").decode("ascii")
        for character in text[:length]
    )
    return "".join(characters) + ("…" if len(text) > length else "")
