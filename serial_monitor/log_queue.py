"""Writes log lines in a thread of its own, so that no byte of a serial port waits for whoever takes the log.

A pipe whose reader stalls, as a container's runtime may, is full after 64 KB, and a write to it then blocks for ever. So may
a slow disk or a virus scanner.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from typing import Protocol

QUEUE_BYTES = 1_000_000
"""Limit in bytes of the lines that wait to be written; lines beyond it are left out and counted."""

RETRY_SECONDS = 0.5
"""Time after which a line that could not be written is tried again."""

FLUSH_SECONDS = 2.0
"""Seconds that the end of the process waits at most for lines that are not written yet."""


class Sink(Protocol):
    """Where the lines are written."""

    def write(self, line: bytes) -> None:
        """Write a line. May block; after an `OSError` it is called again with the same line."""


class DescriptorSink:
    """Writes lines to a descriptor.

    For standard error this is better than `sys.stderr`: a thread that is stuck in that would hold the stream's lock, for
    which Python waits when it ends.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = memoryview(b"")

    def write(self, line: bytes) -> None:
        """Write a line.

        Raises:
            OSError: it could not be written, or not to its end. The same line is to be passed again later; what was
                written of it is not written twice.
        """
        if not self._rest:
            self._rest = memoryview(line)
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]


class QueuedHandler(logging.Handler):
    """Formats records where they are logged, and writes them to `sink` in a thread."""

    def __init__(self, sink: Sink, encoding: str = "utf-8") -> None:
        super().__init__()
        self._sink = sink
        self._encoding = encoding
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._closed = False
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; never blocks and never raises."""
        self.queue(record)

    def queue(self, record: logging.LogRecord, remark: str = "") -> None:
        """Queue a record with a remark at its end; never blocks and never raises."""
        line = self._line(record, remark)
        with self._changed:
            if self._closed or self._size + len(line) > QUEUE_BYTES:
                self._left_out += 1
                return
            self._report_left_out()
            self._append(line)
            if self._writer is None:
                self._start()

    def flush(self) -> None:
        """Wait until everything is written, for `FLUSH_SECONDS` at most."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._changed:
            while self._lines and self._writer is not None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Write what is queued within `FLUSH_SECONDS`, and end the thread."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _line(self, record: logging.LogRecord, remark: str) -> bytes:
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001 - the arguments of the message do not fit it
            problem = f"a message cannot be formatted: {record.msg!r}: {error!r}"
            text = self.format(_record(logging.ERROR, problem))
        # The editor of Windows Server 2016 needs CR LF.
        return f"{text}{remark}\n".replace("\n", os.linesep).encode(self._encoding, "backslashreplace")

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        self._changed.notify_all()

    def _report_left_out(self) -> None:
        if self._left_out:
            what = f"{self._left_out} messages are missing here, because the log could not be written fast enough"
            self._left_out = 0
            self._append(self._line(_record(logging.WARNING, what), ""))

    def _start(self) -> None:
        writer = threading.Thread(target=self._write_all, name="log", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread is to be had now; the next record tries again
            writer.start()
            self._writer = writer

    def _write_all(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._sink.write(line)
            except OSError:  # the reader is gone, or the disk is full
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, RETRY_SECONDS)
                continue
            with self._changed:
                self._lines.popleft()
                self._size -= len(line)
                if not self._lines:
                    self._report_left_out()
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        """Wait for a line; return None when there is nothing more to do."""
        with self._changed:
            while not self._lines and not self._closed:
                self._changed.wait()
            return None if self._closed else self._lines[0]


def _record(level: int, text: str) -> logging.LogRecord:
    values = {"levelno": level, "levelname": logging.getLevelName(level), "msg": "%s", "args": (text,)}
    return logging.makeLogRecord(values)
