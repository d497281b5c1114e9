"""Log lines in the IoT Edge runtime's own format, so that its direct method `GetModuleLogs` can filter them.

`<6> 2026-11-22 10:00:00.123 +00:00 [INF] - text`: severity as in syslog, time in UTC, level, text. The runtime reads
a record from each line of the container's output; a record is therefore one line here, whatever its text holds.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

from serial_monitor.log_queue import DescriptorSink
from serial_relay.plumbing.log_budget import LimitedHandler

LEVELS: Mapping[str, int] = MappingProxyType(
    {
        "fatal": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
        # Other spellings that the runtime takes for RuntimeLogLevel.
        "critical": logging.CRITICAL,
        "warn": logging.WARNING,
        "information": logging.INFO,
        "verbose": logging.DEBUG,
        "trace": logging.DEBUG,
    }
)

_MAX_TEXT = 8000
"""Characters. Docker cuts a line of more than 16 KB in two records."""

_SEVERITIES = (
    (logging.CRITICAL, "<0>", "FTL"),
    (logging.ERROR, "<3>", "ERR"),
    (logging.WARNING, "<4>", "WRN"),
    (logging.INFO, "<6>", "INF"),
    (logging.NOTSET, "<7>", "DBG"),
)

# Libraries that log each of their messages at the level "info".
_TALKATIVE = ("azure", "paho", "urllib3", "asyncio")


def known_level(value: str) -> str:
    """Return the level as a key of `LEVELS`, whatever its case.

    Raises:
        ValueError: there is no such level.
    """
    if (level := value.lower()) not in LEVELS:
        raise ValueError("no such level")  # without the value, which may be text that cannot be encoded
    return level


class RuntimeFormatter(logging.Formatter):
    """Formats a record, its traceback included, as one line; control characters stand escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        severity, level = next(
            (number, name) for least, number, name in _SEVERITIES if record.levelno >= least
        )
        moment = datetime.fromtimestamp(record.created, UTC)
        time = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} +00:00"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            text += "\n" + self.formatStack(record.stack_info)
        return f"{severity} {time} [{level}] - {_one_line(text)}"


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send all log records from a level of `LEVELS` on to a stream, or without one to standard output.

    A thread writes to standard output, so that nothing waits for its reader, and lines of one kind are limited.
    """
    handler: logging.Handler
    if stream is None:
        handler = LimitedHandler(DescriptorSink(_standard_output()))
    else:
        handler = logging.StreamHandler(stream)
    handler.setFormatter(RuntimeFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def _standard_output() -> int:
    """Return a descriptor to write to; where standard output is closed, its number may be that of a port by now."""
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if sys.stdout is None else sys.stdout.fileno()


def set_level(level: str) -> None:
    """Change the level of a running process; libraries stay at warnings unless it is `debug`.

    Raises:
        KeyError: the level is not in `LEVELS`.
    """
    number = LEVELS[level]
    logging.getLogger().setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))


def _one_line(text: str) -> str:
    if len(text) > _MAX_TEXT:
        half = _MAX_TEXT // 2
        text = f"{text[:half]} … {text[-half:]}"  # a traceback ends with the exception
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
