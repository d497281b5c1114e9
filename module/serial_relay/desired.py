"""Module twin's desired properties -> frozen port configurations."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Protocol(StrEnum):
    """What runs inside the TCP connection."""

    RAW = "raw"
    RFC2217 = "rfc2217"


class Connect(StrEnum):
    """When the connection to the host stands."""

    ALWAYS = "always"
    ON_OPEN = "onOpen"


class WhileDisconnected(StrEnum):
    """What becomes of bytes that an application writes while there is no connection."""

    DISCARD = "discard"
    HOLD = "hold"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class LineSettings(_Frozen):
    """Line settings to push to the real port; None follows the application where a pty can carry it."""

    baud_rate: int | None = Field(default=None, ge=1, le=2**32 - 1)
    data_bits: Literal[5, 6, 7, 8] | None = None
    parity: Literal["none", "odd", "even", "mark", "space"] | None = None
    stop_bits: Literal[1, 1.5, 2] | None = None
    flow_control: Literal["none", "rtsCts", "xonXoff", "dtrDsr"] | None = None


class PortConfig(_Frozen):
    """One virtual serial port; two equal configurations need no restart."""

    name: str
    host: str
    tcp_port: int
    link: str
    """Link name below the link directory, without `/dev/`."""
    protocol: Protocol = Protocol.RAW
    line: LineSettings = LineSettings()
    uid: int = 0
    gid: int = 10
    mode: int = 0o660
    connect: Connect = Connect.ALWAYS
    while_disconnected: WhileDisconnected = WhileDisconnected.DISCARD
    enabled: bool = True
