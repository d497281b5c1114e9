"""The reference is current: its tables are those of the models, and its examples are what the module takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import reference
from serial_relay.process.settings import Settings
from serial_relay.twin.desired import parse
from serial_relay.twin.keys import Entry, Line, Top
from serial_relay.twin.methods import METHOD_NAMES, REQUESTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_source(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert reference.renewed(text) == text, "run 'make docs', which renews the tables"


@pytest.mark.parametrize("model", [Top, Entry, Line])
def test_every_key_has_what_its_row_says(model: type[Top | Entry | Line]) -> None:
    for name, field in model.model_fields.items():
        assert field.title, name
        assert field.description, name
        assert field.examples, name
        assert f"| `{field.alias}` | {field.title} |" in PAGE


def test_every_example_is_understood() -> None:
    entry = {"tcpPort": 5002, "protocol": "rfc2217"}
    for text in re.findall(r"^\| `\w+` \|.*\| `(\{.*\})` \|$", PAGE, re.MULTILINE):
        example = json.loads(text)
        [key] = example
        if key in {field.alias for field in Line.model_fields.values()}:
            document = {"host": "h", "serialPorts": {"p": {**entry, "line": example}}}
        elif key in {field.alias for field in Entry.model_fields.values()}:
            document = {"host": "h", "serialPorts": {"p": {**entry, **example}}}
        elif key in {field.alias for field in Top.model_fields.values()}:
            document = {"host": "h", "serialPorts": {"p": entry}, **example}
        else:
            continue  # of a method
        desired = parse(document, last_good={}, default_gid=10)
        assert desired is not None
        assert not desired.faults, text
        assert not desired.port_faults, text
        assert not desired.warnings, text


def test_every_method_has_a_section_with_an_example() -> None:
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))
    assert sections.keys() == METHOD_NAMES
    for method, text in sections.items():
        examples = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        model = REQUESTS[method]
        assert bool(examples) is (model is not None), method
        if model is not None:
            model.model_validate(json.loads(examples[0]))


def test_every_variable_of_the_environment_has_a_row_with_its_default() -> None:
    table = PAGE.partition("\n## Environment\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", table, re.MULTILINE))
    fields = {str(field.alias): field.default for field in Settings.model_fields.values()}
    assert rows.keys() == fields.keys() | {"XDG_RUNTIME_DIR"}
    for name, default in fields.items():
        shown = "none" if default is None else "`*`" if default == METHOD_NAMES else f"`{default}`".lower()
        assert rows[name].startswith(shown), name
