"""Writes the events that monitoring looks for to the log of the operating system.

They are the start and the end of the server, and the failure and the return of a port.

A message of `logging` is such an event if it is marked with `extra=Event.….mark`. The handler writes the marked messages in a
thread of its own, so that no byte of a serial port waits for the system's log.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import queue
import threading
from collections.abc import Callable

WAITING = 1000
"""Limit of the events that wait to be written; further ones are written to the log file only."""

FLUSH_SECONDS = 2.0
"""Seconds that the end of the process waits at most for events that are not written yet."""


class Event(enum.IntEnum):
    """The number of an event in the log; the installer uses 1 and 2."""

    STARTED = 10
    STOPPED = 11
    SERVER_FAILED = 12
    PORT_OPEN = 20
    PORT_FAILED = 21

    @property
    def mark(self) -> dict[str, object]:
        """The value for the argument `extra` of a call of `logging`."""
        return {"event": self}


Report = Callable[[Event, int, str], None]
"""Writes an event with a level of `logging` and a text. May block; raises `OSError` if it cannot."""


class EventHandler(logging.Handler):
    """Passes the marked messages to `report`."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report
        self._waiting: queue.Queue[tuple[Event, int, str] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write_all, name="event log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a marked message; never blocks."""
        event = getattr(record, "event", None)
        if isinstance(event, Event):
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait((event, record.levelno, record.getMessage()))

    def close(self) -> None:
        """Write what is queued within `FLUSH_SECONDS`, and end the thread."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=FLUSH_SECONDS)
        self._thread.join(FLUSH_SECONDS)
        super().close()

    def _write_all(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            # The log file has the message too.
            with contextlib.suppress(OSError):
                self._report(*waiting)
