"""Turns line settings into com port commands (RFC 2217), and the access server's answers into line settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from rfc2217 import (
    ComPortCommand,
    Control,
    LineState,
    Parity,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    StopSize,
)
from serial_relay.config import LineSettings
from serial_relay.status import ActualLine, LineErrors

_PARITY = {
    "none": Parity.NONE,
    "odd": Parity.ODD,
    "even": Parity.EVEN,
    "mark": Parity.MARK,
    "space": Parity.SPACE,
}
_STOP_BITS: dict[float, StopSize] = {1: StopSize.ONE, 1.5: StopSize.ONE_AND_A_HALF, 2: StopSize.TWO}
_FLOW_CONTROL = {
    "none": (Control.FLOW_NONE, Control.INBOUND_FLOW_NONE),
    "rtsCts": (Control.FLOW_HARDWARE, Control.INBOUND_FLOW_HARDWARE),
    "xonXoff": (Control.FLOW_XON_XOFF, Control.INBOUND_FLOW_XON_XOFF),
    "dtrDsr": (Control.FLOW_DSR, Control.INBOUND_FLOW_DTR),
}
"""Both directions are set each time: once the inbound one is set separately, the outbound one does not change it."""
_PARITY_NAMES = {value: name for name, value in _PARITY.items()}
_STOP_BITS_NAMES = {value: bits for bits, value in _STOP_BITS.items()}
_FLOW_CONTROL_NAMES = {controls[0]: name for name, controls in _FLOW_CONTROL.items()}


COUNTED_ERRORS = (
    LineState.OVERRUN_ERROR | LineState.PARITY_ERROR | LineState.FRAMING_ERROR | LineState.BREAK_DETECT
)
"""What an application can count on its port (TIOCGICOUNT)."""

_ON_AND_OFF = {
    "break": (Control.BREAK_ON, Control.BREAK_OFF),
    "dtr": (Control.DTR_ON, Control.DTR_OFF),
    "rts": (Control.RTS_ON, Control.RTS_OFF),
}
MODEM_SUBJECTS = frozenset(SetControl(_ON_AND_OFF[line][0]).subject for line in ("dtr", "rts"))
"""Of the requests that raise or drop a modem line."""

_DRIVEN_BY_FLOW_CONTROL = {"rtsCts": "rts", "dtrDsr": "dtr"}
"""The modem line that the real port's driver raises and drops by itself with each flow control."""


def _line_requests(line: LineSettings) -> Iterator[ComPortCommand]:
    yield SetBaudRate(line.baud_rate or 0)
    yield SetDataSize(line.data_bits or 0)
    yield SetParity(_PARITY[line.parity] if line.parity else Parity.REQUEST)
    yield SetStopSize(_STOP_BITS[line.stop_bits] if line.stop_bits else StopSize.REQUEST)
    yield from map(
        SetControl, _FLOW_CONTROL[line.flow_control] if line.flow_control else (Control.REQUEST_FLOW,)
    )


ASKING = frozenset(_line_requests(LineSettings()))
"""The requests that set nothing."""


def modem_request(line: Literal["dtr", "rts"], *, raised: bool) -> SetControl:
    """Return the request to raise or to drop a modem line."""
    on, off = _ON_AND_OFF[line]
    return SetControl(on if raised else off)


def opening_requests(line: LineSettings) -> Iterator[ComPortCommand]:
    """Return a request for every setting, and for DTR and RTS.

    Where `line` does not have a setting, the request asks for it. DTR and RTS are raised then, as a UART does when it is
    opened, unless flow control drives the line.
    """
    yield from _line_requests(line)
    driven = _DRIVEN_BY_FLOW_CONTROL.get(line.flow_control or "")
    if line.dtr is not None or driven != "dtr":
        yield modem_request("dtr", raised=line.dtr is not False)
    if line.rts is not None or driven != "rts":
        yield modem_request("rts", raised=line.rts is not False)


def change_requests(before: LineSettings, after: LineSettings) -> Iterator[ComPortCommand]:
    """Return a request for every setting that differs; a setting that `after` does not have stays as it is."""
    standing = ASKING.union(opening_requests(before))
    yield from (request for request in opening_requests(after) if request not in standing)


def with_answer(line: ActualLine, answer: ComPortCommand) -> ActualLine:
    """Return the line with what the access server answered. An answer that is not about the line changes nothing.

    The answer 0 is ignored, since some servers send it for a rate or a number of bits that they do not know.
    """
    match answer:
        case SetBaudRate(baud_rate):
            return replace(line, baud_rate=baud_rate or None)
        case SetDataSize(data_bits):
            return replace(line, data_bits=data_bits or None)
        case SetParity(parity):
            return replace(line, parity=_PARITY_NAMES.get(parity))
        case SetStopSize(stop_bits):
            return replace(line, stop_bits=_STOP_BITS_NAMES.get(stop_bits))
        case SetControl(control) if control.request is Control.REQUEST_FLOW:
            return replace(line, flow_control=_FLOW_CONTROL_NAMES.get(control))
    return line


def line_errors(state: LineState) -> LineErrors:
    """Return what a notification counts: one of each kind that it names."""
    return LineErrors(
        framing=int(LineState.FRAMING_ERROR in state),
        overrun=int(LineState.OVERRUN_ERROR in state),
        parity=int(LineState.PARITY_ERROR in state),
        breaks=int(LineState.BREAK_DETECT in state),
    )


def in_words(command: ComPortCommand) -> str:
    """Return a setting with the name that it has in the twin: `baudRate 9600`."""
    line = with_answer(ActualLine(), command)
    for name, value in {
        "baudRate": line.baud_rate,
        "dataBits": line.data_bits,
        "parity": line.parity,
        "stopBits": line.stop_bits,
        "flowControl": line.flow_control,
    }.items():
        if value is not None:
            return f"{name} {value}"
    for name, (on, off) in _ON_AND_OFF.items():
        if command == SetControl(on):
            return f"{name} on"
        if command == SetControl(off):
            return f"{name} off"
    return str(command)
