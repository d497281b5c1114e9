"""The pages' examples of a reported section have the keys that are reported, the reference's all of them and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from serial_relay.status import PortStatus, State
from serial_relay.twin.plug_and_play import STATUS_KEY, WRITABLE
from serial_relay.twin.reported import MODULE_KEYS, PORT_KEYS, ModuleFacts, render

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference.md"


def reported_example() -> dict[str, Any]:
    status = REFERENCE.read_text(encoding="utf-8").partition("\n## Reported properties\n")[2]
    blocks = re.findall(r"```json\n(.*?)```", status, re.DOTALL)
    example: dict[str, Any] = json.loads(blocks[0])
    return example


def test_it_has_every_key_of_the_module() -> None:
    assert list(reported_example()) == [*MODULE_KEYS, "serialPorts"]


def test_it_has_every_key_of_a_port_in_the_order_of_a_report() -> None:
    seen: dict[str, set[str]] = {}
    for port in reported_example()["serialPorts"].values():
        assert list(port) == [key for key in PORT_KEYS if key in port]
        for key, value in port.items():
            seen.setdefault(key, set()).update(value if isinstance(value, dict) else ())
    assert seen == {key: set(below) for key, below in PORT_KEYS.items()}


def connected_port() -> dict[str, Any]:
    """What is reported of a module with one raw port that is connected."""
    status = PortStatus(
        State.CONNECTED, 0.0, "/dev/ttyVirtS0", kind="pty", remote_address="172.18.246.137:5002", connects=1
    )
    facts = ModuleFacts("1.1.0", 0.0, config_source="hub", desired_version=1)
    return render(facts, {"ttyVirtS0": status})


@pytest.mark.parametrize(
    ("page", "ports"), [("start-here.md", "serialPorts"), ("plug-and-play.md", STATUS_KEY)]
)
def test_the_example_of_a_page_has_the_keys_of_a_port_that_is_connected(page: str, ports: str) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    [example] = [json.loads(block) for block in blocks if '"portsConnected"' in block]
    reported = connected_port()
    [status], [wanted] = example.pop(ports).values(), reported.pop("serialPorts").values()
    assert list(status) == list(wanted)
    assert [key for key in example if key not in WRITABLE] == list(reported)
