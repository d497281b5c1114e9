"""The exception of a question that the operating system does not answer."""

from __future__ import annotations


class NotToldError(Exception):
    """The system does not answer; the text says why."""
