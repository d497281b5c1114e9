"""The events among the server's messages: which are marked, and that nobody waits for the system's log."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import uuid

import pytest

from serial_host.com_port.port import ComPort, ComPortError, ComPortEvents
from serial_host.com_port.simulated import loopback_plug, simulated
from serial_host.configuration import config_file
from serial_host.plumbing.event_log import Event, EventHandler
from serial_host.serving.server import Served, Server
from tests.host.running import reserved_port, until


def record(text: str, **marks: object) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": logging.WARNING, "msg": text, **marks})


def test_only_marked_messages_are_reported_and_close_waits_for_them() -> None:
    reported: list[tuple[Event, int, str]] = []
    handler = EventHandler(lambda *event: reported.append(event))
    handler.handle(record("one", **Event.PORT_FAILED.mark))
    handler.handle(record("two"))
    handler.handle(record("three", event="of somebody else"))
    handler.close()
    assert reported == [(Event.PORT_FAILED, logging.WARNING, "one")]


def test_a_log_that_blocks_or_fails_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial_host.plumbing.event_log.WAITING", 3)
    monkeypatch.setattr("serial_host.plumbing.event_log.FLUSH_SECONDS", 0.01)
    go_on, reported = threading.Event(), threading.Semaphore(0)

    def report(event: Event, level: int, text: str) -> None:
        go_on.wait(30)
        reported.release()
        raise OSError("the log is full")

    handler = EventHandler(report)
    for _ in range(10):
        handler.handle(record("stuck", **Event.STARTED.mark))
    handler.close()  # gives up
    go_on.set()
    assert reported.acquire(timeout=30)
    assert reported.acquire(timeout=30)


async def test_a_server_marks_its_start_its_ports_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def marked() -> dict[object, str]:
        return {getattr(one, "event", None): one.getMessage() for one in caplog.records}

    async def fail(_: ComPortEvents) -> ComPort:
        raise ComPortError("COM4 does not exist")

    with reserved_port() as one, reserved_port() as other:
        good, bad = (
            config_file.parse_port({"device": device, "tcp_port": port}, "", flags=True)
            for device, port in (("COM3", one), ("COM4", other))
        )
        server = Server([Served(good, simulated("COM3", good.line, loopback_plug)), Served(bad, fail)], ())
        running = asyncio.create_task(server.run())
        await asyncio.to_thread(until, lambda: {Event.PORT_OPEN, Event.PORT_FAILED} <= marked().keys())
        server.stop()
        await running
    assert marked()[Event.STARTED].startswith("serial_host ")
    assert marked()[Event.PORT_OPEN].startswith("COM3: COM3 is open")
    assert marked()[Event.PORT_FAILED] == "COM4: COM4 does not exist"
    assert marked()[Event.STOPPED] == "stopped"


if sys.platform == "win32":
    import winreg

    from serial_host.plumbing import event_log_windows

    def test_windows_takes_an_event() -> None:
        event_log_windows.report(Event.PORT_FAILED, logging.WARNING, "COM3: text \u20ac" * 5000)

    def test_whether_the_source_is_registered() -> None:
        path = rf"Software\serial_host test {uuid.uuid4()}"
        assert not event_log_windows.is_registered(winreg.HKEY_CURRENT_USER, path)
        winreg.CreateKey(winreg.HKEY_CURRENT_USER, path).Close()
        assert event_log_windows.is_registered(winreg.HKEY_CURRENT_USER, path)
