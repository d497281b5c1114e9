"""The log's way out of the process when its reader stalls, is gone, or is given too much."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from serial_monitor import log_queue
from serial_monitor.log_budget import BURST, SECONDS_A_LINE
from serial_monitor.log_queue import QUEUE_BYTES, DescriptorSink
from serial_relay.plumbing.log import RuntimeFormatter
from serial_relay.plumbing.log_budget import MOST_KINDS, Budgets, LimitedHandler


class Log:
    """A logger whose lines go through a pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.handler = LimitedHandler(DescriptorSink(self.writer))
        self.handler.setFormatter(RuntimeFormatter())
        self.logger = logging.Logger("log")  # noqa: LOG001 - no part of the tree that pytest watches
        self.logger.addHandler(self.handler)

    def text(self) -> str:
        """Close the log, and return what is left to be read."""
        read = bytearray()
        reading = threading.Thread(target=self._read, args=(read,))
        reading.start()
        self.handler.close()
        os.close(self.writer)
        reading.join(30)
        return read.decode()

    def _read(self, read: bytearray) -> None:
        while data := os.read(self.reader, 65536):
            read += data


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", 30.0)  # for what a busy machine has left to write
    made = Log()
    yield made
    made.handler.close()
    for descriptor in (made.reader, made.writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_reader_that_stalls_blocks_nobody_and_what_is_left_out_is_counted(log: Log) -> None:
    fcntl.fcntl(log.writer, fcntl.F_SETPIPE_SZ, 4096)
    size = 1000
    for number in range(2 * QUEUE_BYTES // size):  # would never return if a full pipe blocked it
        log.logger.debug("%05d %s", number, "x" * size)
    lines = log.text().splitlines()
    numbers = [int(found[1]) for line in lines if (found := re.search(r"- (\d{5}) x", line))]
    assert numbers == list(range(len(numbers))), "a line is missing, torn or in the wrong order"
    (remark,) = [line for line in lines if "messages are missing" in line]
    found = re.search(
        r"\[WRN\] - (\d+) messages are missing here, because the log could not be written fast enough", remark
    )
    assert found
    assert len(numbers) + int(found[1]) == 2 * QUEUE_BYTES // size


def test_without_a_reader_the_process_goes_on_and_ends(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", 0.1)
    os.close(log.reader)
    for number in range(100):
        log.logger.debug("%d", number)
    log.handler.close()


def test_a_log_without_a_thread_begins_with_the_next_record(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        log.logger.info("first")
    log.logger.info("second")
    assert [line[-6:] for line in log.text().splitlines()] == [" first", "second"]


def test_a_message_that_cannot_be_formatted_is_said(log: Log) -> None:
    log.logger.info("%d bytes", "many")
    assert "[ERR] - a message cannot be formatted: '%d bytes'" in log.text()


def test_lines_of_one_kind_are_limited_and_counted(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        for _ in range(500):
            log.logger.warning("port %s: %s", "a", "lost")
        log.logger.warning("port %s: %s", "b", "lost")
        now += SECONDS_A_LINE
        log.logger.warning("port %s: %s", "a", "lost")
    lines = log.text().splitlines()
    assert len([line for line in lines if "port a" in line]) == BURST + 1
    assert len([line for line in lines if "port b" in line]) == 1
    assert lines[-1].endswith(f"port a: lost ({500 - BURST} more lines like this one were left out)")


def test_kinds_without_end_take_no_memory_without_end() -> None:
    budgets = Budgets()
    for number in range(3 * MOST_KINDS):
        record = logging.LogRecord("x", logging.INFO, "x.py", 1, f"kind {number}", None, None)
        assert budgets.left_out_before(record, 0.0) == 0
    assert len(budgets._budgets) == MOST_KINDS
