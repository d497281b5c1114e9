"""The type of a connection to a serial server, and the reasons why there is none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from serial_relay.plumbing.text import escaped
from serial_relay.status import ErrorCode, LineErrors
from serial_tls.records import looks_like_alert

_LAST_WORDS = 100
"""Limit in characters of a server's text in an error."""


class RemoteError(Exception):
    """Why there is no connection, with the code for `lastError`."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def with_last_words(self, data: bytes, address: str) -> RemoteError:
        """Return the error with what the server sent before it closed the connection at once; b"" changes nothing."""
        if looks_like_alert(data):
            what = f"{address} uses TLS for this port: set `tls` in the desired properties"
            return RemoteError(ErrorCode.TLS, what)
        text = data.decode("utf-8", "replace").strip()
        if not text:
            return self
        return RemoteError(self.code, f'{self}; before that it sent "{escaped(text, _LAST_WORDS)}"')


@dataclass(frozen=True, slots=True)
class Losses:
    """The bytes that a connection had not passed on when it was closed."""

    to_device: int = 0
    """Bytes that the host's kernel has not acknowledged. What it did acknowledge may be lost as well, unknown to us."""
    from_device: int = 0
    """Bytes that were received and not delivered; with RFC 2217, commands are counted among them.

    What the host's kernel or the network had at that moment is not known here.
    """


class RemoteEvents(Protocol):
    """What a connection reports to its owner; every call comes from the event loop."""

    def device_data(self, data: bytes) -> None:
        """The device sent these bytes; they are never empty."""

    def connection_full(self, *, full: bool) -> None:
        """The connection takes no more bytes now, and keeps what was written; or it takes bytes again."""

    def remote_lost(self, error: RemoteError) -> None:
        """The connection is over. This is called once; the caller of `close` is still the owner."""


class ComPortEvents(RemoteEvents, Protocol):
    """The events that a connection with RFC 2217 reports in addition to the bytes."""

    def look_for_flush(self) -> None:
        """Call `purge` now, if the application has flushed: bytes of the device are about to be delivered."""

    def device_data_flushed(self, size: int) -> None:
        """This number of the device's bytes was discarded, because the application had discarded its input."""

    def com_port_changed(self) -> None:
        """`line` or `modem` has changed."""

    def line_errors_notified(self, errors: LineErrors) -> None:
        """The host has seen errors on the device's line."""

    def suspended_by_host(self, *, suspended: bool) -> None:
        """The host wants silence, and what is written is kept here; or it wants it no longer (FLOWCONTROL-SUSPEND)."""

    def round_trip_measured(self, seconds: float) -> None:
        """The round trip of a request and its answer took this time."""

    def device_unavailable(self, error: RemoteError) -> None:
        """The host is there, but its device is not; `ready` waits for the device."""


class Remote(Protocol):
    """A connection to a serial server, whatever the protocol inside."""

    @property
    def address(self) -> str:
        """`address:port` of the other end."""

    def write(self, data: bytes) -> None:
        """Send bytes of the application to the device. What is not sent at once is kept; see `connection_full`."""

    def application_opened(self) -> None:
        """Deliver what is kept of the device's bytes: the application that is about to come must not get it."""

    def when_at_host(self, then: Callable[[], None]) -> None:
        """Call `then` when the host has all that was written, or when the connection is over."""

    def pause_reading(self) -> None:
        """Stop reading from the host, which TCP then holds back."""

    def resume_reading(self) -> None:
        """Read from the host again."""

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and that the host's kernel has not acknowledged, those of the protocols included."""

    @property
    def finished(self) -> bool:
        """True once the end of the stream was sent, after `finish`."""

    def finish(self) -> None:
        """Send the end of the stream when the host has what was written; only when nothing is `unacknowledged`.

        Nothing is written after this call. What the host still sends is read as before, until it ends the connection as
        well (`remote_lost`).
        """

    def close(self) -> Losses:
        """End the connection, and return what is lost with it. Call it once."""


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
