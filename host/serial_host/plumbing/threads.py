"""Runs a blocking call in a thread of its own, so that a driver that hangs holds up only the caller.

Not `asyncio.to_thread`: its threads are few and shared by everybody, and both the event loop's end and Python's own
wait for them. The threads here are daemons, which nobody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class _Call(Generic[Result]):
    """One call, and where its result goes."""

    def __init__(
        self, name: str, function: Callable[[], Result], unwanted: Callable[[Result], object] | None
    ) -> None:
        self._name = name
        self._function = function
        self._unwanted = unwanted
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Result] = self._loop.create_future()

    def start(self) -> None:
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        try:
            result = self._function()
        except BaseException as error:  # noqa: BLE001  # it is raised where the call was made
            with contextlib.suppress(
                RuntimeError
            ):  # the event loop is closed, and nobody waits for the result
                self._loop.call_soon_threadsafe(self._raised, error)
            return
        try:
            self._loop.call_soon_threadsafe(self._returned, result)
        except RuntimeError:
            if self._unwanted is not None:
                self._unwanted(result)

    def _raised(self, error: BaseException) -> None:
        if not self.future.cancelled():
            self.future.set_exception(error)

    def _returned(self, result: Result) -> None:
        if self.future.cancelled():
            self._give_away(result)
        else:
            self.future.set_result(result)

    def cancelled(self) -> None:
        """Hand a result that came in the same turn of the event loop as the cancellation to `unwanted`."""
        if not self.future.cancelled() and self.future.done() and self.future.exception() is None:
            self._give_away(self.future.result())

    def _give_away(self, result: Result) -> None:
        if self._unwanted is not None:
            threading.Thread(target=self._unwanted, args=(result,), name=self._name, daemon=True).start()


async def call_in_thread(
    name: str, function: Callable[[], Result], *, unwanted: Callable[[Result], object] | None = None
) -> Result:
    """Call `function` in a new thread called `name`, and return what it returns or raise what it raises.

    When the caller is cancelled the call goes on; what it returns then is given to `unwanted`, in the thread.

    Raises:
        RuntimeError: the system has no further thread.
    """
    call = _Call(name, function, unwanted)
    call.start()
    try:
        return await call.future
    except asyncio.CancelledError:
        call.cancelled()
        raise
