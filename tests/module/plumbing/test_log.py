from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from serial_relay.plumbing import log


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    stream = io.StringIO()
    root.handlers.clear()  # pytest's own, which would be closed otherwise
    log.configure("info", stream)
    yield stream
    root.handlers[:] = before[1]
    root.setLevel(before[0])
    for name in log._TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)


def line(stream: io.StringIO) -> str:
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text.removesuffix("\n")


# What edgeAgent's GetModuleLogs takes for a record: severity, time with zone, level.
RECORD = re.compile(
    r"<(?P<severity>\d)> (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d) \[(?P<level>[A-Z]{3})\] - (?P<text>.*)"
)


def test_a_record_is_formatted_as_the_runtime_does() -> None:
    record = logging.LogRecord(
        "serial_relay.x", logging.INFO, "x.py", 1, "port %s: %s", ("a", "connected"), None
    )
    record.created = 1795341600.1239
    assert (
        log.RuntimeFormatter().format(record)
        == "<6> 2026-11-22 10:00:00.123 +00:00 [INF] - port a: connected"
    )


@pytest.mark.parametrize(
    ("level", "severity", "name"),
    [
        (logging.CRITICAL, "0", "FTL"),
        (logging.ERROR, "3", "ERR"),
        (logging.WARNING, "4", "WRN"),
        (logging.INFO, "6", "INF"),
        (logging.DEBUG, "7", "DBG"),
        (logging.INFO + 5, "6", "INF"),
        (1, "7", "DBG"),
    ],
)
def test_levels_have_the_runtimes_names(level: int, severity: str, name: str) -> None:
    record = logging.LogRecord("x", level, "x.py", 1, "text", None, None)
    found = RECORD.fullmatch(log.RuntimeFormatter().format(record))
    assert found
    assert (found["severity"], found["level"], found["text"]) == (severity, name, "text")


def test_a_traceback_stays_in_one_record(output: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError("two\nlines")

    try:
        fail()
    except ValueError:
        logging.getLogger("serial_relay.x").exception("unexpected")
    found = RECORD.fullmatch(line(output))
    assert found
    assert found["level"] == "ERR"
    assert found["text"].startswith("unexpected\\nTraceback (most recent call last):\\n")
    assert found["text"].endswith("ValueError: two\\nlines")


def test_foreign_text_forges_no_record() -> None:
    text = "x\r\n<0> 2026-11-22 10:00:00.123 +00:00 [FTL] - y\x1b[2J\ud800"
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%s", (text,), None)
    line = log.RuntimeFormatter().format(record)
    assert line.endswith("[INF] - x\\r\\n<0> 2026-11-22 10:00:00.123 +00:00 [FTL] - y\\x1b[2J\\ud800")


def test_a_long_record_keeps_its_beginning_and_end(output: io.StringIO) -> None:
    logging.getLogger("serial_relay").info("begin %s end", "ü" * 1_000_000)
    assert "[INF] - begin" in line(output)
    assert line(output).endswith("end")
    assert len(line(output).encode()) < 16_384


def test_the_level_can_be_changed_while_running(output: io.StringIO) -> None:
    mine, theirs = logging.getLogger("serial_relay.x"), logging.getLogger("azure.iot.device")
    mine.debug("1")
    theirs.info("2")
    log.set_level("debug")
    mine.debug("3")
    theirs.debug("4")
    log.set_level("error")
    mine.warning("5")
    theirs.warning("6")
    mine.error("7")
    assert [text[-1] for text in output.getvalue().splitlines()] == ["3", "4", "7"]


@pytest.mark.parametrize(
    "name", ["fatal", "error", "warning", "warn", "info", "INFO", "Information", "debug", "verbose"]
)
def test_the_runtimes_spellings_are_known(name: str) -> None:
    assert log.known_level(name) in log.LEVELS


@pytest.mark.parametrize("name", ["", "loud", "10", "info "])
def test_other_spellings_are_not(name: str) -> None:
    with pytest.raises(ValueError):
        log.known_level(name)
