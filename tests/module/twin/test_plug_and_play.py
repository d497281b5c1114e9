"""Acknowledgements of the desired properties, and the reported section in the form of IoT Plug and Play."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serial_relay.status import ConfigFault
from serial_relay.twin.desired import parse
from serial_relay.twin.limits import MAX_PORTS, MAX_SECTION_BYTES
from serial_relay.twin.plug_and_play import (
    MAX_FAULTS,
    WRITABLE,
    acknowledge,
    incoming,
    outgoing,
    with_acknowledgements,
)
from serial_relay.twin.reported import ModuleFacts, fit, json_size, render
from serial_relay.twin.tls_entry import TLS_EXAMPLE
from tests.edgehub.twin import ModuleTwin
from tests.module.statuses import MOMENT, connected, everything

Json = dict[str, Any]

TLS = {"verify": "ca", "hostCa": "-----BEGIN CERTIFICATE-----", "hostFingerprints": [TLS_EXAMPLE]}


def acknowledged(**document: Any) -> dict[str, Json]:
    desired = parse(document | {"$version": 7}, last_good={}, default_gid=10)
    assert desired is not None
    return acknowledge(document, desired)


def test_what_is_accepted_is_repeated() -> None:
    ports = {"a": {"tcpPort": 5002, "line": {"baudRate": 9600}}, "b": {"tcpPort": 5003}}
    assert acknowledged(host="h", reportIntervalSeconds=60, serialPorts=ports) == {
        "host": {"value": "h", "ac": 200, "av": 7},
        "reportIntervalSeconds": {"value": 60, "ac": 200, "av": 7},
        "serialPorts": {"value": ports, "ac": 200, "av": 7},
    }


def test_a_property_that_is_not_asked_for_is_not_acknowledged() -> None:
    assert set(acknowledged(host=None, serialPorts={})) == {"serialPorts"}


def test_a_document_without_a_version_is_not_acknowledged() -> None:
    document = {"host": "h", "serialPorts": {}}
    desired = parse(document, last_good={}, default_gid=10)
    assert desired is not None
    assert acknowledge(document, desired) == {}


@pytest.mark.parametrize(
    ("document", "name", "says"),
    [
        ({"host": "a b"}, "host", "host must be an IP address or host name, not"),
        ({"reportIntervalSeconds": 0}, "reportIntervalSeconds", "reportIntervalSeconds must be seconds"),
        ({"tls": {"verify": "x"}}, "tls", "tls.verify must be"),
        ({"tls": {}}, "tls", "tls.hostFingerprints must be at least one fingerprint"),
    ],
)
def test_a_fault_at_the_top_is_told_with_the_property(document: Json, name: str, says: str) -> None:
    found = acknowledged(**{"host": "h", "serialPorts": {"a": {"tcpPort": 1}}, **document})
    assert found[name]["ad"].startswith(says)
    assert found[name] == {"ac": 400, "av": 7, "ad": found[name]["ad"]}


def test_a_port_that_cannot_run_for_a_fault_at_the_top_is_not_accepted() -> None:
    found = acknowledged(host="a b", serialPorts={"a": {"tcpPort": 1}, "b": {"host": "h", "tcpPort": 1}})
    assert found["serialPorts"]["ac"] == 400
    assert found["serialPorts"]["value"] == {"b": {"host": "h", "tcpPort": 1}}
    assert found["serialPorts"]["ad"].startswith("host must be")


def test_faulty_entries_are_left_out_and_counted() -> None:
    ports = {"a": {"tcpPort": 0}, "b": {"tcpPort": 1}, "c": [], "d": {"tcpPort": 2, "prot0col": "raw"}}
    found = acknowledged(host="h", serialPorts=ports)["serialPorts"]
    assert found["value"] == {"b": {"tcpPort": 1}}
    assert found["ac"] == 400
    assert found["ad"] == "serialPorts.a.tcpPort must be a TCP port, 1-65535, not 0; and 2 more"


@pytest.mark.parametrize("ports", [[], "a", 5, {"serialPorts": {"a": {"tcpPort": 1}}}])
def test_ports_of_no_use_are_refused(ports: Any) -> None:
    found = acknowledged(host="h", serialPorts=ports)
    assert found["serialPorts"]["ac"] == 400
    assert not found["serialPorts"].get("value")
    assert found["host"]["ac"] == 200


def test_what_dtdl_cannot_hold_is_left_out_of_the_value() -> None:
    pinned = {"verify": "pin", "hostFingerprints": [TLS_EXAMPLE]}
    found = acknowledged(
        host="h",
        tls=pinned,
        serialPorts={
            "a": {"tcpPort": 1, "tls": False, "uid": None, "$x": 1, "comment": "mine", "line": {"dtr": None}},
            "b": {"tcpPort": 2, "tls": pinned},
        },
    )
    assert found["tls"]["value"] == {"verify": "pin"}
    assert found["serialPorts"]["value"] == {
        "a": {"tcpPort": 1, "line": {}},
        "b": {"tcpPort": 2, "tls": {"verify": "pin"}},
    }
    assert found["serialPorts"]["ac"] == 200  # an unknown key is no fault


def section(acknowledgements: Json, ports: int = 1, **facts: Any) -> Json:
    statuses = {f"{number:064}": everything(f"{number:064}") for number in range(ports)}
    return with_acknowledgements(render(ModuleFacts("1.1.0", MOMENT, **facts), statuses), acknowledgements)


def test_as_many_ports_as_there_may_be_say_their_states_beside_the_longest_acknowledgements() -> None:
    longest = {name: {"value": "x" * 253, "ac": 400, "av": 2**31, "ad": "x" * 257} for name in WRITABLE}
    for name in ("tls", "serialPorts"):
        longest[name]["value"] = {str(number): {"tcpPort": 5002} for number in range(1000)}
    faults = tuple(ConfigFault(f"key{number}", "x" * 5000) for number in range(21))
    fitted, omitted = fit(
        section(longest, MAX_PORTS, config_source="hub", desired_version=2**31, faults=faults)
    )
    assert "acknowledgements.value" in omitted
    assert len(fitted["configErrors"]) == MAX_FAULTS
    assert len(fitted["serialPorts"]) == MAX_PORTS
    sent = outgoing(fitted)
    assert json_size(sent) <= MAX_SECTION_BYTES
    assert sent["host"] == longest["host"]
    assert sent["serialPorts"] == {"ac": 400, "av": 2**31, "ad": "x" * 257}
    ModuleTwin().patch_reported(json.dumps(sent).encode())


def test_sixteen_ports_repeat_what_was_asked_for_and_say_all_that_people_act_upon() -> None:
    names = [f"ttyVirtS{number}" for number in range(16)]
    asked = {name: {"tcpPort": 5002, "protocol": "rfc2217", "line": {"baudRate": 9600}} for name in names}
    whole = with_acknowledgements(
        render(ModuleFacts("1.1.0", MOMENT), {name: everything(name) for name in names}),
        {"serialPorts": {"value": asked, "ac": 200, "av": 1}},
    )
    assert fit(whole) == (whole, ())


def test_the_value_is_left_out_before_what_people_act_upon() -> None:
    asked = {"serialPorts": {"value": {"a": {"link": "x" * 4000}}, "ac": 200, "av": 1}}
    whole = section(asked, 2, desired_version=1)
    fitted, omitted = fit(whole, json_size(whole) - 1000)
    assert omitted == ("kindReason", "modem", "line", "acknowledgements.value")
    assert fitted["acknowledgements"] == {"serialPorts": {"ac": 200, "av": 1}}
    assert "message" in fitted["serialPorts"]["0" * 64]["lastError"]


def test_both_forms_are_found_again() -> None:
    asked = {"host": {"value": "h", "ac": 200, "av": 1}, "serialPorts": {"ac": 200, "av": 1}}
    statuses = render(ModuleFacts("1.1.0", MOMENT), {"a": connected("a")})
    sent = outgoing(with_acknowledgements(statuses, asked))
    assert sent["portStatus"] == statuses["serialPorts"]
    assert incoming(sent, plug_and_play=True) == {
        "serialPorts": statuses["serialPorts"],
        "acknowledgements": asked,
    }
    assert incoming(sent, plug_and_play=False) == {
        "serialPorts": {"ac": 200, "av": 1},
        "portStatus": sent["portStatus"],
        "host": asked["host"],
    }
    assert incoming({"serialPorts": 5, "other": {"x": 1}}, plug_and_play=True) == {
        "serialPorts": {},
        "acknowledgements": {"serialPorts": 5},
    }
