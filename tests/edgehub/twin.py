"""The module twin that the emulated edgeHub keeps: two sections with versions, and edgeHub's rules. Pure."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, NoReturn

MAX_DEPTH = 10
MAX_KEY_BYTES = 1024
MAX_STRING_BYTES = 4096
MAX_SECTION_BYTES = 32 * 1024
MAX_INTEGER = 2**52

Document = dict[str, Any]


class RejectedError(Exception):
    """A reported patch breaks one of edgeHub's rules; the text names the place and the rule."""


class ModuleTwin:
    """Desired and reported properties of one module, each with its `$version`."""

    def __init__(self, desired: Mapping[str, Any] | None = None) -> None:
        self.desired: Document = copy.deepcopy(dict(desired or {}))
        self.desired_version = 1
        self.reported: Document = {}
        self.reported_version = 1

    def whole(self) -> Document:
        """The answer to a twin read."""
        return {
            "desired": {**copy.deepcopy(self.desired), "$version": self.desired_version},
            "reported": {**copy.deepcopy(self.reported), "$version": self.reported_version},
        }

    def replace_desired(self, document: Mapping[str, Any]) -> Document:
        """Replace the desired section as a deployment does; returns the notification to send."""
        without_metadata = {key: value for key, value in document.items() if not key.startswith("$")}
        return self.patch_desired(difference(self.desired, without_metadata))

    def patch_desired(self, patch: Mapping[str, Any]) -> Document:
        """Merge a patch into the desired section; returns the notification to send."""
        self.desired = merge(self.desired, patch)
        self.desired_version += 1
        return {**copy.deepcopy(dict(patch)), "$version": self.desired_version}

    def restore_desired(self, document: Mapping[str, Any], version: int) -> None:
        """Put the desired section back to an earlier state, version included, as a restored hub does."""
        self.desired = copy.deepcopy(dict(document))
        self.desired_version = version

    def patch_reported(self, body: bytes) -> int:
        """Merge a reported patch as it came over MQTT; returns the new version.

        Raises:
            RejectedError: the patch breaks a rule; nothing is stored.
        """
        try:
            patch = json.loads(body, parse_constant=_refuse_constant)
        except ValueError as error:
            raise RejectedError(f"the patch is no JSON: {error}") from error
        if not isinstance(patch, dict):
            raise RejectedError(f"the patch is no JSON object but {type(patch).__name__}")
        _check(patch, "reported", 1)
        merged = merge(self.reported, patch)
        size = len(json.dumps(merged, separators=(",", ":"), ensure_ascii=False).encode())
        if size > MAX_SECTION_BYTES:
            raise RejectedError(f"the reported section would have {size} bytes, {MAX_SECTION_BYTES} at most")
        self.reported = merged
        self.reported_version += 1
        return self.reported_version


def merge(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """JSON merge patch (RFC 7396) of two objects."""
    merged = copy.deepcopy(dict(document))
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Document:
    """The merge patch that turns `old` into `new`."""
    patch: Document = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if below := difference(before, value):
                patch[key] = below
        elif value != before or type(value) is not type(before):
            patch[key] = copy.deepcopy(value)
    return patch


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _check(value: object, path: str, depth: int) -> None:
    if isinstance(value, dict):
        if depth > MAX_DEPTH:
            raise RejectedError(f"{path}: deeper than {MAX_DEPTH} levels")
        for key, below in value.items():
            _check_key(key, path)
            _check(below, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        if depth > MAX_DEPTH:
            raise RejectedError(f"{path}: deeper than {MAX_DEPTH} levels")
        for index, below in enumerate(value):
            if below is None:
                raise RejectedError(f"{path}[{index}]: null in an array")
            _check(below, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        if len(value.encode()) > MAX_STRING_BYTES:
            raise RejectedError(f"{path}: a string of more than {MAX_STRING_BYTES} bytes")
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise RejectedError(f"{path}: integer {value} is beyond 2^52")


def _check_key(key: str, path: str) -> None:
    if not key:
        raise RejectedError(f"{path}: an empty key")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise RejectedError(f"{path}: a key of more than {MAX_KEY_BYTES} bytes")
    for character in key:
        if (
            character in ".$#"
            or character.isspace()
            or ord(character) < 0x20
            or 0x7F <= ord(character) < 0xA0
        ):
            raise RejectedError(f"{path}: key {key!r} holds {character!r}")
