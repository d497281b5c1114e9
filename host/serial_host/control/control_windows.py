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
from collections.abc import Callable
from ctypes import wintypes

_PREFIX = "\\\\.\\pipe\\"
_NAME = re.compile(r"serial-host-(\d+)")
_PIPE_REJECT_REMOTE_CLIENTS = 0x00000008
_FILE_FLAG_FIRST_PIPE_INSTANCE = 0x00080000
_BUFFER = 65536
_CONNECTED = 535
"""ERROR_PIPE_CONNECTED: the client came between making the pipe and waiting for it."""
_GONE = 232
"""ERROR_NO_DATA: it came, and went again."""
_BUSY_MILLISECONDS = 2000
_IDENTIFY_ONLY = 0x00110000
"""SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION: whoever made the pipe cannot act in the name of one who asks."""

_ACCESS = "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;OW)"
"""Protected, full access for LocalSystem, administrators and the owner (MS-DTYP 2.5.1, SDDL)."""

_SDDL_REVISION_1 = 1


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


async def serve(answer: Callable[[bytes], bytes], request_size: int) -> None:
    """Answer each connection's one request until cancelled. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    security = _security_attributes()
    pipe = _winapi.CreateNamedPipe(
        _path(os.getpid()),
        _winapi.PIPE_ACCESS_DUPLEX | _FILE_FLAG_FIRST_PIPE_INSTANCE,
        _winapi.PIPE_WAIT | _PIPE_REJECT_REMOTE_CLIENTS,
        1,
        _BUFFER,
        _BUFFER,
        0,
        ctypes.addressof(security),
    )

    async def on_loop(request: bytes) -> bytes:
        return answer(request)

    def talk() -> None:
        while True:
            try:
                _winapi.ConnectNamedPipe(pipe)
            except OSError as error:
                if error.winerror not in (_CONNECTED, _GONE):
                    return
            with contextlib.suppress(OSError, RuntimeError):
                request = b""
                while not request.endswith(b"\n") and len(request) < request_size:
                    request += _winapi.ReadFile(pipe, request_size)[0]
                text = asyncio.run_coroutine_threadsafe(on_loop(request), loop).result()
                _winapi.WriteFile(pipe, text)
                # The client closes its end when it has the answer; disconnecting earlier would take it away.
                _winapi.ReadFile(pipe, 1)
            _disconnect_pipe(pipe)

    # A daemon, because nothing but the end of the process wakes a thread that waits for a client.
    threading.Thread(target=talk, name="control", daemon=True).start()
    await loop.create_future()


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
    """Send a request and give the answer, after those who came before. Raises `OSError`."""
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
        answer = b""
        while not answer.endswith(b"\n"):
            answer += _winapi.ReadFile(pipe, _BUFFER)[0]
        return answer
    finally:
        _winapi.CloseHandle(pipe)
