"""Certificates for tests: an authority, and what it issues, with any dates and names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serial_tls.identity import Identity


class TestAuthority:
    """A certificate authority that forgets its key with the test."""

    __test__ = False

    def __init__(self, name: str = "test authority", above: TestAuthority | None = None) -> None:
        """`above` is the authority that has issued this one's certificate; without it the certificate is self-signed."""
        self.chain: tuple[x509.Certificate, ...] = ()
        """What stands between an issued certificate and the one that signs itself."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        issuer = above or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(issuer._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=365))
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(issuer._key, hashes.SHA256())
        )
        if above is not None:
            self.chain = (self.certificate, *above.chain)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def issue(
        self,
        *names: x509.GeneralName,
        begin: float = -1,
        end: float = 1,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Identity:
        """Issue a certificate for some names that is valid from BEGIN to END, in days from now, and for one usage only."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"below {self._name.rfc4514_string()}")])
            )
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=begin))
            .not_valid_after(now + timedelta(days=end))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if usage is not None:
            certificate = certificate.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            certificate = certificate.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Identity((certificate.sign(self._key, hashes.SHA256()), *self.chain), key)

    @classmethod
    def of(cls, identity: Identity) -> TestAuthority:
        """Let the holder of a certificate issue others, whether or not that certificate allows it."""
        usurper = cls()
        usurper._key = cast("ec.EllipticCurvePrivateKey", identity.key)
        usurper._name = identity.chain[0].subject
        usurper.certificate, usurper.chain = identity.chain[0], identity.chain
        return usurper


def pem_of(identity: Identity) -> tuple[str, str]:
    """Return the certificates and the key of an identity as PEM."""
    chain = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in identity.chain)
    key = identity.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain.decode("ascii"), key.decode("ascii")


def module_name(device: str, module: str) -> x509.GeneralName:
    """The name that IoT Edge gives a module's certificate."""
    return x509.UniformResourceIdentifier(f"URI: azureiot://hub.example/devices/{device}/modules/{module}")
