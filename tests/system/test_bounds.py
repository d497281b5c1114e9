"""Every queue towards somebody who may not read has a bound, and what goes beyond it is counted or said.

Each test feeds a queue with many times its bound while nobody takes anything, and measures what Python allocates
meanwhile. The queues of bytes between an application, a module, a host and a device hold up their source instead of
dropping anything: tests/module/port/test_slow_sides.py and tests/host/serving/test_bytes.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import tempfile
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvloop

from rfc2217 import FlowControlSuspend
from serial_host.plumbing import event_log
from serial_monitor import log_queue, sending
from serial_monitor.log_queue import QueuedHandler
from serial_monitor.records import FROM_DEVICE, Record, decode
from serial_monitor.ring import LIMIT_BYTES as RING_BYTES
from serial_monitor.ring import Ring
from serial_monitor.taps import Taps
from serial_monitor.watchers import LIMIT_BYTES as WATCHER_BYTES
from serial_monitor.watchers import Watchers
from serial_monitor.web import _Server
from serial_relay import __version__
from serial_relay.config import LineSettings
from serial_relay.control import location, server
from serial_relay.control.server import ControlServer
from serial_relay.status import ErrorCode, PortError, PortStatus, State
from serial_relay.twin import edge
from serial_relay.twin.edge import MAX_METHODS, MAX_REFUSALS, EdgeTwin, Timing
from serial_relay.twin.limits import MAX_SECTION_BYTES
from serial_relay.twin.reported import ModuleFacts, json_size
from serial_relay.twin.reporter import Reporter
from tests.host.running import PATIENCE, RunningServer, reserved_port, serial_port
from tests.host.running import until as wait_until
from tests.host.serial_device import SerialDevice
from tests.module.conditions import until
from tests.module.remote.test_rfc2217_storms import connected
from tests.module.twin.edge_rig import Recorder

KB = 1024
MB = 1024 * KB


class Memory:
    """What Python has allocated since the test began."""

    def __init__(self) -> None:
        self._before = tracemalloc.get_traced_memory()[0]
        self.most = 0
        """The most of it that was seen by `look`."""

    def begin(self) -> None:
        """Count from now on."""
        self._before = tracemalloc.get_traced_memory()[0]

    def look(self) -> int:
        self.most = max(self.most, tracemalloc.get_traced_memory()[0] - self._before)
        return self.most


@pytest.fixture(scope="module", autouse=True)
def _uvloop_has_its_own_descriptors() -> None:
    """The first event loop of libuv makes a pipe for signals that stays open as long as the process."""
    uvloop.new_event_loop().close()


@pytest.fixture
def memory() -> Iterator[Memory]:
    gc.collect()
    tracemalloc.start()
    yield Memory()
    tracemalloc.stop()


class StalledSink:
    """Takes no line until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.go.wait()
        self.lines.append(line)


