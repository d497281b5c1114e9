r"""Lets `status` and `stop` talk to running servers of this computer, and to nobody else.

Each server has a channel named after its process: on Windows the pipe `\\.\pipe\serial-host-<pid>`, elsewhere the
socket `serial-host-<pid>.sock` in a directory that only its user may enter. Who may speak is thereby the operating
system's decision: the user who runs the server, and administrators or root.
A request is a line of JSON, and so is the answer. After the answer to `monitor` lines of traffic follow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serial_host.plumbing.text import described, printable
from serial_monitor.watchers import WatchRefusedError

if sys.platform == "win32":
    from serial_host.control import control_windows as channel
else:
    from serial_host.control import control_posix as channel

REQUEST_SIZE = 1024
"""The longest request in bytes; a longer one is not answered."""


class NotRunningError(Exception):
    """No server answers. The text is for people."""


@dataclass(frozen=True, slots=True)
class Commands:
    """What a server does when asked; called on the event loop's thread."""

    status: Callable[[], dict[str, Any]]
    stop: Callable[[], None]
    monitor: Callable[[object], AsyncGenerator[bytes, None]]
    """Yields lines of traffic of one port, or of all ports for None; an exception before the first line is the
    answer."""
    more: Mapping[str, Callable[[Mapping[str, Any]], object]] = field(default_factory=dict)
    """Other commands by name; each takes the request, whose values are unchecked."""

    def answer(self, request: bytes) -> bytes | AsyncGenerator[bytes, None]:
        """Carry out a request, and return the line of the answer or a generator of lines. Never raises."""
        try:
            asked = json.loads(request)
            command = asked["command"]
            if command == "monitor":
                return self._stream(asked.get("port"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            asked, command = {}, None
        try:
            if command == "status":
                answer: object = self.status()
            elif command == "stop":
                self.stop()
                answer = {"stopping": True}
            elif isinstance(command, str) and command in self.more:
                answer = self.more[command](asked)
            else:
                answer = {"error": "unknown command"}
            return json.dumps(answer).encode() + b"\n"
        except Exception as error:  # noqa: BLE001  # the channel answers whatever happens in the server
            return json.dumps({"error": described(error)}).encode() + b"\n"

    async def _stream(self, port: object) -> AsyncGenerator[bytes, None]:
        lines = self.monitor(port)
        try:
            first = await anext(lines)
        except WatchRefusedError as error:
            yield json.dumps({"error": str(error)}).encode() + b"\n"
            return
        except Exception as error:  # noqa: BLE001  # as in `answer`
            yield json.dumps({"error": described(error)}).encode() + b"\n"
            return
        try:
            yield b'{"monitoring": true}\n' + first
            async for more in lines:
                yield more
        finally:
            await lines.aclose()


async def serve(commands: Commands) -> None:
    """Answer requests until cancelled.

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


def ask(pid: int, command: str, **parameters: str) -> dict[str, Any]:
    """Send one command with its parameters and wait for the answer.

    Raises:
        NotRunningError: the server does not answer, or this user may not speak to it.
    """
    with _explained(pid):
        return _checked(
            pid, channel.ask(pid, json.dumps({"command": command, **parameters}).encode() + b"\n")
        )


def watch(pid: int, port: str | None) -> Iterator[bytes]:
    """Yield the lines of traffic of one port, or of all ports for None, until the server ends.

    Raises:
        NotRunningError: as with `ask`.
    """
    request = json.dumps({"command": "monitor", "port": port}).encode() + b"\n"
    with _explained(pid):
        lines = channel.stream(pid, request)
        _checked(pid, next(lines, b""))
        yield from lines


@contextmanager
def _explained(pid: int) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise NotRunningError(
            f"this user may not speak to the server (process {pid}); run the command as administrator"
        ) from error
    except FileNotFoundError as error:
        raise NotRunningError(f"there is no server with the process id {pid}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise NotRunningError(f"the server (process {pid}) does not answer: {error}") from error


def _checked(pid: int, line: bytes) -> dict[str, Any]:
    answer = json.loads(line)
    if not isinstance(answer, dict):
        raise NotRunningError(
            f"the server (process {pid}) returned an answer that this version does not understand"
        )
    if "error" in answer:
        raise NotRunningError(f"the server (process {pid}) answers: {printable(answer['error'])}")
    return answer
