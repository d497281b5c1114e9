"""Calls the driver of one port from the event loop without waiting long for it.

Most calls of a driver return in microseconds. But one that asks a USB adapter (`TIOCMGET` and its kin) may take seconds when
the adapter hangs, and only its own port is to wait for that.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

PATIENCE_SECONDS = 0.05
"""Seconds that the event loop waits for a call at most. While that call lasts, the loop does not wait for any further
one."""

MOST_ORDERS = 32
"""Limit of the orders that wait for a call that has not returned yet."""


class DriverSlowError(Exception):
    """The driver has not answered in time. A call that has begun goes on in its thread."""


class _Job:
    """A call and its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.done = False
        self.late: Callable[[Any], object] | None = None
        """Called with the result, in the thread, when nobody waits for it any more."""
        self.result: Any = None
        self.error: Exception | None = None

    def work(self) -> None:
        try:
            self.result = self.function()
        except Exception as error:  # noqa: BLE001  # raised where the call was made
            self.error = error


class DriverThread:
    """Makes the calls one after the other in a thread of its own, which starts with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._jobs: deque[_Job] = deque()
        """The call that is under way, and those that wait for it."""
        self._ended = False

    def ask(self, function: Callable[[], Result], late: Callable[[Result], object] | None = None) -> Result:
        """Return what `function` returns, or raise what it raises; `late` is called with a result that comes too late.

        Raises:
            DriverSlowError: it has not returned within `PATIENCE_SECONDS`; or an earlier call has not returned yet, and
                this one was not made.
            RuntimeError: the system has no further thread.
        """
        with self._changed:
            if self._jobs:
                raise DriverSlowError("the driver has not answered an earlier call yet")
            job = self._begin(function)
            if not self._changed.wait_for(lambda: job.done, PATIENCE_SECONDS):
                job.late = late
                raise DriverSlowError(f"the driver has not answered for {PATIENCE_SECONDS * 1000:.0f} ms")
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]

    def order(self, function: Callable[[], object]) -> None:
        """Call `function`, after earlier calls and orders; with a slow driver it is called after this method returns.

        It raises what `function` raises, unless the driver is slow.

        Raises:
            DriverSlowError: `MOST_ORDERS` wait already, and this one was not taken.
            RuntimeError: the system has no further thread.
        """
        with self._changed:
            if len(self._jobs) > MOST_ORDERS:
                raise DriverSlowError("the driver has not answered an earlier call yet")
            slow = bool(self._jobs)
            job = self._begin(function)
            if not slow:
                self._changed.wait_for(lambda: job.done, PATIENCE_SECONDS)
        if job.error is not None:
            raise job.error

    def end(self) -> None:
        """End the thread after the call that is under way; orders that wait for it are dropped."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _begin(self, function: Callable[[], Any]) -> _Job:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        job = _Job(function)
        self._jobs.append(job)
        self._changed.notify_all()
        return job

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._ended)
                if self._ended:
                    return
                job = self._jobs[0]
            job.work()
            with self._changed:
                job.done = True
                self._jobs.popleft()
                self._changed.notify_all()
                late = job.late
            if late is not None and job.error is None:
                late(job.result)
