"""Telnet's com port option (RFC 2217), both roles, without IO: a serial port's settings and lines next to its bytes.

Bytes from the network go in, typed events come out; typed commands go in, bytes for the network come out. Start at
`Connection`. It is not a telnet terminal: of telnet it has what a serial line needs, and it refuses every other option.
"""

from __future__ import annotations

from rfc2217.com_port_option import (
    COMMANDS,
    ComPortCommand,
    FlowControlResume,
    FlowControlSuspend,
    NotifyLineState,
    NotifyModemState,
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
    UnrecognizedCommand,
)
from rfc2217.com_port_values import Control, LineState, ModemState, Parity, Purge, StopSize
from rfc2217.connection import ComPortAgreed, ComPortRefused, Connection, Event, PeerFailed
from rfc2217.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from rfc2217.signature import AccessServerSignature, DeviceState
from rfc2217.telnet import Data, TelnetCode, TelnetCommand

__all__ = [
    "COMMANDS",
    "AccessServerSignature",
    "ComPortAgreed",
    "ComPortCommand",
    "ComPortRefused",
    "Connection",
    "Control",
    "Data",
    "DeviceState",
    "Event",
    "FlowControlResume",
    "FlowControlSuspend",
    "LineState",
    "LocalProtocolError",
    "ModemState",
    "NotifyLineState",
    "NotifyModemState",
    "Parity",
    "PeerFailed",
    "ProtocolError",
    "Purge",
    "PurgeData",
    "RemoteProtocolError",
    "Role",
    "SetBaudRate",
    "SetControl",
    "SetDataSize",
    "SetLineStateMask",
    "SetModemStateMask",
    "SetParity",
    "SetStopSize",
    "Signature",
    "StopSize",
    "TelnetCode",
    "TelnetCommand",
    "UnrecognizedCommand",
]
