"""The Unix sockets of running programs, by which the commands of the same machine reach them."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import re
import socket
from pathlib import Path

CONNECT_SECONDS = 5.0


def running(directory: Path, name: re.Pattern[str]) -> list[int]:
    """Return the ids of the processes whose sockets in a directory answer.

    `name` matches the file name of a socket, and its first group is the process id. The socket that a killed process left
    behind is removed.
    """
    found = []
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for path in sorted(directory.iterdir()):
            match = name.fullmatch(path.name)
            if match is not None and answers(path):
                found.append(int(match[1]))
    return found


def answers(path: Path) -> bool:
    """Return whether a process listens at the socket; remove the socket if its process was killed."""
    try:
        connect(path).close()
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return False
    except OSError:
        return False
    return True


def connect(path: Path) -> socket.socket:
    """Return a connection to the socket, whose calls take `CONNECT_SECONDS` at most. Raises `OSError`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection
