"""RFC 2217's commands in terms of a line: every value, and which changes of lines are worth a notification."""

from __future__ import annotations

import itertools

import pytest

from rfc2217 import (
    Control,
    LineState,
    ModemState,
    NotifyLineState,
    NotifyModemState,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    StopSize,
)
from rfc2217 import Parity as ParityNumber
from serial_host.line import FlowControl, LineErrors, LineSettings, ModemLines, Parity
from serial_host.session.com_port_commands import (
    LineCommand,
    line_answer,
    line_notification,
    modem_notification,
    modem_state,
    wanted_line,
)

LINE = LineSettings(9600, 8, Parity.NONE, 1, FlowControl.NONE)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (SetBaudRate(4_000_000_000), LineSettings(4_000_000_000)),
        (SetDataSize(5), LineSettings(data_bits=5)),
        (SetParity(ParityNumber.MARK), LineSettings(parity=Parity.MARK)),
        (SetStopSize(StopSize.ONE_AND_A_HALF), LineSettings(stop_bits=1.5)),
        (SetControl(Control.FLOW_HARDWARE), LineSettings(flow_control=FlowControl.RTS_CTS)),
        (SetControl(Control.FLOW_DSR), LineSettings(flow_control=FlowControl.DSR_DTR)),
    ],
)
def test_a_setting_is_wanted_and_answered(command: LineCommand, line: LineSettings) -> None:
    assert wanted_line(LINE, command) == line
    assert line_answer(line, command) == command


@pytest.mark.parametrize("kind", [SetDataSize, SetParity, SetStopSize])
def test_every_number_is_answered_with_what_is(kind: type[SetDataSize | SetParity | SetStopSize]) -> None:
    for number in range(256):
        command = kind(number)  # type: ignore[arg-type]
        line = wanted_line(LINE, command)
        assert line_answer(line, command).value == (
            number if line != LINE else line_answer(LINE, command).value
        )


def test_the_baud_rate_is_asked_with_zero() -> None:
    assert wanted_line(LINE, SetBaudRate(0)) == LINE
    assert line_answer(LINE, SetBaudRate(0)) == SetBaudRate(9600)


def test_flow_control_is_asked_for_each_direction() -> None:
    line = LineSettings(flow_control=FlowControl.XON_XOFF)
    assert line_answer(line, SetControl(Control.REQUEST_FLOW)) == SetControl(Control.FLOW_XON_XOFF)
    assert line_answer(line, SetControl(Control.REQUEST_INBOUND_FLOW)) == SetControl(
        Control.INBOUND_FLOW_XON_XOFF
    )
    assert wanted_line(line, SetControl(Control.INBOUND_FLOW_NONE)) == line


def test_lines_and_changes_are_bits() -> None:
    assert modem_state(ModemLines(), ModemLines()) == ModemState(0)
    assert modem_state(ModemLines(cts=True), ModemLines()) == ModemState.CTS | ModemState.CTS_CHANGED
    assert modem_state(ModemLines(ri=True), ModemLines()) == ModemState.RI
    assert modem_state(ModemLines(), ModemLines(ri=True)) == ModemState.RI_ENDED
    assert modem_state(ModemLines(dsr=True, cd=True), ModemLines(dsr=True, cd=False)) == (
        ModemState.DSR | ModemState.CD | ModemState.CD_CHANGED
    )


LINES = [ModemLines(*values) for values in itertools.product((False, True), repeat=4)]


def test_nothing_changed_is_nothing_notified() -> None:
    assert all(modem_notification(lines, lines, ModemState(0xFF)) is None for lines in LINES)


def test_every_change_is_notified_to_who_asked_for_all() -> None:
    for before, now in itertools.permutations(LINES, 2):
        assert modem_notification(now, before, ModemState(0xFF)) == NotifyModemState(modem_state(now, before))


def test_a_masked_line_is_neither_notified_nor_shown() -> None:
    mask = ModemState.CTS | ModemState.CTS_CHANGED
    assert modem_notification(ModemLines(dsr=True), ModemLines(), mask) is None
    assert modem_notification(ModemLines(cts=True, dsr=True), ModemLines(), mask) == NotifyModemState(mask)


def test_who_asked_for_a_line_alone_is_told_that_it_fell() -> None:
    assert modem_notification(ModemLines(), ModemLines(cts=True), ModemState.CTS) == NotifyModemState(
        ModemState(0)
    )


def test_errors_are_notified_when_they_happen() -> None:
    errors = LineErrors(overrun=1, parity=2, framing=3, breaks=4)
    everything = (
        LineState.OVERRUN_ERROR | LineState.PARITY_ERROR | LineState.FRAMING_ERROR | LineState.BREAK_DETECT
    )
    assert line_notification(errors, LineErrors(), LineState(0xFF)) == NotifyLineState(everything)
    assert line_notification(errors, errors, LineState(0xFF)) is None
    assert line_notification(errors, LineErrors(), LineState.BREAK_DETECT) == NotifyLineState(
        LineState.BREAK_DETECT
    )
    assert line_notification(LineErrors(overrun=1), LineErrors(), LineState.BREAK_DETECT) is None
