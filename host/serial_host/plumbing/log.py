"""Where messages go: to the standard error stream for a person, to a rotating file for a server that runs unattended.

A thread of its own writes them, so that no byte of a serial port waits for a full pipe, a slow disk or a virus scanner.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Protocol

from serial_host.plumbing.log_file import LogFile, StandardError

QUEUE_BYTES = 1_000_000
"""Limit in bytes of the lines that wait to be written; messages beyond it are left out and counted."""

RETRY_SECONDS = 1.0
"""Time after which a line that could not be written is tried again."""

FLUSH_SECONDS = 2.0
"""Seconds that the end of the process waits at most for lines that are not written yet."""


class Sink(Protocol):
    """Where the lines are written."""

    def write(self, line: bytes) -> None:
        """Write a line. May block; after an `OSError` it is called again with the same line."""


class QueuedHandler(logging.Handler):
    """Formats messages where they are logged, and writes them to `sink` in a thread."""

    def __init__(self, sink: Sink, encoding: str = "utf-8") -> None:
        super().__init__()
        self._sink = sink
        self._encoding = encoding
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._failed = self._closed = False
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a message; never blocks and never raises."""
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001  # the arguments of the message do not fit it
            text = f"a message cannot be formatted: {record.msg!r}: {error}"
            line = self._line(logging.makeLogRecord({"levelname": "ERROR", "msg": text}))
        with self._changed:
            if self._closed or self._size + len(line) > QUEUE_BYTES:
                self._left_out += 1
                return
            self._report_left_out()
            self._append(line)

    def flush(self) -> None:
        """Wait until everything is written, for `FLUSH_SECONDS` at most."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._changed:
            while self._lines and not self._failed and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Write what is queued within `FLUSH_SECONDS`, and end the thread."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        text = f"{self.format(record)}\n".replace(
            "\n", os.linesep
        )  # the editor of Windows Server 2016 needs CR LF
        return text.encode(self._encoding, "backslashreplace")

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        self._changed.notify_all()

    def _report_left_out(self) -> None:
        if self._left_out:
            text = f"{self._left_out} messages are missing here, because the log could not be written fast enough"
            self._left_out = 0
            self._append(self._line(logging.makeLogRecord({"levelname": "WARNING", "msg": text})))

    def _write_all(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._sink.write(line)
            except OSError:
                with self._changed:
                    self._failed = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed, RETRY_SECONDS)
                continue
            with self._changed:
                self._failed = False
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


def set_up(file: Path | None) -> None:
    """Send all messages to `file`, or to standard error without one, with the local time.

    With a file, which a server that was installed has, the events among them go to Windows' event log too.

    Raises:
        OSError: the file cannot be written.
    """
    sink, encoding = _sink(file)
    handler = QueuedHandler(sink, encoding)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")
    formatter.converter = time.localtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("pymodbus").setLevel(logging.WARNING)
    if sys.platform == "win32" and file is not None:
        from serial_host.plumbing import event_log, event_log_windows  # noqa: PLC0415  # there only

        if event_log_windows.is_registered():
            root.addHandler(event_log.EventHandler(event_log_windows.report))


def _sink(file: Path | None) -> tuple[Sink, str]:
    if file is not None:
        return LogFile(file), "utf-8"
    if sys.platform == "win32" and sys.stderr is not None and sys.stderr.isatty():
        import ctypes  # noqa: PLC0415  # a console of Windows has a code page of its own

        return StandardError(), f"cp{ctypes.windll.kernel32.GetConsoleOutputCP()}"
    return StandardError(), "utf-8" if sys.stderr is None else sys.stderr.encoding
