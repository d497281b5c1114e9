"""What our access server writes in its SIGNATURE, and how a client reads it.

RFC 2217 has no command for "the device is gone" or "somebody else has the port"; it has a free text that either end may
send at any time and that every client may ignore. So the access server tells it there, in the form that HTTP made
familiar:

    serial_host/1.0.0 (COM3; available)
    serial_host/1.0.0 (COM3; unavailable: access denied, another program has it open)
    serial_host/1.0.0 (COM3; busy: 172.18.240.9 is connected)

The server sends it in answer to a request, and unasked when the state changes; `busy` comes right before it closes. A
client that does not know this form sees the modem lines drop while the device is unavailable, as with a cable unplugged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from rfc2217.com_port_option import Signature


class DeviceState(StrEnum):
    """What a client can expect of the com port."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    """It is unplugged or cannot be opened; the connection stands, and `available` follows when it is back."""
    BUSY = "busy"
    """Another client has it; the connection is closed after this."""


_FORM = re.compile(
    r"(?P<product>[^\s/]+)/(?P<version>\S+) "
    rf"\((?P<device>.*?); (?P<state>{'|'.join(DeviceState)})(?:: (?P<reason>.*))?\)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AccessServerSignature:
    """A signature in our form: `str(…)` is its text."""

    product: str
    version: str
    device: str
    """As its owner names it: `COM3`."""
    state: DeviceState
    reason: str = ""
    """Why it is not available, for people; "" if there is nothing to say."""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.product}/{self.version} ({self.device}; {self.state}{reason})"

    @classmethod
    def parse(cls, signature: Signature) -> Self | None:
        """Read a server's signature; None if it has another form, which says nothing about the device."""
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
