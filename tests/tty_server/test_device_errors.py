"""Why there is no device, in words."""

from __future__ import annotations

import errno

import pytest

from tty_server.device_errors import explain


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.ENOENT, "modprobe cuse"),
        (errno.EPERM, 'device rule "c 10:203 rwm"'),
        (errno.EACCES, "run as root"),
        (errno.ENODEV, "without it"),
    ],
)
def test_why_there_is_no_device_is_said_with_what_to_do(error: int, said: str) -> None:
    assert said in str(explain(OSError(error, "")))
