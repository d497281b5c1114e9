"""Text of others (names, messages of the system, what clients send) in one line that cannot be mistaken for ours."""

from __future__ import annotations


def printable(text: object, longest: int = 300) -> str:
    """Return `str(text)` with everything that cannot be printed escaped, cut after `longest` characters."""
    shown = str(text)
    if len(shown) > longest:
        shown = shown[:longest] + "..."
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in shown
    )


def described(error: BaseException) -> str:
    """Say in one line what was raised: the system's own words where there are some, else the exception's class too."""
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    text = printable(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
