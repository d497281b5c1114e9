"""What the serial driver of Windows knows of a line: settings, modem lines, error counts.

pyserial calls `ClearCommError` for the number of waiting bytes, and drops the error flags that the same call returns and
clears. So this file makes that call in place of pyserial.
The structures DCB and COMSTAT are those of winbase.h.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import ctypes
import threading
from ctypes import wintypes

from serial_host.line import FlowControl, LineErrors, LineSettings, ModemLines, Parity

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

_CE_RXOVER = 0x0001
_CE_OVERRUN = 0x0002
_CE_RXPARITY = 0x0004
_CE_FRAME = 0x0008
_CE_BREAK = 0x0010

_MS_CTS_ON = 0x10
_MS_DSR_ON = 0x20
_MS_RING_ON = 0x40
_MS_RLSD_ON = 0x80

_DCB_OUTX_CTS_FLOW = 1 << 2
_DCB_OUTX_DSR_FLOW = 1 << 3
_DCB_OUTX = 1 << 8

_PARITIES = (Parity.NONE, Parity.ODD, Parity.EVEN, Parity.MARK, Parity.SPACE)
_STOP_BITS = (1, 1.5, 2)

_INVALID_HANDLE = -1


class _Dcb(ctypes.Structure):
    _fields_ = (
        ("length", wintypes.DWORD),
        ("baud_rate", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("reserved", wintypes.WORD),
        ("xon_limit", wintypes.WORD),
        ("xoff_limit", wintypes.WORD),
        ("byte_size", wintypes.BYTE),
        ("parity", wintypes.BYTE),
        ("stop_bits", wintypes.BYTE),
        ("characters", ctypes.c_char * 5),
        ("reserved1", wintypes.WORD),
    )


class _ComStat(ctypes.Structure):
    _fields_ = (("flags", wintypes.DWORD), ("received", wintypes.DWORD), ("unsent", wintypes.DWORD))


for _name, _argument in (
    ("GetCommState", ctypes.POINTER(_Dcb)),
    ("GetCommModemStatus", ctypes.POINTER(wintypes.DWORD)),
):
    getattr(_kernel32, _name).argtypes = (wintypes.HANDLE, _argument)
_kernel32.FlushFileBuffers.argtypes = (wintypes.HANDLE,)
_kernel32.ClearCommError.argtypes = (
    wintypes.HANDLE,
    ctypes.POINTER(wintypes.DWORD),
    ctypes.POINTER(_ComStat),
)


class Driver:
    """Asks the driver behind a handle, and counts the occasions on which it flagged an error."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._errors = LineErrors()

    def line(self) -> LineSettings:
        """Return the settings in force. Raises `OSError`."""
        dcb = _Dcb(length=ctypes.sizeof(_Dcb))
        if not _kernel32.GetCommState(self._handle, ctypes.byref(dcb)):
            raise ctypes.WinError(ctypes.get_last_error())
        flow_control = FlowControl.NONE
        if dcb.flags & _DCB_OUTX_CTS_FLOW:
            flow_control = FlowControl.RTS_CTS
        elif dcb.flags & _DCB_OUTX_DSR_FLOW:
            flow_control = FlowControl.DSR_DTR
        elif dcb.flags & _DCB_OUTX:
            flow_control = FlowControl.XON_XOFF
        return LineSettings(
            baud_rate=dcb.baud_rate,
            data_bits=dcb.byte_size,
            parity=_PARITIES[dcb.parity],
            stop_bits=_STOP_BITS[dcb.stop_bits],
            flow_control=flow_control,
        )

    def modem_lines(self) -> ModemLines:
        """Return the lines that the device drives. Raises `OSError`."""
        bits = wintypes.DWORD()
        if not _kernel32.GetCommModemStatus(self._handle, ctypes.byref(bits)):
            raise ctypes.WinError(ctypes.get_last_error())
        return ModemLines(
            cts=bool(bits.value & _MS_CTS_ON),
            dsr=bool(bits.value & _MS_DSR_ON),
            ri=bool(bits.value & _MS_RING_ON),
            cd=bool(bits.value & _MS_RLSD_ON),
        )

    def line_errors(self) -> LineErrors:
        """Return how often the driver has flagged each error since this object was made. Raises `OSError`."""
        self._look()
        return self._errors

    def received_waiting(self) -> int:
        """Return the number of received bytes that the driver holds. Raises `OSError`."""
        return int(self._look().received)

    def unsent_waiting(self) -> int:
        """Return the number of bytes that the driver holds for the device. Raises `OSError`."""
        return int(self._look().unsent)

    def wait_sent(self) -> None:
        """Wait until the buffer of the UART itself is empty, which no count includes. Raises `OSError`."""
        if not _kernel32.FlushFileBuffers(self._handle):
            raise ctypes.WinError(ctypes.get_last_error())

    def forget(self) -> None:
        """Do not use the handle any more: its number may soon belong to another file."""
        self._handle = _INVALID_HANDLE

    def _look(self) -> _ComStat:
        """Return the lengths of the queues, and count the error flags that the call clears. Raises `OSError`."""
        flags = wintypes.DWORD()
        state = _ComStat()
        if not _kernel32.ClearCommError(self._handle, ctypes.byref(flags), ctypes.byref(state)):
            raise ctypes.WinError(ctypes.get_last_error())
        if flags.value:
            with self._lock:
                before = self._errors
                self._errors = LineErrors(
                    overrun=before.overrun + bool(flags.value & (_CE_RXOVER | _CE_OVERRUN)),
                    parity=before.parity + bool(flags.value & _CE_RXPARITY),
                    framing=before.framing + bool(flags.value & _CE_FRAME),
                    breaks=before.breaks + bool(flags.value & _CE_BREAK),
                )
        return state
