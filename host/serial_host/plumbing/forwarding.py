"""A protocol that stands before another one and hands on what is not about received bytes."""

# ruff: noqa: D102  # the methods are documented where their type is: `asyncio.BufferedProtocol`

from __future__ import annotations

import asyncio


class Forwarding(asyncio.BufferedProtocol):
    """Hands every event but the received bytes to `behind`."""

    def __init__(self, behind: asyncio.BufferedProtocol) -> None:
        self._behind = behind

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    def eof_received(self) -> bool | None:
        return self._behind.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)
