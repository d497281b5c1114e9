"""How many lines of one kind a log gets, and that no line is another's."""

from __future__ import annotations

import logging

import pytest

from serial_host.plumbing.port_log import PortLog
from serial_monitor.log_budget import BURST, SECONDS_A_LINE, Budget


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_one_line_in_a_while() -> None:
    budget = Budget(0.0)
    assert [budget.allows(0.0) for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    assert budget.left_out == 2
    assert not budget.allows(SECONDS_A_LINE * 0.9)
    assert budget.allows(SECONDS_A_LINE * 1.1)
    assert not budget.allows(SECONDS_A_LINE * 1.2)


def test_what_was_left_out_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    log = PortLog(logging.getLogger("test"), "COM3", clock)
    for number in range(1000):
        log.info("client %d connected", number)
    log.warning("the device is gone")
    clock.now = 2 * SECONDS_A_LINE
    log.info("client %d connected", 1000)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == BURST + 2
    assert messages[BURST:] == [
        "COM3: the device is gone",
        f"COM3: client 1000 connected ({1000 - BURST} more messages like this one were left out)",
    ]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[2Jb", "\u2028b", "b\x00", "\ud800"])
def test_text_of_others_makes_no_line_of_its_own(caplog: pytest.LogCaptureFixture, text: str) -> None:
    log = PortLog(logging.getLogger("test"), text)
    log.warning("the client says %s", text)
    log.warning("%s", ValueError(text))
    assert all(record.getMessage().isprintable() for record in caplog.records)
