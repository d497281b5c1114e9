"""Writes the tables in docs/ that are made from the source: `python tools/reference.py`, or `make docs`.

What stands between two marks of a page is replaced; a test holds the pages to what this writes.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serial_relay.process.exposition import ModuleCollector
from serial_relay.status import ErrorCode, ModemState, PortError, PortStatus, State
from serial_relay.twin.keys import Entry, Line, Top
from serial_relay.twin.methods import REQUESTS
from serial_relay.twin.tls_entry import Tls

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "docs/reference.md", ROOT / "docs/architecture.md")

_MARKED = re.compile(r"(<!-- begin: (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables() -> Mapping[str, str]:
    """Return the generated tables by the name in their marks."""
    return {
        "top level": _table(Top, ""),
        "port": _table(Entry, "serialPorts.<name>."),
        "line": _table(Line, "serialPorts.<name>.line."),
        "tls": _table(Tls, "tls."),
        "payloads": "\n".join(_payloads()),
        "metrics": "\n".join(_metrics()),
        "rooms of the module": "\n".join(_rooms(ROOT / "module/serial_relay")),
        "rooms of the host": "\n".join(_rooms(ROOT / "host/serial_host")),
    }


def renewed(page: str) -> str:
    """Return the page with the tables of now."""
    made = tables()
    return _MARKED.sub(lambda found: f"{found[1]}{made[found['name']]}\n{found[3]}", page)


def _table(model: type[BaseModel], prefix: str) -> str:
    lines = [
        f"| key{f' below `{prefix[:-1]}`' if prefix else ''} | what it is for | what it must be | default | example |",
        "|---|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        key = field.alias or name
        lines.append(
            f"| `{key}` | {_cell(field.title)} | {_cell(field.description)} | {_default(key, field)} | `{_example(key, field)}` |"
        )
    return "\n".join(lines)


def _payloads() -> Iterator[str]:
    yield "| method | key of the payload | what it must be | default | example |"
    yield "|---|---|---|---|---|"
    for method, model in REQUESTS.items():
        if model is None:
            yield f"| `{method}` | none | | | |"
            continue
        for key, field in model.model_fields.items():
            example = f"`{_example(key, field)}`" if field.examples else ""
            yield f"| `{method}` | `{key}` | {_cell(field.description)} | {_default(key, field)} | {example} |"


def _metrics() -> Iterator[str]:
    yield "| metric | labels | what it says |"
    yield "|---|---|---|"
    error = PortError(ErrorCode.RESET, "", 0.0)
    status = PortStatus(
        State.RETRYING, 0.0, "/dev/ttyVirtS0", last_error=error, modem=ModemState(), round_trip_seconds=0.0
    )
    for family in ModuleCollector(lambda: {"ttyVirtS0": status}, lambda: True, "").collect():
        sample = family.samples[0]
        labels = ", ".join(f"`{label}`" for label in sample.labels)
        yield f"| `{sample.name}` | {labels} | {_cell(family.documentation)} |"


def _rooms(package: Path) -> Iterator[str]:
    yield "| room | what it is |"
    yield "|---|---|"
    for file in sorted(package.glob("*/__init__.py")):
        told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        yield f"| `{file.parent.name}` | {_cell(told.splitlines()[0])} |"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("<", "&lt;")


_DEPENDING = {"link": "the entry's name", "gid": "`SERIAL_GID`, which is 10"}
"""The defaults that are no constant."""


def _default(key: str, field: FieldInfo) -> str:
    if key in _DEPENDING:
        return _DEPENDING[key]
    if field.is_required():
        return "required"
    extra = field.json_schema_extra
    value: Any = extra["default"] if isinstance(extra, dict) and "default" in extra else field.default
    if value is None or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value.value if isinstance(value, StrEnum) else value)}`"


def _example(key: str, field: FieldInfo) -> str:
    examples = field.examples or []
    return json.dumps({key: examples[0]}) if examples else ""


def main() -> int:
    """Rewrite the pages."""
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
