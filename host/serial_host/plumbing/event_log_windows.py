"""Writes to Windows' event log under the source that the installer has registered."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import ctypes
import logging
import winreg
from ctypes import wintypes

from serial_host.plumbing.event_log import Event

SOURCE = "SerialHost"
KEY = rf"SYSTEM\CurrentControlSet\Services\EventLog\Application\{SOURCE}"

LONGEST = 30_000
"""Characters of a text; ReportEventW takes 31,839."""

_ERROR, _WARNING, _INFORMATION = 1, 2, 4

_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_register = _advapi32.RegisterEventSourceW
_register.argtypes, _register.restype = [wintypes.LPCWSTR, wintypes.LPCWSTR], wintypes.HANDLE
_report = _advapi32.ReportEventW
_report.argtypes = [
    *(wintypes.HANDLE, wintypes.WORD, wintypes.WORD, wintypes.DWORD, wintypes.LPVOID, wintypes.WORD),
    *(wintypes.DWORD, ctypes.POINTER(wintypes.LPCWSTR), wintypes.LPVOID),
]
_report.restype = wintypes.BOOL
_deregister = _advapi32.DeregisterEventSource
_deregister.argtypes = [wintypes.HANDLE]


def is_registered(root: int = winreg.HKEY_LOCAL_MACHINE, path: str = KEY) -> bool:
    """Return whether the installer has registered the source; a trial run on another computer writes no events."""
    try:
        with winreg.OpenKey(root, path):
            return True
    except OSError:
        return False


def report(event: Event, level: int, text: str) -> None:
    """Write an event.

    Raises:
        OSError: Windows did not accept the event.
    """
    kind = _ERROR if level >= logging.ERROR else _WARNING if level >= logging.WARNING else _INFORMATION
    handle = _register(None, SOURCE)
    if not handle:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        texts = (wintypes.LPCWSTR * 1)(text[:LONGEST])
        if not _report(handle, kind, 0, int(event), None, 1, 0, texts, None):
            raise ctypes.WinError(ctypes.get_last_error())
    finally:
        _deregister(handle)
