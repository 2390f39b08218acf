"""Pins, bundles and what a context depends on."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from support.tls import Authority
from turbosock.config import TlsConfig, TlsRoots
from turbosock.errors import TlsVerificationError
from turbosock.tls import certificate, trust

AUTHORITY = Authority()


def test_pin_of_is_what_openssl_and_base64_make() -> None:
    der = AUTHORITY.leaf().der
    digest = hashlib.sha256(certificate.public_key_info(der)).digest()
    assert trust.pin_of(der) == "sha256/" + base64.b64encode(digest).decode()


def test_check_pins_with_a_certificate_that_cannot_be_read_refuses() -> None:
    config = TlsConfig(pins=("00" * 32,))
    for chain in ((b"junk",), ()):
        with pytest.raises(TlsVerificationError, match="none that can be read"):
            trust.check_pins(config, chain, "a.example")


def test_split_pem_finds_each_certificate_among_other_things() -> None:
    first, second = AUTHORITY.pem, Authority("other").pem
    bundle = b"# comment\n" + first + b"-----BEGIN X509 CRL-----\nabc\n-----END X509 CRL-----\n" + second + b"tail"
    assert trust.split_pem(bundle) == [first, second]
    assert trust.split_pem(b"nothing") == []


@pytest.mark.parametrize(
    ("config", "roots"),
    [
        (TlsConfig(), TlsRoots.SYSTEM),
        (TlsConfig(roots=TlsRoots.CERTIFI), TlsRoots.CERTIFI),
        (TlsConfig(ca_file="a"), None),
        (TlsConfig(ca_file="a", add_to_system_roots=True), TlsRoots.SYSTEM),
        (TlsConfig(verify=False), None),
    ],
)
def test_default_roots_give_way_to_own_ones(config: TlsConfig, roots: TlsRoots | None) -> None:
    assert trust.default_roots(config) is roots


def test_file_stamps_change_with_the_file_and_ignore_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    paths = (os.fspath(path), None, "/nowhere/b.pem")
    before = trust.file_stamps(paths)
    assert before == (None, None, None)
    path.write_bytes(b"one")
    written = trust.file_stamps(paths)
    assert written == trust.file_stamps(paths) != before
    path.write_bytes(b"longer")
    assert trust.file_stamps(paths) != written
