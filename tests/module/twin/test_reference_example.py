"""The reference's example of a reported section has the keys that are reported, all of them and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from serial_relay.twin.reported import MODULE_KEYS, PORT_KEYS

REFERENCE = Path(__file__).parents[3] / "docs/reference.md"


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
