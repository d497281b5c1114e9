"""The rules of time in a port's life. Pure: `now` is an argument, in seconds of any steady clock.

Each rule knows its next `deadline`, None while it waits for nothing. The relay has one timer, for the earliest of them.
"""

from __future__ import annotations

from serial_relay.plumbing.backoff import Backoff

FIRST_ATTEMPT = 3.0
"""Seconds that bytes written right after open wait, at most, for the connection attempt that the open caused."""

LINGER = 5.0
"""Seconds that a connection of `connect: onOpen` outlives the last close, and again as long while the host goes on to take
what applications have written."""

HOLD_SIZE = 8192
HOLD_TIME = 5.0
"""Bytes and seconds that `whileDisconnected: hold` keeps."""

STOP = 5.0
"""Seconds, at most, in which what is on its way arrives when a port is stopped. A container has 10 s for its end."""

STOP_QUIET = 1.0
"""Seconds without any progress after which a stop waits no longer for the application to read, and for the host to end
the connection. Bytes that the host has not taken are waited for in any case."""

STOP_LOOK = 0.02
"""Seconds between two looks at what is on its way when a port is stopped."""

_FIRST_RETRY = 0.1
_RETRY_CAP = 1.0
_LINK_RETRY_CAP = 10.0
"""Seconds: the bounds of the back-off, for connections, and for a pty or a link that cannot be made."""

_BETWEEN_ATTEMPTS = 0.05
"""Seconds that lie between two attempts at least, however often an application opens the port."""

_STABLE_AFTER = 5.0
"""Seconds that a connection must stand to count as good."""


class Span:
    """A time that begins with an event and ends by itself after some seconds, or earlier."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.deadline: float | None = None

    @property
    def running(self) -> bool:
        """True from `begin` until the end."""
        return self.deadline is not None

    def begin(self, now: float) -> None:
        """Begin, or begin again."""
        self.deadline = now + self._seconds

    def end(self) -> None:
        """End before the time is over."""
        self.deadline = None

    def expire(self, now: float) -> bool:
        """End if the time is over; return True if it ended by this call."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        return True


class Retry:
    """When the next attempt is due: at once, or after a failure with growing delays.

    The delays start over after a connection that stood for 5 s. A byte of the device does not prove that: a server that is
    in use says so in a line of text and closes the connection.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._connected_at: float | None = None
        self._earliest = 0.0
        self._alone = 0.0
        self.deadline: float | None = None

    @classmethod
    def of_connections(cls) -> Retry:
        """Return the rule for connection attempts."""
        return cls(Backoff(_FIRST_RETRY, _RETRY_CAP))

    @classmethod
    def of_links(cls) -> Retry:
        """Return the rule for making a pty and its link."""
        return cls(Backoff(_FIRST_RETRY, _LINK_RETRY_CAP))

    def connected(self, now: float) -> None:
        """Record that an attempt succeeded."""
        self._connected_at = now

    def failed(self, now: float, factor: float = 1.0) -> None:
        """Record that an attempt failed or that a connection was lost, and set the time of the next attempt.

        A `factor` above 1 makes the wait so many times as long, because others make attempts meanwhile.
        """
        if self._connected_at is not None and now - self._connected_at >= _STABLE_AFTER:
            self._backoff.reset()
        self._connected_at = None
        delay = self._backoff.next_delay()
        self._earliest = now + min(delay, _BETWEEN_ATTEMPTS)
        self._alone = now + delay
        self.deadline = now + delay * factor

    def as_alone(self) -> None:
        """Make the next attempt when it would be due without the factor, because the others' attempts have found a way."""
        if self.deadline is not None:
            self.deadline = min(self.deadline, self._alone)

    def hurry(self) -> None:
        """Make the next attempt as early as is allowed, because somebody waits for it."""
        if self.deadline is not None:
            self.deadline = self._earliest

    def due(self, now: float) -> bool:
        """Return True if the next attempt may begin."""
        if self.deadline is not None and now < self.deadline:
            return False
        self.deadline = None
        return True
