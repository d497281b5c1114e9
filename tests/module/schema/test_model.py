"""The DTDL model says what the JSON Schemas say, as far as DTDL can; Microsoft's parser reads it in `make check-model`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serial_relay.schema.desired import desired_schema
from serial_relay.schema.json_schema import HUB_KEYS, identifier
from serial_relay.schema.methods import methods_schema
from serial_relay.schema.model import MAX_DESCRIPTION, model, not_carried
from serial_relay.schema.reported import reported_schema
from serial_relay.twin.desired import parse
from serial_relay.twin.keys import Entry, Line, Top
from serial_relay.twin.methods import METHOD_NAMES
from serial_relay.twin.plug_and_play import STATUS_KEY, WRITABLE, acknowledge, outgoing, with_acknowledgements
from serial_relay.twin.tls_entry import TLS_EXAMPLE
from tests.module.schema.test_methods_schema import call, example_of
from tests.module.schema.test_reported_schema import sections
from tests.module.schema.verdicts import SCHEMA, Json

ROOT = Path(__file__).parents[3]
MODEL = model()
PROPERTIES = {each["name"]: each for each in MODEL["contents"] if each["@type"] == "Property"}
COMMANDS = {each["name"]: each for each in MODEL["contents"] if each["@type"] == "Command"}

COMPATIBLE = {
    "boolean": {"boolean"},
    "integer": {"integer", "long", "Enum of integer"},
    "number": {"double"},
    "string": {"string", "dateTime", "Enum of string"},
}
Leaf = tuple[str, str]
"""A path and the type of what stands there; `*` is any name or place."""


def leaves_of_model(schema: Any, path: str) -> Iterator[Leaf]:
    if isinstance(schema, str):
        yield path, schema
        return
    match schema["@type"]:
        case "Enum":
            yield path, f"Enum of {schema['valueSchema']}"
        case "Array":
            yield from leaves_of_model(schema["elementSchema"], f"{path}.*")
        case "Map":
            yield from leaves_of_model(schema["mapValue"]["schema"], f"{path}.*")
        case "Object":
            for field in schema["fields"]:
                yield from leaves_of_model(field["schema"], f"{path}.{field['name']}")


def leaves_of_schema(schema: Json, definitions: Json, path: str) -> Iterator[Leaf]:
    if (choice := schema.get("else", {})).get("$ref"):
        schema = choice
    if reference := schema.get("$ref"):
        schema = definitions[reference.removeprefix("#/$defs/")] | schema
    below = {f"{path}.{key}": value for key, value in schema.get("properties", {}).items()}
    entries = [value for key, value in schema.get("patternProperties", {}).items() if key != HUB_KEYS]
    entries += [schema.get("additionalProperties"), schema.get("items")]
    below |= {
        f"{path}.*": each for each in entries if isinstance(each, dict) and each.keys() & {"$ref", "items"}
    }
    if (items := schema.get("items")) is not None:
        below[f"{path}.*"] = items
    if below:
        for place, value in below.items():
            yield from leaves_of_schema(value, definitions, place)
        return
    types = schema.get("type", "string" if "enum" in schema else [])
    for kind in {types} if isinstance(types, str) else set(types) - {"null"}:
        if kind != "object":
            yield path, kind


def in_schemas() -> dict[str, str]:
    """The leaves of all schemas by the paths that they have in the model."""
    found: dict[str, str] = {}
    desired, reported, methods = desired_schema(), reported_schema(), methods_schema()
    for key, value in desired["properties"].items():
        found |= leaves_of_schema(value, desired["$defs"], key)
    for key, value in reported["properties"].items():
        place = STATUS_KEY if key == "serialPorts" else key
        found |= leaves_of_schema(value, reported["$defs"], place)
    definitions = methods["$defs"] | reported["$defs"] | {identifier("reported"): reported}
    for method in METHOD_NAMES:
        found |= leaves_of_schema(definitions[method], definitions, f"{method}.request")
        found |= leaves_of_schema(definitions[f"{method}Answer"], definitions, f"{method}.response")
    return found


def in_model() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, content in PROPERTIES.items():
        found |= leaves_of_model(content["schema"], name)
    for name, content in COMMANDS.items():
        for part in ("request", "response"):
            if part in content:
                found |= leaves_of_model(content[part]["schema"], f"{name}.{part}")
    return found


def test_what_dtdl_cannot_carry_is_known_by_name() -> None:
    assert not_carried() == ("tls.hostFingerprints", "serialPorts.*.tls.hostFingerprints", "configErrors")
    for path in not_carried():
        assert path in MODEL["comment"]


def test_each_leaf_of_the_schemas_stands_in_the_model_with_a_type_that_fits() -> None:
    wanted = {
        path: kind
        for path, kind in in_schemas().items()
        if not any(path.startswith(left_out) for left_out in not_carried())
    }
    assert len(wanted) > 80
    assert in_model().keys() == wanted.keys()
    for path, kind in wanted.items():
        assert in_model()[path] in COMPATIBLE[kind], path


def test_numbers_beyond_32_bits_are_long() -> None:
    types = in_model()
    for path in ("serialPorts.*.uid", "serialPorts.*.gid", "serialPorts.*.line.baudRate", "desiredVersion"):
        assert types[path] == "long", path
    assert types["serialPorts.*.tcpPort"] == "integer"
    assert types["portStatus.*.bytesToDevice"] == "long"


def test_what_the_cloud_may_write_is_writable_and_nothing_else() -> None:
    assert {name for name, content in PROPERTIES.items() if content["writable"]} == set(WRITABLE)
    assert COMMANDS.keys() == METHOD_NAMES


def test_descriptions_say_what_a_key_is_for_and_what_is_expected() -> None:
    described = PROPERTIES["host"]["description"]
    assert described == f"{Top.model_fields['host'].title}. Expected: an IP address or host name."
    for content in PROPERTIES.values():
        assert 0 < len(content["description"]) < MAX_DESCRIPTION


def fits(value: Any, schema: Any) -> bool:
    """Whether DTDL allows a value: https://github.com/Azure/opendigitaltwins-dtdl, DTDL/v2/DTDL.v2.md, Schema."""
    match schema if isinstance(schema, str) else schema["@type"]:
        case "boolean":
            return isinstance(value, bool)
        case "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer" | "long" as kind:
            bits = 31 if kind == "integer" else 63
            return fits(value, "double") and value == int(value) and -(2**bits) <= value < 2**bits
        case "string":
            return isinstance(value, str)
        case "dateTime":
            return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value) is not None
        case "Enum":
            return value in [each["enumValue"] for each in schema["enumValues"]]
        case "Array":
            return isinstance(value, list) and all(fits(each, schema["elementSchema"]) for each in value)
        case "Map":
            return isinstance(value, dict) and all(
                fits(each, schema["mapValue"]["schema"]) for each in value.values()
            )
        case "Object":
            fields = {field["name"]: field["schema"] for field in schema["fields"]}
            return isinstance(value, dict) and all(
                key in fields and fits(each, fields[key]) for key, each in value.items()
            )
    raise AssertionError(schema)


