"""RFC 2217 against servers that are simple or odd, as people have them: none of that may matter to the device or the line."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from serial_relay.config import LineSettings, Protocol
from serial_relay.status import State
from tests.module.conditions import until
from tests.module.port.ports import Ports, request
from tests.module.remote.access_servers import ScriptedAccessServer
from tests.module.serial_servers import serving

IAC, SE, SB, WILL, WONT, DO, DONT = 255, 240, 250, 251, 252, 253, 254
COM_PORT = 44
ARGUMENTS = {1: 4, 2: 1, 3: 1, 4: 1, 5: 1, 10: 1, 11: 1, 12: 1}
"""Bytes after each command (RFC 2217, section 3); a SIGNATURE and the others have none that this server knows of."""


class SimpleServer:
    """Parses as the firmware of small boards does: one byte after the other, arguments by number, nothing unescaped.

    What it does not understand is data, and goes to the device.
    """

    def __init__(self) -> None:
        self.device = bytearray()
        self.commands: list[bytes] = []
        self._said = bytearray()

    async def serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(client, 4096):
                self._said += data
                answer = bytearray()
                while self._said and (used := self._parse(answer)):
                    del self._said[:used]
                await loop.sock_sendall(client, bytes(answer))
        except OSError:
            pass
        client.close()

    def _parse(self, answer: bytearray) -> int:
        """Take one byte of data or one command; return its length, 0 if more is needed."""
        said = self._said
        if said[0] != IAC:
            self.device.append(said[0])
            return 1
        if len(said) < 3:
            return 0
        if said[1] == WILL and said[2] == COM_PORT:
            answer += bytes((IAC, DO, COM_PORT))
            return 3
        if said[1] in (WILL, WONT, DO, DONT):
            return 3
        if said[1] != SB:
            self.device.append(said[1])  # an escaped 255, as it hopes
            return 2
        length = ARGUMENTS.get(said[3], 0) if len(said) > 3 else 99
        if len(said) < 6 + length:
            return 0
        arguments = bytes(said[4 : 4 + length])
        self.commands.append(bytes(said[3 : 4 + length]))
        if arguments == bytes(4):
            arguments = (9600).to_bytes(4, "big")
        elif arguments == b"\0" and said[3] in (2, 3, 4):
            arguments = bytes(({2: 8, 3: 1, 4: 1}[said[3]],))
        answer += bytes((IAC, SB, COM_PORT, said[3] + 100)) + arguments + bytes((IAC, SE))
        return 6 + length


@pytest.mark.parametrize(
    "line",
    [
        LineSettings(),
        LineSettings(baud_rate=115_200, data_bits=7, parity="even", stop_bits=2, flow_control="none"),
        LineSettings(baud_rate=9600, dtr=True, rts=False),
    ],
    ids=["nothing", "everything", "lines"],
)
async def test_nothing_reaches_the_device_of_a_simple_server_but_what_an_application_wrote(
    ports: Ports, line: LineSettings
) -> None:
    host = SimpleServer()
    async with serving(host.serve) as server:
        for round_ in range(3):
            await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217, line=line)
            await ports.reaches(State.CONNECTED)
            slave = ports.open()
            await asyncio.to_thread(os.write, slave, b"AT%d\r" % round_)
            await until(lambda: host.device.endswith(b"\r"))
            assert bytes(host.device) == b"AT%d\r" % round_
            assert not [command for command in host.commands if b"\xff" in command]
            os.close(slave)
            host.device.clear()
            ports.supervisor.restart("a")
            await ports.reconnected(round_ + 1)


async def test_a_server_that_closes_when_idle_is_connected_to_again_and_no_byte_is_lost(ports: Ports) -> None:
    host = ScriptedAccessServer()
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217)
        for number in range(5):
            await until(lambda number=number: host.connections == number + 1)  # type: ignore[misc]
            await ports.reaches(State.CONNECTED)
            slave = ports.open()
            assert await request(slave, b"round %d" % number) == b"round %d" % number
            os.close(slave)
            await until(lambda: not ports.status.application_open)
            assert host._client is not None
            host._client.shutdown(socket.SHUT_RDWR)
        await until(lambda: host.connections == 6)
        assert (ports.status.discarded.disconnected, ports.status.discarded.undelivered) == (0, 0)


@asynccontextmanager
async def served(ports: Ports, host: ScriptedAccessServer, **config: Any) -> AsyncIterator[None]:
    async with serving(host.serve) as server:
        await ports.configure(tcp_port=server.port, protocol=Protocol.RFC2217, **config)
        await ports.reaches(State.CONNECTED)
        yield


ODDITIES = {
    "answers twice": b"\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0" * 2,
    "unknown command": b"\xff\xfa\x2c\x2a\x01\x02\xff\xf0",
    "unknown value": b"\xff\xfa\x2c\x67\x63\xff\xf0",
    "empty subnegotiation": b"\xff\xfa\x2c\xff\xf0",
    "command without its argument": b"\xff\xfa\x2c\x65\xff\xf0",
    "command with more than its argument": b"\xff\xfa\x2c\x66\x08\x08\x08\xff\xf0",
    "another option's subnegotiation": b"\xff\xfa\x18\x01\xff\xf0",
    "options of a terminal": b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x18\xff\xfd\x1f\xff\xfe\x22\xff\xfc\x05",
    "binary, again and again": b"\xff\xfb\x00\xff\xfd\x00" * 5,
    "no operation and go ahead": b"\xff\xf1\xff\xf9",
    "line state that nobody asked for": b"\xff\xfa\x2c\x6a\xff\xff\xff\xf0",
    "answer of a client's number": b"\xff\xfa\x2c\x07\x10\xff\xf0",
    "long signature": b"\xff\xfa\x2c\x64" + b"x" * 500 + b"\xff\xf0",
    "signature that is no text": b"\xff\xfa\x2c\x64\x00\x1b[2J\x80\xfe\xff\xf0",
    "resume without a suspension": b"\xff\xfa\x2c\x6d\xff\xf0",
}


@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
async def test_an_odd_server_is_served(ports: Ports, oddity: bytes, caplog: pytest.LogCaptureFixture) -> None:
    host = ScriptedAccessServer()
    async with served(ports, host):
        slave = ports.open()
        assert await request(slave, b"before") == b"before"
        for _ in range(3):
            await host.send(oddity)
        assert await request(slave, b"after") == b"after"
        assert (ports.status.state, ports.status.connects) == (State.CONNECTED, 1)
        os.close(slave)
    assert all(message.isprintable() and len(message) < 400 for message in caplog.messages)
