"""The host's TOML file, and the same keys as flags of `run` -> frozen port configurations.

A file is `[[ports]]` tables, and perhaps a `[tls]` table (`tls_table`):

    [[ports]]
    device = "COM3"                         # or match = { vid = "0403", pid = "6001", serial = "A12345" }
    tcp_port = 5002
    listen = "vEthernet (Default Switch)"   # an interface's name or an address, or a list of them
    baud_rate = 9600

An entry that cannot be used is a `ConfigFault`; the others run. What makes the whole file unusable is a `ConfigError`.
"""

from __future__ import annotations

import difflib
import ntpath
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from serial_host.config import Config, ConfigFault, Network, Open, PortConfig, Protocol, TlsSettings, UsbMatch
from serial_host.configuration.patterns import (
    NETWORK_PATTERN,
    TEXT_PATTERN,
    USB_NUMBER_PATTERN,
    one_or_several,
)
from serial_host.configuration.tls_table import TlsTableError, read_table
from serial_host.line import FlowControl, Parity
from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import printable

SHOWN = 60
"""Characters of a faulty value that a message repeats at most."""


def _hexadecimal(value: object) -> int:
    """Return the number that a text of hexadecimal digits means.

    A bare number is refused: 6001 would mean 0x1771, while everybody writes USB numbers in hexadecimal.
    """
    if isinstance(value, str) and re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,4}", value):
        return int(value, 16)
    raise ValueError


def _sequence(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _networks(value: object) -> object:
    items = _sequence(value)
    if not isinstance(items, tuple):
        return value
    return tuple(ip_network(item, strict=False) if isinstance(item, str) else item for item in items)


def _stop_bits(value: float) -> float:
    if value not in (1, 1.5, 2):
        raise ValueError
    return value


def _enum(kind: type[StrEnum]) -> BeforeValidator:
    return BeforeValidator(lambda value: kind(value) if isinstance(value, str) else value)


def _one_of(kind: type[StrEnum]) -> str:
    return "one of " + ", ".join(f'"{member}"' for member in kind)


def _text(value: str) -> str:
    if not value.isprintable() or not value or value != value.strip():
        raise ValueError
    return value


_UsbNumber = Annotated[
    int, BeforeValidator(_hexadecimal), WithJsonSchema({"type": "string", "pattern": USB_NUMBER_PATTERN})
]
_Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"pattern": TEXT_PATTERN})]
"""Text that is not empty, contains only printable characters and has no blanks at its ends, which people do not see: it
appears in messages and names objects of the system."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Match(_Frozen):
    """The keys of `match`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    vid: _UsbNumber | None = Field(
        None, description='a USB vendor number in quotes, four hexadecimal digits as in "0403"'
    )
    pid: _UsbNumber | None = Field(
        None, description='a USB product number in quotes, four hexadecimal digits as in "6001"'
    )
    serial: _Text | None = Field(None, description=f"a serial number as '{PROGRAM} list' shows it, a string")
    location: _Text | None = Field(None, description=f"a location as '{PROGRAM} list' shows it, a string")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self == Match.model_construct(vid=None, pid=None, serial=None, location=None):
            raise ValueError("at least one of vid, pid, serial, location")
        return self


