"""What a driver can do wrong while a port is opened, open and closed: it is that port's error, and nobody else waits."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serial_host import config
from serial_host.com_port.port import ComPort, ComPortError, ComPortEvents, OpenComPort
from serial_host.com_port.simulated import SimulatedComPort, loopback_plug
from serial_host.configuration import config_file
from serial_host.plumbing.threads import call_in_thread
from serial_host.serving import opening
from tests.host.running import PATIENCE, RunningServer, echo_port, reserved_port, until

Port = tuple[config.PortConfig, OpenComPort]


class Driver:
    """Opens simulated ports that misbehave as the test says."""

    def __init__(self) -> None:
        self.opens = 0
        self.hang = threading.Event()
        self.at_open: Callable[[ComPortEvents], Any] = lambda _: None
        self.at_close: Callable[[], Any] = lambda: None
        self.closed = 0

    async def __call__(self, events: ComPortEvents) -> ComPort:
        self.opens += 1
        await call_in_thread("open", lambda: self.at_open(events))
        return _Port(self, events)

    def wait(self, *_: object) -> None:
        """Hang until the test has ended."""
        self.hang.wait()


class _Port(SimulatedComPort):
    def __init__(self, driver: Driver, events: ComPortEvents) -> None:
        super().__init__("simulated", config.PortConfig(5000).line, loopback_plug, events)
        self._driver = driver

    async def close(self) -> None:
        self._driver.closed += 1
        await call_in_thread("close", self._driver.at_close)
        await super().close()


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.hang.set()


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OPEN_SECONDS", PATIENCE)
    monkeypatch.setattr(opening, "CLOSE_SECONDS", PATIENCE)


def served_by(driver: Driver, tcp_port: int, **entry: Any) -> Port:
    return config_file.parse_port({"device": "simulated", "tcp_port": tcp_port, **entry}, "test"), driver


@pytest.mark.parametrize(
    "error",
    [
        ComPortError("the port is not there"),
        OSError(31, "A device attached to the system is not functioning."),
        TypeError("byref() argument must be a ctypes instance, not 'NoneType'"),
        struct.error("unpack requires a buffer of 4 bytes"),
        AttributeError("function 'CM_Get_Parent' not found"),
        RuntimeError("can't start new thread"),
        RecursionError(),
        ValueError("embedded\nnull byte"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_raised_at_opening_is_that_ports_error(
    driver: Driver, tcp_port: int, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    driver.at_open = fail
    with (
        reserved_port() as other,
        RunningServer(served_by(driver, tcp_port), echo_port({"tcp_port": other})) as server,
    ):
        until(lambda: driver.opens > 1)
        status = server.status()
        assert status["state"] == "absent"
        assert "\n" not in status["last_error"]
        with server.client(number=1) as client:
            client.send(b"served")
            assert client.receive(6) == b"served"
        driver.at_open = lambda _: None
        until(lambda: server.status()["state"] == "open")


def test_an_open_that_hangs_has_a_limit_and_holds_up_no_other_port(
    driver: Driver, tcp_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPEN_SECONDS", 0.3)
    driver.at_open = driver.wait
    with (
        reserved_port() as other,
        RunningServer(served_by(driver, tcp_port), echo_port({"tcp_port": other})) as server,
        server.client(number=1),
    ):
        until(lambda: "4 calls of the driver have not returned" in (server.status()["last_error"] or ""))
        assert "has not opened the port for 0.3 s" in caplog.text
        opens = driver.opens
        assert opens == opening.MOST_GIVEN_UP
        driver.at_open = lambda _: None
        monkeypatch.setattr(opening, "OPEN_SECONDS", PATIENCE)
        driver.hang.set()
        # What was opened too late is closed, and the port is opened anew.
        until(lambda: server.status()["state"] == "open" and driver.closed == opens)


def test_a_port_that_was_given_up_tells_nothing_any_more(
    driver: Driver, tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPEN_SECONDS", 0.3)
    late: list[ComPortEvents] = []

    def hang(events: ComPortEvents) -> None:
        late.append(events)
        driver.hang.wait()

    driver.at_open = hang
    with RunningServer(served_by(driver, tcp_port)) as server:
        until(lambda: driver.opens > 1)
        monkeypatch.setattr(opening, "OPEN_SECONDS", PATIENCE)
        driver.at_open = lambda _: None
        driver.hang.set()
        until(lambda: server.status()["state"] == "open")
        for _ in range(3):
            server.call(lambda: late[0].data_received(b"stale"))
            server.call(lambda: late[0].port_lost(ComPortError("stale")))
            server.call(late[0].pause_writing)
        assert server.status()["state"] == "open"
        assert server.status()["bytes_from_device"] == 0


def test_a_close_that_never_returns_is_given_up_and_the_port_is_opened_anew(
    driver: Driver, tcp_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CLOSE_SECONDS", 0.3)
    events: list[ComPortEvents] = []
    driver.at_open = events.append
    driver.at_close = driver.wait
    with RunningServer(served_by(driver, tcp_port)) as server:
        until(lambda: server.status()["state"] == "open")
        server.call(lambda: events[0].port_lost(ComPortError("simulated is gone")))
        until(lambda: driver.opens == 2 and server.status()["state"] == "open")
        assert "the driver has not closed the port" in caplog.text
        server.stop()
        until(lambda: not server.running)


def test_a_port_that_opens_and_is_lost_at_once_is_not_opened_without_end(
    driver: Driver, tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def lose(events: ComPortEvents) -> None:
        loop.call_soon_threadsafe(events.port_lost, ComPortError("simulated is gone: it hung up"))

    with RunningServer(served_by(driver, tcp_port)) as server:
        loop = server._loop
        until(lambda: server.status()["state"] == "open")
        before, started = driver.opens, time.monotonic()
        driver.at_open = lose
        server.call(lambda: server._server._ports[0].port_lost(ComPortError("simulated is gone")))
        until(lambda: driver.opens - before >= 5)
        # Each pause is twice as long as the one before: 0.1 s, 0.2 s, ...
        assert time.monotonic() - started > 3
        assert len(caplog.records) < 8 * driver.opens
        driver.at_open = lambda _: None
        until(lambda: server.status()["state"] == "open" and server.status()["listening"])


def test_interfaces_that_cannot_be_listed_end_nothing(tcp_port: int) -> None:
    server = RunningServer(echo_port({"tcp_port": tcp_port}))
    with server, server.client() as client:
        server.look_up_fails = ValueError("'fe80::1%25' does not appear to be an IPv4 or IPv6 address")
        until(lambda: server.looks > 3)
        client.send(b"served")
        assert client.receive(6) == b"served"
