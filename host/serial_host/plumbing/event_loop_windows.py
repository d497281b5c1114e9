"""asyncio's event loop of Windows, which another thread wakes by a message to its completion port.

asyncio itself sends a byte through a pair of TCP sockets for that, and receives it by the completion port: with every
byte of a COM port, whose reader is a thread. The names with an underscore are asyncio's, the same in CPython 3.11 to 3.14.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import asyncio
import ctypes
from ctypes import wintypes

_NOTHING_FINISHED = 1
"""The message has to name a finished call. At this address there is none, so asyncio drops the message when it has woken."""

_kernel32 = ctypes.WinDLL("kernel32")
_kernel32.PostQueuedCompletionStatus.argtypes = (
    wintypes.HANDLE,
    wintypes.DWORD,
    ctypes.c_size_t,
    ctypes.c_void_p,
)


class WindowsEventLoop(asyncio.ProactorEventLoop):  # type: ignore[name-defined,misc]  # where mypy runs it is not
    """The proactor, woken as said above; in its debug mode as by asyncio itself, since it would complain there."""

    def _write_to_self(self) -> None:
        port = getattr(self._proactor, "_iocp", None)
        if self.get_debug() or not (
            port and _kernel32.PostQueuedCompletionStatus(port, 0, 0, _NOTHING_FINISHED)
        ):
            super()._write_to_self()
