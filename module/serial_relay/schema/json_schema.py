"""A pydantic model of the twin's parser -> JSON Schema (2020-12) that judges as the parser does.

Pydantic writes most of it. What is added here are the rules of a twin, which the parser applies before its models: a
key with null counts as absent, keys that begin with `$` are the hub's own, and an unknown key is a mistake.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from pydantic import BaseModel

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HUB_KEYS = r"^\$"
"""The pattern of keys that are the hub's own or an editor's (`$schema`)."""

UNKNOWN_KEY: Mapping[str, Any] = {"type": "null", "errorMessage": "This key is not known."}
"""The schema of a key that is not known: only null may stand there. `errorMessage` is what some editors show."""

_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""The keywords for bounds that pydantic spells differently when the bound stands behind a validator of ours."""


def identifier(name: str) -> str:
    """Return the `$id` of one of the documents; it is a name, and nothing can be fetched there."""
    return f"urn:eflow-serial-relay:schema:{name}"


def twin_objects(model: type[BaseModel], optional: Container[str] = ()) -> tuple[Json, dict[str, Json]]:
    """Return the schema of a model of the desired properties, and those of the objects below it by name.

    The keys in `optional` may be absent, whatever the model says: the parser gives them a value before.
    """
    raw = model.model_json_schema(by_alias=True)
    definitions: dict[str, Json] = raw.pop("$defs", {})
    values = {name: schema for name, schema in definitions.items() if "properties" not in schema}
    objects = {
        name: _twin_object(schema, values) for name, schema in definitions.items() if "properties" in schema
    }
    return _twin_object(raw, values, optional), objects


def payload_object(model: type[BaseModel]) -> Json:
    """Return the schema of a method's payload: here null is a value like others, and there are no hub's keys."""
    raw = model.model_json_schema(by_alias=True)
    definitions: dict[str, Json] = raw.pop("$defs", {})
    for key, value in raw["properties"].items():
        raw["properties"][key] = _plain(value, definitions, described=True)
        del raw["properties"][key]["title"]  # pydantic's own: the key once more
    return {key: value for key, value in raw.items() if key not in {"title", "description"}}


def _twin_object(raw: Json, values: Mapping[str, Json], optional: Container[str] = ()) -> Json:
    required = [key for key in raw.get("required", []) if key not in optional]
    properties = {}
    for key, value in raw["properties"].items():
        plain = _plain(value, values, described=True)
        properties[key] = plain if key in required else _nullable(plain)
    schema: Json = {
        "type": ["object", "null"],
        "properties": properties,
        "patternProperties": {HUB_KEYS: True},
        "additionalProperties": dict(UNKNOWN_KEY),
    }
    return schema | ({"required": required} if required else {})


def _plain(raw: Json, values: Mapping[str, Json], *, described: bool = False) -> Json:
    """Return a value's schema with what it refers to in its place, unless that is an object."""
    schema = {
        _KEYWORDS.get(key, key): value
        for key, value in raw.items()
        if described or key not in {"title", "description"}
    }
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    if reference in values:
        del schema["$ref"]
        schema = _plain(values[reference], values) | schema
    if "anyOf" in schema:
        choices = [_plain(choice, values) for choice in schema.pop("anyOf")]
        others = [choice for choice in choices if choice != {"type": "null"}]
        if len(others) == 1 and len(choices) == 2:
            schema = _nullable(others[0]) | schema
        else:
            schema["anyOf"] = choices
    if schema.get("default") is None or isinstance(schema["default"], dict):
        schema.pop("default", None)
    return schema


def _nullable(schema: Json) -> Json:
    """Allow null in place of a value. An object's own schema allows it already."""
    schema = dict(schema)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("type"), str) and schema["type"] != "null":
        schema["type"] = [schema["type"], "null"]
    if "anyOf" in schema and {"type": "null"} not in schema["anyOf"]:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
