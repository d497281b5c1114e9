"""Who may be read now: the one place that decides about back-pressure between an application and its device. Pure.

Both ends of a port report reasons; only this table turns them into "read" and "do not read":

| reason                | stops reading from | it is reported by                          |
|-----------------------|--------------------|--------------------------------------------|
| `NOTHING_TO_READ`     | the application    | the virtual port                           |
| `FIRST_ATTEMPT`       | the application    | the relay's rules of time                  |
| `CONNECTION_FULL`     | the application    | the connection                             |
| `SUSPENDED_BY_HOST`   | the application    | the connection (RFC 2217)                  |
| `FINISHED`            | the application    | the relay                                  |
| `NO_CONNECTION`       | the device         | the relay                                  |
| `VIRTUAL_PORT_FULL`   | the device         | the virtual port                           |
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag, auto


class Reason(Flag):
    """Why an end is not read."""

    NOTHING_TO_READ = auto()
    """No application has the port open, and everything that applications wrote is read."""
    FIRST_ATTEMPT = auto()
    """What an application wrote right after it opened the port waits for the connection attempt of that moment."""
    CONNECTION_FULL = auto()
    """The connection takes no more bytes now."""
    SUSPENDED_BY_HOST = auto()
    """The host asked for silence (FLOWCONTROL-SUSPEND)."""
    FINISHED = auto()
    """The port is to be stopped, and the end of the stream stands behind what applications have written."""
    NO_CONNECTION = auto()
    """There is no connection that the device's bytes could come from."""
    VIRTUAL_PORT_FULL = auto()
    """The application does not read, and the virtual port takes no more bytes."""


STOPS_APPLICATION = (
    Reason.NOTHING_TO_READ
    | Reason.FIRST_ATTEMPT
    | Reason.CONNECTION_FULL
    | Reason.SUSPENDED_BY_HOST
    | Reason.FINISHED
)
STOPS_DEVICE = Reason.NO_CONNECTION | Reason.VIRTUAL_PORT_FULL
OF_THE_CONNECTION = Reason.CONNECTION_FULL | Reason.SUSPENDED_BY_HOST
"""The reasons that end with the connection that reported them."""


class Gate:
    """The reasons that hold at present; an end is read while no reason stops it."""

    def __init__(self, read_application: Callable[[bool], None], read_device: Callable[[bool], None]) -> None:
        """Start with an unused port. Each function is called with True or False when its end's answer changes."""
        self._read_application = read_application
        self._read_device = read_device
        self._reasons = Reason.NOTHING_TO_READ | Reason.NO_CONNECTION

    @property
    def reasons(self) -> Reason:
        """All reasons that hold now."""
        return self._reasons

    @property
    def application_may_be_read(self) -> bool:
        """True if no reason stops reading from the application."""
        return not self._reasons & STOPS_APPLICATION

    @property
    def device_may_be_read(self) -> bool:
        """True if no reason stops reading from the device."""
        return not self._reasons & STOPS_DEVICE

    def set(self, reasons: Reason, *, hold: bool) -> None:
        """Let these reasons hold from now on, or hold no longer."""
        before = self.application_may_be_read, self.device_may_be_read
        self._reasons = self._reasons | reasons if hold else self._reasons & ~reasons
        if self.application_may_be_read is not before[0]:
            self._read_application(self.application_may_be_read)
        if self.device_may_be_read is not before[1]:
            self._read_device(self.device_may_be_read)