def right(model: type[Top | Entry | Line], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Documents of a model, made of its examples."""
    optional = {
        str(field.alias): st.none() | st.sampled_from(field.examples or [])
        for name, field in model.model_fields.items()
        if field.alias not in {*required, "link"}
    }
    return st.fixed_dictionaries(required, optional=optional)


entries = right(Entry, tcpPort=st.sampled_from([1, 5002.0, 65535])).flatmap(
    lambda entry: right(Line).map(lambda line: entry | {"line": line})
)
documents = right(
    Top, host=st.sampled_from(["h", "::1"]), serialPorts=st.dictionaries(st.text("ab0ü", min_size=1), entries, max_size=3)
)  # fmt: skip
generated = settings(
    max_examples=100, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


def acknowledged(document: Json) -> Json:
    desired = parse({**document, "$version": 3}, last_good={}, default_gid=10)
    assert desired is not None
    return acknowledge(document, desired)


@generated
@given(documents)
def test_what_the_schema_accepts_fits_the_model(document: Json) -> None:
    for number, entry in enumerate(document["serialPorts"].values()):
        entry["tcpPort"] = 1 + number  # no schema judges that each has one of its own
    assert SCHEMA.is_valid(document)
    found = acknowledged(document)
    assert found.keys() == {key for key, value in document.items() if value is not None}
    for name, each in found.items():
        assert each["ac"] == 200, each
        assert fits(each["value"], PROPERTIES[name]["schema"]), (name, each["value"])
    assert found["serialPorts"]["value"].keys() == document["serialPorts"].keys()


@settings(generated, max_examples=40)
@given(sections, documents)
def test_what_is_reported_fits_the_model(section: Json, document: Json) -> None:
    whole = outgoing(with_acknowledgements(section, acknowledged(document)))
    for name, value in json.loads(json.dumps(whole)).items():
        if name in not_carried():
            continue
        wanted = value.get("value", {}) if name in WRITABLE else value
        assert fits(wanted, PROPERTIES[name]["schema"]), (name, value)


@pytest.mark.parametrize("method", sorted(METHOD_NAMES))
def test_the_example_of_each_method_and_its_answer_fit_the_model(method: str) -> None:
    payload = example_of(method)
    command = COMMANDS[method]
    if "request" in command:
        assert fits(payload, command["request"]["schema"])
    if isinstance(payload, dict) and "port" in payload:
        payload = payload | {"port": "a"}
    status, answer = asyncio.run(call(method, payload))
    assert status == 200
    without_null = {key: value for key, value in answer.items() if value is not None}
    assert fits(json.loads(json.dumps(without_null)), command["response"]["schema"]), answer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", 5),
        ("reportIntervalSeconds", "60"),
        ("serialPorts", {"a": {"tcpPort": 2**31}}),
        ("serialPorts", {"a": {"protocol": "telnet"}}),
        ("serialPorts", {"a": {"baud": 9600}}),
        ("serialPorts", []),
        ("tls", {"hostFingerprints": [TLS_EXAMPLE]}),
        ("portStatus", {"a": {"since": "now"}}),
    ],
)
def test_the_judgement_of_these_tests_refuses_what_is_wrong(name: str, value: Any) -> None:
    assert not fits(value, PROPERTIES[name]["schema"])


def test_the_example_of_the_page_fits_the_model() -> None:
    page = (ROOT / "docs/plug-and-play.md").read_text(encoding="utf-8")
    [text] = [block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if STATUS_KEY in block]
    assert MODEL["@id"] in page
    for name, value in json.loads(text).items():
        wanted = value.get("value") if name in WRITABLE else value
        assert wanted is None or fits(wanted, PROPERTIES[name]["schema"]), name
