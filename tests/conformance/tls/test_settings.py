"""Contexts from settings, on both providers: one for equal settings, and errors that name a field."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from support.tls import LEAF_KEY, PEM, Authority, Files, Network, key_pem, shake
from turbosock.config import TlsCertificate, TlsConfig, TlsRoots, TlsServerConfig
from turbosock.errors import InvalidOption
from turbosock.tls import DONE


def test_context_is_one_for_a_hundred_equal_settings(network: Network, authority: Authority, files: Files) -> None:
    path = files.write(authority.pem)
    made = network.provider.contexts.made
    contexts = {id(network.provider.client_context(TlsConfig(ca_file=Path(path)))) for _ in range(100)}
    assert len(contexts) == 1
    assert network.provider.contexts.made == made + 1


def test_context_is_another_for_every_difference(network: Network, trusting: TlsConfig) -> None:
    others = [
        replace(trusting, strict=False),
        replace(trusting, alpn=("h2",)),
        replace(trusting, server_name="x.example"),
        replace(trusting, pins=("00" * 32,)),
        replace(trusting, ktls=True),
    ]
    contexts = {id(network.provider.client_context(config)) for config in [trusting, *others]}
    assert len(contexts) == 1 + len(others)


def test_context_is_made_anew_when_a_file_has_changed(
    network: Network, authority: Authority, serving: TlsServerConfig, files: Files
) -> None:
    path = files.write(Authority("before").pem)
    config = TlsConfig(ca_file=path)
    assert shake(*network.sessions(config, serving))[0] != DONE
    Path(path).write_bytes(authority.pem + b"\n")
    assert shake(*network.sessions(config, serving))[0] == DONE


def split(files: Files, authority: Authority, password: bytes | None) -> tuple[str, str]:
    """A certificate and its key in two files."""
    leaf = authority.leaf()
    return files.write(leaf.certificate.public_bytes(PEM)), files.write(key_pem(LEAF_KEY, password))


@pytest.mark.parametrize("password", [None, "opens it", b"opens it", "\u00f6ffnet"])
def test_key_in_a_file_of_its_own_is_opened_by_its_password(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files, password: str | bytes | None
) -> None:
    secret = password.encode() if isinstance(password, str) else password
    certificate = TlsCertificate(*split(files, authority, secret), key_password=password)
    assert shake(*network.sessions(trusting, TlsServerConfig(certificate))) == (DONE, DONE)


def test_password_for_a_key_that_is_not_encrypted_is_not_looked_at(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    certificate = TlsCertificate(*split(files, authority, None), key_password="needless")
    assert shake(*network.sessions(trusting, TlsServerConfig(certificate))) == (DONE, DONE)


@pytest.mark.parametrize("password", [None, "wrong-secret"])
def test_key_that_does_not_open_names_the_field_and_never_the_password(
    network: Network, authority: Authority, files: Files, password: str | None
) -> None:
    cert_file, key_file = split(files, authority, b"right-secret")
    config = TlsConfig(cert_file=cert_file, key_file=key_file, key_password=password)
    with pytest.raises(InvalidOption, match="key_password") as caught:
        network.provider.client_context(config)
    assert "secret" not in str(caught.value)


def test_key_of_another_certificate_is_refused(network: Network, authority: Authority, files: Files) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    cert_file, _ = split(files, authority, None)
    other = files.write(key_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(InvalidOption, match="key_file"):
        network.provider.client_context(TlsConfig(cert_file=cert_file, key_file=other))


@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file", "crl_files", "ca_data", "ciphers"])
def test_setting_that_cannot_be_loaded_is_named(
    network: Network, authority: Authority, files: Files, field: str
) -> None:
    nothing = str(files.directory / "nothing.pem")
    good = files.write(authority.leaf().pem())
    configs = {
        "ca_file": TlsConfig(ca_file=nothing),
        "cert_file": TlsConfig(cert_file=nothing),
        "key_file": TlsConfig(cert_file=good, key_file=nothing),
        "crl_files": TlsConfig(crl_files=(nothing,)),
        "ca_data": TlsConfig(ca_data=b"-----BEGIN CERTIFICATE-----\nnoise\n-----END CERTIFICATE-----\n"),
        "ciphers": TlsConfig(ciphers="eNULL"),
    }
    with pytest.raises(InvalidOption, match=field):
        network.provider.client_context(configs[field])


@pytest.mark.parametrize("noise", [b"no certificate here\n", b""])
def test_roots_without_a_certificate_are_refused(network: Network, files: Files, noise: bytes) -> None:
    with pytest.raises(InvalidOption, match="ca_file"):
        network.provider.client_context(TlsConfig(ca_file=files.write(noise)))


def test_certificate_file_without_a_key_is_refused(network: Network, authority: Authority, files: Files) -> None:
    with pytest.raises(InvalidOption, match=r"^cert_file.+: no private key in it"):
        network.provider.client_context(TlsConfig(cert_file=files.write(authority.pem)))


@pytest.mark.parametrize("by_environment", [False, True])
def test_key_log_names_the_secrets_for_its_owner_only(
    network: Network,
    trusting: TlsConfig,
    serving: TlsServerConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_environment: bool,
) -> None:
    log = tmp_path / "keys.log"
    if by_environment:
        monkeypatch.setenv("SSLKEYLOGFILE", os.fspath(log))
    else:
        trusting = replace(trusting, keylog_file=log)
    network.connected(trusting, serving)
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_key_log_that_cannot_be_written_is_named(network: Network, trusting: TlsConfig, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="keylog_file"):
        network.provider.client_context(replace(trusting, keylog_file=tmp_path))


def test_roots_of_certifi_are_loaded_or_missed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("certifi", reason="pip install certifi")
    assert network.provider.client_context(TlsConfig(roots=TlsRoots.CERTIFI)) is not None


@pytest.mark.parametrize("roots", [TlsRoots.CERTIFI, TlsRoots.TRUSTSTORE])
def test_roots_of_a_package_that_is_missing_say_what_to_install(
    network: Network, monkeypatch: pytest.MonkeyPatch, roots: TlsRoots
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, roots.value, None)
    with pytest.raises(InvalidOption, match=f"roots=TlsRoots.{roots.name}"):
        network.provider.client_context(TlsConfig(roots=roots, strict=False))


def test_roots_of_truststore_verify(
    network: Network, serving: TlsServerConfig, authority: Authority, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("truststore", reason="pip install truststore")
    if network.provider.name != "ssl":
        pytest.skip("truststore works with the system provider")
    config = TlsConfig(roots=TlsRoots.TRUSTSTORE)
    outcome, _ = shake(*network.sessions(config, serving))
    assert getattr(outcome, "reason", "") == "untrusted_root"
    added = replace(config, ca_file=files.write(authority.pem), add_to_system_roots=True)
    assert shake(*network.sessions(added, serving))[0] == DONE


def test_contexts_of_the_system_allow_nothing_that_is_forbidden(network: Network, trusting: TlsConfig) -> None:
    if network.provider.name != "ssl":
        pytest.skip("pyOpenSSL does not tell its options; what they do is tested")
    native = network.provider.client_context(trusting).native
    assert native.options & ssl.OP_NO_COMPRESSION
    assert native.options & ssl.OP_NO_RENEGOTIATION
    assert native.verify_mode is ssl.VerifyMode.CERT_REQUIRED
    assert native.check_hostname
    assert native.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
    assert not native.hostname_checks_common_name
    assert native.minimum_version is ssl.TLSVersion.TLSv1_2
