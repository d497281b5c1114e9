"""The commands: each survives both directions, and checks itself when made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from serialx.platforms.serial_rfc2217 import types as serialx

import rfc2217
from rfc2217 import (
    ComPortCommand,
    Control,
    FlowControlResume,
    FlowControlSuspend,
    LineState,
    LocalProtocolError,
    ModemState,
    NotifyModemState,
    Parity,
    Purge,
    PurgeData,
    Role,
    SetBaudRate,
    SetControl,
    SetDataSize,
    SetLineStateMask,
    SetModemStateMask,
    SetParity,
    SetStopSize,
    Signature,
    StopSize,
    UnrecognizedCommand,
)
from rfc2217.com_port_option import decode, encode
from rfc2217.telnet import Option, Subnegotiation, encode_command
from tests.rfc2217.commands import COMMANDS


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_round_trip(command: ComPortCommand, role: Role) -> None:
    payload = encode(command, role)
    assert payload[0] == command.CODE + (100 if role is Role.ACCESS_SERVER else 0)
    decoded = decode(payload, role)
    assert decoded == command
    assert type(decoded) is type(command)


def test_the_list_has_every_command() -> None:
    assert {type(command) for command in COMMANDS} == set(rfc2217.COMMANDS)
    assert [command.CODE for command in rfc2217.COMMANDS] == list(range(13))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_octets_too_many_are_ignored_and_too_few_do_not_fail(command: ComPortCommand, role: Role) -> None:
    payload = encode(command, role)
    if not isinstance(command, Signature) and (payload[1:] or not isinstance(command, NotifyModemState)):
        padded = decode(payload + bytes(4), role)
        assert padded == command or getattr(command, "value", 0) is None
    for length in range(1, len(payload)):
        shorter = decode(payload[:length], role)
        assert isinstance(shorter, type(command) | UnrecognizedCommand)
        if isinstance(command, SetBaudRate | SetParity | PurgeData):
            assert shorter == UnrecognizedCommand(payload[:length])


@pytest.mark.parametrize("role", Role)
def test_unknown_codes_and_codes_of_the_other_direction_survive(role: Role) -> None:
    ours = range(13) if role is Role.CLIENT else range(100, 113)
    for code in set(range(256)) - set(ours) - {8, 9, 108, 109}:
        assert decode(bytes((code, 1, 2)), role) == UnrecognizedCommand(bytes((code, 1, 2)))
    assert decode(b"", role) == UnrecognizedCommand(b"")


@pytest.mark.parametrize("role", Role)
def test_suspend_and_resume_are_understood_with_the_codes_of_both_directions(role: Role) -> None:
    assert [decode(bytes((code,)), role) for code in (8, 108)] == [FlowControlSuspend()] * 2
    assert [decode(bytes((code,)), role) for code in (9, 109)] == [FlowControlResume()] * 2


def test_unknown_values_survive_as_members() -> None:
    parity = Parity(77)
    assert isinstance(parity, Parity)
    assert (parity, parity.name, repr(parity)) == (77, "UNNAMED_77", "<Parity.UNNAMED_77: 77>")
    assert hash(Parity(77)) == hash(parity)
    assert {member.name for member in Parity} == {"REQUEST", "NONE", "ODD", "EVEN", "MARK", "SPACE"}
    with pytest.raises(ValueError, match="256 is not a valid Parity"):
        Parity(256)


def test_every_control_belongs_to_the_request_of_its_setting() -> None:
    groups = {control.name: control.request.name for control in Control}
    for name, request in groups.items():
        subject = name.removeprefix("REQUEST_").removesuffix("_ON").removesuffix("_OFF").partition("FLOW")
        assert request == "REQUEST_" + "".join(subject[:2])
    assert Control(200).request == 200


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SetBaudRate, -1),
        (SetBaudRate, 2**32),
        (SetDataSize, 256),
        (SetParity, 300),
        (SetModemStateMask, 256),
        (NotifyModemState, -1),
    ],
)
def test_values_that_cannot_travel_are_refused_when_made(kind: Any, value: int) -> None:
    with pytest.raises(LocalProtocolError, match=rf"{kind.__name__} takes 0 to \d+, not {value}"):
        kind(value)


def test_plain_numbers_become_members() -> None:
    command: Any = SetParity
    assert command(3).value is Parity.EVEN
    command = NotifyModemState
    assert command(16).value is ModemState.CTS


def test_commands_are_values() -> None:
    command: Any = SetBaudRate(9600)
    with pytest.raises(FrozenInstanceError):
        command.value = 19200
    assert not hasattr(command, "__dict__")
    assert len({*COMMANDS, *COMMANDS}) == len(COMMANDS)


def test_a_signature_of_any_bytes_is_readable_text() -> None:
    signature = decode(b"\x64caf\xe9 \xff", Role.ACCESS_SERVER)
    assert signature == Signature("caf\\xe9 \\xff")
    assert encode(Signature("\udcff"), Role.CLIENT) == b"\x00\\udcff"


SERIALX: tuple[tuple[ComPortCommand, Any], ...] = (
    (SetBaudRate(250_000), serialx.SetBaudrateCmd(baudrate=250_000)),
    (SetBaudRate(0xFF00FFFF), serialx.SetBaudrateCmd(baudrate=0xFF00FFFF)),
    (SetDataSize(7), serialx.SetDatasizeCmd(size=7)),
    (SetParity(Parity.EVEN), serialx.SetParityCmd(parity=serialx.Rfc2217Parity.EVEN)),
    (
        SetStopSize(StopSize.ONE_AND_A_HALF),
        serialx.SetStopsizeCmd(size=serialx.Rfc2217StopSize.ONE_POINT_FIVE),
    ),
    (SetControl(Control.RTS_OFF), serialx.SetControlCmd(control=serialx.ControlCmdId.SET_RTS_OFF)),
    (SetLineStateMask(LineState(255)), serialx.SetLinestateMaskCmd(mask=serialx.LineStateFlag(255))),
    (SetModemStateMask(ModemState(255)), serialx.SetModemstateMaskCmd(mask=serialx.ModemStateFlag(255))),
    (PurgeData(Purge.BOTH), serialx.PurgeDataCmd(what=serialx.PurgeDataValue(3))),
)


@pytest.mark.parametrize(("ours", "theirs"), SERIALX, ids=str)
def test_bytes_are_those_of_serialx(ours: ComPortCommand, theirs: Any) -> None:
    wire = encode_command(Subnegotiation(Option.COM_PORT, encode(ours, Role.CLIENT)))
    assert wire == serialx.encode_command(theirs)
