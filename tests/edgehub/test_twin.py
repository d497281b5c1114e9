"""The emulated edgeHub's twin: merge patches, versions, and the rules that edgeHub enforces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edgehub.twin import MAX_SECTION_BYTES, ModuleTwin, RejectedError, difference, merge


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {"x": 1}
    for _ in range(levels - 1):
        document = {"x": document}
    return document


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ({"192.0.2.1": 1}, "reported: key '192.0.2.1' holds '.'"),
        ({"a": {"$b": 1}}, r"reported.a: key '\$b' holds '\$'"),
        ({"a#": 1}, "holds '#'"),
        ({"a b": 1}, "holds ' '"),
        ({"a\n": 1}, "holds"),
        ({"a\x7f": 1}, "holds"),
        ({"": 1}, "empty key"),
        ({"k" * 1025: 1}, "key of more than 1024 bytes"),
        ({"a": "ü" * 2049}, "string of more than 4096 bytes"),
        ({"a": [{"b": "x" * 4097}]}, r"reported.a\[0\].b: a string"),
        ({"a": 2**52 + 1}, "beyond 2\\^52"),
        ({"a": [1, None]}, r"reported.a\[1\]: null in an array"),
        (nested(11), "deeper than 10"),
        ({str(n): "x" * 4000 for n in range(9)}, f"{MAX_SECTION_BYTES} at most"),
        ([], "no JSON object but list"),
    ],
)
def test_a_patch_that_breaks_a_rule_is_rejected_and_nothing_is_stored(patch: object, complaint: str) -> None:
    twin = ModuleTwin()
    with pytest.raises(RejectedError, match=complaint):
        twin.patch_reported(json.dumps(patch).encode())
    assert twin.whole()["reported"] == {"$version": 1}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'{"a": Infinity}', b"\xff"])
def test_a_patch_that_is_no_json_is_rejected(body: bytes) -> None:
    with pytest.raises(RejectedError, match="no JSON"):
        ModuleTwin().patch_reported(body)


@pytest.mark.parametrize(
    "patch",
    [
        nested(10),
        {"k" * 1024: "ü" * 2048},
        {"a": [2**52, -(2**52), 1.5, True, "x"]},
        {"gone": None, "a-b_c:d": {"gone": None}},
    ],
)
def test_what_keeps_the_rules_is_stored(patch: dict[str, Any]) -> None:
    twin = ModuleTwin()
    assert twin.patch_reported(json.dumps(patch).encode()) == 2
    assert twin.reported == merge({}, patch)


def test_a_deployment_is_notified_as_what_changed() -> None:
    twin = ModuleTwin({"keep": 1, "change": {"a": 1, "b": 1}, "remove": 1})
    notification = twin.replace_desired({"keep": 1, "change": {"a": 1, "b": 2}, "add": [1], "$version": 99})
    assert notification == {"change": {"b": 2}, "remove": None, "add": [1], "$version": 2}
    assert twin.desired == {"keep": 1, "change": {"a": 1, "b": 2}, "add": [1]}


values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.dictionaries(st.text(max_size=2), below, max_size=3) | st.lists(below, max_size=2),
    max_leaves=8,
)
documents = st.dictionaries(st.text(max_size=2), values, max_size=4)


@given(documents, documents)
def test_the_difference_turns_one_document_into_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert json.dumps(merge(old, difference(old, new)), sort_keys=True) == json.dumps(new, sort_keys=True)
