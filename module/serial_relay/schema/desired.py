"""The JSON Schema of the desired properties, made from the models in `twin.keys`.

It refuses a document if and only if `twin.desired.parse` finds something in it: a fault, a key that is not known, or no
ports at all. `NOT_JUDGED` says what it lets pass.
"""

from __future__ import annotations

from serial_relay.schema.json_schema import DIALECT, HUB_KEYS, UNKNOWN_KEY, Json, identifier, twin_objects
from serial_relay.twin.desired_syntax import HOST_PATTERN, LINK_PATTERN, NAME_PATTERN
from serial_relay.twin.keys import Entry, Top
from serial_relay.twin.limits import MAX_PORTS

NOT_JUDGED = (
    "that a link belongs to one port, and a TCP port of a server too",
    "that a name is at most 64 bytes of UTF-8 (64 characters are allowed), and characters that Unicode does not assign",
    "that entries which are null do not count among the ports",
    "that what looks like a certificate in PEM is one",
)
"""The rules of the parser that a schema cannot express."""


def desired_schema() -> Json:
    """Return the schema of a whole desired section, as the hub or a file holds it."""
    top, below_top = twin_objects(Top)
    entry, below_entry = twin_objects(Entry, optional={"link"})  # the entry's name, where it is absent
    top["type"] = "object"
    top["required"] = ["serialPorts"]
    for properties in (top["properties"], entry["properties"]):
        del properties["host"]["pattern"]
        properties["host"]["$ref"] = "#/$defs/Host"
    entry["properties"]["tls"] = _tls_or_false(entry["properties"]["tls"])
    below_top["Tls"] |= _WHAT_TLS_NEEDS
    name = below_top["Tls"]["properties"]["hostName"]
    del name["pattern"]
    name["$ref"] = "#/$defs/Host"
    below_entry.pop("Tls")
    ports = top["properties"]["serialPorts"]
    top["properties"]["serialPorts"] = ports | {
        "type": "object",
        "maxProperties": MAX_PORTS,
        "patternProperties": {
            HUB_KEYS: True,
            NAME_PATTERN: {"$ref": "#/$defs/Entry"},
            # A name that cannot be a link needs one beside it.
            f"(?={NAME_PATTERN})(?!{LINK_PATTERN})": _with_a_value("link"),
        },
        "additionalProperties": dict(UNKNOWN_KEY),
    }
    each_has_a_host = {
        "properties": {"serialPorts": {"patternProperties": {r"^(?!\$)": _with_a_value("host")}}}
    }
    return {
        "$schema": DIALECT,
        "$id": identifier("desired"),
        "title": "Desired properties of the EFLOW Serial Relay",
        "$comment": f"Not judged: {'; '.join(NOT_JUDGED)}.",
        **top,
        "if": {"required": ["host"], "properties": {"host": {"not": {"type": "null"}}}},
        "else": each_has_a_host,
        "$defs": {"Entry": entry, **below_top, **below_entry, "Host": {"pattern": HOST_PATTERN}},
    }


_WHAT_TLS_NEEDS: Json = {
    "if": {"type": "object", "required": ["verify"], "properties": {"verify": {"const": "ca"}}},
    "then": {"required": ["hostCa"], "properties": {"hostCa": {"not": {"type": "null"}}}},
    "else": {
        "if": {"type": "object"},
        "then": {
            "required": ["hostFingerprints"],
            "properties": {"hostFingerprints": {"not": {"type": "null"}, "minItems": 1}},
        },
    },
}


def _tls_or_false(schema: Json) -> Json:
    described = {key: value for key, value in schema.items() if key in {"title", "description", "examples"}}
    return described | {
        "if": {"type": "boolean"},
        "then": {"const": False},
        "else": {"$ref": "#/$defs/Tls"},
    }


def _with_a_value(key: str) -> Json:
    """Return the schema of an entry, or null, that has a key with a value."""
    return {
        "if": {"type": "object"},
        "then": {"required": [key], "properties": {key: {"not": {"type": "null"}}}},
    }
