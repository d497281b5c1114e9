"""The error that ends a release with a message for the person who started it."""

from __future__ import annotations


class ReleaseError(Exception):
    """The release cannot be made. The text says why, and what to do next."""
