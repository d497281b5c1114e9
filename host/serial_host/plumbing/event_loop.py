"""The event loop of the server: uvloop on Linux, because each byte costs less there; asyncio's own on Windows."""

from __future__ import annotations

import asyncio
import sys

if sys.platform == "win32":
    from serial_host.plumbing.event_loop_windows import WindowsEventLoop
else:
    import uvloop


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop. uvloop does not exist for Windows, where asyncio's proactor takes its place."""
    if sys.platform == "win32":
        return WindowsEventLoop()
    return uvloop.new_event_loop()
