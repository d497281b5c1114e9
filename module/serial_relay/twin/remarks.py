"""The remarks about mistakes in the desired properties: faults and warnings.

A fault says what is expected, and what was probably meant.

A key that is probably a misspelt one, or that stands in the wrong place, is a fault, though its port runs; any other unknown
key is only a warning, since a newer cloud may know more keys than this program.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from serial_relay.plumbing.text import MAX_SHOWN, escaped, shown
from serial_relay.status import ConfigFault
from serial_relay.twin.desired_syntax import invisible
from serial_relay.twin.keys import BELOW, Entry, Line, Top
from serial_relay.twin.tls_entry import looks_like_tls

MAX_LISTED = 20
"""Faults outside ports, and warnings, that are listed one by one."""

_UNQUOTED = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*|true|false")
_ENOUGH_LIKE = 0.75
"""How much alike a misspelt key and a known one are (the ratio of `difflib`)."""


@dataclass(slots=True)
class Remarks:
    """The remarks about a document, except for the faults that make an entry unusable."""

    faults: list[ConfigFault] = field(default_factory=list)
    """Keys that are probably mistakes, in the order of the document."""
    _lines: list[str] = field(default_factory=list)
    _more: int = 0

    def warn(self, line: str) -> None:
        """Add a warning; at most `MAX_LISTED` of them are kept."""
        if len(self._lines) < MAX_LISTED:
            self._lines.append(line)
        else:
            self._more += 1

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings, and how many more there are."""
        return (*self._lines, f"and {self._more} more warnings") if self._more else tuple(self._lines)

    def fault_below(self, path: str) -> ConfigFault | None:
        """Return the first mistake in an entry that runs nevertheless."""
        return next((fault for fault in self.faults if fault.path.startswith(f"{path}.")), None)


def known_part(
    model: type[BaseModel], values: Mapping[str, Any], path: str, remarks: Remarks
) -> dict[str, Any]:
    """Return the keys that the model has, without nulls (a merge's "no such key").

    The hub's own keys, which begin with `$`, are left out in silence, other unknown keys with a remark.
    """
    fields = {field.alias: field for field in model.model_fields.values()}
    known: dict[str, Any] = {}
    for key, value in values.items():
        if value is None or key.startswith("$"):
            continue
        if key not in fields:
            _remark_on(key, f"{path}{escaped(key)}", model, fields, remarks)
        elif key in BELOW and isinstance(value, Mapping):
            known[key] = known_part(BELOW[key], value, f"{path}{key}.", remarks)
        else:
            known[key] = value
    return known


def _remark_on(
    key: str, path: str, model: type[BaseModel], fields: Iterable[str | None], remarks: Remarks
) -> None:
    if model in (Entry, Top) and looks_like_tls(key):
        remarks.faults.append(ConfigFault(path, "a known key; did you mean tls?"))
    elif meant := _meant(key, fields):
        remarks.faults.append(ConfigFault(path, f"a key that is known: did you mean {meant}?"))
    elif model is Entry and (meant := _meant(key, (field.alias for field in Line.model_fields.values()))):
        remarks.faults.append(ConfigFault(path, f'below the key `line`: {{ "line": {{ "{meant}": ... }} }}'))
    else:
        remarks.warn(f"{path} is not known and is ignored")


def _meant(key: str, known: Iterable[str | None]) -> str | None:
    """Return the known key that a person who wrote `key` probably meant."""
    spellings = {name.lower(): name for name in known if name}
    near = difflib.get_close_matches(key[:MAX_SHOWN].strip().lower(), spellings, n=1, cutoff=_ENOUGH_LIKE)
    return spellings[near[0]] if near else None


def expected(model: type[BaseModel], error: ErrorDetails) -> str:
    """Return what a key of the model is expected to be, what it is instead, and what was probably meant."""
    description = _description(model, error["loc"])
    if error["type"] == "missing":
        return f"{description}; the key is missing"
    value = error["input"]
    hint = str(error.get("ctx", {}).get("error", "")) or _hint(value, description)
    return f"{description}, not {shown(value)}" + (f" ({hint})" if hint else "")


def _hint(value: object, description: str) -> str:
    """Return a suggestion for what was probably meant; an empty text if there is none."""
    if isinstance(value, str) and (character := invisible(value[:MAX_SHOWN])):
        return f"remove {character}"
    if isinstance(value, str) and '"' not in description and _UNQUOTED.fullmatch(value[:MAX_SHOWN]):
        return "write it without quotes"
    if isinstance(value, int) and description.startswith("an octal string"):
        return "write it in quotes"
    return ""


def _description(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    by_alias = {field.alias: field for field in model.model_fields.values()}
    field = by_alias[str(location[0])]
    if location[1:] and location[0] in BELOW:
        return _description(BELOW[str(location[0])], location[1:])
    return field.description or ""
