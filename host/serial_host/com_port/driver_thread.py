"""Calls the driver of one port from the event loop without waiting long for it.

Most calls of a driver return in microseconds. But one that asks a USB adapter (`TIOCMGET` and its kin) may take seconds when
the adapter hangs, and nobody but its own port is to wait for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

PATIENCE_SECONDS = 0.05
"""At most this long the event loop waits for a call, and once only: later calls fail at once until it has returned."""


class DriverSlowError(Exception):
    """The driver has not answered in time. The call goes on in its thread."""


class DriverThread:
    """Makes one call after the other in a thread of its own, which starts with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._function: Callable[[], Any] | None = None
        self._busy = self._ended = False
        self._result: Any = None
        self._error: Exception | None = None

    def call(self, function: Callable[[], Result]) -> Result:
        """Return what `function` returns, or raise what it raises.

        Raises:
            DriverSlowError: it has not returned within `PATIENCE_SECONDS`, or an earlier call has not returned yet.
            RuntimeError: the system has no further thread.
        """
        with self._changed:
            if self._busy:
                raise DriverSlowError("the driver has not answered an earlier call yet")
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
            self._function, self._busy = function, True
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self._busy, PATIENCE_SECONDS):
                raise DriverSlowError(f"the driver has not answered for {PATIENCE_SECONDS * 1000:.0f} ms")
            result, error = self._result, self._error
            self._result = self._error = None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def end(self) -> None:
        """End the thread, after a call that is under way."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._function is not None or self._ended)
                function, self._function = self._function, None
            if function is None:
                return
            result, error = None, None
            try:
                result = function()
            except Exception as raised:  # noqa: BLE001  # raised where the call was made
                error = raised
            with self._changed:
                self._result, self._error, self._busy = result, error, False
                self._changed.notify_all()
