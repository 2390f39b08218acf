"""Whose name a host is; the comparison itself is proved against OpenSSL in the conformance suite."""

from __future__ import annotations

import pytest

from turbosock.errors import InvalidOption, TlsVerificationError
from turbosock.tls.certificate import CertificateNames
from turbosock.tls.identity import Identity, matches, matches_name


@pytest.mark.parametrize(
    ("host", "name", "packed", "sni"),
    [
        ("Example.COM", "example.com", b"", "example.com"),
        ("example.com.", "example.com", b"", "example.com"),
        ("localhost", "localhost", b"", "localhost"),
        ("1e100.net", "1e100.net", b"", "1e100.net"),
        ("0xcafe.example", "0xcafe.example", b"", "0xcafe.example"),
        ("127.0.0.1", "127.0.0.1", b"\x7f\0\0\1", None),
        ("::1", "::1", b"\0" * 15 + b"\1", None),
        ("FE80::1%eth0", "fe80::1", b"\xfe\x80" + b"\0" * 13 + b"\1", None),
    ],
)
def test_identity_of_a_host_is_canonical(host: str, name: str, packed: bytes, sni: str | None) -> None:
    assert Identity.of(host) == (name, packed, sni)


@pytest.mark.parametrize(
    "host", ["", ".", ".a", "a b", "a\0b", "a\r\nb", "k\u00f6nig.example", "x" * 254, "a:1", "[::1]"]
)
def test_identity_of_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidOption, match="host"):
        Identity.of(host)


@pytest.mark.parametrize("host", ["1", "127.1", "0x7f.1", "1.2.3.04", "256.1.1.1", "1.2.3.4.5", "a.0x", "0X7F000001."])
def test_identity_of_a_number_in_disguise_is_refused_where_it_counts(host: str) -> None:
    with pytest.raises(TlsVerificationError) as caught:
        Identity.of(host)
    assert caught.value.reason == "hostname_mismatch"
    assert Identity.of(host, check=False).sni is None


def test_matches_looks_at_the_common_name_only_if_told_and_alone() -> None:
    identity = Identity.of("a.example")
    alone = CertificateNames((), (), (b"a.example",))
    assert not matches(identity, alone)
    assert matches(identity, alone, common_name=True)
    assert not matches(identity, alone._replace(dns=(b"b.example",)), common_name=True)
    assert matches(identity, alone._replace(addresses=(b"\x7f\0\0\1",)), common_name=True)
    assert not matches(Identity.of("127.0.0.1"), CertificateNames((), (), (b"127.0.0.1",)), common_name=True)


@pytest.mark.parametrize("pattern", [b"", b"*", b"*.", b"*.*", b"*.com", b"*.a..b", b"*.a-.b", b"*.a_b.c", b"a*.b.c"])
def test_wildcard_that_is_none_matches_nothing(pattern: bytes) -> None:
    for host in (b"a.b.c", b"a.com", b"x", b"a.a-.b", b"a.a_b.c", b"aa.b.c"):
        assert not matches_name(pattern, host)
