"""The module twin behind edgeHub: desired documents in, reported patches out, direct methods.

This module decides when to connect, read and give up; the SDK itself lives in a child process (`edge_client`), one for
each connection. Every call to it is bounded, and a late answer kills it: nothing that the SDK does can hold up the event
loop, pile up threads or memory here, or take the virtual ports with it.

What edgeHub is asked for, because each counts as a message: one twin read after each connect, one for each notification
(several that come close together share one) and one whenever the last is `probe_seconds` old. That one finds changes
that edgeHub did not announce, and connections that only look alive.

Order: reads never overlap, and within one connection a `$version` below the newest one seen is ignored. A new connection
starts from whatever it reads first, because a hub that was restored or a module whose identity was made anew counts from
1 again; connections are renewed with the token at least every `Timing.token`, so such a hub is believed by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from serial_relay.plumbing.backoff import Backoff
from serial_relay.twin.twin import Document, TwinEvents, TwinUnavailableError

log = logging.getLogger(__name__)

MAX_METHODS = 16
"""Limit of the direct methods that are carried out at the same time; more are answered with 429."""
MAX_REFUSALS = 64
"""Limit of those answers that may be under way. A further call gets none, so that its caller waits for the hub's own
time-out."""
MAX_LINE = 2 * 1024 * 1024
"""Bytes of one line from the child: a method's payload has at most 128 KB, JSON escapes make it six times that."""

MAX_PRINTED = 20
"""Limit of the lines of one child's standard error in the log; the rest of them is read and left out."""
_PRINTED_LINE = 300
"""Limit in characters of such a line."""
_LAST_WORDS_SECONDS = 1.0
"""Seconds that the end of a child process waits at most for what it printed last."""

_CLIENT_PROGRAM = Path(__file__).with_name("edge_client.py")


class _EndedError(Exception):
    """The connection is over; the text says why."""


class _RefusedError(Exception):
    """EdgeHub or the SDK refused one call; the text says why. The connection may be fine."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take, all in seconds."""

    connect: float = 45.0
    """Starting the SDK, logging in and subscribing; edgeHub may have to ask the cloud first."""
    call: float = 20.0
    """One twin read or reported update."""
    method: float = 20.0
    """Carrying out a direct method, after which the caller gets 504."""
    probe: float = 900.0
    """Longest time between two twin reads."""
    settled: float = 60.0
    """A connection that worked for this long starts the back-off over."""
    token: int = 3600
    """Life of the tokens; azure-iot-device renews the connection 120 s before one expires."""


