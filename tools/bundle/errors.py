"""The error that ends a build with a message for the person who started it."""

from __future__ import annotations


class BuildError(Exception):
    """The bundle cannot be made. The text says why, and what to do next."""
