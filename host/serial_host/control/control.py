r"""Lets `status` and `stop` talk to running servers of this computer, and to nobody else.

Each server has a channel named after its process: on Windows the pipe `\\.\pipe\serial-host-<pid>`, elsewhere the
socket `serial-host-<pid>.sock` in a directory that only its user may enter. Who may speak is thereby the operating
system's decision: the user who runs the server, and administrators or root.
A request is a line of JSON, and so is the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serial_host.plumbing.text import described, printable

if sys.platform == "win32":
    from serial_host.control import control_windows as channel
else:
    from serial_host.control import control_posix as channel

REQUEST_SIZE = 1024
"""The longest request in bytes; a longer one is not answered."""


class NotRunningError(Exception):
    """No server answers; the text is for people."""


@dataclass(frozen=True, slots=True)
class Commands:
    """What a server does when asked; called on the event loop's thread."""

    status: Callable[[], dict[str, Any]]
    stop: Callable[[], None]

    def answer(self, request: bytes) -> bytes:
        """Carry out a request and give the answer's line; never raises."""
        try:
            command = json.loads(request)["command"]
        except (ValueError, KeyError, TypeError, RecursionError):
            command = None
        try:
            if command == "status":
                answer: object = self.status()
            elif command == "stop":
                self.stop()
                answer = {"stopping": True}
            else:
                answer = {"error": "unknown command"}
            return json.dumps(answer).encode() + b"\n"
        except Exception as error:  # noqa: BLE001  # the channel answers whatever happens in the server
            return json.dumps({"error": described(error)}).encode() + b"\n"


async def serve(commands: Commands) -> None:
    """Answer until cancelled.

    Raises:
        OSError: the channel cannot be made.
    """
    await channel.serve(commands.answer, REQUEST_SIZE)


def running() -> list[int]:
    """Return the process ids of the servers whose channels this user can see."""
    return channel.running()


def is_running(pid: int) -> bool:
    """Return whether this server's channel is there."""
    return channel.is_running(pid)


def ask(pid: int, command: str) -> dict[str, Any]:
    """Send one command and wait for the answer.

    Raises:
        NotRunningError: the server does not answer, or this user may not speak to it.
    """
    try:
        answer = json.loads(channel.ask(pid, json.dumps({"command": command}).encode() + b"\n"))
    except PermissionError as error:
        raise NotRunningError(
            f"this user may not speak to the server (process {pid}); run the command as administrator"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise NotRunningError(f"the server (process {pid}) does not answer: {error}") from error
    if not isinstance(answer, dict):
        raise NotRunningError(
            f"the server (process {pid}) gives an answer that this version does not understand"
        )
    if "error" in answer:
        raise NotRunningError(f"the server (process {pid}) answers: {printable(answer['error'])}")
    return answer
