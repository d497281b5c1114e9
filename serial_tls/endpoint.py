"""One end of TLS connections: its identity, whom it trusts, and the rules of TLS that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from OpenSSL import SSL, crypto

from serial_tls.errors import Reason, TlsError
from serial_tls.identity import Identity, fingerprint
from serial_tls.session import Role, Session

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""The ciphers of TLS 1.2: only those with forward secrecy and authenticated encryption. All ciphers of TLS 1.3 have
both."""

_REASONS = {
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    2: Reason.WRONG_AUTHORITY,
    7: Reason.WRONG_AUTHORITY,
    18: Reason.WRONG_AUTHORITY,
    19: Reason.WRONG_AUTHORITY,
    20: Reason.WRONG_AUTHORITY,
    21: Reason.WRONG_AUTHORITY,
}
"""OpenSSL's X509_V_ERR_* (include/openssl/x509_vfy.h); any other is a bad certificate."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Trust in single certificates, whose holders prove that they have the key. Dates and names are not checked."""

    accepts: Callable[[str], bool]
    """Return whether a fingerprint is trusted now."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Trust in whoever has a certificate of an authority that is valid now."""

    certificates: tuple[x509.Certificate, ...]
    wrong_name: Callable[[x509.Certificate], str | None]
    """Returns None if a certificate is for the right peer, and otherwise what it is for."""


Trust = Pins | Authority


class Endpoint:
    """Makes sessions; it holds for as long as identity and trust do not change."""

    def __init__(self, role: Role, identity: Identity, trust: Trust) -> None:
        self.identity = identity
        self._role = role
        self._trust = trust
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(_CIPHERS)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate(identity.chain[0])
        for certificate in identity.chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(identity.key)
        if isinstance(trust, Authority) and (store := context.get_cert_store()) is not None:
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
            for certificate in trust.certificates:
                store.add_cert(crypto.X509.from_cryptography(certificate))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        self._context = context

    def session(self, server_name: str | None = None) -> Session:
        """Begin a connection; a client may name the server that it expects (RFC 6066, section 3)."""
        return Session(self._context, self._role, server_name)

    def _verify(
        self, connection: SSL.Connection, shown: crypto.X509, number: int, depth: int, valid: int
    ) -> bool:
        """Judge one certificate of the peer's chain; OpenSSL asks from the authority down to the peer's own, depth 0."""
        session = connection.get_app_data()
        try:
            session.refusal = self._judge(session, shown.to_cryptography(), number, depth, valid=bool(valid))
        except Exception as error:  # noqa: BLE001  # whatever a library says of hostile bytes
            session.refusal = TlsError(Reason.BAD_CERTIFICATE, f"it cannot be read: {error}")
        return session.refusal is None

    def _judge(
        self, session: Session, certificate: x509.Certificate, number: int, depth: int, *, valid: bool
    ) -> TlsError | None:
        own = fingerprint(certificate) if depth == 0 else None
        session.peer_fingerprint = own or session.peer_fingerprint
        if isinstance(self._trust, Pins):
            # What stands above the peer's own certificate proves nothing, trusted or not.
            trusted = own is None or self._trust.accepts(own)
            return None if trusted else TlsError(Reason.UNKNOWN_PIN, "", own)
        if not valid:
            return _refused(certificate, number, own)
        if own is not None and (names := self._trust.wrong_name(certificate)) is not None:
            return TlsError(Reason.WRONG_NAME, names, own)
        return None


def _refused(certificate: x509.Certificate, number: int, own: str | None) -> TlsError:
    reason = _REASONS.get(number, Reason.BAD_CERTIFICATE)
    if reason in (Reason.EXPIRED, Reason.NOT_YET_VALID):
        begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
        # Without the time if the date suffices, so that the text stays the same from one attempt to the next.
        near = min(abs(now - begin), abs(now - end)) < timedelta(days=1)
        here = f"{now:%Y-%m-%d %H:%M}" if near else f"{now:%Y-%m-%d}"
        detail = f"valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, now it is {here}"
    elif reason is Reason.WRONG_AUTHORITY:
        issuer = certificate.issuer.rfc4514_string()
        detail = f"its issuer is {issuer}"
    else:
        detail = f"error {number} of X.509's path validation"
    return TlsError(reason, detail, own)
