"""The keys that people may write into the desired properties: at the top, in one entry of `serialPorts`, and below `line`.

A field's description says what is expected, in the words of a fault; its title and its examples say what it is for. The
JSON Schema (`serial_relay.schema`) is made from the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from serial_relay.config import Connect, FlowControl, Kind, Parity, Protocol, WhileDisconnected
from serial_relay.twin.desired_syntax import (
    HOST_PATTERN,
    LINK_PATTERN,
    MODE_PATTERN,
    check_host,
    check_link,
    check_mode,
    whole_number,
)
from serial_relay.twin.tls_entry import TLS_EXAMPLE, Tls

DEFAULT_REPORT_INTERVAL = 3600.0
"""Seconds."""


def _check_stop_bits(value: float) -> float:
    if value not in {1, 1.5, 2}:
        raise ValueError
    return value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


_Host = Annotated[StrictStr, AfterValidator(check_host), Field(json_schema_extra={"pattern": HOST_PATTERN})]
_Id = Annotated[
    int, BeforeValidator(whole_number), Field(strict=True, ge=0, le=2**32 - 2)
]  # (uid_t)-1 means "leave it" to chown(2)


class Top(_Frozen):
    """The keys at the top of the desired properties."""

    host: _Host | None = Field(
        default=None,
        title="The serial server of all ports that name none themselves",
        description="an IP address or host name",
        examples=["172.18.246.137", "WINHOST.mshome.net"],
    )
    report_interval_seconds: Annotated[float, Field(strict=True, ge=1, le=604_800)] = Field(
        default=DEFAULT_REPORT_INTERVAL,
        title="The shortest time between two reports of byte counters and modem lines",
        description="seconds, 1-604800",
        examples=[900],
    )
    tls: Tls | None = Field(
        default=None,
        title="TLS for all ports that have no `tls` of their own; without it the connections are not secured",
        description="an object with TLS settings",
        examples=[{"hostFingerprints": [TLS_EXAMPLE]}],
    )
    serial_ports: Any = Field(
        default=None,
        title="The virtual serial ports by name",
        description="an object with an entry for each port",
        examples=[{"ttyVirtS0": {"host": "172.18.246.137", "tcpPort": 5002}}],
    )


class Line(_Frozen):
    """The keys below `line`."""

    baud_rate: (
        Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, le=2**32 - 1)] | None
    ) = Field(
        default=None,
        title="The speed of the real port; if it is left out, the real port follows the application",
        description="bits per second, 1-4294967295",
        examples=[9600],
    )
    data_bits: (
        Annotated[
            Literal[5, 6, 7, 8],
            BeforeValidator(whole_number),
            WithJsonSchema({"type": "integer", "enum": [5, 6, 7, 8]}),
        ]
        | None
    ) = Field(
        default=None,
        title="The data bits of the real port; if they are left out, it follows the application of a tty",
        description="5, 6, 7 or 8",
        examples=[7],
    )
    parity: Parity | None = Field(
        default=None,
        title="The parity of the real port; if it is left out, it follows the application of a tty",
        description='"none", "odd", "even", "mark" or "space"',
        examples=["even"],
    )
    stop_bits: (
        Annotated[
            float,
            Field(strict=True),
            AfterValidator(_check_stop_bits),
            WithJsonSchema({"type": "number", "enum": [1, 1.5, 2]}),
        ]
        | None
    ) = Field(
        default=None,
        title="The stop bits of the real port; if they are left out, the real port follows the application",
        description="1, 1.5 or 2",
        examples=[1],
    )
    flow_control: FlowControl | None = Field(
        default=None,
        title="The flow control of the real port; if it is left out, the real port follows the application",
        description='"none", "rtsCts", "xonXoff" or "dtrDsr"',
        examples=["none"],
    )
    dtr: StrictBool | None = Field(
        default=None,
        title="The modem line DTR; if it is left out, it follows the application of a tty, and is raised at a pty",
        description="true or false",
        examples=[True],
    )
    rts: StrictBool | None = Field(
        default=None,
        title="The modem line RTS; if it is left out, it follows the application of a tty, and is raised at a pty",
        description="true or false",
        examples=[True],
    )


class Entry(_Frozen):
    """The keys of one entry of `serialPorts`."""

    host: _Host | None = Field(
        default=None,
        title="The serial server of this port",
        description="an IP address or host name",
        examples=["172.18.246.137"],
    )
    tcp_port: Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, le=65535)] = Field(
        title="The TCP port on which the server serves this port",
        description="a TCP port, 1-65535",
        examples=[5002],
    )
    link: Annotated[
        StrictStr, AfterValidator(check_link), Field(json_schema_extra={"pattern": LINK_PATTERN})
    ] = Field(
        title="The name of the virtual serial port below /dev; the entry's own name if it is left out",
        description="a name below /dev of 1-64 bytes without '/', blanks and control characters,"
        " not beginning with '.'",
        examples=["ttyScale", "/dev/ttyScale"],
    )
    protocol: Protocol = Field(
        default=Protocol.RAW,
        title="What runs inside the TCP connection; both ends must use the same",
        description='"raw" or "rfc2217"',
        examples=["rfc2217"],
    )
    kind: Kind = Field(
        default=Kind.AUTO,
        title="What applications open: a pty, or a character device (tty), which has parity, modem lines and breaks;"
        " auto: a tty where the machine has CUSE and the protocol is rfc2217, else a pty",
        description='"auto", "pty" or "tty"',
        examples=["tty"],
    )
    line: Line = Field(
        default=Line(),
        title="The settings of the real port (with the protocol rfc2217 only)",
        description="an object with line settings",
        examples=[{"baudRate": 9600, "dataBits": 7, "parity": "even"}],
    )
    tls: Tls | None = Field(
        default=None,
        title="TLS for this port; false switches it off for this port, whatever stands at the top level",
        description="an object with TLS settings, or false",
        examples=[{"hostFingerprints": [TLS_EXAMPLE]}, False],
    )
    uid: _Id = Field(
        default=0,
        title="The owner of the virtual port",
        description="a number of a user, 0-4294967294",
        examples=[1000],
    )
    gid: _Id | None = Field(
        default=None,
        title="The group of the virtual port; SERIAL_GID of the module's environment if it is left out",
        description="a number of a group, 0-4294967294",
        examples=[20],
    )
    mode: Annotated[
        int, BeforeValidator(check_mode), WithJsonSchema({"type": "string", "pattern": MODE_PATTERN})
    ] = Field(
        default=0o660,
        title="The permissions of the virtual port",
        description='an octal string from "000" to "777"',
        examples=["600"],
        json_schema_extra={"default": "660"},
    )
    connect: Connect = Field(
        default=Connect.ALWAYS,
        title="When the connection stands: always, or while an application has the port open",
        description='"always" or "onOpen"',
        examples=["onOpen"],
    )
    while_disconnected: WhileDisconnected = Field(
        default=WhileDisconnected.DISCARD,
        title="What happens to bytes that the application writes while there is no connection",
        description='"discard" or "hold"',
        examples=["hold"],
    )
    capture_seconds: Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=0, le=3600)] = Field(
        default=0,
        title="How many of the last seconds of traffic are kept for the method `capture`; 0 keeps nothing",
        description="seconds, 0-3600",
        examples=[60],
    )
    enabled: StrictBool = Field(
        default=True,
        title="Whether this port runs; false keeps the entry",
        description="true or false",
        examples=[False],
    )


BELOW: Mapping[str, type[BaseModel]] = {"line": Line, "tls": Tls}
"""The keys that are objects themselves, at whatever level they may stand."""
