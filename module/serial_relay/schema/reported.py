"""The JSON Schema of the reported properties: a type for each key that `twin.reported` names.

The keys, the states, the error codes and the reasons are those of the code. A test fails when a key has no type here.
"""

from __future__ import annotations

from typing import Any, get_args

from serial_relay.config import FlowControl, Parity
from serial_relay.schema.json_schema import DIALECT, HUB_KEYS, Json, identifier
from serial_relay.status import DISCARD_REASONS, ErrorCode, State, VirtualPortKind
from serial_relay.twin.reported import MAX_INTEGER, MODULE_KEYS, PORT_KEYS
from serial_relay.twin.twin import ConfigSource

_TEXT = {"type": "string"}
_TIME = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
}
_COUNT = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
_YES_OR_NO = {"type": "boolean"}
FINGERPRINT: Json = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}


def _one_of(values: Any) -> Json:
    return {"type": "string", "enum": [str(value) for value in values]}


def _described(schema: Json, title: str) -> Json:
    return {"title": title, **schema}


FAULT_TYPES: Json = {
    "path": _described(_TEXT, "The key's path from the top of the desired properties"),
    "expected": _described(_TEXT, "What would have been right, and what stands there"),
}

MODULE_TYPES: Json = {
    "status": _described(
        _one_of(("unconfigured", "ok", "degraded", "down")), "How many of the enabled ports are well"
    ),
    "portsConnected": _described(_COUNT, "Ports that are connected"),
    "portsTotal": _described(_COUNT, "Ports that are enabled"),
    "version": _described(_TEXT, "The version of the module"),
    "startedAt": _described(_TIME, "When the module started"),
    "configSource": _described(_one_of(get_args(ConfigSource)), "Where the configuration came from"),
    "desiredVersion": _described({"type": "integer"}, "The $version of the desired properties in force"),
    "configErrors": {
        "title": "Faults outside ports",
        "type": "array",
        "items": {
            "type": "object",
            "properties": FAULT_TYPES,
            "required": ["path", "expected"],
            "additionalProperties": False,
        },
    },
    "moduleFingerprint": _described(
        FINGERPRINT, "The fingerprint of this module's own certificate, from its first use (TLS)"
    ),
    "nextModuleFingerprint": _described(
        FINGERPRINT, "The fingerprint of the certificate that renewIdentity has made, until activateIdentity"
    ),
}

PORT_TYPES: Json = {
    "state": _described(_one_of(State), "What the port is doing"),
    "since": _described(_TIME, "When its state changed last"),
    "link": _described(_TEXT, "The path that applications open"),
    "kind": _described(_one_of(get_args(VirtualPortKind)), "What the link leads to"),
    "kindReason": _described(_TEXT, "Why that is a pty and no tty, and what to change"),
    "remoteAddress": _described(_TEXT, "Address and TCP port of the connected host"),
    "applicationOpen": _described(_YES_OR_NO, "Whether an application has the port open"),
    "connects": _described(_COUNT, "Connections that became usable since the module started"),
    "lastError": {"title": "The last thing that went wrong"},
    "configError": {"title": "What is wrong with the port's desired properties"},
    "bytesToDevice": _described(_COUNT, "Bytes written to the connection"),
    "bytesFromDevice": _described(_COUNT, "Bytes received from the connection"),
    "bytesDiscarded": {"title": "Bytes that were not delivered, by reason"},
    "line": {"title": "The settings of the real port as the host answered them (RFC 2217)"},
    "modem": {"title": "The modem lines of the real port (RFC 2217)"},
}

BELOW_PORT: dict[str, Json] = {
    "lastError": {
        "code": _described(_one_of(ErrorCode), "What went wrong, for programs"),
        "message": _described(_TEXT, "What went wrong, for people"),
        "at": _described(_TIME, "When"),
    },
    "configError": FAULT_TYPES,
    "bytesDiscarded": dict.fromkeys(DISCARD_REASONS, _COUNT),
    "line": {
        "baudRate": _COUNT,
        "dataBits": {"type": "integer", "enum": [5, 6, 7, 8]},
        "parity": _one_of(get_args(Parity)),
        "stopBits": {"type": "number", "enum": [1, 1.5, 2]},
        "flowControl": _one_of(get_args(FlowControl)),
    },
    "modem": dict.fromkeys(PORT_KEYS["modem"], _YES_OR_NO),
}
_ALWAYS_BELOW = {"lastError": ["code"], "configError": ["path"]}


def reported_schema() -> Json:
    """Return the schema of a whole reported section.

    Most keys may be absent: those without a value, and those that were left out to keep the section below 32 KB.
    """
    return {
        "$schema": DIALECT,
        "$id": identifier("reported"),
        "title": "Reported properties of the EFLOW Serial Relay",
        "type": "object",
        "properties": {key: MODULE_TYPES[key] for key in MODULE_KEYS}
        | {
            "serialPorts": {
                "title": "The virtual serial ports by name",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/Port"},
            }
        },
        "patternProperties": {HUB_KEYS: True},
        "additionalProperties": False,
        "required": ["status", "portsConnected", "portsTotal", "version", "startedAt", "serialPorts"],
        "$defs": {"Port": _port()},
    }


def _port() -> Json:
    properties: Json = {}
    for key, below in PORT_KEYS.items():
        properties[key] = PORT_TYPES[key]
        if below:
            properties[key] = PORT_TYPES[key] | {
                "type": "object",
                "properties": {name: BELOW_PORT[key][name] for name in below},
                "additionalProperties": False,
                "required": _ALWAYS_BELOW.get(key, []),
            }
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": ["state"]}
