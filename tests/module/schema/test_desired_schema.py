"""The schema of the desired properties and the parser judge the same documents in the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from serial_relay.schema.desired import desired_schema
from serial_relay.twin.keys import Entry, Line, Top
from serial_relay.twin.limits import MAX_PORTS
from tests.module.schema.verdicts import (
    SCHEMA,
    Json,
    assert_same_verdict,
    findings_of_the_parser,
    keys_refused_by_the_schema,
)

ROOT = Path(__file__).parents[3]

HOW_TO = (
    "\nThe key {key!r} is new in {model}. In the Field of module/serial_relay/twin/keys.py write a `title` (what the key is"
    " for), a `description` (what is expected, as a fault says it) and `examples` (at least one right value). A check that"
    " pydantic cannot write as JSON Schema (AfterValidator, BeforeValidator) needs a pattern beside it:"
    ' `Field(json_schema_extra={{"pattern": …}})` or `WithJsonSchema(…)`. Then run `make schemas` and commit schemas/.'
)


def models(model: type[BaseModel] = Entry) -> set[type[BaseModel]]:
    """The model, and those of the objects below it."""
    found: set[type[BaseModel]] = {Top, model}
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= models(part)
    return found


FIELDS = [
    (model, field.alias or name, field)
    for model in sorted(models(), key=lambda model: model.__name__)
    for name, field in model.model_fields.items()
]
KEYS_OF_ENTRY = sorted(str(field.alias) for field in Entry.model_fields.values())


def placed(model: type[BaseModel], key: str, value: Any) -> Json:
    """A right document that holds the value at the key of a model."""
    entry: Json = {"tcpPort": 5002, "protocol": "rfc2217"}
    document: Json = {"host": "h", "serialPorts": {"a": entry}}
    if model is Top:
        document[key] = value
    elif model is Entry:
        entry[key] = value
    else:
        holder = next(
            str(field.alias)
            for field in Entry.model_fields.values()
            if model in (field.annotation, *getattr(field.annotation, "__args__", ()))
        )
        examples = Entry.model_fields[
            next(n for n, f in Entry.model_fields.items() if f.alias == holder)
        ].examples
        entry[holder] = {**(examples or [{}])[0], key: value}
    return document


def test_the_models_below_an_entry_are_found() -> None:
    assert {Top, Entry, Line} <= models()


@pytest.mark.parametrize(
    ("model", "key", "field"), FIELDS, ids=lambda part: getattr(part, "__name__", str(part))[:20]
)
def test_each_key_says_what_it_is_for_and_has_examples(model: type[BaseModel], key: str, field: Any) -> None:
    assert field.title, HOW_TO.format(key=key, model=model.__name__)
    assert field.description, HOW_TO.format(key=key, model=model.__name__)
    assert field.examples, HOW_TO.format(key=key, model=model.__name__)
    for value in field.examples:
        document = placed(model, key, value)
        assert findings_of_the_parser(document) == set(), (
            f"the parser refuses the example {value!r} of {key!r}"
        )
        assert keys_refused_by_the_schema(document) == set(), (
            f"the schema refuses the example {value!r} of {key!r}"
        )


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(desired_schema())


WRONG: list[tuple[str, Any]] = [
    ("host", ""), ("host", " h"), ("host", "h "), ("host", "a b"), ("host", "http://h"), ("host", "h:5002"),
    ("host", "[::1]"), ("host", "10.0.0"), ("host", "10.0.0.256"), ("host", "010.0.0.1"), ("host", "0.0.0.0"),
    ("host", "224.0.0.1"), ("host", "::"), ("host", "ff02::1"), ("host", "1:2:3:4:5:6:7"), ("host", "1::2::3"),
    ("host", "fe80::1%"), ("host", "fe80::1%a/b"), ("host", "-h"), ("host", "h-"), ("host", "a..b"), ("host", "x" * 64),
    ("host", "0x10"), ("host", "h.12"), ("host", "h\n"), ("host", "bücher.example"), ("host", 5), ("host", True),
    ("host", []), ("host", {}),
    ("tcpPort", 0), ("tcpPort", 65536), ("tcpPort", -1), ("tcpPort", "5002"), ("tcpPort", 5002.5), ("tcpPort", True),
    ("tcpPort", None), ("tcpPort", [5002]), ("tcpPort", 10**400),
    ("link", ""), ("link", "a/b"), ("link", "/dev/"), ("link", "/dev/a/b"), ("link", ".a"), ("link", "a b"),
    ("link", "serial-relay"), ("link", "/dev/serial-relay"), ("link", "a\n"), ("link", "x" * 65), ("link", 5),
    ("link", "/tmp/x"), ("link", ".."),
    ("protocol", "RAW"), ("protocol", "telnet"), ("protocol", 1), ("protocol", ""),
    ("line", []), ("line", "9600"), ("line", {"baudRate": 0}), ("line", {"baudRate": 2**32}),
    ("line", {"baudRate": "9600"}), ("line", {"dataBits": 9}), ("line", {"dataBits": "8"}), ("line", {"parity": "E"}),
    ("line", {"stopBits": 3}), ("line", {"stopBits": True}), ("line", {"flowControl": "RTS"}), ("line", {"dtr": 1}),
    ("line", {"rts": "true"}), ("line", {"baud": 9600}), ("line", {"baudrate": 9600}),
    ("uid", -1), ("uid", 2**32 - 1), ("uid", "root"), ("uid", True), ("gid", -1), ("gid", "dialout"), ("gid", 1.5),
    ("mode", 660), ("mode", "66"), ("mode", "888"), ("mode", "1660"), ("mode", "0o660"), ("mode", "660\n"),
    ("connect", "onopen"), ("connect", True), ("whileDisconnected", "keep"), ("whileDisconnected", 0),
    ("enabled", "true"), ("enabled", 1), ("enabled", "yes"),
    ("baudRate", 9600), ("tcpport", 5002), ("Link", "x"), ("comment", "what this is"), ("parity", "even"),
]  # fmt: skip


def test_there_are_more_than_fifty_wrong_documents() -> None:
    assert len(WRONG) > 50


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_schema_and_parser_refuse_a_wrong_value_at_the_same_key(key: str, value: Any) -> None:
    document = {"host": "h", "serialPorts": {"a": {"tcpPort": 1} | {key: value}, "b": {"tcpPort": 2}}}
    found = findings_of_the_parser(document)
    assert found == keys_refused_by_the_schema(document)
    assert found
    assert all(path.startswith(f"serialPorts.a.{key}") for path in found)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"host": "h"},
        {"serialPorts": None},
        {"serialPorts": []},
        {"serialPorts": "a"},
        {"serialPorts": {"a": {"tcpPort": 1}}},
        {"host": None, "serialPorts": {"a": {"tcpPort": 1}}},
        {"host": 5, "serialPorts": {"a": {"tcpPort": 1, "host": "h"}}},
        {"host": "h", "serialPorts": {"a": 5002}},
        {"host": "h", "serialPorts": {"a": []}},
        {"host": "h", "serialPorts": {"a": {}}},
        {"host": "h", "serialPorts": {"a b": {"tcpPort": 1}}},
        {"host": "h", "serialPorts": {"a.b": {"tcpPort": 1}}},
        {"host": "h", "serialPorts": {"": {"tcpPort": 1}}},
        {"host": "h", "serialPorts": {"x" * 65: {"tcpPort": 1}}},
        {"host": "h", "serialPorts": {"a/b": {"tcpPort": 1}}},
        {"host": "h", "serialPorts": {"serial-relay": {"tcpPort": 1}}},
        {
            "host": "h",
            "serialPorts": {str(number): {"tcpPort": 1 + number} for number in range(MAX_PORTS + 1)},
        },
        {"host": "h", "reportIntervalSeconds": 0, "serialPorts": {}},
        {"host": "h", "reportIntervalSeconds": "60", "serialPorts": {}},
        {"host": "h", "reportInterval": 60, "serialPorts": {}},
        {"host": "h", "schemaVersion": "1.0", "serialPorts": {}},
    ],
)
def test_schema_and_parser_refuse_a_wrong_document(document: Json) -> None:
    assert keys_refused_by_the_schema(document)
    by_parser = findings_of_the_parser(document)
    assert by_parser is None or by_parser
    if (
        "serialPorts" not in document
        or not isinstance(document["serialPorts"], dict)
        or len(document["serialPorts"]) <= MAX_PORTS
    ):
        assert_same_verdict(document)


@pytest.mark.parametrize(
    "document",
    [
        {"properties": {"desired": {"serialPorts": {}}}},
        {"serialports": {"a": {"tcpPort": 1}}},
        {"serialPorts": {"host": "h", "serialPorts": {"a": {"tcpPort": 1}}}},
        {"host": "h", "ttyVirtS0": {"tcpPort": 5002}},
    ],
)
def test_a_section_in_a_wrong_place_is_refused_by_both(document: Json) -> None:
    assert keys_refused_by_the_schema(document)
    assert findings_of_the_parser(document)


@pytest.mark.parametrize(
    "entry",
    [
        {"tcpPort": 1},
        {"tcpPort": 1.0, "uid": 0.0},
        {"tcpPort": 65535, "link": "/dev/x", "comment": None, "line": None, "mode": None},
        {"tcpPort": 1, "$comment": "the hub takes no such key, a file does"},
        {"tcpPort": 1, "link": "Waage-Süd"},
        {"tcpPort": 1, "host": "::ffff:10.0.0.1"},
        {"tcpPort": 1, "host": "fe80::1%eth0"},
        {"tcpPort": 1, "host": "1:2:3:4:5:6:7::"},
        {"tcpPort": 1, "host": "::2:3:4:5:6:7:8"},
        {"tcpPort": 1, "host": "1:2:3:4:5:6:7:8"},
        {"tcpPort": 1, "host": "1:2:3:4:5:6:10.0.0.1"},
        {"tcpPort": 1, "host": "WIN_HOST.mshome.net."},
        {"tcpPort": 1, "host": "255.255.255.255"},
        {"tcpPort": 1, "line": {"stopBits": 1.5, "dataBits": 7.0, "baudRate": 123456, "x": None}},
        None,
    ],
)
def test_both_accept_what_is_right(entry: Json | None) -> None:
    document = {
        "$schema": "x",
        "$version": 5,
        "host": "h",
        "serialPorts": {"a": entry, "b": None, "$x": 5, "c d": None},
    }
    assert findings_of_the_parser(document) == set()
    assert keys_refused_by_the_schema(document) == set()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("desired*/*.json")), ids=lambda path: path.name
)
def test_each_example_names_the_schema_and_fits_it(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (path.parent / document["$schema"]).resolve() == ROOT / "schemas/desired.schema.json"
    SCHEMA.validate(document)


hosts = (
    st.sampled_from(["h", "10.0.0.1", "::1"])
    | st.text("0123456789abf:.%-_x", max_size=12)
    | st.from_regex(r"\A([0-9a-f]{0,4}:){2,8}[0-9a-f]{0,4}\Z")
)
texts = st.text(st.characters(codec="utf-8", max_codepoint=0xFF), max_size=6)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70000)
    | st.sampled_from([2**32 - 2, 2**32 - 1, 2**32, 10**30, 1.5, 2.0, 0.5, 604800, 604801])
    | st.sampled_from(
        ["raw", "rfc2217", "always", "onOpen", "hold", "discard", "even", "none", "rtsCts", "660", "0777"]
    )
    | hosts
    | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
examples = {
    str(field.alias): st.sampled_from(field.examples)
    for field in Entry.model_fields.values()
    if field.examples
}
lines = st.dictionaries(
    st.sampled_from(sorted(str(field.alias) for field in Line.model_fields.values())) | texts,
    anything,
    max_size=3,
)
entries = st.builds(
    lambda port, right, wrong: port | right | wrong,
    st.fixed_dictionaries({}, optional={"tcpPort": st.integers(1, 65535), "host": hosts}),
    st.fixed_dictionaries({}, optional=examples),
    st.dictionaries(
        st.sampled_from(KEYS_OF_ENTRY) | texts.filter(lambda key: key != "tcpPort"),
        anything | lines,
        max_size=2,
    ),
)
names = (
    st.text("abcdef0123_-ü", min_size=1, max_size=5)
    | texts
    | st.sampled_from(["serial-relay", "/dev/x", "a/b"])
)
documents = st.builds(
    lambda ports, top: {"serialPorts": ports} | top,
    st.dictionaries(names, entries | anything, max_size=3),
    st.fixed_dictionaries({}, optional={"host": hosts | anything, "reportIntervalSeconds": anything})
    | st.dictionaries(texts, anything, max_size=1),
)


def with_claims_of_their_own(document: Json) -> Json:
    """Give each entry a link and a TCP port that no other has, which no schema can judge, and leave out pasted sections."""
    ports = document["serialPorts"]
    if isinstance(ports, dict):
        ports.pop("serialPorts", None)
        for number, entry in enumerate(ports.values()):
            if isinstance(entry, dict):
                if entry.get("link") in (
                    *ports,
                    *(f"/dev/{name}" for name in ports),
                    "ttyScale",
                    "/dev/ttyScale",
                ):
                    entry["link"] = f"link{number}"
                if (
                    isinstance(entry.get("tcpPort"), int)
                    and 1 <= entry["tcpPort"] <= 65535
                    and entry["tcpPort"] is not True
                ):
                    entry["tcpPort"] = 1 + number
    return document


@settings(
    max_examples=400, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
@given(documents.map(with_claims_of_their_own))
@example({"serialPorts": {"a": {"tcpPort": 1, "host": "h", "line": {"dtr": True}}}})
def test_schema_and_parser_judge_any_document_in_the_same_way(document: Json) -> None:
    assert_same_verdict(document)


@settings(max_examples=800, deadline=None, derandomize=True)
@given(hosts)
def test_schema_and_parser_judge_any_host_in_the_same_way(host: str) -> None:
    assert_same_verdict({"serialPorts": {"a": {"tcpPort": 1, "host": host}}})
