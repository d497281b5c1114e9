"""RFC 2217 access servers for the module's tests: a scripted one that can do everything wrong, and real ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from rfc2217 import (
    ComPortAgreed,
    ComPortCommand,
    Connection,
    Control,
    Data,
    Event,
    ModemState,
    NotifyModemState,
    Parity,
    Role,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    StopSize,
)

Answer = Callable[[ComPortCommand], ComPortCommand | None]


class ScriptedAccessServer:
    """One client's access server without a com port: what arrives is recorded, in order; data is echoed.

    It answers every request with the wanted value, or what it has by default, unless `answer` says otherwise (None:
    no answer at all).
    """

    def __init__(self, answer: Answer | None = None, greeting: tuple[ComPortCommand, ...] = ()) -> None:
        self.events: list[Event] = []
        self.connections = 0
        self.agreed = 0
        """How many of them have agreed to the com port option, and so get what is told."""
        self.port = 0
        self.echo = True
        self.latency = 0.0
        """Seconds that what the client sends is on its way."""
        self.ended = False
        self.modem = ModemState.CTS
        self._answer = answer or self.actual
        self._greeting = greeting
        self._values: dict[tuple[int, int], ComPortCommand] = {
            command.subject: command
            for command in (
                SetBaudRate(9600),
                SetDataSize(8),
                SetParity(Parity.NONE),
                SetStopSize(StopSize.ONE),
                SetControl(Control.FLOW_NONE),
            )
        }
        self._client: socket.socket | None = None
        self._codec = Connection(Role.ACCESS_SERVER, max_pending=100_000)
        self._sending = asyncio.Lock()
        self._answering = asyncio.Event()
        self._answering.set()

    async def serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.connections += 1
        self.ended = False
        self._client, self._codec = client, Connection(Role.ACCESS_SERVER, max_pending=100_000)
        self._codec.start()
        try:
            await self._flush()
            while data := await loop.sock_recv(client, 4096):
                await asyncio.sleep(self.latency)
                for event in self._codec.receive_data(data):
                    self._act_on(event)
                await self._answering.wait()
                await self._flush()
        except OSError:
            pass
        self.ended = True
        client.close()

    async def tell(self, *commands: ComPortCommand) -> None:
        for command in commands:
            self._codec.send(command)
        await self._flush()

    async def send(self, data: bytes) -> None:
        """Send bytes of the protocol, right or wrong."""
        assert self._client is not None
        async with self._sending:
            await asyncio.get_running_loop().sock_sendall(self._client, data)

    async def send_data(self, data: bytes) -> None:
        self._codec.send_data(data)
        await self._flush()

    def hang(self) -> None:
        """Read and answer nothing more, as a process that is stopped."""
        self._answering.clear()

    def go_on(self) -> None:
        self._answering.set()

    def commands(self, kind: type[ComPortCommand] = ComPortCommand) -> list[ComPortCommand]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def data(self) -> bytes:
        return b"".join(event.data for event in self.events if isinstance(event, Data))

    def actual(self, request: ComPortCommand) -> ComPortCommand:
        """What a server answers that can do everything."""
        standing = self._values.get(request.subject, request)
        asks = getattr(request, "value", 0) in (0, Control.REQUEST_FLOW)
        if not asks or request.subject not in self._values:
            self._values[request.subject] = standing = request
        return standing

    def _act_on(self, event: Event) -> None:
        match event:
            case Data(data):
                self._record(event)
                if self.echo:
                    self._codec.send_data(data)
            case ComPortAgreed():
                self.agreed += 1
                for command in (*self._greeting, NotifyModemState(self.modem)):
                    self._codec.send(command)
            case ComPortCommand():
                self._record(event)
                if event in self._codec.unanswered and (answer := self._answer(event)):
                    self._codec.send(answer)
            case _:
                self._record(event)

    def _record(self, event: Event) -> None:
        if isinstance(event, Data) and self.events and isinstance(self.events[-1], Data):
            self.events[-1] = Data(self.events[-1].data + event.data)
        else:
            self.events.append(event)

    async def _flush(self) -> None:
        async with self._sending:
            if self._client is not None and not self.ended:
                await asyncio.get_running_loop().sock_sendall(self._client, self._codec.data_to_send())
