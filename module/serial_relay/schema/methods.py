"""The JSON Schema of the direct methods, made from the models in `twin.methods`.

The document judges the body of a call, `{"methodName": "restartPort", "payload": {"port": "ttyVirtS0"}}`, as the hub's
REST interface takes it. Below `$defs` each method has its payload, and its answer under the name with `Answer`.
"""

from __future__ import annotations

from serial_relay.schema.json_schema import DIALECT, Json, identifier, payload_object
from serial_relay.schema.reported import FINGERPRINT
from serial_relay.twin.methods import REQUESTS

_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "number"}

_STEP: Json = {
    "type": "object",
    "properties": {
        "step": _TEXT,
        "verdict": {"enum": ["ok", "warning", "failed", "skipped"]},
        "found": _TEXT,
        "next": _TEXT,
        "milliseconds": _NUMBER,
    },
    "required": ["step", "verdict", "found"],
}
_RECORD: Json = {
    "type": "object",
    "properties": {"time": _NUMBER, "direction": _TEXT, "data": _TEXT, "event": _TEXT, "text": _TEXT},
    "required": ["time"],
    "oneOf": [{"required": ["direction", "data"]}, {"required": ["event", "text"]}],
}

_FINGERPRINTS: Json = {
    "type": "object",
    "properties": {
        "fingerprint": FINGERPRINT,
        "nextFingerprint": FINGERPRINT | {"type": ["string", "null"]},
    },
    "required": ["fingerprint", "nextFingerprint"],
}

WITH_AN_ANSWER_OF_ITS_OWN: dict[str, Json] = {
    "getStatus": {"$ref": identifier("reported")},
    "diagnose": {
        "type": "object",
        "properties": {
            "ports": {"type": "object", "additionalProperties": {"type": "array", "items": _STEP}}
        },
        "required": ["ports"],
    },
    "capture": {
        "type": "object",
        "properties": {
            "port": _TEXT,
            "captureSeconds": _NUMBER,
            "records": {"type": "array", "items": _RECORD},
            "lost": {"type": "integer", "minimum": 0},
            "next": {"type": ["string", "null"]},
        },
        "required": ["port", "captureSeconds", "records", "lost", "next"],
    },
    "renewIdentity": _FINGERPRINTS,
    "activateIdentity": _FINGERPRINTS,
}
"""The answers of methods that do more than repeat what was asked for."""

_SECONDS = {
    "type": "integer",
    "minimum": 5,
    "maximum": 300,
}  # Microsoft: "Invoke a direct method from your back end"


def methods_schema() -> Json:
    """Return the schema of a call."""
    payloads = {
        name: {} if model is None else payload_object(model) for name, model in sorted(REQUESTS.items())
    }
    answers = {
        f"{name}Answer": WITH_AN_ANSWER_OF_ITS_OWN.get(name, payload) for name, payload in payloads.items()
    }
    return {
        "$schema": DIALECT,
        "$id": identifier("methods"),
        "title": "Direct methods of the EFLOW Serial Relay",
        "type": "object",
        "properties": {
            "methodName": {"enum": list(payloads)},
            "payload": {},
            "responseTimeoutInSeconds": _SECONDS,
            "connectTimeoutInSeconds": {"type": "integer", "minimum": 0, "maximum": 300},
        },
        "required": ["methodName"],
        "allOf": [
            {
                "if": {"properties": {"methodName": {"const": name}}},
                "then": {"properties": {"payload": {"$ref": f"#/$defs/{name}"}}}
                | ({"required": ["payload"]} if payload["type"] == "object" else {}),
            }
            for name, payload in payloads.items()
            if payload
        ],
        "$defs": payloads
        | answers
        | {
            "error": {
                "title": "The answer of every method with a status of 400 and more",
                "type": "object",
                "properties": {"error": {"type": "string"}},
                "required": ["error"],
            }
        },
    }
