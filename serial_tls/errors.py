"""Why a TLS connection was refused or has failed, as a value that each end puts into its own words."""

from __future__ import annotations

from enum import Enum, auto


class Reason(Enum):
    """What is wrong. The first group was found at this end, the second was reported by the peer."""

    UNKNOWN_PIN = auto()
    """The peer's certificate is not one of the trusted ones."""
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    WRONG_NAME = auto()
    WRONG_AUTHORITY = auto()
    """The peer's certificate does not lead to the trusted authority."""
    BAD_CERTIFICATE = auto()
    """The peer's certificate is refused for another reason; the detail says which."""
    NO_CERTIFICATE = auto()
    OLD_VERSION = auto()
    """The two ends do not share a version of TLS."""
    NOT_TLS = auto()
    CLOSED = auto()
    """The peer closed the connection in the handshake."""
    SILENT = auto()
    """A client has sent nothing at all."""
    TIMED_OUT = auto()
    BROKEN = auto()
    """The bytes are not valid TLS, or were changed on their way."""

    REFUSED_UNKNOWN = auto()
    """The peer does not know our certificate."""
    REFUSED_DATES = auto()
    """Our certificate is not valid at the time that the peer's clock shows."""
    REFUSED_NO_CERTIFICATE = auto()
    REFUSED_VERSION = auto()
    REFUSED = auto()
    """The peer refused for another reason; the detail is its alert."""


class TlsError(Exception):
    """A connection that is over. `fingerprint` is the peer's, if it showed a certificate."""

    def __init__(self, reason: Reason, detail: str = "", fingerprint: str | None = None) -> None:
        super().__init__(f"{reason.name}: {detail}" if detail else reason.name)
        self.reason = reason
        self.detail = detail
        self.fingerprint = fingerprint


class IdentityError(Exception):
    """A certificate, a key or a fingerprint that cannot be used; the text is for people."""


ALERTS = {
    "unknown ca": Reason.REFUSED_UNKNOWN,
    "certificate unknown": Reason.REFUSED_UNKNOWN,
    "bad certificate": Reason.REFUSED_UNKNOWN,
    "unsupported certificate": Reason.REFUSED_UNKNOWN,
    "access denied": Reason.REFUSED_UNKNOWN,
    "internal error": Reason.REFUSED_UNKNOWN,  # how OpenSSL says that a verify callback refused a valid certificate
    "certificate revoked": Reason.REFUSED_UNKNOWN,
    "certificate expired": Reason.REFUSED_DATES,
    "certificate required": Reason.REFUSED_NO_CERTIFICATE,
    "protocol version": Reason.REFUSED_VERSION,
}
"""The end of OpenSSL's text for an alert of the peer (RFC 8446, section 6.2); the beginning differs between
versions."""


def from_openssl(errors: object) -> TlsError:
    """Return what a stack of OpenSSL's errors means: a list of (library, function, reason)."""
    reasons = [str(entry[2]) for entry in errors] if isinstance(errors, list) else [str(errors)]
    text = "; ".join(reasons) or "unknown error"
    for reason in reasons:
        if " alert " in f" {reason}":
            alert = reason.partition("alert ")[2]
            return TlsError(ALERTS.get(alert, Reason.REFUSED), alert)
        if "did not return a certificate" in reason:
            return TlsError(Reason.NO_CERTIFICATE)
        if reason in _VERSION:
            return TlsError(Reason.OLD_VERSION, reason)
        if reason in _NOT_TLS:
            return TlsError(Reason.NOT_TLS)
    return TlsError(Reason.BROKEN, text)


_VERSION = frozenset(
    {
        "unsupported protocol",
        "version too low",
        "wrong ssl version",
        "unknown protocol",
        "no protocols available",
    }
)
_NOT_TLS = frozenset({"wrong version number", "http request", "https proxy request"})
