"""Where messages go: to the standard error stream for a person, to a rotating file for a server that runs unattended.

A thread of its own writes them, so that no byte of a serial port waits for a full pipe, a slow disk or a virus scanner.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from serial_host.plumbing.log_file import LogFile
from serial_monitor.log_queue import DescriptorSink, QueuedHandler, Sink

_STANDARD_ERROR = 2
"""The descriptor, which is written to itself, see `DescriptorSink`."""


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

        return DescriptorSink(_STANDARD_ERROR), f"cp{ctypes.windll.kernel32.GetConsoleOutputCP()}"
    return DescriptorSink(_STANDARD_ERROR), "utf-8" if sys.stderr is None else sys.stderr.encoding
