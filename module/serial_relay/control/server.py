r"""Answers the commands of this machine: each line is a request, each answer is a line, both are JSON.

    {"method": "restartPort", "payload": {"port": "scale"}}
    {"status": 200, "payload": {"port": "scale"}}

The methods and their payloads are those of the direct methods. After the answer to a request for a stream, such as
`monitor`, lines of that stream follow until the connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from serial_monitor import local_sockets_posix as local_sockets
from serial_monitor.sending import send
from serial_relay.control import location

log = logging.getLogger(__name__)

REQUEST_SIZE = 65536
"""The longest request in bytes; a longer one ends its connection."""
_ANSWER_SECONDS = 30.0
"""Seconds after which a client that reads no answer is disconnected."""

Method = Callable[[str, object], Awaitable[tuple[int, object]]]
"""Carries out a method by its name and payload, and returns the status and the answer; never raises."""


Stream = Callable[[object], AsyncGenerator[bytes, None]]
"""Yields lines for a payload until it is closed; raises `StreamRefusedError` before the first line if it cannot."""


class StreamRefusedError(Exception):
    """There is no such stream; the text says why, for people."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ControlServer:
    """The control socket of this process, from `start` to `close`."""

    def __init__(self, call: Method, streams: Mapping[str, Stream]) -> None:
        self._call = call
        self._streams = streams
        self._path = location.own_socket()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. If that is not possible, a warning is logged and the local commands do not work."""
        try:
            location.own(self._path.parent)
            listener = local_sockets.listen(self._path)
            self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=REQUEST_SIZE)
        except OSError as error:
            log.warning(
                "`serial-relay status` and the other local commands will not find this process: cannot listen at %s: %s",
                self._path,
                error.strerror or error,
            )

    def close(self) -> None:
        """Listen no longer, end the connections and remove the socket."""
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            self._path.unlink(missing_ok=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a stream's callback is a task
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, ValueError):
                while line := await reader.readline():
                    name, payload = _request(line)
                    if name is not None and name in self._streams:
                        await self._stream(self._streams[name](payload), reader, writer)
                        break
                    writer.write(await self._answer(name, payload))
                    try:
                        async with asyncio.timeout(_ANSWER_SECONDS):
                            await writer.drain()
                    except TimeoutError:
                        writer.transport.abort()  # a mere `close` waits until the client has taken the answer
        except asyncio.CancelledError:
            pass  # the end of the process; nobody waits for this task
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, name: str | None, payload: object) -> bytes:
        if name is None:
            return _line(400, {"error": 'a request is a line {"method": …, "payload": …}'})
        return _line(*await self._call(name, payload))

    async def _stream(
        self,
        lines: AsyncGenerator[bytes, None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        async with contextlib.aclosing(lines):
            try:
                first = await anext(lines)
            except StreamRefusedError as error:
                writer.write(_line(error.status, {"error": str(error)}))
                return
            writer.write(_line(200, {}) + first)
            await send(lines, reader, writer)


def _request(line: bytes) -> tuple[str | None, object]:
    """Return the method and the payload of a request; None if the line is not a request."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None, None
    match request:
        case {"method": str(name)}:
            return name, request.get("payload")
    return None, None


def _line(status: int, payload: object) -> bytes:
    return json.dumps({"status": status, "payload": payload}).encode() + b"\n"
