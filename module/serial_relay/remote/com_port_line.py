"""Line settings as com port commands (RFC 2217), and the access server's answers as line settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rfc2217 import (
    ComPortCommand,
    Control,
    Parity,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetParity,
    SetStopSize,
    StopSize,
)
from serial_relay.config import LineSettings
from serial_relay.status import ActualLine

_PARITY = {
    "none": Parity.NONE,
    "odd": Parity.ODD,
    "even": Parity.EVEN,
    "mark": Parity.MARK,
    "space": Parity.SPACE,
}
_STOP_BITS: dict[float, StopSize] = {1: StopSize.ONE, 1.5: StopSize.ONE_AND_A_HALF, 2: StopSize.TWO}
_FLOW_CONTROL = {
    "none": (Control.FLOW_NONE,),
    "rtsCts": (Control.FLOW_HARDWARE,),
    "xonXoff": (Control.FLOW_XON_XOFF,),
    "dtrDsr": (Control.FLOW_DSR, Control.INBOUND_FLOW_DTR),
}
_PARITY_NAMES = {value: name for name, value in _PARITY.items()}
_STOP_BITS_NAMES = {value: bits for bits, value in _STOP_BITS.items()}
_FLOW_CONTROL_NAMES = {controls[0]: name for name, controls in _FLOW_CONTROL.items()}


def opening_requests(line: LineSettings) -> Iterator[ComPortCommand]:
    """Give a request for every setting: to set it, or to ask what it is where the line leaves it open."""
    yield SetBaudRate(line.baud_rate or 0)
    yield SetDataSize(line.data_bits or 0)
    yield SetParity(_PARITY[line.parity] if line.parity else Parity.REQUEST)
    yield SetStopSize(_STOP_BITS[line.stop_bits] if line.stop_bits else StopSize.REQUEST)
    yield from map(
        SetControl, _FLOW_CONTROL[line.flow_control] if line.flow_control else (Control.REQUEST_FLOW,)
    )


ASKING = frozenset(opening_requests(LineSettings()))
"""The requests that set nothing."""


def change_requests(before: LineSettings, after: LineSettings) -> Iterator[ComPortCommand]:
    """Give a request for every setting that is another one now; one that is left open now stays as it is."""
    standing = ASKING.union(opening_requests(before))
    yield from (request for request in opening_requests(after) if request not in standing)


def with_answer(line: ActualLine, answer: ComPortCommand) -> ActualLine:
    """Give the line with what the access server answered; answers that are not about the line change nothing."""
    match answer:
        case SetBaudRate(baud_rate):
            return replace(line, baud_rate=baud_rate)
        case SetDataSize(data_bits):
            return replace(line, data_bits=data_bits)
        case SetParity(parity):
            return replace(line, parity=_PARITY_NAMES.get(parity))
        case SetStopSize(stop_bits):
            return replace(line, stop_bits=_STOP_BITS_NAMES.get(stop_bits))
        case SetControl(control) if control.request is Control.REQUEST_FLOW:
            return replace(line, flow_control=_FLOW_CONTROL_NAMES.get(control))
    return line


def in_words(command: ComPortCommand) -> str:
    """Give a setting with the name that it has in the twin: `baudRate 9600`."""
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
    return str(command)
