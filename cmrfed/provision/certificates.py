"""The federation's own certificate authority, and the server's certificate (RFC 5280).

Sites trust this authority alone: a certificate that any other has signed, one that the whole world trusts included, is
refused by them.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cmrfed.config import UserError
from cmrfed.provision.fingerprint import fingerprint

_CLOCKS_DIFFER = timedelta(hours=1)
"""A certificate is valid from so long before it was made, for whoever's clock is slow."""
_LONGEST_NAME = 64
"""Bytes of a common name (RFC 5280, ub-common-name). For people alone: a server is known by its alternative names."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Where the SuperLink listens, and is known by the same certificate."""


@dataclass(frozen=True)
class Authority:
    """The certificate that sites trust, and the key that signs for it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, federation: str, key: ec.EllipticCurvePrivateKey, days: int, now: datetime) -> "Authority":
        """An authority that signs servers' certificates and no other authority."""
        name = _name(federation, "certificate authority")
        draft = (
            _draft(name, name, key.public_key(), now, now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(_identifier(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        return cls(draft.sign(key, hashes.SHA256()), key)

    def server_certificate(self, hosts: Sequence[str], days: int, now: datetime) -> bytes:
        """A new key and a certificate of it for these hosts and loopback, PEM, the key first.

        Raises UserError where the authority itself is no longer valid.
        """
        ends = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        if now >= ends:
            raise UserError(
                f"the certificate authority ended on {ends:%Y-%m-%d}; provision into a new folder and invite the sites "
                "again"
            )
        key = new_key()
        subject, issuer = _name(hosts[0][:64], "server"), self.certificate.subject
        draft = (
            _draft(subject, issuer, key.public_key(), now, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(list(_alternative_names(hosts))), critical=False)
            .add_extension(_identifier(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return private_pem(key) + draft.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Of the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_pem(content: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """Raises UserError, `where` being the file, for what is no private key of a curve."""
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{where}: is not an unencrypted PEM private key; restore it from its backup")
    return key


def read_certificate(content: bytes, where: str) -> x509.Certificate:
    """The first certificate in PEM text. Raises UserError, `where` being the file, for what is none."""
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise UserError(f"{where}: is not a certificate in PEM; restore it from its backup") from None


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """As `openssl x509 -fingerprint -sha256` begins, in groups to read aloud."""
    return fingerprint(certificate.public_bytes(Encoding.DER))


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(ends)
    )


def _name(common: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"cmrfed {unit}"),
            x509.NameAttribute(NameOID.COMMON_NAME, common.encode()[:_LONGEST_NAME].decode(errors="ignore")),
        ]
    )


def _identifier(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    """An authority signs certificates and nothing else; a server signs its side of a handshake."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(hosts: Iterable[str]) -> Iterable[x509.GeneralName]:
    for host in dict.fromkeys([*hosts, *LOOPBACK]):
        try:
            yield x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            yield x509.DNSName(host)
