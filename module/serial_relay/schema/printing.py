"""`serial-relay schema`: the documents by name, printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping

from serial_relay.schema.desired import desired_schema
from serial_relay.schema.json_schema import Json
from serial_relay.schema.methods import methods_schema
from serial_relay.schema.model import model
from serial_relay.schema.reported import reported_schema

DOCUMENTS: Mapping[str, Callable[[], Json]] = {
    "desired": desired_schema,
    "reported": reported_schema,
    "methods": methods_schema,
    "model": model,
}

FILES: Mapping[str, str] = {name: f"{name}.schema.json" for name in DOCUMENTS} | {
    "model": "serial-relay.dtdl.json"
}
"""The names of the documents' files."""


def text_of(name: str) -> str:
    """Return a document as it stands in a file."""
    return json.dumps(DOCUMENTS[name](), indent=2, ensure_ascii=False) + "\n"


def show(options: argparse.Namespace) -> int:
    """Print the document that the arguments name; the exit status is 0."""
    print(text_of(options.document), end="")  # noqa: T201
    return 0
