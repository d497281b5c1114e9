"""The schema of the reported properties accepts what the module reports, and knows each key of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from serial_relay.schema.reported import BELOW_PORT, MODULE_TYPES, PORT_TYPES, reported_schema
from serial_relay.status import (
    DISCARD_REASONS,
    ActualLine,
    ConfigFault,
    Discarded,
    ErrorCode,
    ModemState,
    PortError,
    PortStatus,
    State,
)
from serial_relay.twin.reported import MODULE_KEYS, PORT_KEYS, ModuleFacts, fit, render

Json = dict[str, Any]
SCHEMA = Draft202012Validator(reported_schema())

HOW_TO = (
    "\nThe reported keys and their types in module/serial_relay/schema/reported.py differ: give each new key of"
    " twin/reported.py a type in MODULE_TYPES, PORT_TYPES or BELOW_PORT, then run `make schemas`."
)


def test_each_reported_key_has_a_type() -> None:
    Draft202012Validator.check_schema(reported_schema())
    assert MODULE_TYPES.keys() == set(MODULE_KEYS), HOW_TO
    assert PORT_TYPES.keys() == PORT_KEYS.keys(), HOW_TO
    assert {key: set(below) for key, below in BELOW_PORT.items()} == {
        key: set(below) for key, below in PORT_KEYS.items() if below
    }, HOW_TO


times = st.floats(0, 2**33)
counts = st.integers(0, 2**60)
faults = st.builds(ConfigFault, st.text(max_size=300), st.text(max_size=300))
statuses = st.builds(
    PortStatus,
    state=st.sampled_from(State),
    since=times,
    link=st.sampled_from(["", "/dev/a"]),
    remote_address=st.none() | st.just("10.0.0.1:5002"),
    application_open=st.booleans(),
    connects=counts,
    last_error=st.none() | st.builds(PortError, st.sampled_from(ErrorCode), st.text(max_size=300), times),
    config_error=st.none() | faults,
    bytes_to_device=counts,
    bytes_from_device=counts,
    discarded=st.builds(Discarded, **dict.fromkeys(DISCARD_REASONS, counts)),
    line=st.none()
    | st.builds(
        ActualLine,
        st.none() | st.integers(1, 2**32 - 1),
        st.none() | st.integers(5, 8),
        st.none() | st.sampled_from(["none", "even"]),
        st.none() | st.sampled_from([1, 1.0, 1.5, 2]),
        st.none() | st.sampled_from(["none", "rtsCts"]),
    ),
    modem=st.none() | st.builds(ModemState, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
facts = st.builds(
    ModuleFacts,
    version=st.just("1.1.0"),
    started_at=times,
    config_source=st.none() | st.sampled_from(["hub", "cache", "file"]),
    desired_version=st.none() | st.integers(0, 2**31),
    faults=st.lists(faults, max_size=12).map(tuple),
)
sections = st.builds(
    render, facts, st.dictionaries(st.text("ab0", min_size=1, max_size=3), statuses, max_size=4)
)
generated = settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@generated
@given(sections, st.integers(300, 4000))
def test_what_is_reported_fits_also_where_things_are_left_out(section: Json, limit: int) -> None:
    for each in (section, fit(section, limit)[0]):
        SCHEMA.validate(json.loads(json.dumps(each)))


def section() -> Json:
    port = PortStatus(
        state=State.RETRYING,
        since=0.0,
        link="/dev/a",
        last_error=PortError(ErrorCode.BUSY, "m", 0.0),
        config_error=ConfigFault("serialPorts.a.tcpPort", "a TCP port"),
        line=ActualLine(9600, 8, "none", 1, "none"),
        modem=ModemState(),
    )
    return render(ModuleFacts("1.1.0", 0.0, "hub", 3, (ConfigFault("x", "y"),)), {"a": port})


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [
            place for key, below in value.items() for place in [(*path, key), *places(below, (*path, key))]
        ]
    return []


@pytest.mark.parametrize("place", places(section()), ids=".".join)
def test_a_wrong_value_at_any_key_is_refused(place: tuple[str, ...]) -> None:
    document: Any = section()
    SCHEMA.validate(document)
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = None
    assert {tuple(error.absolute_path) for error in SCHEMA.iter_errors(document)} == {place}


@pytest.mark.parametrize(
    "place", [(), ("serialPorts", "a"), ("serialPorts", "a", "modem"), ("serialPorts", "a", "lastError")]
)
def test_an_unknown_key_is_refused(place: tuple[str, ...]) -> None:
    document: Any = section()
    holder = document
    for key in place:
        holder = holder[key]
    holder["unknown"] = 1
    assert not SCHEMA.is_valid(document)
