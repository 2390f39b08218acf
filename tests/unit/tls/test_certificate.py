"""Keys and names read from DER, held against cryptography's reading, and against every way of being broken."""

from __future__ import annotations

import hashlib
import ipaddress
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.seeds import seeds
from support.tls import LEAF_KEY, Authority, dns, element, ip, uri
from turbosock.tls import certificate

AUTHORITY = Authority()


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_public_key_info_is_the_key_as_cryptography_encodes_it() -> None:
    der = AUTHORITY.leaf().der
    assert certificate.public_key_info(der) == spki(LEAF_KEY.public_key())
    assert certificate.public_key_pin(der) == hashlib.sha256(spki(LEAF_KEY.public_key())).digest()


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_public_key_info_of_other_kinds_of_keys_is_found(kind: str) -> None:
    import datetime

    public: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    if kind == "rsa":
        public = rsa.generate_private_key(65537, 2048).public_key()
    else:
        public = ed25519.Ed25519PrivateKey.generate().public_key()
    name = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder(name, name, public, 2**100, now, now + datetime.timedelta(1))
    from cryptography.hazmat.primitives import hashes

    der = built.sign(AUTHORITY.key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert certificate.public_key_info(der) == public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert certificate.names(der) == ((), (), ())


def test_names_are_those_that_cryptography_reads() -> None:
    address = ipaddress.ip_address("2001:db8::1")
    leaf = AUTHORITY.leaf([dns(b"a.example"), uri(b"https://b.example"), ip(address.packed), dns(b"*.c.example")])
    read = certificate.names(leaf.der)
    extension = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.decode() for name in read.dns] == extension.get_values_for_type(x509.DNSName)
    assert [ipaddress.ip_address(item) for item in read.addresses] == extension.get_values_for_type(x509.IPAddress)
    assert read.common == (b"leaf",)


def test_names_keep_bytes_that_text_would_lose() -> None:
    leaf = AUTHORITY.leaf([dns(b"good\0evil"), dns(b"k\xf6nig"), dns(b"")])
    assert certificate.names(leaf.der).dns == (b"good\0evil", b"k\xf6nig", b"")


def test_names_of_many_are_all_read() -> None:
    many = [f"n{i}.example".encode() for i in range(1000)]
    assert certificate.names(AUTHORITY.leaf([dns(name) for name in many]).der).dns == tuple(many)


def test_common_name_beyond_ascii_is_utf_8() -> None:
    assert certificate.names(AUTHORITY.leaf(None, common_name="k\u00f6nig").der).common == ("k\u00f6nig".encode(),)


def test_names_in_two_extensions_count_as_none() -> None:
    der = AUTHORITY.leaf([dns(b"one.example")]).der
    fields = certificate.to_be_signed(der)
    extensions = certificate.children(der, fields[-1])[0]
    content = der[extensions.content : extensions.end]
    san = element(0x30, element(0x06, b"\x55\x1d\x11") + element(0x04, element(0x30, dns(b"two.example"))))
    doubled = element(0xA3, element(0x30, content + san))
    before = b"".join(der[field.start : field.end] for field in fields[:-1])
    tbs = element(0x30, b"\xa0\x03\x02\x01\x02" + before + doubled)
    assert certificate.names(element(0x30, tbs)).dns == ()


@pytest.mark.parametrize(
    "junk", [b"", b"\x30", b"\x30\x80", b"\x30\x00", b"\x04\x02ab", b"\x30\x84\xff\xff\xff\xff", b"x" * 99]
)
def test_junk_is_refused(junk: bytes) -> None:
    for read in (certificate.public_key_info, certificate.names):
        with pytest.raises(ValueError, match="DER"):
            read(junk)


def test_certificate_cut_short_anywhere_is_refused() -> None:
    der = AUTHORITY.leaf().der
    for end in range(len(der)):
        with pytest.raises(ValueError, match="DER"):
            certificate.public_key_info(der[:end])
    with pytest.raises(ValueError, match="DER"):
        certificate.public_key_info(der + b"\0")


@pytest.mark.parametrize("seed", seeds(20))
def test_damaged_certificate_is_read_or_refused_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    der = AUTHORITY.leaf().der
    for _ in range(200):
        damaged = bytearray(der)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            certificate.public_key_info(bytes(damaged))
            certificate.names(bytes(damaged))
        except ValueError:
            continue
