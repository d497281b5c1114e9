"""Reads and writes the handle of an open COM port with overlapped calls, as few of them as Windows needs for it.

pyserial's `read` asks the driver by `ClearCommError` each time, and so drops the error flags that this clears. Its `write` takes
the last error of the thread, whatever call it is of, for that of the write.
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

    @property
    def cancelled(self) -> bool:
        """Whether the last call was cancelled before its end."""
        return self._error == _ERROR_OPERATION_ABORTED

    def move(self, function: Callable[..., int], buffer: object, size: int) -> int:
        """Call `ReadFile` or `WriteFile`, wait for the end, and return how many bytes it has moved. To be cancelled is no error.

        Raises:
            OSError: it has failed.
        """
        self._error = 0
        if not function(self._handle, buffer, size, *self._arguments):
            self._error = ctypes.get_last_error()
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
    """The port of a `ThreadPump`. One thread reads, another one writes, and any may cancel."""

    def __init__(self, handle: int, read_size: int) -> None:
        """`read_size` is the limit in bytes of one `read`."""
        self._reading = _Transfer(handle)
        self._writing = _Transfer(handle)
        self._buffer = ctypes.create_string_buffer(read_size)

    def read(self, size: int) -> bytes:
        """See `thread_pump.BlockingPort`."""
        return ctypes.string_at(self._buffer, self._reading.move(_kernel32.ReadFile, self._buffer, size))

    def write(self, data: bytes) -> int:
        """See `thread_pump.BlockingPort`."""
        written = self._writing.move(_kernel32.WriteFile, data, len(data))
        if written < len(data) and not self._writing.cancelled:
            raise OSError(f"the driver has taken only {written} of {len(data)} bytes")
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
