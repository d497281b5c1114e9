"""Explains in one line why a COM port cannot be opened, and what a person can do about it.

The error number of the system decides, never the class of the exception: Python has one class for several numbers, and
pyserial hides Windows' number in the text of its own exception, as in
`could not open port 'COM9': PermissionError(13, 'Access is denied.', None, 5)`.
"""

from __future__ import annotations

import errno
import re

from serial_host.line import LineSettings
from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import described

_HIDDEN_WINDOWS_NUMBER = re.compile(r"Error\(.*, None, (\d+)\)")

_NOT_THERE = "{device} is not there: plug the device in, or see '{program} list' for the ports that are there"
_IN_USE = "{device} is in use by another program, or its driver refuses to open it: close that program; it is tried again"
_REFUSED_SETTINGS = "{device}: the driver refuses these settings ({line}): try others, or update the driver"
_NOT_READY = (
    "{device} is not ready (yet): the device starts, is switched off or is out of reach; it is tried again"
)
_NOT_ALLOWED = (
    "{device} may not be opened by this user: add the user to the group of the device, or run as root"
)
_NO_HARDWARE = "{device} has no working hardware behind it: choose another port, or plug the device in again"

# https://learn.microsoft.com/windows/win32/debug/system-error-codes
_WINDOWS = {
    2: _NOT_THERE,  # ERROR_FILE_NOT_FOUND
    3: _NOT_THERE,  # ERROR_PATH_NOT_FOUND
    5: _IN_USE,  # ERROR_ACCESS_DENIED
    21: _NOT_READY,  # ERROR_NOT_READY
    31: _REFUSED_SETTINGS,  # ERROR_GEN_FAILURE: usbser and CH340 answer SetCommState so
    32: _IN_USE,  # ERROR_SHARING_VIOLATION
    87: _REFUSED_SETTINGS,  # ERROR_INVALID_PARAMETER
    121: _NOT_READY,  # ERROR_SEM_TIMEOUT: Bluetooth out of reach, an adapter that still starts
    170: _IN_USE,  # ERROR_BUSY
    433: _NOT_READY,  # ERROR_NO_SUCH_DEVICE: an adapter that Windows still sets up
    1167: _NOT_THERE,  # ERROR_DEVICE_NOT_CONNECTED
}

_POSIX = {
    errno.ENOENT: _NOT_THERE,
    errno.ENODEV: _NOT_THERE,
    errno.ENXIO: _NOT_THERE,
    errno.EAGAIN: _IN_USE,
    errno.EBUSY: _IN_USE,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EIO: _NO_HARDWARE,
}


def why_not_open(device: str, line: LineSettings, error: BaseException) -> str:
    """Return the message for an error that pyserial or the system raised while it opened `device` with `line`."""
    windows = _windows_number(error)
    message = _WINDOWS.get(windows) if windows is not None else _POSIX.get(_posix_number(error))
    if message is None:
        return f"{device} cannot be opened: {described(error)}"
    text = message.format(device=device, line=line, program=PROGRAM)
    return text if windows is None else f"{text} (Windows error {windows})"


def _windows_number(error: BaseException) -> int | None:
    number = getattr(error, "winerror", None)
    if isinstance(number, int):
        return number
    hidden = _HIDDEN_WINDOWS_NUMBER.search(str(error))
    return None if hidden is None else int(hidden[1])


def _posix_number(error: BaseException) -> int:
    number = error.args[0] if error.args else 0  # termios.error has no attribute `errno`
    return number if isinstance(number, int) else 0
