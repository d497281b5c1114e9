"""The commands of RFC 2217 in terms of a serial line: pure functions, without a port and without a connection."""

from __future__ import annotations

from dataclasses import replace

import rfc2217
from rfc2217 import Control, LineState, ModemState, NotifyLineState, NotifyModemState, StopSize
from serial_host.line import FlowControl, LineErrors, LineSettings, ModemLines, Parity

LineCommand = (
    rfc2217.SetBaudRate | rfc2217.SetDataSize | rfc2217.SetParity | rfc2217.SetStopSize | rfc2217.SetControl
)
"""The commands that ask for line settings; of `SetControl` those about flow control."""

NOTIFIED_LINE_STATES = (
    LineState.OVERRUN_ERROR | LineState.PARITY_ERROR | LineState.FRAMING_ERROR | LineState.BREAK_DETECT
)
"""The states that a driver of an operating system reports: it counts errors, and does not show the registers of the
UART."""

_PARITIES = {
    rfc2217.Parity.NONE: Parity.NONE,
    rfc2217.Parity.ODD: Parity.ODD,
    rfc2217.Parity.EVEN: Parity.EVEN,
    rfc2217.Parity.MARK: Parity.MARK,
    rfc2217.Parity.SPACE: Parity.SPACE,
}
_STOP_SIZES = {StopSize.ONE: 1.0, StopSize.ONE_AND_A_HALF: 1.5, StopSize.TWO: 2.0}
_FLOW_CONTROLS = {
    Control.FLOW_NONE: FlowControl.NONE,
    Control.FLOW_XON_XOFF: FlowControl.XON_XOFF,
    Control.FLOW_HARDWARE: FlowControl.RTS_CTS,
    Control.FLOW_DSR: FlowControl.DSR_DTR,
}
_INBOUND_FLOW_CONTROLS = {
    FlowControl.NONE: Control.INBOUND_FLOW_NONE,
    FlowControl.XON_XOFF: Control.INBOUND_FLOW_XON_XOFF,
    FlowControl.RTS_CTS: Control.INBOUND_FLOW_HARDWARE,
    FlowControl.DSR_DTR: Control.INBOUND_FLOW_DTR,
}
_PARITY_NUMBERS = {parity: number for number, parity in _PARITIES.items()}
_STOP_SIZE_NUMBERS = {size: number for number, size in _STOP_SIZES.items()}
_FLOW_CONTROL_NUMBERS = {flow_control: number for number, flow_control in _FLOW_CONTROLS.items()}


def wanted_line(line: LineSettings, command: LineCommand) -> LineSettings:
    """Return `line` as the client wants it.

    It is unchanged where the command only asks or means nothing that a port can do.
    """
    match command:
        case rfc2217.SetBaudRate(rate) if rate:
            return replace(line, baud_rate=rate)
        case rfc2217.SetDataSize((5 | 6 | 7 | 8) as bits):
            return replace(line, data_bits=bits)
        case rfc2217.SetParity(number) if number in _PARITIES:
            return replace(line, parity=_PARITIES[number])
        case rfc2217.SetStopSize(number) if number in _STOP_SIZES:
            return replace(line, stop_bits=_STOP_SIZES[number])
        case rfc2217.SetControl(number) if number in _FLOW_CONTROLS:
            return replace(line, flow_control=_FLOW_CONTROLS[number])
        case _:
            return line


def line_answer(line: LineSettings, command: LineCommand) -> LineCommand:
    """Return the answer to a line command: the settings in force."""
    match command:
        case rfc2217.SetBaudRate():
            return rfc2217.SetBaudRate(line.baud_rate)
        case rfc2217.SetDataSize():
            return rfc2217.SetDataSize(line.data_bits)
        case rfc2217.SetParity():
            return rfc2217.SetParity(_PARITY_NUMBERS[line.parity])
        case rfc2217.SetStopSize():
            return rfc2217.SetStopSize(_STOP_SIZE_NUMBERS[line.stop_bits])
        case rfc2217.SetControl(number) if number.request is Control.REQUEST_FLOW:
            return rfc2217.SetControl(_FLOW_CONTROL_NUMBERS[line.flow_control])
        case rfc2217.SetControl(number) if number.request is Control.REQUEST_INBOUND_FLOW:
            # A port has one flow control for both directions, so the inbound one follows the outbound one.
            return rfc2217.SetControl(_INBOUND_FLOW_CONTROLS[line.flow_control])
        case _:
            return command


def modem_state(lines: ModemLines, before: ModemLines) -> ModemState:
    """Return the lines, and what changed since `before`."""
    state = ModemState(0)
    for now, then, line, changed in (
        (lines.cts, before.cts, ModemState.CTS, ModemState.CTS_CHANGED),
        (lines.dsr, before.dsr, ModemState.DSR, ModemState.DSR_CHANGED),
        (lines.cd, before.cd, ModemState.CD, ModemState.CD_CHANGED),
    ):
        state |= line if now else ModemState(0)
        state |= changed if now is not then else ModemState(0)
    if lines.ri:
        state |= ModemState.RI
    elif before.ri:
        state |= ModemState.RI_ENDED
    return state


def modem_notification(lines: ModemLines, before: ModemLines, mask: ModemState) -> NotifyModemState | None:
    """Return what to tell a client that asked for `mask`; None if nothing of it changed."""
    state = modem_state(lines, before)
    ringing = ModemState.RI if lines.ri and not before.ri else ModemState(0)
    changed = state & (
        ModemState.CTS_CHANGED | ModemState.DSR_CHANGED | ModemState.CD_CHANGED | ModemState.RI_ENDED
    )
    # A client that asked for a line without its change bit is told of the changes of that line as well.
    for line, bit in _CHANGE_BITS.items():
        if changed & bit:
            changed |= line
    return NotifyModemState(state & mask) if (changed | ringing) & mask else None


_CHANGE_BITS = {
    ModemState.CTS: ModemState.CTS_CHANGED,
    ModemState.DSR: ModemState.DSR_CHANGED,
    ModemState.CD: ModemState.CD_CHANGED,
    ModemState.RI: ModemState.RI_ENDED,
}


def line_state(errors: LineErrors, before: LineErrors) -> LineState:
    """Return the errors that were met since `before`."""
    state = LineState(0)
    for now, then, bit in (
        (errors.overrun, before.overrun, LineState.OVERRUN_ERROR),
        (errors.parity, before.parity, LineState.PARITY_ERROR),
        (errors.framing, before.framing, LineState.FRAMING_ERROR),
        (errors.breaks, before.breaks, LineState.BREAK_DETECT),
    ):
        if now > then:
            state |= bit
    return state


def line_notification(errors: LineErrors, before: LineErrors, mask: LineState) -> NotifyLineState | None:
    """Return what to tell a client that asked for `mask`; None if nothing of it happened."""
    state = line_state(errors, before) & mask
    return NotifyLineState(state) if state else None
