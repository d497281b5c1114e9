"""One entry of `serialPorts`, and the keys beside it: what people may write, and what is said of mistakes.

A field's description says what is expected, in the words of a fault. A key that is probably a misspelt one, or that
stands in the wrong place, is a fault too, though its port runs; any other unknown key is only a warning, since a newer
cloud may know more keys than this program.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from serial_relay.config import (
    Connect,
    FlowControl,
    LineSettings,
    Parity,
    PortConfig,
    Protocol,
    WhileDisconnected,
)
from serial_relay.plumbing.text import MAX_SHOWN, escaped, shown
from serial_relay.status import ConfigFault
from serial_relay.twin.desired_syntax import check_host, check_link, check_mode, invisible, whole_number

DEFAULT_REPORT_INTERVAL = 3600.0
"""Seconds."""

MAX_LISTED = 20
"""Faults outside ports, and warnings, that are listed one by one."""

_UNQUOTED = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*|true|false")
_ENOUGH_LIKE = 0.75
"""How much alike a misspelt key and a known one are (the ratio of `difflib`)."""


def _check_stop_bits(value: float) -> float:
    if value not in {1, 1.5, 2}:
        raise ValueError
    return value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


_Host = Annotated[StrictStr, AfterValidator(check_host)]
_Id = Annotated[
    int, BeforeValidator(whole_number), Field(strict=True, ge=0, le=2**32 - 2)
]  # (uid_t)-1 means "leave it" to chown(2)


class Top(_Frozen):
    """The keys at the top of the desired properties."""

    host: _Host | None = Field(default=None, description="an IP address or host name")
    report_interval_seconds: Annotated[float, Field(strict=True, ge=1, le=604_800)] = Field(
        default=DEFAULT_REPORT_INTERVAL, description="seconds, 1-604800"
    )
    serial_ports: Any = None


class _Line(_Frozen):
    baud_rate: (
        Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, le=2**32 - 1)] | None
    ) = Field(default=None, description="bits per second, 1-4294967295")
    data_bits: Annotated[Literal[5, 6, 7, 8], BeforeValidator(whole_number)] | None = Field(
        default=None, description="5, 6, 7 or 8"
    )
    parity: Parity | None = Field(default=None, description='"none", "odd", "even", "mark" or "space"')
    stop_bits: Annotated[float, Field(strict=True), AfterValidator(_check_stop_bits)] | None = Field(
        default=None, description="1, 1.5 or 2"
    )
    flow_control: FlowControl | None = Field(
        default=None, description='"none", "rtsCts", "xonXoff" or "dtrDsr"'
    )
    dtr: StrictBool | None = Field(default=None, description="true or false")
    rts: StrictBool | None = Field(default=None, description="true or false")


class _Entry(_Frozen):
    host: _Host | None = Field(default=None, description="an IP address or host name")
    tcp_port: Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, le=65535)] = Field(
        description="a TCP port, 1-65535"
    )
    link: Annotated[StrictStr, AfterValidator(check_link)] = Field(
        description="a name below /dev of 1-64 bytes without '/', blanks and control characters,"
        " not beginning with '.'"
    )
    protocol: Protocol = Field(default=Protocol.RAW, description='"raw" or "rfc2217"')
    line: _Line = Field(default=_Line(), description="an object with line settings")
    uid: _Id = Field(default=0, description="a number of a user, 0-4294967294")
    gid: _Id | None = Field(default=None, description="a number of a group, 0-4294967294")
    mode: Annotated[int, BeforeValidator(check_mode)] = Field(
        default=0o660, description='an octal string from "000" to "777"'
    )
    connect: Connect = Field(default=Connect.ALWAYS, description='"always" or "onOpen"')
    while_disconnected: WhileDisconnected = Field(
        default=WhileDisconnected.DISCARD, description='"discard" or "hold"'
    )
    enabled: StrictBool = Field(default=True, description="true or false")


@dataclass(slots=True)
class Remarks:
    """What is to be said of a document beside the faults that stop an entry."""

    faults: list[ConfigFault] = field(default_factory=list)
    """Keys that are probably mistakes, in the order of the document."""
    _lines: list[str] = field(default_factory=list)
    _more: int = 0

    def warn(self, line: str) -> None:
        """Add a warning; as many are kept as a person reads."""
        if len(self._lines) < MAX_LISTED:
            self._lines.append(line)
        else:
            self._more += 1

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings, and how many more there are."""
        return (*self._lines, f"and {self._more} more warnings") if self._more else tuple(self._lines)

    def fault_below(self, path: str) -> ConfigFault | None:
        """Return the first mistake in an entry that runs nevertheless."""
        return next((fault for fault in self.faults if fault.path.startswith(f"{path}.")), None)


def read_top(document: Mapping[str, Any], remarks: Remarks) -> tuple[Top, list[ConfigFault]]:
    """Read the keys beside `serialPorts`; a faulty one counts as absent."""
    known = _known_part(Top, document, "", remarks)
    known.pop("serialPorts", None)
    try:
        return Top.model_validate(known), []
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
    faults = [ConfigFault(str(error["loc"][0]), _expected(Top, error)) for error in errors]
    for error in errors:
        known.pop(str(error["loc"][0]), None)
    return Top.model_validate(known), faults


