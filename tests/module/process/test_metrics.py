from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import resource
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serial_relay.process import metrics
from serial_relay.process.exposition import ModuleCollector
from serial_relay.process.metrics import serve
from serial_relay.status import Discarded, ErrorCode, ModemState, PortError, PortStatus, State
from tests.module.conditions import until
from tests.module.conftest import open_descriptors
from tests.module.statuses import MOMENT, invalid, retrying

LOOPBACK = IPv4Address("127.0.0.1")

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"serial_relay_{name}", frozenset(labels.items())]


def fetch(port: int, host: str = "127.0.0.1") -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


class LogLines(logging.Handler):
    """The module's log says which port the system chose."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def serve_somewhere(
    statuses: Callable[[], Mapping[str, PortStatus]], address: IPv4Address | IPv6Address = LOOPBACK
) -> tuple[int, Callable[[], None]]:
    lines = LogLines()
    logger = logging.getLogger("serial_relay.process.metrics")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        close = serve(address, 0, statuses, version="1.0.0")
    finally:
        logger.removeHandler(lines)
        logger.setLevel(logging.NOTSET)
    (line,) = lines.lines
    found = re.fullmatch(r"metrics at http://(127\.0\.0\.1|\[::1\]):(\d+)/metrics", line)
    assert found
    return int(found[2]), close


class Served:
    """Metrics of `statuses` at a port of the system's choice."""

    def __init__(self, statuses: Mapping[str, PortStatus]) -> None:
        self.statuses = statuses
        self.threads: set[int] = set()
        self.port, self.close = serve_somewhere(self._read)

    def _read(self) -> Mapping[str, PortStatus]:
        self.threads.add(threading.get_ident())
        return self.statuses

    async def samples(self) -> Samples:
        return samples_of(await asyncio.to_thread(fetch, self.port))


@pytest.fixture
def everything_closed() -> Iterator[None]:
    before = open_descriptors()
    yield
    deadline = time.monotonic() + 20
    while (left := open_descriptors() - before) and time.monotonic() < deadline:
        time.sleep(0.01)  # a request's thread closes its own connection
    assert left == set()


pytestmark = pytest.mark.usefixtures("everything_closed")


async def test_a_ports_status_is_there_to_be_scraped() -> None:
    status = PortStatus(
        State.CONNECTED,
        MOMENT,
        "/dev/scale",
        application_open=True,
        connects=3,
        last_error=PortError(ErrorCode.RESET, "reset", MOMENT - 5),
        bytes_to_device=10,
        bytes_from_device=20,
        discarded=Discarded(closed=1, disconnected=2, overrun=3, flushed=4, undelivered=5),
        modem=ModemState(cts=True),
        round_trip_seconds=0.002,
    )
    served = Served({"scale": status, "bad": invalid("bad")})
    samples = await served.samples()
    served.close()
    assert value(samples, "info", version="1.0.0") == 1
    assert value(samples, "port_connected", port="scale") == 1
    assert value(samples, "port_connected", port="bad") == 0
    assert value(samples, "port_state", port="scale", state="connected") == 1
    assert value(samples, "port_state", port="scale", state="retrying") == 0
    assert value(samples, "port_state", port="bad", state="invalid") == 1
    assert value(samples, "port_application_open", port="scale") == 1
    assert value(samples, "port_config_error", port="scale") == 0
    assert value(samples, "port_config_error", port="bad") == 1
    assert value(samples, "port_connects_total", port="scale") == 3
    assert value(samples, "port_to_device_bytes_total", port="scale") == 10
    assert value(samples, "port_from_device_bytes_total", port="scale") == 20
    for reason, count in zip(
        ("closed", "disconnected", "overrun", "flushed", "undelivered"), range(1, 6), strict=True
    ):
        assert value(samples, "port_discarded_bytes_total", port="scale", reason=reason) == count
    assert value(samples, "port_modem_line", port="scale", line="cts") == 1
    assert value(samples, "port_modem_line", port="scale", line="cd") == 0
    assert value(samples, "port_round_trip_seconds", port="scale") == 0.002
    assert value(samples, "port_state_timestamp_seconds", port="scale") == MOMENT
    assert value(samples, "port_last_error_timestamp_seconds", port="scale", code="reset") == MOMENT - 5
    assert not [name for name, labels in samples if "modem" in name and ("port", "bad") in labels]
    assert samples["process_resident_memory_bytes", frozenset()] > 0


async def test_each_scrape_sees_the_moment() -> None:
    statuses = {"a": retrying("a")}
    served = Served(statuses)
    assert value(await served.samples(), "port_connected", port="a") == 0
    statuses["a"].state = State.CONNECTED
    statuses["b"] = retrying("b")
    samples = await served.samples()
    assert value(samples, "port_connected", port="a") == 1
    assert value(samples, "port_connected", port="b") == 0
    del statuses["a"]
    assert not [name for name, labels in await served.samples() if ("port", "a") in labels]
    served.close()


async def test_statuses_are_read_on_the_event_loops_thread() -> None:
    served = Served({})
    await served.samples()
    served.close()
    assert served.threads == {threading.get_ident()}


async def test_a_name_of_any_kind_is_a_label() -> None:
    name = 'Waage"\\Süd'
    served = Served({name: retrying(name)})
    assert value(await served.samples(), "port_connected", port=name) == 0
    served.close()


