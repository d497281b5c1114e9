"""What a connection to a serial server is for the rest of the program, and why there is none."""

from __future__ import annotations

import errno
import os
from typing import Protocol

from serial_relay.status import ErrorCode


class RemoteError(Exception):
    """Why there is no connection, with the code for `lastError`."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class RemoteEvents(Protocol):
    """What a connection tells the relay; every call comes from the event loop."""

    def device_data(self, data: bytes) -> None:
        """Bytes of the device; never empty."""

    def connection_full(self, *, full: bool) -> None:
        """The connection takes no more bytes now, and keeps what was written; or it takes bytes again."""

    def remote_lost(self, error: RemoteError) -> None:
        """The connection is over; said once."""


class Remote(Protocol):
    """A connection to a serial server, whatever the protocol inside."""

    @property
    def address(self) -> str:
        """`address:port` of the other end."""

    def write(self, data: bytes) -> None:
        """Send bytes of the application to the device."""

    def pause_reading(self) -> None:
        """Take nothing more from the host, which TCP then holds back."""

    def resume_reading(self) -> None:
        """Take bytes again."""

    def close(self) -> int:
        """End the connection and give the number of bytes that the host has not acknowledged; call it once."""


def explain(error: OSError, address: str) -> RemoteError:
    """Return what an error of the system means for the connection to `address` (`address:port`)."""
    match error.errno:
        case errno.ECONNREFUSED:
            return RemoteError(
                ErrorCode.CONNECTION_REFUSED,
                f"{address} refused the connection: does the serial server run there and listen on this port?",
            )
        case errno.EHOSTUNREACH | errno.ENETUNREACH | errno.ENETDOWN | errno.EHOSTDOWN | errno.EADDRNOTAVAIL:
            return RemoteError(
                ErrorCode.HOST_UNREACHABLE, f"cannot reach {address}: {os.strerror(error.errno)}"
            )
        case errno.ETIMEDOUT:
            return RemoteError(ErrorCode.TIMED_OUT, f"{address} does not answer any more")
        case errno.ECONNRESET | errno.EPIPE | errno.ECONNABORTED | errno.ENOTCONN:
            # ENOTCONN: the connection was reset before anything else was done with the socket.
            return RemoteError(ErrorCode.RESET, f"{address} reset the connection")
        case _:
            what = error.strerror or error
            return RemoteError(ErrorCode.HOST_UNREACHABLE, f"cannot connect to {address}: {what}")
