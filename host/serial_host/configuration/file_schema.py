"""The JSON Schema of the configuration file, for editors of TOML, made from the models that check the file.

It refuses an entry if and only if `config_file.parse_port` does. What it lets pass: a COM port or a TCP port that two
entries name, a whole number with a point (JSON has one type of number), and characters that Unicode does not assign.
"""

from __future__ import annotations

import json
from typing import Any

from serial_host.configuration.config_file import Entry
from serial_host.configuration.tls_table import Table

Json = dict[str, Any]


def schema() -> Json:
    """Return the schema of a whole file."""
    entry = Entry.model_json_schema()
    definitions: dict[str, Json] = entry.pop("$defs", {})
    objects = {name: _object(raw, definitions) for name, raw in definitions.items() if "properties" in raw}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:eflow-serial-relay:schema:serial-host",
        "title": "Configuration of serial_host",
        "type": "object",
        "properties": {
            "ports": {
                "description": "one [[ports]] table for each COM port",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/Entry"},
            },
            "tls": {"description": "how connections are secured", **_tls()},
        },
        "required": ["ports"],
        "additionalProperties": False,
        "$defs": {"Entry": _object(entry, definitions), **objects},
    }


def _tls() -> Json:
    table = Table.model_json_schema()
    both = {"certificate": ["key"], "key": ["certificate"]}
    with_ca = {
        "if": {"required": ["verify"], "properties": {"verify": {"const": "ca"}}},
        "then": {"required": ["client_ca"]},
    }
    return _object(table, table.pop("$defs", {})) | {"dependentRequired": both} | with_ca


def text() -> str:
    """Return the schema as it stands in its file."""
    return json.dumps(schema(), indent=2) + "\n"


def _object(raw: Json, definitions: dict[str, Json]) -> Json:
    schema = {key: value for key, value in raw.items() if key not in {"title", "description"}}
    schema["properties"] = {key: _value(value, definitions) for key, value in raw["properties"].items()}
    return schema


def _value(raw: Json, definitions: dict[str, Json]) -> Json:
    """Return a value's schema without null, which TOML does not have, and with the enumerations in their places."""
    schema = {key: value for key, value in raw.items() if key != "title"}
    if "anyOf" in schema:
        choices = [choice for choice in schema.pop("anyOf") if choice != {"type": "null"}]
        schema = (choices[0] if len(choices) == 1 else {"anyOf": choices}) | schema
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name in definitions and "properties" not in definitions[name]:
        del schema["$ref"]
        values = {
            key: value for key, value in definitions[name].items() if key not in {"title", "description"}
        }
        schema = values | schema
    if schema.get("default") is None:
        schema.pop("default", None)
    return schema
