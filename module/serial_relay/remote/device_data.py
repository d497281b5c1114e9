"""Decides what happens to the bytes that come from a device by RFC 2217.

Pure: `now` is an argument, in seconds of a steady clock.

**Before the connection can be used** the newest bytes are kept. They are delivered once it can be used; if it is lost
before, they were a server's last words (see `raw`).

**A purge** means what it means on a UART: the application loses what came before it, and nothing after the first byte
that it gets. The answer to the purge stands in the stream where the host discarded its buffer. So from the request to
its answer the device's bytes, which were on their way when the application asked, are discarded here as well.
"""

from __future__ import annotations

from collections.abc import Callable

_KEPT = 4096
"""Limit of the bytes that are kept until the connection can be used."""

_PURGE_TIMEOUT = 3.0
"""Seconds, at most, in which bytes are discarded until the answer to a purge."""


class DeviceData:
    """Calls `deliver` with the bytes for the application, and `flushed` with the number of bytes that a purge discards."""

    def __init__(self, deliver: Callable[[bytes], None], flushed: Callable[[int], None]) -> None:
        self._deliver = deliver
        self._flushed = flushed
        self._usable = False
        self.passing = False
        """True while `received` would deliver all bytes; the caller may do so itself then."""
        self._purges = 0
        """Number of purges that are not answered yet."""
        self._discard_until = 0.0
        self._dropped = 0
        self.early = b""
        """The bytes that are kept until the connection can be used."""
        self.early_size = 0
        """The number of bytes that came before the connection could be used."""

    @property
    def undelivered(self) -> int:
        """The number of bytes that have come and are neither delivered nor reported by `flushed`."""
        return self._dropped + len(self.early)

    def received(self, data: bytes, now: float) -> None:
        """Take bytes of the device."""
        if not self._usable:
            self.early_size += len(data)
            kept = (self.early + data)[-_KEPT:]
            self._dropped += len(self.early) + len(data) - len(kept)
            self.early = kept
        elif self._purges and now < self._discard_until:
            self._flushed(len(data))
        else:
            self._deliver(data)

    def usable(self) -> None:
        """Deliver what was kept, and from now on what comes."""
        self._usable = True
        self.passing = not self._purges
        self.deliver_early()

    def deliver_early(self) -> None:
        """Deliver what is kept, without waiting until the connection can be used."""
        early, self.early = self.early, b""
        if early:
            self._deliver(early)

    def purge_early(self) -> None:
        """Discard what is kept until the connection can be used."""
        if self.early:
            self._flushed(len(self.early))
            self.early = b""

    def purge(self, now: float, *, own_answer: bool = True) -> None:
        """Discard what comes from now on, until `purge_answered` was called as often as this.

        A purge without an answer of its own shares the answer of the one before.
        """
        if not self._purges or now >= self._discard_until:
            self._discard_until = now + _PURGE_TIMEOUT
        self._purges += own_answer
        self.passing = False

    def purge_answered(self, _answer: object = None) -> None:
        """Record that a purge was answered, or will never be."""
        self._purges -= 1
        self.passing = self._usable and not self._purges