class Entry(_Frozen):
    """The keys of a `[[ports]]` table. A field's description says what is expected; the schema has it too."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["device"]}, {"required": ["match"]}],
            "not": {
                "properties": {"rs485": {"const": True}, "flow_control": {"const": "rts_cts"}},
                "required": ["rs485", "flow_control"],
            },
        }
    )

    device: _Text | None = Field(None, description='the name of a COM port, a string such as "COM3"')
    match: Match | None = Field(
        None, description='a table such as { vid = "0403", pid = "6001", serial = "A12345" }'
    )
    tcp_port: int = Field(ge=1, le=65535, description="a TCP port, a number from 1 to 65535")
    listen: (
        Annotated[
            tuple[_Text, ...],
            BeforeValidator(_sequence),
            Field(min_length=1),
            WithJsonSchema(one_or_several({"type": "string", "pattern": TEXT_PATTERN}, least=1)),
        ]
        | None
    ) = Field(None, description="an interface's name or an address, or a list of them")
    allow: (
        Annotated[
            tuple[Network, ...],
            BeforeValidator(_networks),
            WithJsonSchema(one_or_several({"type": "string", "pattern": NETWORK_PATTERN})),
        ]
        | None
    ) = Field(None, description='client addresses, such as ["172.16.0.0/12"]')
    protocol: Annotated[Protocol, _enum(Protocol)] = Field(Protocol.RAW, description=_one_of(Protocol))
    open: Annotated[Open, _enum(Open)] = Field(Open.ALWAYS, description=_one_of(Open))
    take_over: bool = Field(default=False, description="true or false")
    baud_rate: int = Field(9600, ge=1, le=2**32 - 1, description="bits per second, a number")
    data_bits: Annotated[Literal[5, 6, 7, 8], WithJsonSchema({"type": "integer", "enum": [5, 6, 7, 8]})] = (
        Field(8, description="5, 6, 7 or 8")
    )
    parity: Annotated[Parity, _enum(Parity)] = Field(Parity.NONE, description=_one_of(Parity))
    stop_bits: Annotated[
        float, AfterValidator(_stop_bits), WithJsonSchema({"type": "number", "enum": [1, 1.5, 2]})
    ] = Field(1, description="1, 1.5 or 2")
    flow_control: Annotated[FlowControl, _enum(FlowControl)] = Field(
        FlowControl.NONE, description=_one_of(FlowControl)
    )
    dtr: bool = Field(default=True, description="true or false, the state while the port is open")
    rts: bool = Field(default=True, description="true or false, the state while the port is open")
    rs485: bool = Field(default=False, description="true or false")
    tls: bool = Field(
        default=True, description="true or false; false: without TLS, although the file has [tls]"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.device is None) == (self.match is None):
            raise ValueError("either device or match")
        if self.rs485 and self.flow_control is FlowControl.RTS_CTS:
            raise ValueError('flow_control other than "rts_cts", because rs485 drives RTS itself')
        return self


class ConfigError(Exception):
    """Nothing can run; the text is for people and names the place."""


def load(path: Path) -> Config:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, is not valid TOML, has no `[[ports]]`, or none of them can be used.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is not valid UTF-8; save the file as UTF-8 text"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {printable(error)}") from error
    except RecursionError as error:
        raise ConfigError(
            f"{path}: is not valid TOML for this program: its values are nested too deeply"
        ) from error
    except ValueError as error:  # a path or a number that Python refuses
        raise ConfigError(f"{path}: cannot be read: {printable(error)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse(document, str(path), path.absolute().parent)


def parse(document: Mapping[str, Any], source: str, folder: Path = Path()) -> Config:
    """Check a parsed file; `source` begins every message. Raises `ConfigError` as `load` does.

    If `[tls]` cannot be used, the ports that it should secure cannot be used either.
    """
    entries = document.get("ports")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{source}: ports: expected one [[ports]] table for each COM port")
    unknown = [key for key in document if key not in ("ports", "tls")]
    if unknown:
        raise ConfigError(
            f"{source}: {_key(unknown[0])}: unknown key; expected [[ports]] tables, with all keys inside them, and [tls]"
        )
    tls, tls_fault = _tls(document, source, folder)
    ports: list[PortConfig] = []
    faults: list[ConfigFault] = []
    for number, entry in enumerate(entries, start=1):
        place = f"{source}: [[ports]] {number}"
        try:
            port = parse_port(entry, place)
            _refuse_twice(port, ports, place)
            if tls_fault is not None and port.tls:
                raise tls_fault
        except ConfigError as error:
            device = entry.get("device")
            name = _key(device) if isinstance(device, str) else f"[[ports]] {number}"
            faults.append(ConfigFault(name, str(error)))
        else:
            ports.append(port)
    if not ports:
        raise ConfigError("\n".join(fault.message for fault in faults))
    return Config(tuple(ports), tuple(faults), tls)


def _tls(
    document: Mapping[str, Any], source: str, folder: Path
) -> tuple[TlsSettings | None, ConfigError | None]:
    if "tls" not in document:
        return None, None
    try:
        return read_table(document["tls"], folder), None
    except TlsTableError as error:
        return None, ConfigError("\n".join(f"{source}: {line}" for line in str(error).splitlines()))


def parse_port(entry: Mapping[str, Any], place: str, *, flags: bool = False) -> PortConfig:
    """Check one entry; messages begin with `place` and, with `flags`, name keys as `run` spells them.

    Raises:
        ConfigError: one line for each key that is wrong.
    """
    try:
        read = Entry.model_validate(entry)
    except ValidationError as error:
        raise ConfigError("\n".join(_messages(error, place, flags=flags))) from error
    values = {key: getattr(read, key) for key in Entry.model_fields}
    match = None if read.match is None else UsbMatch(**read.match.model_dump())
    return PortConfig(**{**values, "match": match})


def _messages(error: ValidationError, place: str, *, flags: bool) -> Sequence[str]:
    messages: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        keys = [str(key) for key in detail["loc"] if isinstance(key, str)]
        path: list[str] = []
        model: type[BaseModel] = Entry
        for key in keys[:2]:
            path.append(key)
            if key == "match":
                model = Match
            else:
                break
        name = ".".join(map(_key, path))
        shown = f"--{name.replace('_', '-')}" if flags and name not in ("device", "tcp_port", "") else name
        if detail["type"] == "missing":
            text = f"is missing: expected {_description(model, path)}"
        elif detail["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path[-1], model.model_fields, n=1)
            text = f"unknown key; {f'did you mean {near[0]}?' if near else 'expected one of ' + ', '.join(model.model_fields)}"
        elif detail["type"] == "value_error" and (not path or path == ["match"]):
            text = f"expected {detail['ctx']['error']}"
        else:
            text = f"expected {_description(model, path)}, not {_shown(detail['input'])}"
        messages.setdefault(name, ": ".join(part for part in (place, shown, text) if part))
    return list(messages.values())


def _description(model: type[BaseModel], path: Sequence[str]) -> str:
    field = model.model_fields.get(path[-1]) or Entry.model_fields[path[0]]
    return field.description or ""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # CPython writes no number of more than 4300 digits
        return "a number with thousands of digits"
    except RecursionError:
        return "a value that is nested too deeply"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _key(text: str) -> str:
    return printable(text, SHOWN)


def _refuse_twice(port: PortConfig, others: Sequence[PortConfig], place: str) -> None:
    for other in others:
        if port.tcp_port == other.tcp_port:
            raise ConfigError(
                f"{place}: tcp_port: expected a port of its own, {port.tcp_port} already serves {other.name}"
            )
        same_device = (
            port.device is not None
            and other.device is not None
            and (same_name(port.device) == same_name(other.device))
        )
        if same_device or (port.match is not None and port.match == other.match):
            key = "device" if same_device else "match"
            raise ConfigError(
                f"{place}: {key}: expected a COM port of its own, {port.name} is already served at {other.tcp_port}"
            )


def same_name(device: str, *, windows: bool = sys.platform == "win32") -> str:
    r"""Return the one spelling for all names of a COM port: `\\.\com3` and `COM3`, or a link and what it names."""
    if windows:
        return ntpath.normcase(device).removeprefix("\\\\.\\").upper()
    return os.path.realpath(device)
