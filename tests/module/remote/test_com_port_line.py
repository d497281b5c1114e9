"""Line settings to com port commands and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from rfc2217 import (
    ComPortCommand,
    Control,
    Parity,
    Purge,
    PurgeData,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    StopSize,
)
from serial_relay.config import LineSettings
from serial_relay.remote.com_port_line import ASKING, change_requests, in_words, opening_requests, with_answer
from serial_relay.status import ActualLine

VALUES: dict[str, tuple[Any, ...]] = {
    "baud_rate": (1, 9600, 2**32 - 1),
    "data_bits": (5, 6, 7, 8),
    "parity": ("none", "odd", "even", "mark", "space"),
    "stop_bits": (1, 1.5, 2),
    "flow_control": ("none", "rtsCts", "xonXoff", "dtrDsr"),
}
LINES = [LineSettings(**{name: value}) for name, values in VALUES.items() for value in values]


@pytest.mark.parametrize("line", LINES, ids=str)
def test_every_setting_survives_an_obliging_server(line: LineSettings) -> None:
    actual = ActualLine()
    for request in opening_requests(line):
        if request not in ASKING:
            actual = with_answer(actual, request)
    assert {**asdict(line), **asdict(actual)} == asdict(line)


def test_what_the_line_leaves_open_is_asked_for() -> None:
    assert list(opening_requests(LineSettings(parity="mark"))) == [
        SetBaudRate(),
        SetDataSize(),
        SetParity(Parity.MARK),
        SetStopSize(),
        SetControl(Control.REQUEST_FLOW),
        SetControl(Control.DTR_ON),
        SetControl(Control.RTS_ON),
    ]


@pytest.mark.parametrize(
    ("line", "controls"),
    [
        (LineSettings(), [Control.DTR_ON, Control.RTS_ON]),
        (LineSettings(dtr=True, rts=False), [Control.DTR_ON, Control.RTS_OFF]),
        (LineSettings(dtr=False), [Control.DTR_OFF, Control.RTS_ON]),
        (LineSettings(flow_control="rtsCts"), [Control.DTR_ON]),
        (LineSettings(flow_control="dtrDsr"), [Control.RTS_ON]),
        (LineSettings(flow_control="rtsCts", rts=False), [Control.DTR_ON, Control.RTS_OFF]),
    ],
)
def test_modem_lines_are_raised_as_a_uart_raises_them_but_not_what_flow_control_drives(
    line: LineSettings, controls: list[Control]
) -> None:
    modem_lines = {Control.REQUEST_DTR, Control.REQUEST_RTS}
    requests = [request.value for request in opening_requests(line) if isinstance(request, SetControl)]
    assert [control for control in requests if control.request in modem_lines] == controls


@pytest.mark.parametrize(
    ("before", "after", "requests"),
    [
        (LineSettings(), LineSettings(), []),
        (LineSettings(baud_rate=9600), LineSettings(baud_rate=9600), []),
        (LineSettings(baud_rate=9600), LineSettings(), []),
        (LineSettings(), LineSettings(baud_rate=9600), [SetBaudRate(9600)]),
        (
            LineSettings(baud_rate=9600, stop_bits=2),
            LineSettings(baud_rate=9600, stop_bits=1, flow_control="dtrDsr"),
            [
                SetStopSize(StopSize.ONE),
                SetControl(Control.FLOW_DSR),
                SetControl(Control.INBOUND_FLOW_DTR),
            ],
        ),
        (
            LineSettings(flow_control="dtrDsr"),
            LineSettings(flow_control="none"),
            [
                SetControl(Control.FLOW_NONE),
                SetControl(Control.INBOUND_FLOW_NONE),
                SetControl(Control.DTR_ON),
            ],
        ),
        (LineSettings(), LineSettings(dtr=False), [SetControl(Control.DTR_OFF)]),
        (LineSettings(rts=False), LineSettings(), [SetControl(Control.RTS_ON)]),
    ],
)
def test_only_what_changes_is_requested(
    before: LineSettings, after: LineSettings, requests: list[ComPortCommand]
) -> None:
    assert list(change_requests(before, after)) == requests


@pytest.mark.parametrize(
    "answer",
    [
        SetParity(Parity(99)),
        SetStopSize(StopSize(99)),
        SetControl(Control.FLOW_DCD),
        SetControl(Control(99)),
        SetControl(Control.DTR_ON),
        SetBaudRate(0),
        SetDataSize(0),
        PurgeData(Purge.BOTH),
    ],
    ids=str,
)
def test_answers_without_a_meaning_for_the_line_say_nothing(answer: ComPortCommand) -> None:
    assert with_answer(ActualLine(), answer) == ActualLine()


def test_a_setting_in_words_has_the_twins_names() -> None:
    assert in_words(SetBaudRate(9600)) == "baudRate 9600"
    assert in_words(SetParity(Parity.EVEN)) == "parity even"
    assert in_words(SetStopSize(StopSize.ONE_AND_A_HALF)) == "stopBits 1.5"
    assert in_words(SetControl(Control.FLOW_HARDWARE)) == "flowControl rtsCts"
    assert in_words(SetControl(Control.DTR_ON)) == "dtr on"
    assert in_words(SetControl(Control.RTS_OFF)) == "rts off"
