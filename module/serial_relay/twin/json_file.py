"""JSON objects in files that others may have written, or may be reading: bounded reading, atomic writing."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from serial_relay.plumbing.text import shown

MAX_SIZE = 256 * 1024
"""Bytes; 64 ports with every setting need a tenth of it."""


class UnreadableError(Exception):
    """The file does not contain a JSON object that can be used; the text says why, without the file's name."""


def read_object(path: Path, repeated: set[str] | None = None) -> dict[str, Any]:
    """Read a JSON object (UTF-8, with or without a byte order mark).

    The keys that stand more than once in one object are added to `repeated`; the last value of each counts.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: it cannot be read, is not a JSON object, or is too long.
    """
    content = _content(path)
    if not content.strip():
        raise UnreadableError("the file is empty")
    repeated = set() if repeated is None else repeated
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=partial(_object, repeated))
    except json.JSONDecodeError as error:
        raise UnreadableError(
            f"it is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            f"it is not valid UTF-8: byte {content[error.start]:#04x} in line {line}; save the file as UTF-8 text"
        ) from error
    except RecursionError as error:
        raise UnreadableError("its values are nested too deeply") from error
    except ValueError as error:  # sys.set_int_max_str_digits
        raise UnreadableError("it contains a number with thousands of digits") from error
    if not isinstance(document, dict):
        raise UnreadableError(f"a JSON object is expected, not {shown(document)}")
    return document


def _object(repeated: set[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        repeated.update(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    return made


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableError("it is not a file that can be read again and again")
            content = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    if len(content) > MAX_SIZE:
        raise UnreadableError(f"it is longer than {MAX_SIZE // 1024} KB")
    return content


def _open(path: str, flags: int) -> int:
    """Open a file without blocking, should somebody have put a FIFO there."""
    return os.open(path, flags | os.O_NONBLOCK)


def replace_object(path: Path, document: Mapping[str, Any], *, durable: bool) -> None:
    """Write a JSON object in the place of a file, which always holds either the old or the new one.

    `durable` waits until it would survive a power cut.

    Raises:
        OSError: the file is as it was.
    """
    replacement = path.with_name(f".{path.name}.new")
    try:
        replacement.unlink(missing_ok=True)
        # It is made anew, since a link that somebody else has put there would lead to a file that is not ours to write.
        with replacement.open("x", encoding="utf-8") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
            file.write("\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        replacement.replace(path)
    except Exception:
        with contextlib.suppress(OSError):
            replacement.unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
