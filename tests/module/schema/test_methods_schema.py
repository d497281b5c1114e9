"""The schema of the direct methods and the methods themselves judge the same calls in the same way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from serial_monitor.records import Record
from serial_monitor.ring import Ring
from serial_monitor.steps import Step, Verdict
from serial_relay.schema.json_schema import identifier
from serial_relay.schema.methods import methods_schema
from serial_relay.schema.reported import reported_schema
from serial_relay.status import PortStatus, State
from serial_relay.twin.methods import METHOD_NAMES, REQUESTS, Methods
from serial_relay.twin.reported import ModuleFacts, render
from tests.module.fake_identity import FakeIdentity

Json = dict[str, Any]
SCHEMA = Draft202012Validator(methods_schema())
REGISTRY: Registry[Any] = Registry().with_contents(
    [(identifier("reported"), reported_schema()), (identifier("methods"), methods_schema())]
)

HOW_TO = (
    "\nThe key {key!r} of the method {method} has no description or no example: write both in its Field in"
    " module/serial_relay/twin/methods.py, then run `make schemas`. An answer that does more than repeat what was asked for"
    " gets an entry in WITH_AN_ANSWER_OF_ITS_OWN of schema/methods.py."
)


class WillingPorts:
    """Ports of which one, `a`, is there and can do everything."""

    def statuses(self) -> Mapping[str, PortStatus]:
        return {"a": PortStatus(state=State.CONNECTED, since=0.0, link="/dev/a")}

    def capture(self, _name: str, _token: str | None) -> Json:
        ring = Ring(5)
        for kind, data in (("toDevice", b"\0"), ("opened", b"")):
            ring.take(Record(time.time(), "a", kind, data))
        return {"captureSeconds": 5, **ring.piece(None, time.time())}

    def __getattr__(self, name: str) -> Any:
        if name == "restart":
            return lambda *_: None

        async def done(*_: object) -> None: ...

        return done


async def diagnosed(_name: str, _whole: bool) -> list[Json]:
    return [Step("link", Verdict.WARNING, "nobody has it open", "open it", 1.5).as_json()]


async def call(name: str, payload: object) -> tuple[int, Json]:
    ports = WillingPorts()
    identity = FakeIdentity()
    await identity.prepare()
    methods = Methods(
        ports,
        lambda: render(ModuleFacts("1.1.0", 0.0), ports.statuses()),
        diagnose=diagnosed,
        identity=identity,
    )
    return await methods.call(name, payload)


def refused(name: str, payload: object) -> bool:
    return asyncio.run(call(name, payload))[0] in {400, 501}


FIELDS = [
    (method, key, field)
    for method, model in sorted(REQUESTS.items())
    if model
    for key, field in model.model_fields.items()
]


@pytest.mark.parametrize(
    ("method", "key", "field"), FIELDS, ids=[f"{method}-{key}" for method, key, _ in FIELDS]
)
def test_each_key_of_a_payload_has_a_description_and_an_example(method: str, key: str, field: Any) -> None:
    assert field.description, HOW_TO.format(key=key, method=method)
    assert field.examples, HOW_TO.format(key=key, method=method)


def example_of(method: str) -> object:
    """The payload made of the first example of each key."""
    model = REQUESTS[method]
    return (
        {field.alias or key: (field.examples or [None])[0] for key, field in model.model_fields.items()}
        if model
        else {}
    )


@pytest.mark.parametrize("method", sorted(METHOD_NAMES))
def test_the_example_of_each_method_is_accepted(method: str) -> None:
    SCHEMA.validate({"methodName": method, "payload": example_of(method)})
    assert not refused(method, example_of(method))


@pytest.mark.parametrize("method", sorted(METHOD_NAMES))
def test_the_answer_of_a_method_fits_its_schema(method: str) -> None:
    payload = example_of(method)
    status, answer = asyncio.run(
        call(method, payload | {"port": "a"} if isinstance(payload, dict) and "port" in payload else payload)
    )
    assert status == 200
    reference = {"$ref": f"{identifier('methods')}#/$defs/{method}Answer"}
    Draft202012Validator(reference, registry=REGISTRY).validate(answer)


def test_a_refusal_fits_its_schema() -> None:
    _, answer = asyncio.run(call("restartPort", {}))
    Draft202012Validator({"$ref": f"{identifier('methods')}#/$defs/error"}, registry=REGISTRY).validate(
        answer
    )


values = (
    st.none()
    | st.booleans()
    | st.integers(-1, 6000)
    | st.sampled_from(["a", "debug", "DEBUG", "Warn", "loud", 250.0, 0.5, {}, []])
)
keys = st.sampled_from([*sorted({key for _, key, _ in FIELDS}), "Port", "x"])
payloads = values | st.dictionaries(keys, values, max_size=4)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(METHOD_NAMES)), payloads)
def test_schema_and_methods_judge_any_payload_in_the_same_way(method: str, payload: object) -> None:
    assert refused(method, payload) == (not SCHEMA.is_valid({"methodName": method, "payload": payload}))


def test_an_unknown_method_is_refused_by_both() -> None:
    assert refused("reboot", {})
    assert not SCHEMA.is_valid({"methodName": "reboot", "payload": {}})
