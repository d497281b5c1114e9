"""The text that the access server of this project puts into its SIGNATURE, and how a client reads it.

RFC 2217 has no command for "the device is gone" or "somebody else has the port". It has a free text that either end may
send at any time and that every client may ignore. The access server uses it to tell the state of the device, in the
form of HTTP's `Server` header:

    serial_host/1.0.0 (COM3; available)
    serial_host/1.0.0 (COM3; unavailable: access denied, another program has it open)
    serial_host/1.0.0 (COM3; busy: 172.18.240.9 is connected)

The server sends it in answer to a request, and without one when the state changes; it sends `busy` right before it closes
the connection. A client that does not know this form sees the modem lines drop while the device is unavailable, as if
the cable were unplugged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from rfc2217.com_port_option import Signature


class DeviceState(StrEnum):
    """The states of the com port that a client is told of."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    """The device is unplugged or cannot be opened. The connection stands, and `available` follows when it is back."""
    BUSY = "busy"
    """Another client has the device. The server closes the connection after this."""


_FORM = re.compile(
    r"(?P<product>[^\s/]+)/(?P<version>\S+) "
    rf"\((?P<device>.*?); (?P<state>{'|'.join(DeviceState)})(?:: (?P<reason>.*))?\)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AccessServerSignature:
    """A signature in the form above; `str(…)` returns its text."""

    product: str
    version: str
    device: str
    """The name that the device has at the server: `COM3`."""
    state: DeviceState
    reason: str = ""
    """Why the device is not available, as text for people; "" if there is no reason to tell."""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.product}/{self.version} ({self.device}; {self.state}{reason})"

    @classmethod
    def parse(cls, signature: Signature) -> Self | None:
        """Return what a server's signature says; None if it has another form, which says nothing of the device."""
        match = _FORM.fullmatch(signature.text)
        if not match:
            return None
        return cls(
            match["product"],
            match["version"],
            match["device"],
            DeviceState(match["state"]),
            match["reason"] or "",
        )
