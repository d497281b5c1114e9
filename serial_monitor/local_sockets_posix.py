"""The Unix sockets of running programs, by which the commands of the same machine reach them.

Each program has a directory for its sockets below `XDG_RUNTIME_DIR`; without that, below /run for root and below the
temporary directory for others. A socket is named after its process, so that several never take each other's.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

CONNECT_SECONDS = 5.0

_SYSTEM = Path("/run")
"""Where services have their directories (Filesystem Hierarchy Standard 3.0, section 3.15)."""


def directory(program: str) -> Path:
    """Return the directory for the sockets of a program of this user."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / program
    if os.geteuid() == 0:
        return _SYSTEM / program
    return Path(tempfile.gettempdir()) / f"{program}-{os.geteuid()}"


def other_directories(program: str) -> Sequence[Path]:
    """Return where commands of this user look besides `directory`.

    In a session of root `XDG_RUNTIME_DIR` is that of the session, /run/user/0 (pam_systemd(8)), or after `su` that of
    another user, while the services of root have their sockets below /run. Whoever sets another directory wants that alone.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0 and runtime and Path(runtime).parent == _SYSTEM / "user":
        return (_SYSTEM / program,)
    return ()


def name(program: str, pid: int) -> str:
    """Return the file name of a process's socket."""
    return f"{program}-{pid}.sock"


def running(directories: Sequence[Path], program: str) -> list[int]:
    """Return the ids of the processes of a program whose sockets in some directories answer.

    The socket that a killed process left behind is removed.
    """
    pattern = re.compile(rf"{re.escape(program)}-(\d+)\.sock")
    found = set()
    for place in directories:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            for path in place.iterdir():
                match = pattern.fullmatch(path.name)
                if match is not None and answers(path):
                    found.add(int(match[1]))
    return sorted(found)


def find(directories: Sequence[Path], program: str, pid: int) -> Path:
    """Return the path of a process's socket in the first directory that has it, or else in the first directory."""
    paths = [place / name(program, pid) for place in directories]
    return next((path for path in paths if path.exists()), paths[0])


def listen(path: Path) -> socket.socket:
    """Return a socket that listens at a path, where only this user and root may connect.

    It gets its name when it listens: before that it would be taken for what a killed process left behind.

    Raises:
        OSError: it cannot be made there.
    """
    nameless = path.with_suffix(".new")
    nameless.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(nameless))
        # Nobody can connect before `listen`, so there is no moment at which others could.
        nameless.chmod(0o600)
        listener.listen()
        nameless.rename(path)
    except BaseException:
        listener.close()
        nameless.unlink(missing_ok=True)
        raise
    return listener


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
