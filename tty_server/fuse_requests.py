"""The kernel's side of CUSE: the structures of include/uapi/linux/fuse.h that occur on /dev/cuse. Pure.

One read of /dev/cuse is one request, one write is one answer. Only these requests were ever seen to arrive.
"""

from __future__ import annotations

import struct
from enum import IntEnum

BUFFER_SIZE = 8192
"""For one request; the kernel refuses a smaller buffer (FUSE_MIN_READ_BUFFER)."""

MOST_READ = 65536
"""Bytes that one READ request may ask for.

A READ that is answered with exactly so many bytes would be followed by another one that blocks, so this has to be more
than can ever be answered at once.
"""

MOST_WRITTEN = 4096
"""Bytes of one WRITE request; the kernel cuts longer writes into pieces."""

_MINOR_VERSION = 31
_UNRESTRICTED_IOCTL = 1
IOCTL_COMPAT = 1
"""Flag of an ioctl of a program with pointers of 32 bits."""
IOCTL_RETRY = 4
POLL_SCHEDULE_NOTIFY = 1
NOTIFY_POLL = 1


class Opcode(IntEnum):
    """What a request asks for."""

    OPEN = 14
    READ = 15
    WRITE = 16
    RELEASE = 18
    INTERRUPT = 36
    IOCTL = 39
    POLL = 40
    CUSE_INIT = 4096


IN_HEADER = struct.Struct("<IIQQIIIHH")
"""Length, opcode, number of the request, node, user, group, process, and two that mean nothing here."""
IN_HEADER_START = struct.Struct("<4xIQ")
"""Opcode and number of the request."""
OUT_HEADER = struct.Struct("<IiQ")
"""Length, an error's number below zero, number of the request."""

OPEN_IN = struct.Struct("<II")
OPEN_OUT = struct.Struct("<QII")
READ_IN = struct.Struct("<QQIIQII")
WRITE_IN = READ_IN
WRITE_OUT = struct.Struct("<II")
RELEASE_IN = struct.Struct("<QIIQ")
INTERRUPT_IN = struct.Struct("<Q")
IOCTL_IN = struct.Struct("<QIIQII")
IOCTL_OUT = struct.Struct("<iIII")
IOVEC = struct.Struct("<QQ")
POLL_IN = struct.Struct("<QQII")
POLL_OUT = struct.Struct("<II")
_NOTIFY = struct.Struct("<IiQQ")
_INIT_IN = struct.Struct("<IIII")
_INIT_OUT = struct.Struct("<8I40x")

DONE = IOCTL_OUT.pack(0, 0, 0, 0)
"""The answer to an ioctl that returns no data."""


def answer(unique: int, body: bytes) -> bytes:
    """Return the answer to a request."""
    return OUT_HEADER.pack(16 + len(body), 0, unique) + body


INTEGER = 4
"""Bytes of an integer."""
_INTEGER_ANSWER = struct.Struct("<IiQiIIII")


def integer_answer(unique: int, value: int) -> bytes:
    """Return the answer to an ioctl that gives one integer."""
    return _INTEGER_ANSWER.pack(36, 0, unique, 0, 0, 0, 0, value)


def failure(unique: int, error: int) -> bytes:
    """Return the answer that a request fails with `errno`."""
    return OUT_HEADER.pack(16, -error, unique)


def poll_notification(handle: int) -> bytes:
    """Return the message that wakes whoever polls an open file, known by its `kh`."""
    return _NOTIFY.pack(24, NOTIFY_POLL, 0, handle)


def retry(argument: int, in_size: int, out_size: int) -> bytes:
    """Return the answer that lets the kernel send an ioctl again with the data at its argument, and take data for it.

    With unrestricted ioctls every one of them comes without data first.
    """
    into = IOVEC.pack(argument, in_size) if in_size else b""
    out = IOVEC.pack(argument, out_size) if out_size else b""
    return IOCTL_OUT.pack(0, IOCTL_RETRY, bool(into), bool(out)) + into + out


def init_answer(body: bytes | memoryview, name: str, major: int, minor: int) -> bytes | None:
    """Return the body of the answer to CUSE_INIT, None for a kernel whose protocol is too old."""
    version, minor_version, _unused, _flags = _INIT_IN.unpack_from(body)
    if version != 7 or minor_version < 16:
        return None
    fields = _INIT_OUT.pack(
        7,
        min(minor_version, _MINOR_VERSION),
        0,
        _UNRESTRICTED_IOCTL,
        MOST_READ,
        MOST_WRITTEN,
        major,
        minor,
    )
    return fields + f"DEVNAME={name}\0".encode("ascii")