class EdgeTwin:
    """A `twin.Twin` over edgeHub, for a module in the environment that edgeAgent gives it."""

    def __init__(
        self, timing: Timing | None = None, backoff: Backoff | None = None, model_id: str | None = None
    ) -> None:
        """`model_id` is announced to the hub: the DTDL model for IoT Plug and Play."""
        self._timing = timing or Timing()
        self._announced_as = model_id or "EflowSerialRelay"
        self._backoff = backoff or Backoff(first=0.5, cap=60.0)
        self._client: _Client | None = None

    @property
    def hub_connected(self) -> bool:
        """See `twin.Twin`; true from the first twin read of a connection to its end."""
        return self._client is not None

    async def run(self, events: TwinEvents) -> None:
        """Keep a connection until cancelled."""
        last_reason = None
        while True:
            reason, lasted = await self._one_connection(events)
            if lasted is not None and lasted >= self._timing.settled:
                self._backoff.reset()
                level = logging.INFO
            else:
                level = logging.DEBUG if reason == last_reason else logging.WARNING
            delay = self._backoff.next_delay()
            log.log(level, "no connection to edgeHub: %s; next attempt in %.1f s", reason, delay)
            last_reason = reason
            await asyncio.sleep(delay)

    async def report(self, patch: Document) -> None:
        """Merge a patch into the reported properties; see `twin.Twin`."""
        if self._client is None:
            raise TwinUnavailableError("not connected to edgeHub")
        try:
            await self._client.call("report", patch=patch)
        except (_EndedError, _RefusedError) as error:
            raise TwinUnavailableError(str(error)) from error

    async def _one_connection(self, events: TwinEvents) -> tuple[str, float | None]:
        """One connection's life; returns why it ended and how many seconds it worked, None if it never did."""
        clock = asyncio.get_running_loop().time
        works_since = None
        try:
            async with _Client.started(events, self._timing, self._announced_as) as client:
                await client.connected()
                newest, reported = await self._read(client, events, None)
                works_since = clock()
                log.info("connected to edgeHub at %s", os.environ.get("IOTEDGE_GATEWAYHOSTNAME"))
                self._client = client
                events.synchronised(reported)
                while True:
                    await client.changed(self._timing.probe)
                    newest, _ = await self._read(client, events, newest)
        except (_EndedError, _RefusedError, OSError) as error:
            return str(error), None if works_since is None else clock() - works_since
        finally:
            self._client = None

    async def _read(
        self, client: _Client, events: TwinEvents, newest: int | None
    ) -> tuple[int | None, Document]:
        """Read the twin and hand the desired section over if it is new.

        Returns the newest `$version` seen, and the reported section.
        """
        twin = await client.call("read_twin")
        desired = twin.get("desired") if isinstance(twin, dict) else twin
        if not isinstance(desired, dict):
            raise _RefusedError(f"edgeHub answered a twin read with {type(desired).__name__}")
        reported = twin.get("reported")
        return self._news(desired, events, newest), reported if isinstance(reported, dict) else {}

    @staticmethod
    def _news(desired: Document, events: TwinEvents, newest: int | None) -> int | None:
        version = desired.get("$version")
        log.debug("read the desired properties, $version %s", version)
        if not isinstance(version, int):
            events.desired_received(desired, "hub")
            return newest
        if newest is None or version > newest:
            events.desired_received(desired, "hub")
            return version
        if version < newest:
            log.warning("ignored desired properties with $version %d after %d", version, newest)
        return newest


