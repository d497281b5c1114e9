r"""The control channel as a named pipe that refuses other computers.

It is open to the account that runs the server, to LocalSystem and to administrators. Windows' default would let
everybody open it for reading, and so keep its one end busy.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("only for Windows")

import _winapi
import asyncio
import contextlib
import ctypes
import os
import re
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from ctypes import wintypes
from typing import TypeVar

_PREFIX = "\\\\.\\pipe\\"
_NAME = re.compile(r"serial-host-(\d+)")
_PIPE_REJECT_REMOTE_CLIENTS = 0x00000008
_FILE_FLAG_FIRST_PIPE_INSTANCE = 0x00080000
_BUFFER = 65536
_BROKEN = 109
"""ERROR_BROKEN_PIPE: the server has ended."""
_MOST_CLIENTS = 24
"""Limit of the clients that are served at the same time; further ones wait."""
_CONNECTED = 535
"""ERROR_PIPE_CONNECTED: the client came between making the pipe and waiting for it."""
_GONE = 232
"""ERROR_NO_DATA: the client came, and has left again."""
_BUSY_MILLISECONDS = 2000
_IDENTIFY_ONLY = 0x00110000
"""SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION: the owner of the pipe cannot impersonate a client."""

_ACCESS = "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;OW)"
"""Protected, full access for LocalSystem, administrators and the owner (MS-DTYP 2.5.1, SDDL)."""

_SDDL_REVISION_1 = 1


_Result = TypeVar("_Result")


class _SecurityAttributes(ctypes.Structure):
    _fields_ = (("length", wintypes.DWORD), ("descriptor", ctypes.c_void_p), ("inherit", wintypes.BOOL))


_convert_descriptor = ctypes.WinDLL(
    "advapi32", use_last_error=True
).ConvertStringSecurityDescriptorToSecurityDescriptorW
_convert_descriptor.argtypes = (
    wintypes.LPCWSTR,
    wintypes.DWORD,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)
_disconnect_pipe = ctypes.WinDLL("kernel32").DisconnectNamedPipe
_disconnect_pipe.argtypes = (wintypes.HANDLE,)


def _path(pid: int) -> str:
    return f"{_PREFIX}serial-host-{pid}"


async def serve(answer: Callable[[bytes], bytes | AsyncGenerator[bytes, None]], request_size: int) -> None:
    """Answer each connection's one request until cancelled. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    server = _PipeServer(loop, answer, request_size)
    first = server.make_pipe(first=True)
    # The threads are daemons, because only the end of the process wakes a thread that waits for a client.
    threading.Thread(target=server.accept, args=(first,), name="control", daemon=True).start()
    await loop.create_future()


class _PipeServer:
    """Has one thread that waits for the next client, and one for each client that is connected."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[bytes], bytes | AsyncGenerator[bytes, None]],
        request_size: int,
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._request_size = request_size
        self._security = _security_attributes()
        self._places = threading.Semaphore(_MOST_CLIENTS)

    def make_pipe(self, *, first: bool) -> int:
        """Return a pipe's end for one client; the first one fails if somebody else has the name."""
        return _winapi.CreateNamedPipe(
            _path(os.getpid()),
            _winapi.PIPE_ACCESS_DUPLEX | (_FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0),
            _winapi.PIPE_WAIT | _PIPE_REJECT_REMOTE_CLIENTS,
            _winapi.PIPE_UNLIMITED_INSTANCES,
            _BUFFER,
            _BUFFER,
            0,
            ctypes.addressof(self._security),
        )

    def accept(self, pipe: int) -> None:
        """Wait for clients, the first one at `pipe`, and leave each to a thread of its own."""
        while True:
            try:
                _winapi.ConnectNamedPipe(pipe)
            except OSError as error:
                if error.winerror not in (_CONNECTED, _GONE):
                    return
            # The next end is made before this client can leave: without any end the name would be free for anybody.
            following = self.make_pipe(first=False)
            self._places.acquire()
            threading.Thread(target=self._talk, args=(pipe,), name="control client", daemon=True).start()
            pipe = following

    def _talk(self, pipe: int) -> None:
        try:
            with contextlib.suppress(OSError, RuntimeError):
                request = b""
                while not request.endswith(b"\n") and len(request) < self._request_size:
                    request += _winapi.ReadFile(pipe, self._request_size)[0]
                answered = self._on_loop(self._answered(request))
                if isinstance(answered, bytes):
                    _winapi.WriteFile(pipe, answered)
                    # The client closes its end when it has the answer; disconnecting earlier would take it away.
                    _winapi.ReadFile(pipe, 1)
                else:
                    self._send(pipe, answered)
        finally:
            _disconnect_pipe(pipe)
            _winapi.CloseHandle(pipe)
            self._places.release()

    def _send(self, pipe: int, lines: AsyncGenerator[bytes, None]) -> None:
        """Write lines until they end or the client leaves, which shows at the next write."""
        try:
            while (chunk := self._on_loop(_next(lines))) is not None:
                _winapi.WriteFile(pipe, chunk)
        finally:
            self._on_loop(_close(lines))

    async def _answered(self, request: bytes) -> bytes | AsyncGenerator[bytes, None]:
        return self._answer(request)

    def _on_loop(self, work: Coroutine[None, None, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _next(lines: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(lines, None)


async def _close(lines: AsyncGenerator[bytes, None]) -> None:
    await lines.aclose()


def _security_attributes() -> _SecurityAttributes:
    """Return the structure for `_ACCESS`; its descriptor is never freed, as there is one for each process."""
    descriptor = ctypes.c_void_p()
    if not _convert_descriptor(_ACCESS, _SDDL_REVISION_1, ctypes.byref(descriptor), None):
        raise ctypes.WinError(ctypes.get_last_error())
    return _SecurityAttributes(ctypes.sizeof(_SecurityAttributes), descriptor, inherit=False)


def running() -> list[int]:
    """Return the process ids that have a pipe."""
    matches = (_NAME.fullmatch(name) for name in os.listdir(_PREFIX))  # noqa: PTH208  # no path: pathlib normalises it
    return sorted(int(match[1]) for match in matches if match)


def is_running(pid: int) -> bool:
    """Return whether this process has a pipe."""
    try:
        _winapi.WaitNamedPipe(_path(pid), 1)
    except FileNotFoundError:
        return False
    except OSError:  # busy with another client
        return True
    return True


def ask(pid: int, request: bytes) -> bytes:
    """Send a request and return the answer, which comes after those to earlier requests. Raises `OSError`."""
    return next(stream(pid, request), b"")


def stream(pid: int, request: bytes) -> Iterator[bytes]:
    """Send a request and yield the lines of its answer until the server ends. Raises `OSError`."""
    _winapi.WaitNamedPipe(_path(pid), _BUSY_MILLISECONDS)
    pipe = _winapi.CreateFile(
        _path(pid),
        _winapi.GENERIC_READ | _winapi.GENERIC_WRITE,
        0,
        _winapi.NULL,
        _winapi.OPEN_EXISTING,
        _IDENTIFY_ONLY,
        _winapi.NULL,
    )
    try:
        _winapi.WriteFile(pipe, request)
        rest = b""
        while True:
            try:
                rest += _winapi.ReadFile(pipe, _BUFFER)[0]
            except OSError as error:
                if error.winerror == _BROKEN:
                    return
                raise
            *lines, rest = rest.split(b"\n")
            yield from (line + b"\n" for line in lines)
    finally:
        _winapi.CloseHandle(pipe)
