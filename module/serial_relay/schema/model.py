"""The DTDL model (version 2) for IoT Plug and Play, converted from the JSON Schemas, which are made from what the parser uses.

Desired properties are writable properties, reported ones are read-only properties, direct methods are commands. The
language has its limits (https://github.com/Azure/opendigitaltwins-dtdl, DTDL/v2/DTDL.v2.md): a property holds no array,
an `integer` has 32 bits, a key with names that people choose is a map, and there is neither a choice between types nor
null, so `false` and null stand for nothing here. `not_carried` lists the keys that are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from serial_relay.schema.desired import desired_schema
from serial_relay.schema.json_schema import HUB_KEYS, Json, identifier
from serial_relay.schema.methods import methods_schema
from serial_relay.schema.reported import reported_schema
from serial_relay.twin.plug_and_play import MODEL_ID, STATUS_KEY

CONTEXT = "dtmi:dtdl:context;2"
MAX_DESCRIPTION = 512
"""Characters."""

_MAX_INTEGER = 2**31 - 1
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]{0,62}[A-Za-z0-9])?")
_PRIMITIVES = {"boolean": "boolean", "number": "double", "string": "string"}


def model() -> Json:
    """Return the model: one interface without components."""
    return _converted()[0]


def not_carried() -> tuple[str, ...]:
    """Return the properties that the model leaves out because they hold arrays, as paths; `*` stands for any name."""
    return _converted()[1]


def _converted() -> tuple[Json, tuple[str, ...]]:
    left_out: list[str] = []
    desired, reported, methods = desired_schema(), reported_schema(), methods_schema()
    contents = [
        *_properties(_Converter(desired["$defs"], left_out), desired["properties"], writable=True),
        *_properties(
            _Converter(reported["$defs"], left_out),
            {
                STATUS_KEY if key == "serialPorts" else key: value
                for key, value in reported["properties"].items()
            },
            writable=False,
        ),
        *_commands(methods, reported),
    ]
    interface: Json = {
        "@context": CONTEXT,
        "@id": MODEL_ID,
        "@type": "Interface",
        "displayName": "EFLOW Serial Relay",
        "description": "COM ports of a Windows computer as virtual serial ports of Linux.",
        "comment": f"Not in the model, because a property of DTDL 2 holds no array: {', '.join(left_out)}.",
        "contents": contents,
    }
    return interface, tuple(left_out)


def _properties(converter: _Converter, properties: Mapping[str, Json], *, writable: bool) -> list[Json]:
    contents = []
    for name, schema in properties.items():
        converted = converter.convert(schema, name, arrays=False)
        if converted is not None:
            described = _named("Property", name, schema)
            contents.append(described | {"writable": writable, "schema": converted})
    return contents


def _commands(methods: Json, reported: Json) -> list[Json]:
    definitions = methods["$defs"] | reported["$defs"] | {identifier("reported"): reported}
    converter = _Converter(definitions, [])
    commands = []
    for method in methods["properties"]["methodName"]["enum"]:
        command: Json = {"@type": "Command", "name": method}
        for part, key in (("request", method), ("response", f"{method}Answer")):
            if schema := converter.convert(definitions[key], f"{method}.{part}", arrays=True):
                command[part] = {"name": part, "schema": schema}
        commands.append(command)
    return commands


class _Converter:
    """Turns JSON Schema into schemas of DTDL; the paths of what cannot be said are added to `left_out`."""

    def __init__(self, definitions: Mapping[str, Json], left_out: list[str]) -> None:
        self._definitions = definitions
        self._left_out = left_out

    def convert(self, schema: Json, path: str, *, arrays: bool) -> str | Json | None:
        """Return the schema of a value, None if there is none for it."""
        schema = self._whole(schema)
        types = schema.get("type", [])
        kind = next((each for each in ([types] if isinstance(types, str) else types) if each != "null"), None)
        if kind == "array":
            if not arrays:
                self._left_out.append(path)
                return None
            return {
                "@type": "Array",
                "elementSchema": self.convert(schema["items"], f"{path}.*", arrays=arrays),
            }
        if kind == "object":
            return self._object(schema, path, arrays=arrays)
        choices = [value for value in schema.get("enum", []) if value is not None]
        if choices and kind != "number":  # an enumeration has strings or integers
            return _enumeration(choices)
        if kind == "integer":
            small = schema.get("minimum", 0) >= -_MAX_INTEGER and schema.get("maximum", 2**52) <= _MAX_INTEGER
            return "integer" if small else "long"
        if schema.get("format") == "date-time":
            return "dateTime"
        return _PRIMITIVES[kind] if kind else None

    def _whole(self, schema: Json) -> Json:
        """Return a schema with what it refers to in it. Of a choice by `if`, the object is what remains."""
        if "else" in schema and "$ref" in schema["else"]:
            schema = schema["else"]
        if "$ref" not in schema:
            return schema
        return self._whole(self._definitions[schema["$ref"].removeprefix("#/$defs/")]) | {
            key: value for key, value in schema.items() if key != "$ref"
        }

    def _object(self, schema: Json, path: str, *, arrays: bool) -> Json | None:
        of_any_name = [
            below
            for pattern, below in schema.get("patternProperties", {}).items()
            if pattern != HUB_KEYS and "$ref" in below
        ]
        others = schema.get("additionalProperties")
        if isinstance(others, dict) and others.get("type") != "null":
            of_any_name.append(others)
        if of_any_name:
            return {
                "@type": "Map",
                "mapKey": {"name": "name", "schema": "string"},
                "mapValue": {
                    "name": "value",
                    "schema": self.convert(of_any_name[0], f"{path}.*", arrays=arrays),
                },
            }
        fields = []
        for name, below in schema.get("properties", {}).items():
            converted = self.convert(below, f"{path}.{name}", arrays=arrays)
            if converted is not None:
                fields.append(_named(None, name, below) | {"schema": converted})
        return {"@type": "Object", "fields": fields}


def _enumeration(choices: list[str | int]) -> Json:
    values = [
        {"name": choice if isinstance(choice, str) else f"is{choice}", "enumValue": choice}
        for choice in choices
    ]
    return {
        "@type": "Enum",
        "valueSchema": "string" if isinstance(choices[0], str) else "integer",
        "enumValues": values,
    }


def _named(kind: str | None, name: str, schema: Json) -> Json:
    """Return the beginning of a property or field, with what is said of it to people."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is no name in DTDL")
    begun: Json = {"@type": kind, "name": name} if kind else {"name": name}
    text = ". Expected: ".join(schema[key] for key in ("title", "description") if key in schema)
    return begun | ({"description": f"{text}."[:MAX_DESCRIPTION]} if text else {})