class _Client:
    """The child process as seen from here: calls to it, and its events.

    Any call, and waiting for anything, raises `_EndedError` once the process is gone or has been given up.
    """

    def __init__(self, process: asyncio.subprocess.Process, events: TwinEvents, timing: Timing) -> None:
        self._process = process
        self._requests = cast("asyncio.StreamWriter", process.stdin)
        self._lines = cast("asyncio.StreamReader", process.stdout)
        self._events = events
        self._timing = timing
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._methods: set[asyncio.Task[None]] = set()
        self._connected = asyncio.Event()
        self._changed = asyncio.Event()
        self._reason: str | None = None
        self._reader = asyncio.create_task(self._read_lines(), name="edge-client")
        self._printed = asyncio.create_task(
            _log_printed(cast("asyncio.StreamReader", process.stderr)), name="edge-client standard error"
        )

    @staticmethod
    @contextlib.asynccontextmanager
    async def started(events: TwinEvents, timing: Timing, announced_as: str) -> AsyncIterator[_Client]:
        """Start the process, and see it gone at the end.

        Raises:
            OSError: no process can be started.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_CLIENT_PROGRAM),
            str(timing.token),
            announced_as,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            start_new_session=True,  # a terminal's Ctrl-C is for the parent alone
        )
        client = _Client(process, events, timing)
        try:
            yield client
        finally:
            await client._close()

    async def connected(self) -> None:
        """Wait until the connection stands, `Timing.connect` at most."""
        try:
            async with asyncio.timeout(self._timing.connect):
                await self._connected.wait()
        except TimeoutError:
            self._give_up(f"no connection was made within {self._timing.connect:g} s")
        self._check()

    async def changed(self, seconds: float) -> None:
        """Wait for a notification of changed desired properties, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()
        self._check()

    async def call(self, name: str, **arguments: object) -> Any:
        """Make a call to the SDK.

        Raises:
            _RefusedError: it answered with an error.
            _EndedError: the process is gone, or did not answer in time and was ended.
        """
        self._check()
        number = next(self._numbers)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self._tell({"id": number, "call": name, **arguments})
            async with asyncio.timeout(self._timing.call):
                return await answer
        except TimeoutError:
            self._give_up(f"edgeHub did not answer {name} within {self._timing.call:g} s")
            raise _EndedError(self._reason) from None
        finally:
            del self._calls[number]

    def _tell(self, message: dict[str, Any]) -> None:
        self._requests.write(json.dumps(message).encode() + b"\n")

    def _check(self) -> None:
        if self._reason is not None or self._requests.is_closing():
            raise _EndedError(self._reason or "the SDK's process is gone")

    def _give_up(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _close(self) -> None:
        self._give_up("ended by the relay")
        for method in self._methods:
            method.cancel()
        await asyncio.wait([self._reader, *self._methods])
        await self._process.wait()
        await asyncio.wait([self._printed], timeout=_LAST_WORDS_SECONDS)
        self._printed.cancel()

    async def _read_lines(self) -> None:
        try:
            while line := await self._lines.readline():
                self._received(json.loads(line))
        except (ValueError, KeyError, RecursionError) as error:
            self._give_up(f"the SDK's process wrote a line that cannot be read: {error!r:.200}")
        finally:
            status = await self._process.wait()
            if self._reason is None:
                self._reason = f"the SDK's process ended with status {status}"
            self._connected.set()
            self._changed.set()
            for answer in self._calls.values():
                if not answer.done():
                    answer.set_exception(_EndedError(self._reason))

    def _received(self, message: dict[str, Any]) -> None:
        match message.get("event"):
            case None:
                answer = self._calls.get(message["id"])
                if answer is None or answer.done():
                    return
                if "error" in message:
                    answer.set_exception(_RefusedError(message["error"]))
                else:
                    answer.set_result(message["result"])
            case "connected":
                self._connected.set()
            case "desired_changed":
                self._changed.set()
            case "method":
                if len(self._methods) >= MAX_METHODS + MAX_REFUSALS:
                    log.warning(
                        "a direct method gets no answer: %d others wait for edgeHub", len(self._methods)
                    )
                    return
                answering = self._carry_out if len(self._methods) < MAX_METHODS else self._turn_away
                method = asyncio.create_task(
                    answering(message["request"], message["name"], message["payload"])
                )
                self._methods.add(method)
                method.add_done_callback(self._methods.discard)
            case "ended":
                self._reason = self._reason or str(message["reason"])

    async def _carry_out(self, request: str, method: str, payload: object) -> None:
        answer: object
        try:
            async with asyncio.timeout(self._timing.method):
                status, answer = await self._events.method_called(method, payload)
        except TimeoutError:
            status, answer = 504, _error(f"{method} took longer than {self._timing.method:g} s")
        await self._answer(request, status, answer)

    async def _turn_away(self, request: str, _method: str, _payload: object) -> None:
        await self._answer(request, 429, _error(f"{MAX_METHODS} direct methods are being carried out"))

    async def _answer(self, request: str, status: int, answer: object) -> None:
        with contextlib.suppress(_EndedError, _RefusedError):
            await self.call("answer", request=request, status=status, payload=answer)


async def _log_printed(stream: asyncio.StreamReader) -> None:
    """Log what the SDK's process prints, which it does when the SDK or Python itself is in trouble."""
    lines, rest, data = 0, b"", b"-"
    while data:
        data = await stream.read(4096)
        *complete, rest = (rest + data).split(b"\n")
        if len(rest) > _PRINTED_LINE or not data:
            complete, rest = [*complete, rest], b""
        for line in complete:
            if (text := line.decode("utf-8", "replace").rstrip()) and (lines := lines + 1) <= MAX_PRINTED:
                log.warning("the SDK's process printed: %s", text[:_PRINTED_LINE])
    if lines > MAX_PRINTED:
        log.warning("the SDK's process printed %d more lines", lines - MAX_PRINTED)


def _error(message: str) -> dict[str, str]:
    return {"error": message}