def test_the_log_of_either_end(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", 30.0)
    sink = StalledSink()
    handler = QueuedHandler(sink)
    count = 20_000
    for number in range(count):
        handler.emit(logging.makeLogRecord({"msg": f"{number:06} {'x' * 1000}"}))
    assert memory.look() < 2 * log_queue.QUEUE_BYTES, "20 MB were logged"
    sink.go.set()
    handler.close()
    *written, last = sink.lines
    assert [int(line[:6]) for line in written] == list(range(len(written)))
    assert last.startswith(b"%d messages are missing here" % (count - len(written)))


def test_the_event_log_of_windows(memory: Memory) -> None:
    go = threading.Event()

    def report(*_event: object) -> None:
        go.wait()

    handler = event_log.EventHandler(report)
    for number in range(10_000):
        mark = event_log.Event.PORT_FAILED.mark
        handler.emit(logging.makeLogRecord({"msg": f"{number} {'x' * 1000}", **mark}))
    assert memory.look() < 2 * event_log.WAITING * KB, "10 MB were reported; the log file has all of it"
    go.set()
    handler.close()


async def test_what_watchers_see(memory: Memory) -> None:
    taps = Taps()
    tap = taps.tap("scale")
    async with contextlib.aclosing(Watchers(taps).watch(None)) as batches:
        await anext(batches)
        for number in range(20_000):
            tap.event("error", f"{number} {'x' * 1000}")
            if tap.watched is not None:
                tap.watched(FROM_DEVICE, bytes(1000))
            memory.look()
        assert memory.most < 2 * WATCHER_BYTES, "40 MB passed"
        last = decode((await anext(batches)).splitlines()[-1])
        assert (last.kind, "too slow" in last.text) == ("cut", True)


def test_what_is_kept_for_a_capture(memory: Memory) -> None:
    ring = Ring(seconds=3600)
    place = None
    for number in range(10_000):
        ring.take(Record(float(number), "scale", "error", text="x" * 1000))
        ring.keep(FROM_DEVICE, bytes(1000))
        if number == 10:
            place = ring.piece(None, 0.0, size=1)["next"]
    assert memory.look() < 3 * RING_BYTES, "20 MB passed"
    assert ring.piece(place, 0.0)["lost"] > 0


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose name leaves room for that of a socket, which may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="bounds-") as directory:
        yield Path(directory)


@pytest.fixture
async def control(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Taps, socket.socket]]:
    """A module's control channel with the taps behind it, and a client of it that reads nothing by itself."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    taps = Taps()

    async def call(_name: str, _payload: object) -> tuple[int, object]:
        return 200, {"text": "x" * 10_000}

    channel = ControlServer(call, {"monitor": lambda _payload: Watchers(taps).watch(None)})
    await channel.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(str(location.own_socket()))
        yield taps, client
    channel.close()


async def ended(client: socket.socket) -> bool:
    """Read what there is until the end of the connection."""
    with contextlib.suppress(ConnectionError):
        while await asyncio.get_running_loop().sock_recv(client, 65536):
            pass
    return True


async def test_the_stream_of_a_control_channel(
    memory: Memory, control: tuple[Taps, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "STALL_SECONDS", 1.0)
    taps, client = control
    tap = taps.tap("scale")
    client.send(b'{"method": "monitor"}\n')
    await until(lambda: tap.watched is not None)
    for number in range(100_000):
        if tap.watched is not None:
            tap.watched(FROM_DEVICE, bytes(1000))
        if number % 100 == 0:
            memory.look()
            await asyncio.sleep(0)
    # The batch that is being sent is in hexadecimal digits, and another one may wait meanwhile.
    assert memory.most < 6 * WATCHER_BYTES, "100 MB passed"
    await until(lambda: tap.watched is None)
    assert await ended(client), "the watcher is disconnected"


async def test_the_answers_of_a_control_channel(
    memory: Memory, control: tuple[Taps, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_ANSWER_SECONDS", 1.0)
    _taps, client = control
    requests = b'{"method": "getStatus"}\n' * 10_000
    with contextlib.suppress(ConnectionError):  # it is disconnected
        async with asyncio.timeout(30):
            while True:
                try:
                    client.send(requests)
                except BlockingIOError:
                    await asyncio.sleep(0.01)
                memory.look()
    assert memory.most < MB, "all that fits into the socket was asked, for 10 KB each"


def test_the_page_of_the_monitor(memory: Memory) -> None:
    pages = _Server("test", "token")
    try:
        page = pages.join()
        assert page is not None
        for number in range(20_000):
            pages.publish("item", {"number": number, "text": "x" * 1000}, keep=True)
        assert memory.look() < 5 * MB, "20 MB were shown"
        assert not pages.is_served(page), "it is disconnected, and connects again"
    finally:
        pages.server_close()


async def test_the_requests_of_an_application_to_a_host_that_asks_for_silence(memory: Memory) -> None:
    async with connected() as (remote, owner, host):
        await host.tell(FlowControlSuspend())
        await until(lambda: owner.suspended)
        for number in range(5_000):
            remote.purge(received=True, transmitted=bool(number % 2))
            remote.set_line(LineSettings(baud_rate=300 + number % 5000, stop_bits=1 + number % 2))
            remote.set_break(on=bool(number % 2))
            if owner.lost:
                break
            memory.look()
        assert memory.most < 300 * KB, "20,000 requests were made"
        assert not owner.lost, "the host keeps the connection"


async def test_the_requests_of_an_application_to_a_host_that_hangs(memory: Memory) -> None:
    async with connected() as (remote, owner, host):
        host.hang()
        for number in range(5_000):
            remote.purge(received=True, transmitted=bool(number % 2))
            remote.set_line(LineSettings(baud_rate=300 + number % 5000, stop_bits=1 + number % 2))
            if not owner.paused:
                remote.write(b"x")
            memory.look()
        assert memory.most < 300 * KB, "15,000 requests were made"
        host.go_on()


def test_the_reported_properties_without_a_hub(memory: Memory) -> None:
    reporter = Reporter(ModuleFacts(version=__version__, started_at=0.0))
    statuses = {f"p{number}": PortStatus(State.RETRYING, 0.0, f"/dev/p{number}") for number in range(20)}
    now = 1000.0
    reporter.resend_all(now)
    for number in range(5_000):
        now += 1.0
        name = f"p{number % 20}"
        statuses[name].last_error = PortError(ErrorCode.TIMED_OUT, f"attempt {number}", now)
        reporter.mark_changed(now)
        if reporter.patch(statuses, now) is not None:
            reporter.failed(now)
        memory.look()
    assert memory.most < MB, "5,000 changes were to be reported"
    reporter.resend_all(now)
    patch = reporter.patch(statuses, now + 60.0)
    assert patch is not None
    assert json_size(patch) <= MAX_SECTION_BYTES, "one patch has the state of all ports"
    assert patch["serialPorts"]["p19"]["lastError"]["message"] == "attempt 4999"


FLOOD = """
import json, sys, time
print(json.dumps({"event": "connected"}))
for number in range(3_000):
    print(json.dumps({"event": "method", "request": str(number), "name": "getStatus", "payload": "x" * 1000}))
