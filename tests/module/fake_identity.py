"""Stands in for the module's own identity: it counts instead of making keys."""

from __future__ import annotations

from serial_tls.errors import IdentityError


class FakeIdentity:
    """Fingerprints of the right form, beginning with none."""

    def __init__(self) -> None:
        self.fingerprint: str | None = None
        self.next_fingerprint: str | None = None

    async def prepare(self) -> None:
        self.fingerprint = self.fingerprint or _fingerprint(1)
        self.next_fingerprint = self.next_fingerprint or _fingerprint(int(self.fingerprint[7:]) + 1)

    async def activate(self) -> None:
        if self.next_fingerprint is None:
            raise IdentityError("no new identity is prepared: run 'identity --renew' first")
        self.fingerprint, self.next_fingerprint = self.next_fingerprint, None


def _fingerprint(number: int) -> str:
    return f"sha256:{number:064}"
