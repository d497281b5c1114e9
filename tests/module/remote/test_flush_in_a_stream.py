"""`tcflush` while the device sends without a pause: an application loses what came before, and nothing after its first byte."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import select
import socket
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from rfc2217 import ComPortCommand, Connection, Role
from serial_relay.config import Protocol
from serial_relay.status import State
from tests.module.conditions import until
from tests.module.port.ports import Ports
from tests.module.remote.access_servers import ScriptedAccessServer

FLUSHES = 120


class Stream:
    """An access server in a thread, whose device sends numbered records without a pause, about 100 KB a second."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        codec = Connection(Role.ACCESS_SERVER, max_pending=100_000)
        answers = ScriptedAccessServer()
        codec.start()
        number = 0
        with client, suppress(OSError):
            while not self._ended.is_set():
                if select.select([client], [], [], 0.001)[0]:
                    for event in codec.receive_data(client.recv(4096)):
                        if isinstance(event, ComPortCommand) and event in codec.unanswered:
                            codec.send(answers.actual(event))
                for _ in range(14):
                    codec.send_data(b"%07d\n" % number)
                    number += 1
                client.sendall(codec.data_to_send())


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream()
    yield made
    made.close()


def holes(data: bytes) -> list[tuple[int, int]]:
    """Return the numbers around each hole in the records, of which the first may be incomplete."""
    numbers = [int(found) for found in re.findall(rb"(?<![0-9])([0-9]{7})\n", data[8:])]
    return [(one, next_) for one, next_ in itertools.pairwise(numbers) if next_ != one + 1]


def read_all(slave: int) -> None:
    """Read until the kernel has nothing more, as a flush does not reach what it has not handed to the slave yet (n_tty)."""
    with suppress(BlockingIOError):
        while os.read(slave, 4096):
            pass


async def test_a_flush_in_a_running_stream_leaves_no_hole_after_the_first_byte(
    ports: Ports, stream: Stream
) -> None:
    await ports.configure(tcp_port=stream.port, protocol=Protocol.RFC2217)
    await ports.reaches(State.CONNECTED)
    slave = ports.open(flags=os.O_NONBLOCK)
    await until(lambda: ports.status.application_open)
    found = []
    for _ in range(FLUSHES):
        time.sleep(0.003)  # the relay's loop stands still, and bytes of the device wait for it
        read_all(slave)
        termios.tcflush(slave, termios.TCIFLUSH)
        data = b""
        while len(data) < 2000:
            await asyncio.sleep(0.001)
            with suppress(BlockingIOError):
                data += os.read(slave, 4096)
        found += holes(data)
    os.close(slave)
    assert found == []
    await until(lambda: ports.status.discarded.flushed)
