"""The table `[tls]` of the file -> settings, with the files that it names read.

    [tls]                       # enough: clients are known by fingerprint, and `trust` and `pair` add them
    verify = "pin"              # or "ca"
    client_fingerprints = ["sha256:..."]
    client_ca = "device-ca.pem"
    client_names = ["my-device/serial_relay"]
    certificate = "host.pem"
    key = "host.key"

Relative file names begin at the folder of the file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from serial_host.config import TlsSettings, TlsVerify
from serial_host.configuration.patterns import FINGERPRINT_PATTERN, MODULE_PATTERN, one_or_several
from serial_host.plumbing.text import printable
from serial_tls.errors import IdentityError
from serial_tls.fingerprints import parse_fingerprint

_SHOWN = 60
"""Characters of a faulty value that a message repeats at most."""

STATE = "tls"
"""The folder, beside the configuration file, of what this host keeps."""


class TlsTableError(Exception):
    """The table cannot be used; a line of the text for each key."""


def _fingerprint(value: str) -> str:
    if not re.fullmatch(FINGERPRINT_PATTERN, value):
        raise ValueError
    return parse_fingerprint(value)


def _module(value: str) -> str:
    if not re.fullmatch(MODULE_PATTERN, value):
        raise ValueError
    return value


def _tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class Table(BaseModel):
    """The keys of `[tls]`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    verify: Annotated[
        TlsVerify, BeforeValidator(lambda value: TlsVerify(value) if isinstance(value, str) else value)
    ] = Field(TlsVerify.PIN, description='"pin" or "ca"')
    client_fingerprints: Annotated[
        tuple[Annotated[str, AfterValidator(_fingerprint)], ...],
        BeforeValidator(_tuple),
        WithJsonSchema(one_or_several({"type": "string", "pattern": FINGERPRINT_PATTERN})),
    ] = Field((), description="fingerprints of modules, sha256: and 64 hexadecimal digits")
    client_ca: str | None = Field(None, description="the name of a file with certificates in PEM")
    client_names: Annotated[tuple[Annotated[str, AfterValidator(_module)], ...], BeforeValidator(_tuple)] = (
        Field((), description='modules of IoT Edge such as ["my-device/serial_relay"]')
    )
    certificate: str | None = Field(None, description="the name of a file with a certificate in PEM")
    key: str | None = Field(None, description="the name of a file with a private key in PEM")


def read_table(table: object, folder: Path) -> TlsSettings:
    """Read `[tls]` of a file in `folder`.

    Raises:
        TlsTableError: it cannot be used.
    """
    if not isinstance(table, Mapping):
        raise TlsTableError("tls: expected a table [tls]")
    try:
        read = Table.model_validate(table)
    except ValidationError as error:
        raise TlsTableError("\n".join(_messages(error))) from None
    if read.verify is TlsVerify.CA and read.client_ca is None:
        raise TlsTableError(
            'tls.client_ca: is missing: expected the file of the authority, with verify = "ca"'
        )
    if (read.certificate is None) != (read.key is None):
        raise TlsTableError("tls: expected both certificate and key, or neither")
    from serial_tls.identity import parse_certificates, parse_identity  # noqa: PLC0415  # only [tls] needs it

    certificate = _read_file("certificate", read.certificate, folder, parse_certificates)
    key = _read_file("key", read.key, folder, lambda text: parse_identity(certificate or "", text))
    return TlsSettings(
        state_directory=str(folder / STATE),
        verify=read.verify,
        client_fingerprints=read.client_fingerprints,
        client_ca=_read_file("client_ca", read.client_ca, folder, parse_certificates),
        client_names=read.client_names,
        certificate=certificate,
        key=key,
    )


def _read_file(name: str, path: str | None, folder: Path, check: Callable[[str], object]) -> str | None:
    if path is None:
        return None
    try:
        text = (folder / path).read_text("ascii")
        check(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not contain text in PEM"
        raise TlsTableError(f"tls.{name}: {printable(path, _SHOWN)} cannot be read: {reason}") from error
    except IdentityError as error:
        raise TlsTableError(f"tls.{name}: {printable(path, _SHOWN)}: {error}") from error
    return text


def _messages(error: ValidationError) -> list[str]:
    messages: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        key = str(detail["loc"][0])
        name = f"tls.{printable(key, _SHOWN)}"
        if detail["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, Table.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(Table.model_fields)}"
            messages.setdefault(name, f"{name}: unknown key; {hint}")
        else:
            value: Any = printable(repr(detail["input"]), _SHOWN)
            messages.setdefault(name, f"{name}: expected {Table.model_fields[key].description}, not {value}")
    return list(messages.values())
