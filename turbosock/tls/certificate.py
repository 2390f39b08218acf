"""What a certificate says of its key and of its names, read straight from the DER (RFC 5280).

Only the three places that trust decisions of ours need: the SubjectPublicKeyInfo as it stands (RFC 7469 hashes these
very bytes; a parser that decodes and encodes again may not give them back), subjectAltName, and the common names.
Signatures, dates and every other extension are the engine's business, which has checked them before.

Invariant: nothing is read outside the bytes given; whatever is not the DER expected raises ValueError, and the callers
refuse the certificate. Names stay bytes: a NUL or a letter outside ASCII is compared, never decoded away.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OID: Final = 0x06
SEQUENCE: Final = 0x30
EXPLICIT_0: Final = 0xA0
EXPLICIT_3: Final = 0xA3
DNS_NAME: Final = 0x82
IP_ADDRESS: Final = 0x87

# id-ce-subjectAltName 2.5.29.17 and id-at-commonName 2.5.4.3, as encoded.
SUBJECT_ALT_NAME: Final = b"\x55\x1d\x11"
COMMON_NAME: Final = b"\x55\x04\x03"

# Encodings of the string types that a common name may have: UTF8, Printable, Teletex, IA5, Universal, BMP.
STRING_ENCODINGS: Final = {0x0C: "", 0x13: "", 0x14: "latin-1", 0x16: "", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}


class CertificateNames(NamedTuple):
    """The names in a certificate: dNSName and iPAddress entries, and common names, each as bytes."""

    dns: tuple[bytes, ...]
    addresses: tuple[bytes, ...]
    common: tuple[bytes, ...]


class Element(NamedTuple):
    """One element of DER: its tag, and where it, its content and its successor start."""

    tag: int
    start: int
    content: int
    end: int


def element(data: bytes, start: int, limit: int) -> Element:
    """Return the element that starts at `start` and must end by `limit`."""
    if start + 2 > limit:
        raise ValueError("DER: an element is cut short")
    tag, length, content = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("DER: a tag of more than one byte has no place in a certificate")
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or content + count > limit:
            raise ValueError("DER: a length has a wrong form")
        length = int.from_bytes(data[content : content + count], "big")
        content += count
    if content + length > limit:
        raise ValueError("DER: an element is longer than what holds it")
    return Element(tag, start, content, content + length)


def children(data: bytes, parent: Element) -> list[Element]:
    """Return the elements inside `parent`, which fill it exactly."""
    found = []
    position = parent.content
    while position < parent.end:
        child = element(data, position, parent.end)
        found.append(child)
        position = child.end
    return found


def expect(elements: list[Element], index: int, tag: int) -> Element:
    """Return `elements[index]`, which must have this tag."""
    if index >= len(elements) or elements[index].tag != tag:
        raise ValueError("DER: a certificate is not put together as RFC 5280 says")
    return elements[index]


def to_be_signed(der: bytes) -> list[Element]:
    """Return the fields of TBSCertificate from the serial number on: the version, which is optional, is left out."""
    whole = element(der, 0, len(der))
    if whole.tag != SEQUENCE or whole.end != len(der):
        raise ValueError("DER: no certificate")
    fields = children(der, expect(children(der, whole), 0, SEQUENCE))
    if fields and fields[0].tag == EXPLICIT_0:
        del fields[0]
    expect(fields, 0, INTEGER)
    return fields


def public_key_info(der: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of the certificate `der`, as it stands.

    Raises:
        ValueError: `der` is no certificate.
    """
    # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    found = expect(to_be_signed(der), 5, SEQUENCE)
    return der[found.start : found.end]


def public_key_pin(der: bytes) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo of the certificate `der`: 32 bytes (RFC 7469 section 2.4)."""
    return hashlib.sha256(public_key_info(der)).digest()


def names(der: bytes) -> CertificateNames:
    """Return the names in the certificate `der`; two subjectAltName extensions count as none (RFC 5280 section 4.2).

    Raises:
        ValueError: `der` is no certificate, or its names are not well formed.
    """
    fields = to_be_signed(der)
    dns: list[bytes] = []
    addresses: list[bytes] = []
    alternatives = _alternative_names(der, fields)
    if len(alternatives) == 1:
        value = alternatives[0]
        general_names = element(der, value.content, value.end)
        if general_names.tag != SEQUENCE or general_names.end != value.end:
            raise ValueError("DER: subjectAltName is not well formed")
        for name in children(der, general_names):
            if name.tag == DNS_NAME:
                dns.append(der[name.content : name.end])
            elif name.tag == IP_ADDRESS:
                addresses.append(der[name.content : name.end])
    return CertificateNames(tuple(dns), tuple(addresses), _common_names(der, expect(fields, 4, SEQUENCE)))


def _alternative_names(der: bytes, fields: list[Element]) -> list[Element]:
    """The OCTET STRINGs of every subjectAltName extension."""
    found = []
    for field in fields[6:]:
        if field.tag != EXPLICIT_3:
            continue
        for extension in children(der, expect(children(der, field), 0, SEQUENCE)):
            parts = children(der, extension)
            identifier = expect(parts, 0, OID)
            if der[identifier.content : identifier.end] == SUBJECT_ALT_NAME:
                found.append(expect(parts, len(parts) - 1, OCTET_STRING))
    return found


def _common_names(der: bytes, subject: Element) -> tuple[bytes, ...]:
    found = []
    for relative in children(der, subject):
        for attribute in children(der, relative):
            parts = children(der, attribute)
            identifier = expect(parts, 0, OID)
            if der[identifier.content : identifier.end] != COMMON_NAME or len(parts) != 2:
                continue
            encoding = STRING_ENCODINGS.get(parts[1].tag)
            if encoding is None:
                continue
            value = der[parts[1].content : parts[1].end]
            found.append(value.decode(encoding).encode() if encoding else value)
    return tuple(found)
