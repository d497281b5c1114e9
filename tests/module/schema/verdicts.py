"""What the schema and what the parser say of a desired document, in a form in which the two can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError

from serial_relay.plumbing.text import escaped
from serial_relay.schema.desired import desired_schema
from serial_relay.twin.desired import parse

Json = dict[str, Any]

SCHEMA = Draft202012Validator(desired_schema())


def keys_refused_by_the_schema(document: object, validator: Draft202012Validator = SCHEMA) -> set[str]:
    """The paths of all keys that the schema finds fault with."""
    return {_unescaped(key) for error in validator.iter_errors(document) for key in _keys(error)}


def _keys(error: ValidationError) -> Iterator[str]:
    path = [escaped(str(part)) for part in error.absolute_path]
    if error.validator == "required":
        required, instance = cast("list[str]", error.validator_value), cast("Json", error.instance)
        missing = [key for key in required if key not in instance]
        yield from (".".join([*path, escaped(key)]) for key in missing)
    else:
        yield ".".join(path)


def findings_of_the_parser(document: Mapping[str, Any]) -> set[str] | None:
    """The paths that the parser names as faulty, mistaken or unknown; None if it finds no ports in the document."""
    desired = parse(document, last_good={}, default_gid=10)
    if desired is None:
        return None
    paths: set[str] = set()
    for fault in (*desired.faults, *desired.port_faults.values()):
        paths.add(fault.path)
        _, others, more = fault.expected.partition("; faulty too: ")
        paths.update(more.split(", ") if others else ())
    for warning in desired.warnings:
        path, known, _ = warning.partition(" is not known and is ignored")
        if known:
            paths.add(path)
    return {_unescaped(path) for path in paths}


def assert_same_verdict(document: Mapping[str, Any]) -> None:
    """Both accept the document, or both refuse it and the schema names every key that the parser names."""
    by_schema = keys_refused_by_the_schema(document)
    by_parser = findings_of_the_parser(document)
    if by_parser is None:
        assert "serialPorts" in by_schema, document
        return
    assert bool(by_schema) == bool(by_parser), (document, by_schema, by_parser)
    assert by_parser <= by_schema, (document, by_schema, by_parser)
    assert {_owner(path) for path in by_schema} == {_owner(path) for path in by_parser}, document


def _unescaped(path: str) -> str:
    """Undo what the parser does to backslashes in some of its paths, and in others not."""
    return path.replace(r"\\", "\\")


def _owner(path: str) -> str:
    """The port that a path belongs to, or the key at the top."""
    parts = path.split(".")
    return ".".join(parts[:2]) if parts[0] == "serialPorts" else parts[0]
