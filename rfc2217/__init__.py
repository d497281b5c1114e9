"""Telnet's com port option (RFC 2217): a serial port's settings and modem lines beside its bytes, over one connection.

The package has both roles, client and access server, and does no I/O: bytes from the network go in and typed events
come out, typed commands go in and bytes for the network come out. Start at `Connection`. This is not a telnet terminal:
it has the parts of telnet that a serial line needs, and it refuses every other option.
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
from rfc2217.telnet import (
    Data,
    Negotiation,
    Option,
    Subnegotiation,
    TelnetCode,
    TelnetCommand,
    encode_data,
)

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
    "Negotiation",
    "NotifyLineState",
    "NotifyModemState",
    "Option",
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
    "Subnegotiation",
    "TelnetCode",
    "TelnetCommand",
    "UnrecognizedCommand",
    "encode_data",
]
