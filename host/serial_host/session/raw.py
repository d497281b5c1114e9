"""A client whose bytes go to the device as they are, and the device's bytes to it."""

# ruff: noqa: D102  # the methods are documented where their type is: `session.Session`

from __future__ import annotations

from serial_host.session.session import Session


class RawSession(Session):
    """A client without a protocol: the connection stands for the port.

    Without a device there is no connection, and a client that is turned away is disconnected.
    """

    def buffer_updated(self, nbytes: int) -> None:
        if not self._read_before and self._speaks_tls(nbytes):
            return
        self._owner.write(self, self._buffer[:nbytes])

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def device_absent(self, reason: str) -> None:
        self.abort(reason)

    def refuse(self, reason: str) -> None:
        self.abort(reason)
