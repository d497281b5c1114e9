"""The identity of one end: a key and a certificate, made on first use and kept in a file that nobody else may read.

The fingerprint of the certificate is what the other end trusts. So a self-made certificate has no names that anybody
checks, and dates that hold whatever a clock shows: a pin is trusted until somebody removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from serial_tls.errors import IdentityError
from serial_tls.fingerprints import PREFIX
from serial_tls.private_file import write_private

_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, section 4.1.2.5: the date of a certificate that has no well-defined expiration date."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def fingerprint(certificate: x509.Certificate) -> str:
    """Return `sha256:` and 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` has them without colons."""
    return PREFIX + certificate.fingerprint(hashes.SHA256()).hex()


def parse_certificates(pem: str | bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM text, at least one.

    Raises:
        IdentityError: there is no certificate, or one cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode("ascii") if isinstance(pem, str) else pem))
    except ValueError:
        raise IdentityError("expected one or more certificates in PEM, -----BEGIN CERTIFICATE-----") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificate and key with which one end proves its identity to the other."""

    chain: tuple[x509.Certificate, ...]
    """Its own certificate first, then those between it and an authority."""
    key: PrivateKey

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its own certificate."""
        return fingerprint(self.chain[0])


def parse_identity(certificate: str | bytes, key: str | bytes) -> Identity:
    """Read a certificate with its chain, and its key; both PEM, the key not encrypted.

    Raises:
        IdentityError: one of them cannot be read, or they do not belong together.
    """
    chain = parse_certificates(certificate)
    try:
        private = serialization.load_pem_private_key(
            key.encode("ascii") if isinstance(key, str) else key, password=None
        )
    except (ValueError, TypeError):
        raise IdentityError("expected a private key in PEM without a password") from None
    if not isinstance(private, PrivateKey):
        raise IdentityError("expected a private key of the kind EC or RSA")
    if private.public_key() != chain[0].public_key():
        raise IdentityError("the key does not belong to the certificate")
    return Identity(chain, private)


def make_identity(name: str) -> Identity:
    """Make a new key and a self-signed certificate; `name` is for people, up to 64 characters."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "serial")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return Identity((certificate,), key)


def load_identity(path: Path) -> Identity:
    """Read what `save_identity` wrote.

    Raises:
        FileNotFoundError: there is nothing.
        IdentityError: it cannot be read or used; the text names the file.
    """
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return parse_identity(pem, pem)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}; remove the file to have a new identity made") from None


def save_identity(identity: Identity, path: Path) -> None:
    """Write key and certificates into one file that only its owner may read, whole or not at all.

    On Windows the folder's access control list decides instead.

    Raises:
        IdentityError: it cannot be written.
    """
    pem = identity.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem += b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in identity.chain)
    try:
        write_private(path, pem)
    except OSError as error:
        raise IdentityError(f"cannot write {path}: {error.strerror or error}") from error


def own_identity(path: Path, name: str) -> Identity:
    """Return the identity that is kept in a file; make it if there is none.

    Raises:
        IdentityError: the file cannot be read, used or written.
    """
    try:
        return load_identity(path)
    except FileNotFoundError:
        identity = make_identity(name)
        save_identity(identity, path)
        return identity
