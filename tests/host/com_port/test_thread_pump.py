"""What the pump with threads writes to a port that takes its time: where, in which order, and purged."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import AsyncIterator
from functools import partial

from serial_host.com_port.port import WRITE_HIGH
from serial_host.com_port.thread_pump import WRITE_CHUNK, ThreadPump
from tests.host.com_port.owner import Owner, until
from tests.host.running import PATIENCE


class Port:
    """A driver that takes what is written when the test says so."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        """The bytes of each write."""
        self.threads: set[threading.Thread] = set()
        """Where they were written."""
        self.ends: queue.Queue[int | Exception] = queue.Queue()
        """How each write ends: so many bytes were taken, or this is raised."""
        self.waits = threading.Event()
        """Whether a write waits for its end."""
        self._read_ends = threading.Event()

    def read(self, _size: int) -> bytes:
        self._read_ends.wait(PATIENCE)
        return b""

    def write(self, data: bytes) -> int:
        self.begun.append(data)
        self.threads.add(threading.current_thread())
        self.waits.set()
        end = self.ends.get(timeout=PATIENCE)
        self.waits.clear()
        if isinstance(end, Exception):
            raise end
        return end

    def cancel_read(self) -> None:
        self._read_ends.set()

    def cancel_write(self) -> None:
        if self.waits.is_set():
            self.ends.put(0)


@contextlib.asynccontextmanager
async def running_pump() -> AsyncIterator[tuple[ThreadPump, Port, Owner]]:
    port, owner = Port(), Owner()
    pump = ThreadPump("COM3", port, lambda: 0, owner)
    try:
        yield pump, port, owner
    finally:
        await pump.stop()


async def test_one_write_follows_another_in_order_and_none_of_them_holds_up_the_event_loop() -> None:
    data = bytes(range(256)) * 40
    async with running_pump() as (pump, port, owner):
        pump.write(data[:10])
        await until(port.waits.is_set)
        pump.write(data[10:])
        assert port.begun == [data[:10]], "one write at a time"
        assert len(data) > WRITE_HIGH
        assert owner.paused
        port.ends.put(4)
        await until(lambda: len(port.begun) == 2)
        assert pump.unsent == len(data) - 4
        taken, begun = data[:4], 2
        while True:
            taken += port.begun[-1]
            port.ends.put(len(port.begun[-1]))
            if len(taken) >= len(data):
                break
            begun += 1
            await until(partial(lambda count: len(port.begun) == count, begun))
        assert taken == data
        assert max(map(len, port.begun)) == WRITE_CHUNK
        assert threading.current_thread() not in port.threads
        await until(lambda: not owner.paused)


async def test_a_purge_cancels_the_write_that_is_under_way_and_takes_nothing_that_follows() -> None:
    async with running_pump() as (pump, port, _):
        pump.write(b"stale")
        await until(port.waits.is_set)
        port.cancel_write = lambda: port.ends.put(3)  # type: ignore[method-assign]  # three bytes had gone already
        assert pump.discard_unsent() == 5
        pump.write(b"fresh")
        await until(lambda: len(port.begun) == 2)
        assert port.begun == [b"stale", b"fresh"]
        assert pump.unsent == 5
        port.ends.put(5)
        await until(lambda: not pump.unsent)


async def test_a_write_that_does_not_end_is_cancelled_when_the_port_is_closed() -> None:
    async with running_pump() as (pump, port, _):
        pump.write(b"never taken")
        await until(port.waits.is_set)
    assert pump.unsent == len(b"never taken")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("COM3 ")]


async def test_a_write_that_fails_loses_the_port_and_keeps_what_it_did_not_take() -> None:
    async with running_pump() as (pump, port, owner):
        pump.write(b"request")
        port.ends.put(OSError(5, "no"))
        await until(lambda: owner.lost)
        assert pump.unsent == len(b"request")
        pump.write(b"later")
        assert port.begun == [b"request"]
