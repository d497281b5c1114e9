"""How late a busy machine is: what is added to a time that is promised to users before a test holds a program to it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

_STEP = 0.05


class Lateness:
    """Sleeps again and again while its context is entered; `seconds` adds up by how much that took too long."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="lateness", daemon=True)

    def _measure(self) -> None:
        while not self._over.is_set():
            before = time.monotonic()
            time.sleep(_STEP)
            self.seconds += time.monotonic() - before - _STEP

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
