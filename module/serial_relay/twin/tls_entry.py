"""The key `tls`, at the top or in an entry: what people may write, and what is missing.

A port whose `tls` is wrong in any way stays down: a port that is to be secured never runs without TLS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from pydantic.alias_generators import to_camel

from serial_relay.config import TlsIdentity, TlsSettings, TlsVerify
from serial_relay.status import ConfigFault
from serial_relay.twin.desired_syntax import HOST_PATTERN, check_host
from serial_tls.errors import IdentityError
from serial_tls.fingerprints import parse_fingerprint

KEY = "tls"

_FINGERPRINT = r"^(?:[sS][hH][aA]256:)?(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){31})$(?!\n)"
_CERTIFICATES = r"^(?![\s\S]*PRIVATE KEY)[\s\S]*-----BEGIN CERTIFICATE-----"

TLS_EXAMPLE = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


_CA_EXAMPLE = """-----BEGIN CERTIFICATE-----
MIIBJTCBzKADAgECAgEBMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB2V4YW1wbGUw
HhcNMjYwMTAxMDAwMDAwWhcNMzYwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAdleGFt
cGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEU4VgRSof6xB85rcXregL2p5m
Eg0RIb3i/yTo1vZWk2avQUFxtbcywbG3EcUTLUj56CGyBJETPR2NtKlhCIpPr6MT
MBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAIt3vTKYjC6tr4
ldoDTyezILbn6b6B/Ywkp6hR9cQzsQIhAPjoaulNtnNZx3gYv/R4Efne7m9PDpxP
x3Un6xmwNY46
-----END CERTIFICATE-----
"""


def _check_fingerprint(value: str) -> str:
    if not re.fullmatch(_FINGERPRINT, value):
        raise ValueError
    return parse_fingerprint(value)


def _check_certificates(value: str) -> str:
    if "PRIVATE KEY" in value:
        raise ValueError(
            "a private key must not stand in a twin: remove it, and make a new one where it came from"
        )
    from serial_tls.identity import parse_certificates  # noqa: PLC0415  # without TLS it takes no memory

    try:
        parse_certificates(value)
    except (IdentityError, UnicodeEncodeError):
        raise ValueError from None
    return value


_Fingerprint = Annotated[
    StrictStr, AfterValidator(_check_fingerprint), Field(json_schema_extra={"pattern": _FINGERPRINT})
]


class Tls(BaseModel):
    """The keys below `tls`."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    verify: TlsVerify = Field(
        default=TlsVerify.PIN,
        title="How the host is recognised: by the fingerprint of its certificate, or by an authority",
        description='"pin" or "ca"',
        examples=["pin"],
    )
    host_fingerprints: tuple[_Fingerprint, ...] = Field(
        default=(),
        title='The fingerprints of the host\'s certificate (with "pin"); two while it is renewed',
        description="fingerprints as `serial-host.cmd identity` shows them, sha256: and 64 hexadecimal digits",
        max_length=8,
        examples=[[TLS_EXAMPLE]],
    )
    host_ca: (
        Annotated[
            StrictStr,
            AfterValidator(_check_certificates),
            Field(json_schema_extra={"pattern": _CERTIFICATES}),
        ]
        | None
    ) = Field(
        default=None,
        title='The authority of the host\'s certificate (with "ca")',
        description="certificates in PEM",
        examples=[_CA_EXAMPLE],
    )
    host_name: (
        Annotated[StrictStr, AfterValidator(check_host), Field(json_schema_extra={"pattern": HOST_PATTERN})]
        | None
    ) = Field(
        default=None,
        title='The name in the host\'s certificate (with "ca"); `host` if it is left out',
        description="an IP address or host name",
        examples=["plc-room.example.com"],
    )
    identity: TlsIdentity = Field(
        default=TlsIdentity.OWN,
        title="The certificate that this module shows: its own, or one that IoT Edge gives it",
        description='"own" or "edge"',
        examples=["own"],
    )


def settings(read: Tls, path: str) -> TlsSettings | ConfigFault:
    """Return the settings if they are complete, or the key that is missing."""
    if read.verify is TlsVerify.PIN and not read.host_fingerprints:
        return ConfigFault(
            f"{path}.hostFingerprints",
            'at least one fingerprint as `serial-host.cmd identity` shows it (or "verify": "ca"); the key is missing',
        )
    if read.verify is TlsVerify.CA and read.host_ca is None:
        return ConfigFault(
            f"{path}.hostCa", 'the certificate of the host\'s authority in PEM, with "ca"; the key is missing'
        )
    return TlsSettings(**read.model_dump())


def fault_of_tls(faults: Iterable[ConfigFault], prefix: str) -> ConfigFault | None:
    """Return the first fault of the key `tls` that stands behind a prefix such as `serialPorts.a.`, or of one like it."""
    for fault in faults:
        key, _, below = fault.path.removeprefix(prefix).partition(".")
        if fault.path.startswith(prefix) and (key == KEY or (not below and looks_like_tls(key))):
            return fault
    return None


def wants_tls(document: Mapping[str, Any], entry: object) -> bool:
    """Return whether a port is to be secured, as far as that can be seen in a document that may be faulty."""
    for level in (entry, document):
        for key, value in level.items() if isinstance(level, Mapping) else ():
            if value is not None and looks_like_tls(key):
                return value is not False
    return False


def looks_like_tls(key: str) -> bool:
    """Return whether a person who wrote this key probably meant `tls`."""
    letters = key.strip().lower()
    if len(letters) > len(KEY) + 1:
        return False
    return letters == "ssl" or sorted(set(letters)) == sorted(KEY) or letters.startswith(KEY)