sys.stdout.flush()
time.sleep(600)
"""
"""In the place of the SDK: it passes on many calls, and takes no answer."""


async def test_the_calls_of_direct_methods(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "edge_client.py"
    program.write_text(FLOOD)
    monkeypatch.setattr(edge, "_CLIENT_PROGRAM", program)
    events = Recorder()
    events.answer_methods.clear()
    running = asyncio.create_task(EdgeTwin(Timing(call=60.0, method=60.0)).run(events))
    try:
        said = f"a direct method gets no answer: {MAX_METHODS + MAX_REFUSALS} others wait for edgeHub"
        dropped = 3_000 - MAX_METHODS - MAX_REFUSALS
        await until(lambda: memory.look() and caplog.messages.count(said) == dropped)
        assert len(events.methods) == MAX_METHODS
        caplog.clear()
        assert memory.most < 5 * MB
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def test_what_a_host_has_for_a_client_that_does_not_read(memory: Memory, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        tcp_port = stack.enter_context(reserved_port())
        device = stack.enter_context(SerialDevice(tmp_path / "device"))
        port = serial_port({"device": device.name, "tcp_port": tcp_port})
        host = stack.enter_context(RunningServer(port))
        with host.client():
            data = bytes(20 * MB)
            memory.begin()
            sending = device.sending(data)
            passed = -1
            while passed != (passed := host.status()["bytes_from_device"]):
                memory.look()
                time.sleep(0.2)
            assert passed < 2 * MB, "the device is held up"
            assert memory.most < MB
        sending.join(PATIENCE)  # without a client the device's bytes are counted and dropped
        wait_until(lambda: host.status()["bytes_from_device"] == 20 * MB)
        assert host.status()["discarded_from_device"] >= 20 * MB - passed
