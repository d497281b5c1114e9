"""The type that `descriptor_pump` and `thread_pump` share: it moves the bytes of an open COM port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Pump(Protocol):
    """Moves bytes between the driver of a port and its `ComPortEvents`; it does not close the port."""

    written: bool
    """Set by `write`, and cleared by the caller who has made sure that the device has everything."""

    @property
    def unsent(self) -> int:
        """The number of bytes that were written and that the driver has not taken."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take all of `data`, which may be reused after the call. May call `pause_writing` before it returns."""

    def discard_received(self, purge: Callable[[], int]) -> int:
        """Call `purge`, which empties the driver, and forget the received bytes that the pump itself holds.

        Return the number of all these bytes: those that `purge` returns and those of the pump. Afterwards no byte is
        delivered that arrived before the call. Raises what `purge` raises.
        """

    def discard_unsent(self) -> int:
        """Forget the unsent bytes and return their number."""

    def pause_reading(self) -> None:
        """Leave further bytes with the driver."""

    def resume_reading(self) -> None:
        """Deliver bytes again."""

    async def stop(self) -> None:
        """Stop using the port. Returns when no call of the driver is under way."""
