"""Ends the server cleanly when its console window is closed or Windows shuts down.

Python turns Ctrl-C and Ctrl-Break into signals. It leaves these two events to Windows, which ends the process as soon as
the handler returns. CTRL_LOGOFF_EVENT is not handled: it is sent only to processes outside the session of a user, such as
the start-up task, and whenever any user logs off.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from ctypes import wintypes

_CLOSE, _SHUTDOWN = 2, 6
_GRACE_SECONDS = 4.5
"""Windows ends the process 5 s after the event, whatever the handler does."""

_Handler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
_set_handler = ctypes.WinDLL("kernel32", use_last_error=True).SetConsoleCtrlHandler


@contextlib.contextmanager
def closing_handled(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` from another thread on such an event, and delay the end of the process until the block is left."""
    left = threading.Event()

    def handle(event: int) -> bool:
        if event not in (_CLOSE, _SHUTDOWN):
            return False
        stop()
        left.wait(_GRACE_SECONDS)
        return True

    handler = _Handler(handle)
    _set_handler(handler, True)
    try:
        yield
    finally:
        left.set()
        _set_handler(handler, False)
