"""The messages that a user can meet, as they stand in the source of both ends: what changes in them is written `…`.

A message is the text of an error that is made for people, a warning or worse of the log, or what a key of the
configuration must be.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

SOURCES = {
    "module": (ROOT / "module/serial_relay", ROOT / "tty_server"),
    "host": (ROOT / "host/serial_host",),
    "both": (ROOT / "serial_monitor/log_queue.py", ROOT / "serial_tls"),
}

_ERRORS = {
    "RemoteError", "LinkError", "ConfigFault", "NotSupportedError", "SettingsError", "NotRunningError", "ComPortError",
    "ConfigError", "NoSuchInterfaceError", "DriverHangsError", "UnreadableError", "IdentityError", "TlsTableError",
    "SecuringError", "TtyError", "DeviceError", "NumberTakenError", "Choice", "_EndedError", "_RefusedError", "RefusedError",
    "_refusal", "_error",
}  # fmt: skip
_LOGGED = {"warning", "error", "critical", "log"}
_SAID = {"abort", "refuse", "_turn_away", "_not_an_access_server", "_lose", "_give_up", "end"}
"""Methods whose argument is the reason that somebody is told."""

_PARTS = {"what", "reason", "silence", "message", "problem"}
"""Variables that hold a message, or its main part, until it is said."""

_LISTS = {"problems", "missing"}
"""Variables that hold several messages."""

_SAYS = {"_say", "in_words", "_explain", "_complaint"}
"""Functions that return a message."""

_NEVER_SHOWN = {"ended by the relay"}
"""Texts in the places of messages that nobody sees."""

_SHORTEST = 12
"""Characters; shorter texts are names and parts of a sentence."""


def messages(end: str) -> dict[str, Path]:
    """Return the messages of one end, or of what both have, and the file that each stands in."""
    found: dict[str, Path] = {}
    for source in SOURCES[end]:
        for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            for text in _of_file(ast.parse(file.read_text(encoding="utf-8"))):
                long = len(text.replace("…", "").strip()) >= _SHORTEST and " " in text.strip()
                if long and text not in _NEVER_SHOWN:
                    found.setdefault(text, file.relative_to(ROOT))
    return found


def _of_file(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=called, args=arguments) if _is_message(called):
                for argument in arguments:
                    yield from _texts(argument)
            case ast.Assign(targets=[ast.Name(name)], value=value) if name in _PARTS:
                yield from _texts(value)
            case ast.Assign(targets=[ast.Attribute(attr="_reason")], value=value):
                yield from _texts(value)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(name))], value=value) if name in _LISTS:
                yield from _texts(value)
            case ast.FunctionDef(name=name) if name in _SAYS:
                for answer in ast.walk(node):
                    if isinstance(answer, ast.Return) and answer.value is not None:
                        yield from _texts(answer.value)
            case ast.Assign(value=ast.Constant(str(text))) if "{device}" in text:
                yield _plain(re.sub(r"\{\w+\}", "…", text))


def _is_message(called: ast.expr) -> bool:
    match called:
        case ast.Name(name):
            return name in _ERRORS
        case ast.Attribute(attr=attribute) if attribute in _SAID or attribute in _ERRORS:
            return True
        case ast.Attribute(value=ast.Name("parser"), attr="error"):
            return True
        case ast.Attribute(value=ast.Name(name), attr="append") if name in _LISTS:
            return True
        case ast.Attribute(value=ast.Name("log" | "_log") | ast.Attribute(attr="_log"), attr=attribute):
            return attribute in _LOGGED
    return False


def _texts(node: ast.expr) -> Iterator[str]:
    """Return the texts that an expression can have, each in one line."""
    match node:
        case ast.Constant(str(text)):
            yield _plain(re.sub(r"%(?:\.\d+)?[sdrfg]", "…", text))
        case ast.JoinedStr(values):
            parts = [value.value if isinstance(value, ast.Constant) else "…" for value in values]
            yield _plain("".join(map(str, parts)))
        case ast.BinOp(left, ast.Add(), right):
            yield from _texts(left)
            yield from _texts(right)
        case ast.IfExp(_, body, otherwise):
            yield from _texts(body)
            yield from _texts(otherwise)
        case ast.BoolOp(values=alternatives):
            for alternative in alternatives:
                yield from _texts(alternative)


def _plain(text: str) -> str:
    return re.sub(r"…(\s*…)*", "…", " ".join(text.split()))
