"""One list of commands for all codec tests, and helpers to compare streams of events."""

from __future__ import annotations

from collections.abc import Iterable

from rfc2217 import (
    ComPortCommand,
    Connection,
    Control,
    Data,
    Event,
    FlowControlResume,
    FlowControlSuspend,
    LineState,
    ModemState,
    Negotiation,
    NotifyLineState,
    NotifyModemState,
    Parity,
    Purge,
    PurgeData,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetLineStateMask,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    Signature,
    StopSize,
    Subnegotiation,
)

COMMANDS: tuple[ComPortCommand, ...] = (
    Signature(),
    Signature("serial_host/1.0.0 (COM3; available)"),
    Signature("Waage ÿ 秤"),
    *map(SetBaudRate, (0, 50, 9600, 115_200, 250_000, 255, 0xFFFF, 0xFF00FF00, 2**32 - 1)),
    *map(SetDataSize, (0, 5, 6, 7, 8, 255)),
    *map(SetParity, (*Parity, Parity(77), Parity(255))),
    *map(SetStopSize, (*StopSize, StopSize(77))),
    *map(SetControl, (*Control, Control(20), Control(255))),
    NotifyLineState(),
    *map(NotifyLineState, (LineState(0), LineState.BREAK_DETECT, LineState(255))),
    NotifyModemState(),
    *map(NotifyModemState, (ModemState(0), ModemState.CTS | ModemState.CTS_CHANGED, ModemState(255))),
    FlowControlSuspend(),
    FlowControlResume(),
    *map(SetLineStateMask, (LineState(0), LineState(255))),
    *map(SetModemStateMask, (ModemState(0), ModemState(255))),
    *map(PurgeData, (*Purge, Purge(0))),
)


def merged(events: Iterable[Event]) -> list[Event]:
    """Join neighbouring `Data`: how a stretch of bytes is cut into events is no part of the promise."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, Data) and result and isinstance(result[-1], Data):
            result[-1] = Data(result[-1].data + event.data)
        else:
            result.append(event)
    return result


def received(connection: Connection, data: bytes) -> list[Event]:
    """Decode all of `data`, and return the events that ask for an action."""
    return [
        event
        for event in connection.receive_data(data)
        if not isinstance(event, Negotiation | Subnegotiation)
    ]


def exchange(one: Connection, other: Connection) -> tuple[list[Event], list[Event]]:
    """Carry bytes between two connections until both are silent; return the events of each."""
    events_of_one: list[Event] = []
    events_of_other: list[Event] = []
    for _ in range(10):
        to_other, to_one = one.data_to_send(), other.data_to_send()
        if not to_other and not to_one:
            return merged(events_of_one), merged(events_of_other)
        events_of_other += received(other, to_other)
        events_of_one += received(one, to_one)
    raise AssertionError("the two connections never fall silent")
