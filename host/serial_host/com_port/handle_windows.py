"""Reads and writes the handle of an open COM port with overlapped calls, as few of them as Windows needs for it.

pyserial's `read` and `write` ask the driver by `ClearCommError` each time, and so drop the error flags that this clears.
A write is begun here without waiting for its end, so the event loop can begin one.
The structure OVERLAPPED is that of minwinbase.h.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import ctypes
from collections.abc import Callable
from ctypes import wintypes

_ERROR_OPERATION_ABORTED = 995
_ERROR_IO_PENDING = 997
_ERROR_TIMEOUT = 1460
"""wine says this of a read that ends by a time-out without a byte, where Windows reports success and no bytes."""

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


_kernel32.CreateEventW.argtypes = (ctypes.c_void_p, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR)
_kernel32.CreateEventW.restype = wintypes.HANDLE
_kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
for _name in ("ReadFile", "WriteFile"):
    getattr(_kernel32, _name).argtypes = (
        wintypes.HANDLE,
        ctypes.c_char_p,
        wintypes.DWORD,
        ctypes.c_void_p,
        ctypes.c_void_p,
    )
_kernel32.GetOverlappedResult.argtypes = (wintypes.HANDLE, ctypes.c_void_p, ctypes.c_void_p, wintypes.BOOL)
_kernel32.CancelIoEx.argtypes = (wintypes.HANDLE, ctypes.c_void_p)


class _Transfer:
    """One direction of a handle: the call that is under way, or the last one."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._event = _kernel32.CreateEventW(None, True, False, None)
        if not self._event:
            raise ctypes.WinError(ctypes.get_last_error())
        self._overlapped = _Overlapped(event=self._event)
        self._size = wintypes.DWORD()
        self._arguments = (ctypes.byref(self._size), ctypes.byref(self._overlapped))
        self._error = 0
        self._buffer: object = None

    @property
    def cancelled(self) -> bool:
        """Whether the last call was cancelled before its end."""
        return self._error == _ERROR_OPERATION_ABORTED

    def start(self, function: Callable[..., int], buffer: object, size: int) -> bool:
        """Begin a call, which uses the buffer until `finish` returns; return whether it has succeeded already."""
        self._buffer = buffer
        self._error = 0
        if function(self._handle, buffer, size, *self._arguments):
            return True
        self._error = ctypes.get_last_error()
        return False

    def finish(self) -> int:
        """Wait for the end of the call, and return how many bytes it has moved. A cancelled one is no error.

        Raises:
            OSError: it has failed, or could not be begun.
        """
        if self._error == _ERROR_IO_PENDING:
            ended = _kernel32.GetOverlappedResult(self._handle, self._arguments[1], self._arguments[0], True)
            self._error = 0 if ended else ctypes.get_last_error()
        if self._error not in (0, _ERROR_OPERATION_ABORTED, _ERROR_TIMEOUT):
            raise ctypes.WinError(self._error)
        return self._size.value

    def cancel(self) -> None:
        """Cancel the call that is under way, if there is one."""
        _kernel32.CancelIoEx(self._handle, self._arguments[1])

    def close(self) -> None:
        """Give back what Windows has lent; no call may be under way."""
        _kernel32.CloseHandle(self._event)


class SerialHandle:
    """The port of a `ThreadPump`. One thread reads, one at a time writes, and any may cancel."""

    def __init__(self, handle: int, read_size: int) -> None:
        self._reading = _Transfer(handle)
        self._writing = _Transfer(handle)
        self._buffer = ctypes.create_string_buffer(read_size)
        self._to_write = 0

    def read(self, size: int) -> bytes:
        """See `thread_pump.BlockingPort`."""
        self._reading.start(_kernel32.ReadFile, self._buffer, size)
        return ctypes.string_at(self._buffer, self._reading.finish())

    def start_write(self, data: bytes) -> bool:
        """See `thread_pump.BlockingPort`."""
        self._to_write = len(data)
        return self._writing.start(_kernel32.WriteFile, data, len(data))

    def finish_write(self) -> int:
        """See `thread_pump.BlockingPort`."""
        written = self._writing.finish()
        if written < self._to_write and not self._writing.cancelled:
            raise OSError(f"the driver has taken only {written} of {self._to_write} bytes")
        return written

    def cancel_read(self) -> None:
        """See `thread_pump.BlockingPort`."""
        self._reading.cancel()

    def cancel_write(self) -> None:
        """See `thread_pump.BlockingPort`."""
        self._writing.cancel()

    def close(self) -> None:
        """Close all but the handle itself, which is the caller's."""
        self._reading.close()
        self._writing.close()
