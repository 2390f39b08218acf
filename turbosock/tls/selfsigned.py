"""Certificates made on the spot: an authority and a certificate under it, for demonstrations and local trials.

Not for production: the keys lie unencrypted in memory and in the files that `write` makes, and nobody revokes them.
They keep to RFC 5280 so that strict verification accepts them. `cryptography` is imported at the first call.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import NamedTuple

from turbosock.config import TlsCertificate
from turbosock.errors import InvalidOption

VALIDITY = datetime.timedelta(days=7)
# Clocks of two machines differ; a certificate that is valid from now on is not yet valid elsewhere.
CLOCK_SKEW = datetime.timedelta(hours=1)


class SelfSigned(NamedTuple):
    """A throw-away authority's certificate, and a server's certificate and key under it; all PEM."""

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes

    def write(self, directory: str | os.PathLike[str]) -> TlsCertificate:
        """Write certificate.pem, key.pem (for its owner only) and ca.pem into `directory`; return the first two."""
        folder = Path(directory)
        (folder / "ca.pem").write_bytes(self.ca_pem)
        (folder / "certificate.pem").write_bytes(self.certificate_pem)
        key = folder / "key.pem"
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(self.key_pem)
        return TlsCertificate(str(folder / "certificate.pem"), str(key))


def make_self_signed(*hosts: str) -> SelfSigned:
    """Return a fresh authority and a certificate of it for `hosts`, DNS names and IP addresses, valid for a week.

    Raises:
        InvalidOption: no host is given.
    """
    if not hosts:
        raise InvalidOption("hosts: give at least one DNS name or IP address")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def general_name(host: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            return x509.DNSName(host)

    now = datetime.datetime.now(datetime.UTC)

    def name(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            encipher_only=False,
            decipher_only=False,
        )

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = name("turbosock throw-away authority")
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        x509.CertificateBuilder(ca_name, ca_name, ca_key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(ca_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder(ca_name, name("turbosock demonstration"), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SelfSigned(ca.public_bytes(pem), leaf.public_bytes(pem), key_pem)
