"""Whose certificates are accepted, on both providers: every fault with its reason in words, every good one through.

CPython's own odd certificates (Lib/test/certdata: NUL bytes in subject and names, wildcards, IDNA, many names, unusual
kinds of names) are made anew here with the same oddities.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from support.tls import (
    DAY,
    HOST,
    NOW,
    PEM,
    Authority,
    Files,
    Leaf,
    Network,
    Outcome,
    dns,
    element,
    ip,
    raw_context,
    self_signed,
    shake,
    uri,
)
from turbosock.config import TlsConfig, TlsServerConfig
from turbosock.errors import Origin, TlsHandshakeError, TlsVerificationError
from turbosock.tls import DONE


def refused(outcome: Outcome, reason: str, words: str) -> None:
    """Assert that a client refused its server for this reason, and says so."""
    assert isinstance(outcome, TlsVerificationError), outcome
    assert outcome.reason == reason
    assert words in str(outcome)
    assert HOST in str(outcome)
    assert outcome.origin is Origin.TLS


def constrained(authority_names: x509.NameConstraints) -> Callable[[Authority], Leaf]:
    """Make a leaf for HOST below an intermediate authority with these constraints."""
    return lambda root: Authority("constrained", root, [(authority_names, True)]).leaf()


FAULTY: dict[str, tuple[Callable[[Authority], Leaf], str, str]] = {
    "expired": (lambda a: a.leaf(not_before=NOW - 3 * DAY, not_after=NOW - DAY), "expired", "has expired"),
    "not_yet_valid": (
        lambda a: a.leaf(not_before=NOW + DAY, not_after=NOW + 2 * DAY),
        "not_yet_valid",
        "not valid yet",
    ),
    "wrong_host": (lambda a: a.leaf([dns(b"other.example.com")]), "hostname_mismatch", "for other names"),
    "no_names": (lambda a: a.leaf(None, common_name=HOST), "hostname_mismatch", "for other names"),
    "self_signed": (lambda _: self_signed(), "self_signed", "signed itself"),
    "untrusted_root": (lambda _: Authority("stranger").leaf(), "untrusted_root", "no trusted authority"),
    "name_not_permitted": (
        constrained(x509.NameConstraints([x509.DNSName("example.net")], None)),
        "name_constraints",
        "outside what its authority may sign",
    ),
    "name_excluded": (
        constrained(x509.NameConstraints(None, [x509.DNSName("example.com")])),
        "name_constraints",
        "may not sign",
    ),
    "client_only": (lambda a: a.leaf(client=True), "wrong_purpose", "not meant for this use"),
    "no_key_identifier": (lambda a: a.leaf(key_identifier=False), "malformed", "breaks RFC 5280"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_certificate_with_a_fault_is_refused_for_its_reason(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files, fault: str
) -> None:
    make, reason, words = FAULTY[fault]
    client, server = network.sessions(trusting, TlsServerConfig(files.certificate(make(authority))))
    outcome, _ = shake(client, server)
    refused(outcome, reason, words)


def test_chain_without_its_intermediate_is_refused(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    leaf = Authority("between", authority).leaf()
    client, server = network.sessions(trusting, TlsServerConfig(files.certificate(leaf, intermediates=False)))
    outcome, _ = shake(client, server)
    refused(outcome, "untrusted_root", "left out an intermediate")
    client, server = network.sessions(trusting, TlsServerConfig(files.certificate(leaf)))
    assert shake(client, server)[0] == DONE


def test_chain_that_ends_in_a_root_sent_along_is_refused(network: Network, trusting: TlsConfig, files: Files) -> None:
    stranger = Authority("stranger")
    leaf = stranger.leaf()._replace(intermediates=(stranger.certificate,))
    client, server = network.sessions(trusting, TlsServerConfig(files.certificate(leaf)))
    outcome, _ = shake(client, server)
    refused(outcome, "untrusted_root", "authority that is not trusted")


def test_chain_signed_by_a_leaf_is_refused(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    middle = authority.leaf(common_name="no authority", key=key)
    forger = Authority("no authority")
    forger.key = key
    leaf = forger.leaf()._replace(intermediates=(middle.certificate,))
    client, server = network.sessions(trusting, TlsServerConfig(files.certificate(leaf)))
    outcome, _ = shake(client, server)
    assert isinstance(outcome, TlsVerificationError)


def test_revoked_certificate_is_refused_and_its_sibling_accepted(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    revoked, sibling = authority.leaf(), authority.leaf()
    config = replace(trusting, crl_files=(files.write(authority.revocations(revoked)),))
    client, server = network.sessions(config, TlsServerConfig(files.certificate(revoked)))
    refused(shake(client, server)[0], "revoked", "was revoked")
    client, server = network.sessions(config, TlsServerConfig(files.certificate(sibling)))
    assert shake(client, server)[0] == DONE


def test_revocation_list_of_nobody_refuses_everybody(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    config = replace(trusting, crl_files=(files.write(Authority("stranger").revocations()),))
    refused(shake(*network.sessions(config, serving))[0], "no_crl", "no revocation list")


def test_revocation_list_out_of_date_refuses_everybody(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    stale = authority.revocations(next_update=NOW - DAY)
    config = replace(trusting, crl_files=(files.write(stale),))
    refused(shake(*network.sessions(config, serving))[0], "crl_invalid", "not valid now")


ADDRESS = ipaddress.ip_address("127.0.0.1").packed
ADDRESS_6 = ipaddress.ip_address("::1").packed
LONG = b"a" * 63 + b".example.com"

# (host, names in the certificate, whether it is the host's)
NAMES: list[tuple[str, list[bytes], bool]] = [
    ("server.example.com", [dns(b"server.example.com")], True),
    ("SERVER.example.COM", [dns(b"server.EXAMPLE.com")], True),
    ("server.example.com.", [dns(b"server.example.com")], True),
    ("server.example.com", [dns(b"server.example.com.")], False),
    ("server.example.com", [dns(b"a.b"), uri(b"http://x"), ip(ADDRESS), dns(b"server.example.com")], True),
    (
        "server.example.com",
        [dns(f"n{i}.example.net".encode()) for i in range(500)] + [dns(b"server.example.com")],
        True,
    ),
    ("server.example.com", [], False),
    ("server.example.com", [uri(b"https://server.example.com")], False),
    ("server.example.com", [element(0x81, b"a@server.example.com")], False),
    ("localhost", [dns(b"localhost")], True),
    # NUL bytes: what a C string would end at (CVE-2009-2408, CVE-2013-4314).
    ("server.example.com", [dns(b"server.example.com\0.evil.net")], False),
    ("server.example.com", [dns(b"server.example.com\0")], False),
    ("server.example.com", [dns(b"\0")], False),
    ("server.example.com", [dns(b"")], False),
    ("server.example.com", [dns(b"\0server.example.com")], False),
    ("server.example.com", [dns(b"evil.net\0"), dns(b"server.example.com")], True),
    # Wildcards (RFC 6125 section 6.4.3, RFC 9525 section 6.3).
    ("server.example.com", [dns(b"*.example.com")], True),
    ("server.example.com", [dns(b"*.EXAMPLE.com")], True),
    ("example.com", [dns(b"*.example.com")], False),
    ("a.server.example.com", [dns(b"*.example.com")], False),
    ("server.example.com", [dns(b"*.com")], False),
    ("example.com", [dns(b"*.com")], False),
    ("localhost", [dns(b"*")], False),
    ("server.example.com", [dns(b"*")], False),
    ("server.example.com", [dns(b"*.*.com")], False),
    ("server.example.com", [dns(b"server.*.com")], False),
    ("server.example.com", [dns(b"s*.example.com")], False),
    ("server.example.com", [dns(b"*r.example.com")], False),
    ("server.example.com", [dns(b"s*r.example.com")], False),
    ("server.example.com", [dns(b"**.example.com")], False),
    ("server.example.com", [dns(b"*server.example.com")], False),
    ("server.example.com", [dns(b".example.com")], False),
    ("server.example.com", [dns(b"*..com")], False),
    ("server.example.com", [dns(b"*.-example.com")], False),
    ("server.example.com", [dns(b"*.example.com\0")], False),
    ("under_score.example.com", [dns(b"*.example.com")], False),
    ("under_score.example.com", [dns(b"under_score.example.com")], True),
    ("a" * 63 + ".example.com", [dns(LONG)], True),
    # IDNA: compared as written (RFC 9525 section 6.3).
    ("xn--knig-5qa.example.com", [dns(b"xn--knig-5qa.example.com")], True),
    ("xn--knig-5qa.example.com", [dns(b"*.example.com")], True),
    ("xn--knig-5qa.example.com", [dns(b"xn--*.example.com")], False),
    ("xn--knig-5qa.example.com", [dns("k\xf6nig.example.com".encode())], False),
    ("server.example.com", [dns(b"k\xf6nig.example.com"), dns(b"server.example.com")], True),
    ("a.xn--bcher-kva.example", [dns(b"*.xn--bcher-kva.example")], True),
    # Addresses: byte for byte, in iPAddress and nowhere else.
    ("127.0.0.1", [ip(ADDRESS)], True),
    ("127.0.0.1", [ip(ADDRESS_6)], False),
    ("127.0.0.1", [dns(b"127.0.0.1")], False),
    ("127.0.0.1", [dns(b"*.0.0.1")], False),
    ("127.0.0.1", [uri(b"127.0.0.1")], False),
    ("127.0.0.1", [ip(b"127.0.0.1")], False),
    ("127.0.0.1", [ip(ADDRESS + b"\0")], False),
    ("127.0.0.1", [ip(ADDRESS[:3])], False),
    ("127.0.0.1", [dns(b"x.y"), ip(b"\x0a\0\0\x01"), ip(ADDRESS)], True),
    ("127.0.0.2", [ip(ADDRESS)], False),
    ("::1", [ip(ADDRESS_6)], True),
    ("0:0:0:0:0:0:0:1", [ip(ADDRESS_6)], True),
    ("::1", [dns(b"::1")], False),
    ("::ffff:127.0.0.1", [ip(ADDRESS)], False),
    ("fe80::1%eth0", [ip(ipaddress.ip_address("fe80::1").packed)], True),
]


@pytest.mark.parametrize(("host", "names", "good"), NAMES, ids=[f"{i}-{n[0]}" for i, n in enumerate(NAMES)])
def test_certificate_is_the_host_s_by_rfc_9525_only(
    network: Network,
    authority: Authority,
    trusting: TlsConfig,
    files: Files,
    host: str,
    names: list[bytes],
    good: bool,
) -> None:
    # A list without names is malformed already, where RFC 5280 is taken strictly.
    config = replace(trusting, strict=bool(names))
    client, server = network.sessions(config, TlsServerConfig(files.certificate(authority.leaf(names))), host)
    outcome, _ = shake(client, server)
    if good:
        assert outcome == DONE
    else:
        assert isinstance(outcome, TlsVerificationError)
        assert outcome.reason == "hostname_mismatch"


@pytest.mark.parametrize("host", ["0x7f.0.0.1", "0177.0.0.1", "2130706433", "0x7f000001", "127.1", "127.0.0.01"])
@pytest.mark.parametrize("name", [ip(ADDRESS), None], ids=["address", "same name"])
def test_number_that_is_no_dotted_quad_is_refused_before_a_byte_is_sent(
    network: Network, authority: Authority, trusting: TlsConfig, host: str, name: bytes | None
) -> None:
    near, far = network.pair()
    with pytest.raises(TlsVerificationError, match="four decimal numbers") as caught:
        network.client(near, trusting, host)
    assert caught.value.reason == "hostname_mismatch"
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(1)


COMMON_NAMES: list[tuple[str, str, list[bytes] | None, bool]] = [
    ("server.example.com", "server.example.com", None, True),
    ("server.example.com", "*.example.com", None, True),
    ("server.example.com", "server.example.com", [], True),
    ("server.example.com", "server.example.com", [ip(ADDRESS)], True),
    ("server.example.com", "server.example.com", [dns(b"other.example.com")], False),
    ("server.example.com", "other.example.com", None, False),
    ("127.0.0.1", "127.0.0.1", None, False),
]


@pytest.mark.parametrize(("host", "common_name", "names", "good"), COMMON_NAMES)
def test_common_name_counts_only_without_strictness_and_without_dns_names(
    network: Network,
    authority: Authority,
    trusting: TlsConfig,
    files: Files,
    host: str,
    common_name: str,
    names: list[bytes] | None,
    good: bool,
) -> None:
    leaf = TlsServerConfig(files.certificate(authority.leaf(names, common_name=common_name)))
    lenient, _ = shake(*network.sessions(replace(trusting, strict=False), leaf, host))
    assert (lenient == DONE) is good
    strict, _ = shake(*network.sessions(trusting, leaf, host))
    assert isinstance(strict, TlsVerificationError)


def test_not_strict_accepts_what_old_private_authorities_make(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    serving = TlsServerConfig(files.certificate(authority.leaf(key_identifier=False)))
    assert shake(*network.sessions(replace(trusting, strict=False), serving))[0] == DONE


def test_unknown_critical_extension_is_refused_and_a_plain_one_is_not(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5.6"), b"\x05\x00")
    for critical in (False, True):
        leaf = authority.leaf(extensions=[(odd, critical)])
        outcome, _ = shake(*network.sessions(trusting, TlsServerConfig(files.certificate(leaf))))
        assert isinstance(outcome, TlsVerificationError) is critical


def test_verify_off_accepts_anybody(network: Network, files: Files) -> None:
    serving = TlsServerConfig(files.certificate(self_signed([dns(b"nobody")])))
    client, server = network.sessions(TlsConfig(verify=False), serving)
    assert shake(client, server) == (DONE, DONE)


def test_check_hostname_off_still_checks_the_chain(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    config = replace(trusting, check_hostname=False)
    other = TlsServerConfig(files.certificate(authority.leaf([dns(b"other.example.com")])))
    assert shake(*network.sessions(config, other))[0] == DONE
    assert shake(*network.sessions(config, other, "2130706433"))[0] == DONE
    stranger = TlsServerConfig(files.certificate(Authority("stranger").leaf()))
    refused(shake(*network.sessions(config, stranger))[0], "untrusted_root", "no trusted authority")


def test_server_name_is_verified_in_place_of_the_host(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = network.sessions(replace(trusting, server_name=HOST), serving, "10.0.0.1")
    assert shake(client, server) == (DONE, DONE)
    assert server.server_name == HOST
    client, server = network.sessions(replace(trusting, server_name="other.example.com"), serving, HOST)
    outcome, _ = shake(client, server)
    assert isinstance(outcome, TlsVerificationError)


@pytest.mark.parametrize("form", ["pem", "der", "bundle"])
def test_roots_given_as_bytes_are_trusted(
    network: Network, authority: Authority, serving: TlsServerConfig, form: str
) -> None:
    data = authority.pem if form == "pem" else ssl.PEM_cert_to_DER_cert(authority.pem.decode())
    if form == "bundle":
        data = b"# a comment\n" + Authority("first").pem + authority.certificate.public_bytes(PEM)
    assert shake(*network.sessions(TlsConfig(ca_data=data), serving))[0] == DONE


def test_directory_of_roots_is_trusted(
    network: Network, authority: Authority, serving: TlsServerConfig, files: Files
) -> None:
    # The name that `openssl rehash` gives: the hash of the subject; OpenSSL is asked for it.
    import subprocess

    folder = files.directory / "roots"
    folder.mkdir()
    path = files.write(authority.pem)
    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", path]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(authority.pem)
    assert shake(*network.sessions(TlsConfig(ca_dir=folder), serving))[0] == DONE


def test_own_roots_exclude_the_system_s_unless_added(
    network: Network,
    authority: Authority,
    serving: TlsServerConfig,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = files.write(Authority("other").pem)
    monkeypatch.setenv("SSL_CERT_FILE", files.write(authority.pem))
    assert shake(*network.sessions(TlsConfig(), serving))[0] == DONE
    refused(shake(*network.sessions(TlsConfig(ca_file=other), serving))[0], "untrusted_root", "no trusted authority")
    assert shake(*network.sessions(TlsConfig(ca_file=other, add_to_system_roots=True), serving))[0] == DONE


def test_default_roots_refuse_a_private_authority(network: Network, serving: TlsServerConfig) -> None:
    refused(shake(*network.sessions(TlsConfig(), serving))[0], "untrusted_root", "no trusted authority")


def test_server_without_a_certificate_is_refused_whatever_the_engine_says(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = network.sessions(trusting, serving)
    monkeypatch.setattr(type(client), "peer_certificate_der", None)
    refused(shake(client, server)[0], "no_certificate", "showed no certificate")


def test_anonymous_cipher_is_refused_by_a_client_that_verifies(network: Network, trusting: TlsConfig) -> None:
    context = raw_context(None, version=ssl.TLSVersion.TLSv1_2, ciphers="aNULL:@SECLEVEL=0")
    client, server = network.raw(replace(trusting, ciphers="ALL:aNULL"), context)
    outcome, _ = shake(client, server)
    assert isinstance(outcome, TlsHandshakeError)
    assert outcome.reason == "handshake_refused"
