"""Sends a watcher's lines over a stream of asyncio until one side ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

STALL_SECONDS = 10.0
"""Seconds after which a watcher that takes nothing is disconnected."""


async def send(
    lines: AsyncGenerator[bytes, None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send lines until they end, the watcher leaves, or it takes nothing any more.

    It is not expected to send anything.
    """
    pump = asyncio.create_task(_pump(lines, writer))
    gone = asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pump.cancel()
        gone.cancel()
        await asyncio.gather(pump, gone, return_exceptions=True)


async def _pump(lines: AsyncGenerator[bytes, None], writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(lines):
        async for chunk in lines:
            writer.write(chunk)
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await writer.drain()
            except TimeoutError:
                writer.transport.abort()
                return
