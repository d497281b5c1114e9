"""The control channel as a Unix domain socket."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

from serial_monitor import local_sockets_posix as local_sockets
from serial_monitor.sending import send

_ANSWER_SECONDS = 5.0
_PROGRAM = "serial-host"


def directory() -> Path:
    """Return the directory of the sockets for this user, see `local_sockets_posix`."""
    return local_sockets.directory(_PROGRAM)


async def serve(answer: Callable[[bytes], bytes | AsyncGenerator[bytes, None]], request_size: int) -> None:
    """Answer each connection's one request until cancelled. Raises `OSError`."""
    _own(directory())
    path = directory() / local_sockets.name(_PROGRAM, os.getpid())

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Not `wait_for`, which in Python 3.11 can swallow the cancellation that ends the server.
            async with asyncio.timeout(_ANSWER_SECONDS):
                answered = answer(await reader.readline())
                if isinstance(answered, bytes):
                    writer.write(answered)
                    await writer.drain()
            if not isinstance(answered, bytes):
                await send(answered, reader, writer)
        except TimeoutError:
            writer.transport.abort()  # a mere `close` waits until the client has taken the answer
        except (OSError, ValueError):
            pass  # it has left, or its request is too long
        writer.close()

    server = await asyncio.start_unix_server(connected, sock=local_sockets.listen(path), limit=request_size)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _own(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(f"{path} is not a directory that this user alone may enter; remove it")


def running() -> list[int]:
    """Return the ids of the processes that have a socket. The socket that a killed server left behind is removed."""
    return local_sockets.running(_directories(), _PROGRAM)


def is_running(pid: int) -> bool:
    """Return whether this process has a socket that answers."""
    return local_sockets.answers(_path(pid))


def _path(pid: int) -> Path:
    return local_sockets.find(_directories(), _PROGRAM, pid)


def _directories() -> tuple[Path, ...]:
    return (directory(), *local_sockets.other_directories(_PROGRAM))


def ask(pid: int, request: bytes) -> bytes:
    """Send a request and return the answer. Raises `OSError`."""
    with local_sockets.connect(_path(pid)) as connection, connection.makefile("rb") as answer:
        connection.sendall(request)
        return answer.readline()


def stream(pid: int, request: bytes) -> Iterator[bytes]:
    """Send a request and yield the lines of its answer until the server ends. Raises `OSError`."""
    with local_sockets.connect(_path(pid)) as connection, connection.makefile("rb") as lines:
        connection.sendall(request)
        connection.settimeout(None)
        yield from lines
