"""Shows text from outside, such as names and data of clients, in one line that cannot be mistaken for our own."""

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
    """Describe an exception in one line.

    That is the message of the system where there is one, and otherwise the exception's class and text.
    """
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    text = printable(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
