"""The number of the system's error decides what people are told, on Windows and on Linux."""

from __future__ import annotations

import errno
import os

import pytest
import serial

from serial_host.com_port.open_errors import why_not_open
from serial_host.line import LineSettings

LINE = LineSettings(baud_rate=9600)


def windows_says(number: int, posix: int, kind: str = "OSError") -> serial.SerialException:
    """Return pyserial's exception for an error of Windows, as serialwin32.py makes it."""
    error = f"{kind}({posix}, 'A text in the language of the system, with ''quotes''.', None, {number})"
    return serial.SerialException(f"could not open port 'COM9': {error}")


def configuring(number: int) -> serial.SerialException:
    """Return pyserial's exception for a refused SetCommState."""
    return serial.SerialException(
        f"Cannot configure port, something went wrong. Original message: OSError(22, 'x', None, {number})"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (windows_says(2, 2, "FileNotFoundError"), "COM9 is not there: plug the device in"),
        (windows_says(3, 2, "FileNotFoundError"), "COM9 is not there: plug the device in"),
        (windows_says(5, 13, "PermissionError"), "COM9 is in use by another program, or its driver refuses"),
        (windows_says(32, 13, "PermissionError"), "COM9 is in use by another program"),
        # Python has PermissionError for these two as well, and they have nothing to do with permission.
        (windows_says(31, 13, "PermissionError"), "COM9: the driver refuses these settings (9600 8N1)"),
        (configuring(31), "COM9: the driver refuses these settings (9600 8N1)"),
        (configuring(87), "COM9: the driver refuses these settings (9600 8N1)"),
        (windows_says(433, 22), "COM9 is not ready (yet)"),
        (windows_says(121, 22), "COM9 is not ready (yet)"),
        (windows_says(21, 13, "PermissionError"), "COM9 is not ready (yet)"),
        (windows_says(1167, 22), "COM9 is not there"),
        (windows_says(1450, 22), "COM9 cannot be opened: SerialException: could not open port"),
        (serial.SerialException(errno.ENOENT, "could not open port"), "COM9 is not there"),
        (serial.SerialException(errno.EBUSY, "could not open port"), "COM9 is in use by another program"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "COM9 may not be opened by this user"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "COM9 has no working hardware behind it"),
        (TypeError("an integer is required"), "COM9 cannot be opened: TypeError: an integer is required"),
        (RuntimeError(), "COM9 cannot be opened: RuntimeError"),
    ],
)
def test_an_error_is_put_into_words_by_its_number(error: Exception, message: str) -> None:
    text = why_not_open("COM9", LINE, error)
    assert text.startswith(message)
    assert len(text.splitlines()) == 1


def test_the_number_of_windows_is_kept_for_those_who_search_for_it() -> None:
    assert why_not_open("COM9", LINE, windows_says(433, 22)).endswith("(Windows error 433)")
