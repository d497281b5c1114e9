"""Explains failed TLS connections to the person who reads the host's log."""

from __future__ import annotations

from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.text import printable
from serial_tls.errors import Reason, TlsError
from serial_tls.handshake import SILENCE, TIMEOUT

_SHOWN = 120
"""Limit in characters of a client's text in a message."""


def in_words(error: TlsError, own_fingerprint: str) -> str:  # noqa: C901, PLR0912 - a table of sentences
    """Return why a client is not served; it follows `client ADDRESS was refused:`."""
    detail = printable(error.detail, _SHOWN)
    match error.reason:
        case Reason.UNKNOWN_PIN:
            return f"its certificate is not trusted; if it is the right module, run '{PROGRAM} trust {error.fingerprint}'"
        case Reason.EXPIRED:
            return f"its certificate has expired ({detail}): renew it, or set the clock of this computer"
        case Reason.NOT_YET_VALID:
            return f"its certificate is not valid yet ({detail}): set the clock of this computer or the other"
        case Reason.WRONG_NAME:
            return f"its certificate is for {detail}, which is not in client_names of [tls]"
        case Reason.WRONG_AUTHORITY:
            return f"its certificate does not come from client_ca of [tls] ({detail})"
        case Reason.BAD_CERTIFICATE:
            return f"its certificate cannot be used ({detail})"
        case Reason.NO_CERTIFICATE:
            return "it presented no certificate, and this port serves known clients only"
        case Reason.OLD_VERSION | Reason.REFUSED_VERSION:
            return "it does not support TLS 1.2 or newer: update it"
        case Reason.NOT_TLS:
            return "it does not speak TLS: set tls in the module's desired properties, or tls = false for this port"
        case Reason.CLOSED:
            return "it closed the connection in the TLS handshake; its own log or lastError says why"
        case Reason.SILENT:
            return (
                f"it sent nothing for {SILENCE:g} s, as a client without TLS does: set tls in the module's desired"
                " properties, or tls = false for this port"
            )
        case Reason.TIMED_OUT:
            return (
                f"it did not finish the TLS handshake within {TIMEOUT:g} s: does it use TLS? If not, set tls in the"
                " module's desired properties"
            )
        case Reason.REFUSED_UNKNOWN:
            return (
                f"it does not trust this host ({detail}): put {own_fingerprint} into hostFingerprints of the module's"
                " desired properties, or correct hostCa and hostName there"
            )
        case Reason.REFUSED_DATES:
            return "it says that this host's certificate is not valid now: set the clock that is wrong, or renew it"
        case _:
            return f"TLS failed ({detail})"
