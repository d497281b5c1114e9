"""IoT Plug and Play: the reported section in the form of the convention, where the module is set to it.

The convention (Microsoft, "IoT Plug and Play conventions", writable properties) has each writable property acknowledged
under its own name: `{"value": …, "ac": 200, "av": 12, "ad": "…"}`. So `serialPorts` acknowledges the setting, and the
states of the ports stand in `portStatus`. Between the two forms only places differ, which `outgoing` and `incoming`
exchange; inside, the acknowledgements stand below one key of their own. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serial_relay.plumbing.text import escaped
from serial_relay.status import ConfigFault
from serial_relay.twin.desired import Desired
from serial_relay.twin.keys import Entry, Top
from serial_relay.twin.remarks import Remarks, known_part
from serial_relay.twin.reported import ACKNOWLEDGEMENTS
from serial_relay.twin.twin import Document

MODEL_ID = "dtmi:eflowSerialRelay:SerialRelay;1"
"""The version behind the semicolon rises with every change of the model."""

STATUS_KEY = "portStatus"
"""Where the states of the ports stand, since `serialPorts` is the acknowledgement of the setting."""

WRITABLE = tuple(str(field.alias) for field in Top.model_fields.values())

MAX_FAULTS = 6
"""Entries of `configErrors` beside acknowledgements, so that both find room in `limits` for what stands beside the ports."""

_MAX_TEXT = 256

_ACCEPTED = 200
_REFUSED = 400


def acknowledge(document: Document, desired: Desired) -> dict[str, dict[str, Any]]:
    """Return the acknowledgements of the writable properties that stand in a document of the hub, by name.

    `value` is what was accepted as it was asked for: entries with a fault are left out, and so is what a property of
    DTDL 2 cannot hold (arrays, `"tls": false`). With a fault `ac` is 400, and `ad` names the first.
    """
    if desired.version is None:
        return {}
    of_ports = set(desired.port_faults.values())
    all_faults = dict.fromkeys((*desired.faults, *desired.port_faults.values()))
    found: dict[str, dict[str, Any]] = {}
    for name in WRITABLE:
        asked = document.get(name)
        if asked is None:
            continue
        faults = [
            fault
            for fault in all_faults
            if _property_of(fault) == name or (name == "serialPorts" and fault in of_ports)
        ]
        value = (
            _ports(asked, desired)
            if name == "serialPorts"
            else None
            if faults
            else _held_by_dtdl(name, asked)
        )
        found[name] = {} if value is None else {"value": value}
        found[name] |= {"ac": _REFUSED if faults else _ACCEPTED, "av": desired.version}
        if faults:
            found[name]["ad"] = _description(faults)
    return found


def with_acknowledgements(section: Document, acknowledgements: Document) -> dict[str, Any]:
    """Add them to a section as `reported.render` gives it."""
    changed = {**section, ACKNOWLEDGEMENTS: dict(acknowledgements)}
    if "configErrors" in changed:
        changed["configErrors"] = changed["configErrors"][:MAX_FAULTS]
    return changed


def outgoing(patch: Document) -> dict[str, Any]:
    """Return a patch of such a section as the hub gets it."""
    places = {key: value for key, value in patch.items() if key not in {"serialPorts", ACKNOWLEDGEMENTS}}
    if "serialPorts" in patch:
        places[STATUS_KEY] = patch["serialPorts"]
    if ACKNOWLEDGEMENTS in patch:
        acknowledgements = patch[ACKNOWLEDGEMENTS]
        places |= dict.fromkeys(WRITABLE) if acknowledgements is None else acknowledgements
    return places


def incoming(reported: Document, *, plug_and_play: bool) -> dict[str, Any]:
    """Return what a hub holds of ours in the places in which the reporter looks for it, whatever form it has.

    Where the setting was another before, its form is found too, and can be taken back.
    """
    if plug_and_play:
        acknowledged = {key: reported[key] for key in WRITABLE if key in reported}
        return {"serialPorts": _mapping(reported.get(STATUS_KEY)), ACKNOWLEDGEMENTS: acknowledged}
    of_the_other = {STATUS_KEY, *WRITABLE} - {"serialPorts"}
    return {"serialPorts": _mapping(reported.get("serialPorts"))} | {
        key: reported[key] for key in of_the_other & reported.keys()
    }


def _ports(asked: object, desired: Desired) -> dict[str, Any] | None:
    if not isinstance(asked, Mapping):
        return None
    return {
        name: _without_what_dtdl_lacks(known_part(Entry, asked[name], "", Remarks()))
        for name in desired.ports
        if isinstance(asked.get(name), Mapping) and name not in desired.port_faults
    }


def _held_by_dtdl(name: str, asked: object) -> Any:
    [value] = _without_what_dtdl_lacks(known_part(Top, {name: asked}, "", Remarks())).values()
    return value


def _without_what_dtdl_lacks(values: Document) -> dict[str, Any]:
    return {
        key: _without_what_dtdl_lacks(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if not isinstance(value, list) and not (key == "tls" and value is False)
    }


def _description(faults: Iterable[ConfigFault]) -> str:
    first, *others = faults
    more = f"; and {len(others)} more" if others else ""
    return escaped(f"{first.path} must be {first.expected}", _MAX_TEXT) + more


def _property_of(fault: ConfigFault) -> str:
    return fault.path.partition(".")[0]


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
