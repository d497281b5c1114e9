"""How the fingerprint of a certificate is written: `sha256:` and 64 hexadecimal digits."""

from __future__ import annotations

import re

from serial_tls.errors import IdentityError

PREFIX = "sha256:"

_HEXADECIMAL = re.compile(r"[0-9a-f]{64}|[0-9a-f]{2}(:[0-9a-f]{2}){31}")


def parse_fingerprint(text: str) -> str:
    """Return the one spelling of a fingerprint; colons between the bytes and capital letters are taken as well.

    Raises:
        IdentityError: it is not a SHA-256 fingerprint.
    """
    digits = text.strip().lower().removeprefix(PREFIX)
    if not _HEXADECIMAL.fullmatch(digits):
        raise IdentityError(f"expected {PREFIX} and 64 hexadecimal digits")
    return PREFIX + digits.replace(":", "")
