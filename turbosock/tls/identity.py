"""Whom a client wants to reach, and whether a certificate is his (RFC 9525, and OpenSSL's reading of it).

`Identity.of` turns the host of a URL into what is looked for: an IP address or a DNS name, and nothing in between. A
host that ends in a number and is no dotted quad (`0x7f.1`, `0177.0.0.1`, `2130706433`) resolves to an address on most
systems and is a DNS name to most verifiers; it is refused here, before a byte is sent, for both providers alike.

`matches` gives the answers of OpenSSL's X509_check_host and X509_check_ip, as the interpreter sets them
(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS): names are compared without regard to ASCII case and in full length, NUL bytes
included; a wildcard is the whole first label of a name with at least two more, and stands for exactly one label of
letters, digits and hyphens; an address is compared with iPAddress entries only, byte by byte. The common name is looked
at only where `common_name` says so and there is no dNSName entry at all.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from turbosock import limits
from turbosock.errors import InvalidOption, TlsVerificationError
from turbosock.tls.certificate import CertificateNames

ALPHANUMERIC: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
HYPHEN: Final = ord("-")


def is_numeric(label: str) -> bool:
    """Whether a label is a number as inet_aton(3) reads one: decimal, octal or hexadecimal."""
    if label[:2] in ("0x", "0X"):
        return all(character in "0123456789abcdefABCDEF" for character in label[2:])
    return label.isdecimal()


class Identity(NamedTuple):
    """A host to be verified.

    Attributes:
        name: the host in its canonical form: lower case, no final dot, an address without zone.
        packed: the address as bytes; empty for a DNS name.
        sni: what server_name (RFC 6066 section 3) says: the DNS name, or None for addresses.
    """

    name: str
    packed: bytes
    sni: str | None

    @classmethod
    def of(cls, host: str, *, check: bool = True) -> Identity:
        """Return the identity of `host`, a DNS name in ASCII or an IP address.

        Args:
            check: whether the name will be verified; a host that only looks like an address passes otherwise.

        Raises:
            InvalidOption: no host name and no address.
            TlsVerificationError: `hostname_mismatch`: a number that is no dotted quad.
        """
        try:
            address = ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)
        except ValueError:
            pass
        else:
            return cls(str(address), address.packed, None)
        name = host.lower().removesuffix(".")
        if (
            not name
            or not name.isascii()
            or len(name) > limits.MAX_HOST_LENGTH
            or name.startswith(".")
            or min(name) <= " "
            or ":" in name
        ):
            raise InvalidOption(f"host {host!r}: give a DNS name in ASCII (xn-- for others) or an IP address")
        if is_numeric(name.rpartition(".")[2]):
            if check:
                raise TlsVerificationError(
                    f"{host!r} is a number and not an address that a certificate can name: write it as four decimal "
                    "numbers, or use the server's name",
                    reason="hostname_mismatch",
                )
            return cls(name, b"", None)
        return cls(name, b"", name)


def matches(identity: Identity, names: CertificateNames, *, common_name: bool = False) -> bool:
    """Whether a certificate with these names is the host's."""
    if identity.packed:
        return identity.packed in names.addresses
    host = identity.name.encode()
    patterns = names.dns
    if not patterns and common_name:
        patterns = names.common
    return any(matches_name(pattern, host) for pattern in patterns)


def matches_name(pattern: bytes, host: bytes) -> bool:
    """Whether `host`, in lower case and without NUL, is what a name in a certificate says."""
    pattern = pattern.lower()
    if pattern == host:
        return True
    if not is_wildcard(pattern):
        return False
    label, _, rest = host.partition(b".")
    return rest == pattern[2:] and label != b"" and all(byte in ALPHANUMERIC or byte == HYPHEN for byte in label)


def is_wildcard(pattern: bytes) -> bool:
    """Whether a name in lower case is a wildcard that may match: `*.` and at least two labels."""
    if pattern[:2] != b"*.":
        return False
    labels = pattern[2:].split(b".")
    if len(labels) < 2:
        return False
    for label in labels:
        if not label or label[0] == HYPHEN or label[-1] == HYPHEN:
            return False
        for byte in label:
            if byte not in ALPHANUMERIC and byte != HYPHEN:
                return False
    return True