async def test_a_busy_port_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        serve(LOOPBACK, port, dict, version="1.0.0")()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"127.0.0.1 port {port}: Address already in use; METRICS_PORT" in record.getMessage()


async def test_an_address_that_is_not_ours_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    serve(IPv4Address("192.0.2.1"), 0, dict, version="1.0.0")()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_ipv6_is_served_too() -> None:
    if not _can_bind("::1"):
        pytest.skip("this machine has no IPv6 loopback address")
    port, close = serve_somewhere(dict, IPv6Address("::1"))
    assert "serial_relay_info" in await asyncio.to_thread(fetch, port, "[::1]")
    close()


async def test_nothing_answers_after_the_end() -> None:
    served = Served({})
    await served.samples()
    served.close()
    with pytest.raises(urllib.error.URLError, match="refused"):
        await served.samples()


async def test_a_defect_spares_the_next_scrape() -> None:
    def fail() -> Mapping[str, PortStatus]:
        raise RuntimeError("defect")

    reads = [dict, fail]

    def read() -> Mapping[str, PortStatus]:
        return reads.pop()()

    port, close = serve_somewhere(read)
    with pytest.raises(urllib.error.HTTPError, match="500"):
        await asyncio.to_thread(fetch, port)
    assert "serial_relay_info" in await asyncio.to_thread(fetch, port)
    close()


async def test_silent_and_hostile_clients_take_no_more_than_their_places() -> None:
    served = Served({})
    silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(30)]
    await until(lambda: sum(reader.at_eof() for reader, _ in silent) == 22)
    assert sum("process_request_thread" in thread.name for thread in threading.enumerate()) == 8
    for _, writer in silent:
        writer.close()
    await until(lambda: not any("process_request_thread" in thread.name for thread in threading.enumerate()))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"\x00\xff garbage \r\n\r\n")
    assert b"400" in await reader.read()
    writer.close()
    assert value(await served.samples(), "info", version="1.0.0") == 1
    served.close()


async def test_clients_that_send_a_byte_now_and_then_do_not_keep_others_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def drip() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"x")
                await asyncio.sleep(0.02)
        writer.close()

    monkeypatch.setattr(metrics, "_REQUEST_SECONDS", 0.5)
    served = Served({})
    dripping = [asyncio.create_task(drip()) for _ in range(8)]
    try:
        await until(lambda: all(client.done() for client in dripping))
    finally:
        for client in dripping:
            client.cancel()
    monkeypatch.undo()
    assert value(await served.samples(), "info", version="1.0.0") == 1
    served.close()


HOSTILE_REQUESTS = [
    b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=abc\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=1.\xff\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;escaping=\x1b[2J;version=1.0.0\r\n\r\n",
    b"GET /metrics?name[]=%ff%00&x=%zz HTTP/1.1\r\nAccept-Encoding: gzip;q=x\r\n\r\n",
    b"GET /metrics?" + b"a=1&" * 10_000 + b" HTTP/1.1\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET \r\n\r\n",
    b"GET /\x1b[2J%0a<0> HTTP/9.9\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz",
    b"\xff\xfe /metrics HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 300 + b"\r\n",
    b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nExpect: 100-continue\r\nContent-Type: \xff\r\n\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("request_", HOSTILE_REQUESTS, ids=[*map(str, range(len(HOSTILE_REQUESTS)))])
async def test_a_request_of_any_kind_has_an_answer_and_leaves_no_word_in_the_log(
    request_: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    served = Served({"a": retrying("a")})
    caplog.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request_)
    async with asyncio.timeout(20):
        try:
            answer = await reader.read(12)
        except ConnectionResetError:  # it was answered before all of it was read
            answer = b"HTTP/1.0 414"
    assert answer.startswith((b"HTTP/1.", b"<!DOCTYPE"))
    assert b" 500" not in answer
    writer.close()
    assert value(await served.samples(), "info", version="1.0.0") == 1
    served.close()
    assert capfd.readouterr() == ("", "")
    assert [record.levelname for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_listener_without_descriptors_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    served = Served({})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket()
    resource.setrlimit(resource.RLIMIT_NOFILE, (served.port and client.fileno() + 1, hard))
    try:
        filling = []
        try:
            while True:
                filling.append(os.dup(client.fileno()))
        except OSError:
            pass
        client.connect(("127.0.0.1", served.port))
        await until(lambda: "metrics are not available for a moment" in caplog.text)
        before = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - before < 0.25
        for descriptor in filling:
            os.close(descriptor)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.close()
    assert value(await served.samples(), "info", version="1.0.0") == 1
    served.close()
    assert caplog.text.count("metrics are not available for a moment") <= 3


def test_the_collector_needs_no_server() -> None:
    collector = ModuleCollector(lambda: {"a": retrying("a")}, lambda: None, "1.0.0")
    names = {family.name for family in collector.collect()}
    assert all(name.startswith("serial_relay") for name in names)
    assert len(names) == 13


@pytest.mark.parametrize(("connected", "expected"), [(True, [1.0]), (False, [0.0]), (None, [])])
def test_the_hubs_connection_is_shown_where_there_is_a_hub(
    connected: bool | None, expected: list[float]
) -> None:
    families = ModuleCollector(dict, lambda: connected, "1.0.0").collect()
    shown = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "serial_relay_hub_connected"
    ]
    assert shown == expected


def _can_bind(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
