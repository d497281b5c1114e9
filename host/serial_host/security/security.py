"""The TLS of a server: its identity, the clients that it trusts, and what people change while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serial_host.config import TlsSettings, TlsVerify
from serial_host.security.kept import Kept
from serial_host.security.words import in_words
from serial_tls.endpoint import Authority, Endpoint, Pins
from serial_tls.errors import IdentityError, Reason, TlsError
from serial_tls.fingerprints import parse_fingerprint
from serial_tls.identity import Identity, parse_certificates, parse_identity
from serial_tls.names import wrong_module
from serial_tls.session import Role, Session

PAIRING_SECONDS = 600.0
"""The time in which `pair` admits the next client."""

_log = logging.getLogger(__name__)


class Security:
    """Shared by all secured ports of a server; called on the event loop's thread."""

    def __init__(
        self, settings: TlsSettings, on_revoked: Callable[[str], None] = lambda _fingerprint: None
    ) -> None:
        """Call `on_revoked` with the fingerprint of a client that is no longer trusted.

        Raises:
            IdentityError: the host's identity or the list of clients cannot be read or made.
        """
        self._settings = settings
        self.on_revoked = on_revoked
        self._kept = Kept(Path(settings.state_directory))
        self._added = self._kept.trusted()
        self._pairing_until = 0.0
        """On the clock of `time.monotonic`; 0 while no client is waited for."""
        self._paired: dict[str, Any] | None = None
        self._refused: dict[str, Any] | None = None
        self._use(self._identity())

    def session(self) -> Session:
        """Begin a connection with a client."""
        return self._endpoint.session()

    def admit(self, fingerprint: str, peer: str) -> None:
        """Admit a client that has proved that it has the key of its certificate.

        Raises:
            TlsError: the client is not known, and no new client is waited for any more.
        """
        if self.admits(fingerprint):
            return
        if not self._pairing:
            raise TlsError(Reason.UNKNOWN_PIN, "", fingerprint)
        self._add(fingerprint)
        self._pairing_until = 0.0
        self._paired = {"fingerprint": fingerprint, "peer": peer, "at": time.time()}
        _log.warning("paired with the client %s, whose fingerprint is %s", peer, fingerprint)

    def admits(self, fingerprint: str) -> bool:
        """Return whether a client that has proved who it is needs no pairing."""
        return self._settings.verify is TlsVerify.CA or self.trusts(fingerprint)

    def trusts(self, fingerprint: str) -> bool:
        """Return whether a client is one of those that are known by fingerprint."""
        return fingerprint in self._added or fingerprint in self._settings.client_fingerprints

    def refused(self, error: TlsError, peer: str) -> str:
        """Record that a client was refused, and return the reason as text."""
        if error.reason is Reason.UNKNOWN_PIN:
            self._refused = {"fingerprint": error.fingerprint, "peer": peer, "at": time.time()}
        return in_words(error, self._endpoint.identity.fingerprint)

    # What people ask for.

    def status(self) -> dict[str, Any]:
        """Return what `status` and `identity` show."""
        try:
            waiting = self._kept.next_identity()
        except (
            IdentityError
        ):  # a damaged file, which `activate` reports; the rest is to be shown nevertheless
            waiting = None
        return {
            "fingerprint": self._endpoint.identity.fingerprint,
            "nextFingerprint": None if waiting is None else waiting.fingerprint,
            "verify": self._settings.verify.value,
            "trusted": sorted({*self._added, *self._settings.client_fingerprints}),
            "pairingSeconds": max(0.0, self._pairing_until - time.monotonic()) if self._pairing else None,
            "paired": self._paired,
            "refused": self._refused,
        }

    def trust(self, text: str) -> str:
        """Add a client, and return its fingerprint. Raises IdentityError if that is not possible."""
        self._require_pins()
        fingerprint = parse_fingerprint(text)
        if not self.trusts(fingerprint):
            self._add(fingerprint)
        _log.info("the client %s is trusted", fingerprint)
        return fingerprint

    def revoke(self, text: str) -> str:
        """Remove a client and end its connections. Raises IdentityError if that is not possible."""
        fingerprint = parse_fingerprint(text)
        if fingerprint in self._settings.client_fingerprints:
            raise IdentityError(
                "this client stands in client_fingerprints of the configuration file: remove it there"
            )
        if fingerprint not in self._added:
            raise IdentityError("no trusted client has this fingerprint")
        self._kept.save_trusted(self._added - {fingerprint})
        self._added.discard(fingerprint)
        _log.warning("the client %s is no longer trusted", fingerprint)
        self.on_revoked(fingerprint)
        return fingerprint

    def pair(self) -> float:
        """Admit the next client that is not known, and return the number of seconds during which that holds."""
        self._require_pins()
        self._pairing_until = time.monotonic() + PAIRING_SECONDS
        self._paired = None
        _log.warning("the next unknown client within %.0f minutes will be trusted", PAIRING_SECONDS / 60)
        return PAIRING_SECONDS

    def prepare(self) -> None:
        """Make the next identity, which `activate` uses. Raises IdentityError if that is not possible."""
        self._require_own()
        _log.info("a new identity is prepared: %s", self._kept.prepare().fingerprint)

    def activate(self) -> None:
        """Use the next identity for new connections. Raises IdentityError if there is none."""
        self._require_own()
        self._use(self._kept.activate())
        _log.warning("this host's identity is now %s", self._endpoint.identity.fingerprint)

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], object]]:
        """Return what a running server does when `identity`, `trust` and `pair` ask it to; see `control.Commands`."""

        def change(act: Callable[..., object], *parameters: str) -> Callable[[Mapping[str, Any]], object]:
            def answer(asked: Mapping[str, Any]) -> object:
                try:
                    act(*(str(asked.get(parameter, "")) for parameter in parameters))
                except IdentityError as error:
                    return {"error": str(error)}
                return self.status()

            return answer

        return {
            "tls": lambda _asked: self.status(),
            "trust": change(self.trust, "fingerprint"),
            "revoke": change(self.revoke, "fingerprint"),
            "pair": change(self.pair),
            "prepareIdentity": change(self.prepare),
            "activateIdentity": change(self.activate),
        }

    # Inside.

    @property
    def _pairing(self) -> bool:
        return time.monotonic() < self._pairing_until

    def _require_pins(self) -> None:
        if self._settings.verify is TlsVerify.CA:
            raise IdentityError(
                'clients are known by their authority here (verify = "ca"), not by fingerprint'
            )

    def _require_own(self) -> None:
        if self._settings.certificate is not None:
            raise IdentityError("certificate and key of [tls] name the identity of this host: renew it there")

    def _add(self, fingerprint: str) -> None:
        self._kept.save_trusted(self._added | {fingerprint})
        self._added.add(fingerprint)

    def _identity(self) -> Identity:
        settings = self._settings
        if settings.certificate is not None and settings.key is not None:
            return parse_identity(settings.certificate, settings.key)
        return self._kept.identity()

    def _use(self, identity: Identity) -> None:
        settings = self._settings
        if settings.verify is TlsVerify.PIN:
            # Whoever is paired has to show first that it has the key of its certificate, so `admit` decides on it.
            trust: Pins | Authority = Pins(lambda shown: self.trusts(shown) or self._pairing)
        else:
            trust = Authority(
                parse_certificates(settings.client_ca or ""),
                lambda shown: wrong_module(shown, settings.client_names) if settings.client_names else None,
            )
        self._endpoint = Endpoint(Role.SERVER, identity, trust)