def read_port(
    name: str,
    entry: object,
    path: str,
    top: Top,
    top_faults: Iterable[ConfigFault],
    default_gid: int,
    remarks: Remarks,
) -> PortConfig | ConfigFault:
    """Read one entry; a fault says why it cannot be used."""
    if not isinstance(entry, Mapping):
        return ConfigFault(path, f"an object with the port's settings, not {shown(entry)}")
    known = _known_part(_Entry, entry, f"{path}.", remarks)
    known.setdefault("link", name)
    try:
        read = _Entry.model_validate(known)
    except ValidationError as invalid:
        return _fault_of(invalid.errors(include_url=False), path, remarks)
    host = read.host or top.host
    if host is None:
        if fault := next((fault for fault in top_faults if fault.path == "host"), None):
            return fault
        return ConfigFault(
            f"{path}.host", "an IP address or host name, here or at the top level; the key is missing"
        )
    line = LineSettings(**read.line.model_dump())
    if read.protocol is Protocol.RAW and line != LineSettings():
        remarks.warn(f'{path}.line has no effect with the protocol "raw"; "rfc2217" carries line settings')
    return PortConfig(
        name=name,
        host=host,
        tcp_port=read.tcp_port,
        link=read.link,
        protocol=read.protocol,
        line=line,
        uid=read.uid,
        gid=default_gid if read.gid is None else read.gid,
        mode=read.mode,
        connect=read.connect,
        while_disconnected=read.while_disconnected,
        enabled=read.enabled,
    )


def _fault_of(errors: list[ErrorDetails], path: str, remarks: Remarks) -> ConfigFault:
    paths = [".".join((path, *map(str, error["loc"]))) for error in errors]
    expected = _expected(_Entry, errors[0])
    if errors[0]["type"] == "missing" and (mistake := remarks.fault_below(path)):
        expected += f"; {mistake.path.removeprefix(path + '.')} must be {mistake.expected}"
    others = f"; faulty too: {', '.join(paths[1:])}" if paths[1:] else ""
    return ConfigFault(paths[0], expected + others)


def _known_part(
    model: type[BaseModel], values: Mapping[str, Any], path: str, remarks: Remarks
) -> dict[str, Any]:
    """Return the keys that the model has, without nulls (a merge's "no such key").

    The hub's own keys, which begin with `$`, are left out in silence, other unknown keys with a remark.
    """
    fields = {field.alias: field for field in model.model_fields.values()}
    known: dict[str, Any] = {}
    for key, value in values.items():
        if value is None or key.startswith("$"):
            continue
        if key not in fields:
            _remark_on(key, f"{path}{escaped(key)}", model, fields, remarks)
        elif fields[key].annotation is _Line and isinstance(value, Mapping):
            known[key] = _known_part(_Line, value, f"{path}{key}.", remarks)
        else:
            known[key] = value
    return known


def _remark_on(
    key: str, path: str, model: type[BaseModel], fields: Iterable[str | None], remarks: Remarks
) -> None:
    line_keys = {field.alias for field in _Line.model_fields.values()}
    if model is _Entry and key in line_keys:
        remarks.faults.append(ConfigFault(path, f'below the key `line`: {{ "line": {{ "{key}": ... }} }}'))
    elif meant := _meant(key, fields):
        remarks.faults.append(ConfigFault(path, f"a known key; did you mean {meant}?"))
    else:
        remarks.warn(f"{path} is not known and is ignored")


def _meant(key: str, known: Iterable[str | None]) -> str | None:
    """Return the known key that a person who wrote `key` probably meant."""
    spellings = {name.lower(): name for name in known if name}
    near = difflib.get_close_matches(key[:MAX_SHOWN].strip().lower(), spellings, n=1, cutoff=_ENOUGH_LIKE)
    return spellings[near[0]] if near else None


def _expected(model: type[BaseModel], error: ErrorDetails) -> str:
    description = _description(model, error["loc"])
    if error["type"] == "missing":
        return f"{description}; the key is missing"
    value = error["input"]
    hint = str(error.get("ctx", {}).get("error", "")) or _hint(value, description)
    return f"{description}, not {shown(value)}" + (f" ({hint})" if hint else "")


def _hint(value: object, description: str) -> str:
    """Return what is probably meant, as a request; an empty text if there is no guess."""
    if isinstance(value, str) and (character := invisible(value[:MAX_SHOWN])):
        return f"remove {character}"
    if isinstance(value, str) and '"' not in description and _UNQUOTED.fullmatch(value[:MAX_SHOWN]):
        return "write it without quotes"
    if isinstance(value, int) and description.startswith("an octal string"):
        return "write it in quotes"
    return ""


def _description(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    by_alias = {field.alias: field for field in model.model_fields.values()}
    field = by_alias[str(location[0])]
    if location[1:]:
        return _description(_Line, location[1:])
    return field.description or ""
