"""Sends requests to a running module over its control socket. The calls block; commands make them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serial_monitor import local_sockets_posix as local_sockets
from serial_relay.control import location
from serial_relay.control.location import NotRunningError

ANSWER_SECONDS = 30.0
"""Seconds to wait for an answer; a break of 5 s and the host's answer to it take less."""


class RefusedError(Exception):
    """The module refused the request; the text is the module's reason."""


def ask(pid: int, method: str, payload: object = None) -> dict[str, Any]:
    """Call a method of a running module and return its answer.

    Raises:
        NotRunningError: the module does not answer, or this user may not speak to it.
        RefusedError: it refused.
    """
    with _explained(pid), local_sockets.connect(location.socket_path(pid)) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(json.dumps({"method": method, "payload": payload}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            return _content(pid, lines.readline())


def stream(pid: int, method: str, payload: object = None) -> Iterator[bytes]:
    """Call a method whose answer is a stream, and yield its lines until the module ends it.

    Raises:
        NotRunningError, RefusedError: as `ask` does.
    """
    with _explained(pid), local_sockets.connect(location.socket_path(pid)) as connection:
        connection.settimeout(None)
        connection.sendall(json.dumps({"method": method, "payload": payload}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            _content(pid, lines.readline())
            yield from lines


@contextmanager
def _explained(pid: int) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise NotRunningError(
            f"this user may not speak to the module (process {pid}); run the command as its user or as root"
        ) from error
    except FileNotFoundError as error:
        raise NotRunningError(f"there is no serial_relay with the process id {pid}") from error
    except OSError as error:
        raise NotRunningError(f"the module (process {pid}) does not answer: {error}") from error


def _content(pid: int, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
        status, content = answer["status"], answer["payload"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotRunningError(f"the module (process {pid}) does not answer: {error}") from error
    if not isinstance(content, dict):
        raise NotRunningError(
            f"the module (process {pid}) returned an answer that this version does not understand"
        )
    if status >= 400:
        raise RefusedError(str(content.get("error")))
    return content
