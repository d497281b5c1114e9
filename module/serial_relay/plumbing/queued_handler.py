"""Writes log lines in a thread of its own, so that no byte of a serial port waits for whoever reads the log.

A pipe whose reader stalls, as a container's runtime may, is full after 64 KB, and a write to it then blocks for ever.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque

from serial_relay.plumbing.log_budget import Budgets

QUEUE_BYTES = 1_000_000
"""Limit in bytes of the lines that wait to be written; records beyond it are left out and counted."""

FLUSH_SECONDS = 2.0
"""Seconds that the end of the process waits at most for lines that are not written yet."""

_RETRY_SECONDS = 0.5
"""Time after which a line that could not be written is tried again."""


class QueuedHandler(logging.Handler):
    """Formats records where they are logged, within the budget of their kind, and writes them to a descriptor later."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._closed = False
        self._budgets = Budgets()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; never blocks and never raises."""
        with self._changed:
            similar = self._budgets.left_out_before(record, time.monotonic())
            if similar is None or self._closed:
                return
            line = self._line(
                record, f" ({similar} more lines like this one were left out)" if similar else ""
            )
            if self._size + len(line) > QUEUE_BYTES:
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
            text = self.format(
                logging.makeLogRecord({"levelno": logging.ERROR, "msg": "%s", "args": (problem,)})
            )
        return f"{text}{remark}\n".encode("utf-8", "backslashreplace")

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        self._changed.notify_all()

    def _report_left_out(self) -> None:
        if self._left_out:
            text = f"{self._left_out} messages are missing here, because the log was not read fast enough"
            self._left_out = 0
            self._append(self._line(logging.makeLogRecord({"levelno": logging.WARNING, "msg": text}), ""))

    def _start(self) -> None:
        writer = threading.Thread(target=self._write_all, name="log", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread is to be had now; the next record tries again
            writer.start()
            self._writer = writer

    def _write_all(self) -> None:
        while (line := self._next()) is not None:
            written = self._write(line)
            with self._changed:
                if written < len(line):
                    self._lines[0] = line[written:]
                    self._changed.wait_for(lambda: self._closed, _RETRY_SECONDS if written == 0 else 0)
                else:
                    self._lines.popleft()
                    if not self._lines:
                        self._report_left_out()
                self._size -= written
                self._changed.notify_all()

    def _write(self, line: bytes) -> int:
        try:
            return os.write(self._descriptor, line)
        except OSError:  # the reader is gone, or the disk is full
            return 0

    def _next(self) -> bytes | None:
        """Wait for a line; return None when there is nothing more to do."""
        with self._changed:
            while not self._lines and not self._closed:
                self._changed.wait()
            return None if self._closed else self._lines[0]
