"""What moves the bytes of an open COM port: the type that `descriptor_pump` and `thread_pump` share."""

from __future__ import annotations

from typing import Protocol


class Pump(Protocol):
    """Moves bytes between a port's driver and its `ComPortEvents`; does not close the port."""

    written: bool
    """Set by `write`; cleared by whoever sees to it that the device has everything."""

    @property
    def unsent(self) -> int:
        """Bytes written that the driver has not taken."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take all of `data`, which may be reused after the call; may call `pause_writing` before it returns."""

    def discard_unsent(self) -> int:
        """Forget the unsent bytes; gives their number."""

    def pause_reading(self) -> None:
        """Leave further bytes with the driver."""

    def resume_reading(self) -> None:
        """Deliver bytes again."""

    async def stop(self) -> None:
        """Touch the port no more."""
