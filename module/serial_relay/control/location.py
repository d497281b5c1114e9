"""Where the control sockets of this machine's modules stand, and which of them answer.

Each module's socket stands in the directory `serial-relay` where `local_sockets_posix` says; systemd's `RuntimeDirectory=`
goes before that. Only the module's user and root may speak to it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from serial_monitor import local_sockets_posix as local_sockets

_PROGRAM = "serial-relay"


class NotRunningError(Exception):
    """No module answers; the text says why, for people."""


def directory() -> Path:
    """Return the directory of the sockets for this user."""
    if service := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(service.partition(":")[0])
    return local_sockets.directory(_PROGRAM)


def own_socket() -> Path:
    """Return the path of this process's socket."""
    return directory() / local_sockets.name(_PROGRAM, os.getpid())


def socket_path(pid: int) -> Path:
    """Return the path of a process's socket."""
    return local_sockets.find(_directories(), _PROGRAM, pid)


def _directories() -> tuple[Path, ...]:
    return (directory(), *local_sockets.other_directories(_PROGRAM))


def own(path: Path) -> None:
    """Make a directory for sockets, or check the one that is there.

    Raises:
        OSError: it cannot be made, or another user could replace our socket by one of theirs.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{path} is not a directory in which this user alone may write; remove it")


def running() -> list[int]:
    """Return the ids of the processes whose sockets answer. The socket that a killed module left behind is removed."""
    return local_sockets.running(_directories(), _PROGRAM)


def chosen(pid: int | None) -> int:
    """Return the id of the process to ask: the one that is named, or the only one that runs.

    Raises:
        NotRunningError: there is none, or there are several.
    """
    if pid is not None:
        return pid
    match running():
        case []:
            raise NotRunningError(
                f"no serial_relay runs that this user may speak to (no socket in {' or '.join(map(str, _directories()))}); in a container run the"
                " command in that container, beside it as its user or as root"
            )
        case [only]:
            return only
        case [first, *_] as several:
            raise NotRunningError(f"{len(several)} serial_relays are running: say which with --pid {first}")
    raise AssertionError
