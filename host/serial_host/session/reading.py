"""Who may be read now, the client or the device, and for which reasons not: the one owner of every pause and resume.

Each client has one `Reading`. It knows the COM port only while its client is served, so a client that is refused or
replaced cannot stop the device, whatever it does.

    reason             not read    begins                                    ends
    STARTING           client      with the connection                       when the owner serves or refuses the client
    REFUSED            client      when a refused client has sent enough     never
    DEVICE_SLOW        client      more than WRITE_HIGH bytes wait for the   when the driver has taken all of them; by RFC
                                   driver                                    2217 after STALL_SECONDS too, until there
                                                                             are more than LOOK_AHEAD; when the client has left
                                                                             and another one waits
    WORKING            client      commands wait, or one takes time          when all of them are done
    ANSWERS_UNREAD     client      more than ANSWERS_BOUND bytes wait for    when the kernel has taken all of them
                                   the client
    CLIENT_SLOW        device      more than DEVICE_BOUND bytes wait for     when the kernel has taken all of them
                                   the client
    CLIENT_SUSPENDED   device      FLOWCONTROL-SUSPEND                       FLOWCONTROL-RESUME
"""

from __future__ import annotations

from enum import Flag, auto
from typing import Protocol


class Hold(Flag):
    """A reason not to read one of the two sides; the table above says which side, and from when to when."""

    STARTING = auto()
    REFUSED = auto()
    DEVICE_SLOW = auto()
    WORKING = auto()
    ANSWERS_UNREAD = auto()
    CLIENT_SLOW = auto()
    CLIENT_SUSPENDED = auto()


ON_CLIENT = Hold.STARTING | Hold.REFUSED | Hold.DEVICE_SLOW | Hold.WORKING | Hold.ANSWERS_UNREAD
"""While any of these stands, nothing is read from the client."""

ON_DEVICE = Hold.CLIENT_SLOW | Hold.CLIENT_SUSPENDED
"""While any of these stands, nothing is read from the device."""


class Readable(Protocol):
    """One side: a client's connection, or a COM port. Both calls may be repeated."""

    def pause_reading(self) -> None:
        """Stop reading."""

    def resume_reading(self) -> None:
        """Read again."""


class Reading:
    """The holds of one client, and of the device while the client is served.

    A new one has the hold `STARTING`, and its client is expected to be paused already.
    """

    def __init__(self, client: Readable) -> None:
        self._client = client
        self._device: Readable | None = None
        self._holds = Hold.STARTING

    @property
    def holds(self) -> Hold:
        """All reasons that stand now."""
        return self._holds

    def hold(self, why: Hold) -> None:
        """Add a reason, and pause the side that it stops if that side was read until now."""
        before, self._holds = self._holds, self._holds | why
        if self._holds & ON_CLIENT and not before & ON_CLIENT:
            self._client.pause_reading()
        if self._device is not None and self._holds & ON_DEVICE and not before & ON_DEVICE:
            self._device.pause_reading()

    def release(self, why: Hold) -> None:
        """End a reason, and resume the side that it stopped if no other reason stops it."""
        before, self._holds = self._holds, self._holds & ~why
        if before & ON_CLIENT and not self._holds & ON_CLIENT:
            self._client.resume_reading()
        if self._device is not None and before & ON_DEVICE and not self._holds & ON_DEVICE:
            self._device.resume_reading()

    def serve(self, device: Readable) -> None:
        """Let the holds of now and of later apply to this COM port, which is being read."""
        self._device = device
        if self._holds & ON_DEVICE:
            device.pause_reading()

    def leave(self) -> None:
        """Forget the COM port, which is read from then on, because the client is no longer served or the port is lost."""
        device, self._device = self._device, None
        if device is not None and self._holds & ON_DEVICE:
            device.resume_reading()
