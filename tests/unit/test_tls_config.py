"""TlsConfig and TlsServerConfig: what they accept, what they name, and that equal settings are equal."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from turbosock.config import (
    ClientAuth,
    Config,
    PinScope,
    TlsCertificate,
    TlsConfig,
    TlsProviderMode,
    TlsRoots,
    TlsServerConfig,
    TlsVerdict,
    TlsVersion,
)
from turbosock.errors import InvalidOption

PIN = "sha256/" + "A" * 43 + "="


def accept_all(chain: tuple[bytes, ...], verdict: TlsVerdict, host: str) -> bool:
    """A callback that can be pickled."""
    return True


# One other value for each field, with what it needs beside it.
OTHERS: dict[str, dict[str, object]] = {
    "provider": {"provider": TlsProviderMode.SYSTEM_ONLY},
    "verify": {"verify": False},
    "check_hostname": {"check_hostname": False},
    "strict": {"strict": False},
    "minimum_version": {"minimum_version": TlsVersion.TLS_1_3},
    "maximum_version": {"maximum_version": TlsVersion.TLS_1_2},
    "ciphers": {"ciphers": "ECDHE+AESGCM"},
    "ca_file": {"ca_file": "ca.pem"},
    "ca_dir": {"ca_dir": "certs"},
    "ca_data": {"ca_data": b"der"},
    "add_to_system_roots": {"ca_file": "ca.pem", "add_to_system_roots": True},
    "roots": {"roots": TlsRoots.CERTIFI},
    "crl_files": {"crl_files": ("crl.pem",)},
    "cert_file": {"cert_file": "client.pem"},
    "key_file": {"cert_file": "client.pem", "key_file": "key.pem"},
    "key_password": {"cert_file": "client.pem", "key_password": "hush"},
    "server_name": {"server_name": "example.com"},
    "alpn": {"alpn": ("h2",)},
    "keylog_file": {"keylog_file": "keys.log"},
    "verify_callback": {"verify_callback": accept_all},
    "pins": {"pins": (PIN,)},
    "pin_scope": {"pin_scope": PinScope.CHAIN},
    "pins_report_only": {"pins_report_only": True},
    "session_resumption": {"session_resumption": False},
    "session_with_client_cert": {"session_with_client_cert": True},
    "ktls": {"ktls": True},
}


def test_tls_config_others_name_every_field() -> None:
    assert OTHERS.keys() == {field.name for field in fields(TlsConfig)}


@pytest.mark.parametrize("field", OTHERS)
def test_tls_config_each_field_counts_in_equality_and_survives_pickling(field: str) -> None:
    config = TlsConfig(**OTHERS[field])  # type: ignore[arg-type]  # the table has every type
    same = TlsConfig(**OTHERS[field])  # type: ignore[arg-type]  # as above
    assert config == same
    assert hash(config) == hash(same)
    assert config != replace(config, **{field: getattr(TlsConfig(), field)})
    assert pickle.loads(pickle.dumps(config)) == config
    assert Config(tls=config) != Config()


def test_tls_config_normalises_what_means_the_same() -> None:
    assert TlsConfig(ca_file=Path("ca.pem")) == TlsConfig(ca_file="ca.pem")
    assert TlsConfig(ca_data=bytearray(b"x")) == TlsConfig(ca_data=b"x")  # type: ignore[arg-type]  # accepted
    assert TlsConfig(alpn=["h2"]) == TlsConfig(alpn=("h2",))  # type: ignore[arg-type]  # lists are accepted
    assert TlsConfig(pins=("00" * 32, PIN)) == TlsConfig(pins=(PIN,))
    assert TlsConfig(pins=(":".join(["00"] * 32),)) == TlsConfig(pins=(PIN,))
    assert TlsConfig(crl_files=(Path("a"),)) == TlsConfig(crl_files=("a",))  # type: ignore[arg-type]  # paths are, too


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("provider", {"provider": "ssl"}),
        ("verify", {"verify": None}),
        ("verify", {"verify": 1}),
        ("strict", {"strict": "yes"}),
        ("minimum_version", {"minimum_version": "TLSv1"}),
        ("minimum_version", {"minimum_version": 771}),
        (
            "maximum_version",
            {"minimum_version": TlsVersion.TLS_1_3, "maximum_version": TlsVersion.TLS_1_2},
        ),
        ("ciphers", {"ciphers": ""}),
        ("ciphers", {"ciphers": "ALL:@SECLEVEL=0"}),
        ("ciphers", {"ciphers": "AES\0NULL"}),
        ("ca_file", {"ca_file": ""}),
        ("ca_file", {"ca_file": b"ca.pem"}),
        ("ca_file", {"ca_file": "a\0b"}),
        ("ca_data", {"ca_data": "pem"}),
        ("ca_data", {"ca_data": b""}),
        ("add_to_system_roots", {"add_to_system_roots": True}),
        ("roots", {"roots": "certifi"}),
        ("crl_files", {"crl_files": "crl.pem"}),
        ("crl_files", {"crl_files": ("crl.pem",), "verify": False}),
        ("key_file", {"key_file": "key.pem"}),
        ("key_password", {"key_password": "hush"}),
        ("key_password", {"cert_file": "c", "key_password": 1234567}),
        ("key_password", {"cert_file": "c", "key_password": "x" * 2000}),
        ("server_name", {"server_name": ""}),
        ("server_name", {"server_name": ".example.com"}),
        ("server_name", {"server_name": "k\u00f6nig.example"}),
        ("server_name", {"server_name": "a b"}),
        ("server_name", {"server_name": 1}),
        ("alpn", {"alpn": "h2"}),
        ("alpn", {"alpn": ("",)}),
        ("alpn", {"alpn": ("x" * 256,)}),
        ("alpn", {"alpn": tuple("x" * 200 + str(i) for i in range(9))}),
        ("keylog_file", {"keylog_file": 3}),
        ("verify_callback", {"verify_callback": "no"}),
        ("pins", {"pins": PIN}),
        ("pins", {"pins": ("sha256/short",)}),
        ("pins", {"pins": ("sha1/" + "A" * 44,)}),
        ("pins", {"pins": tuple(f"{i:064x}" for i in range(65))}),
        ("pin_scope", {"pins": (PIN,), "pin_scope": PinScope.CHAIN, "verify": False}),
    ],
)
def test_tls_config_wrong_value_is_refused_by_name(field: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption, match=field):
        TlsConfig(**options)  # type: ignore[arg-type]  # that is the point


def test_tls_config_password_shows_in_no_text() -> None:
    config = TlsConfig(cert_file="c", key_password="hush-hush")
    certificate = TlsCertificate("c", key_password="hush-hush")
    for holder in (config, certificate, TlsServerConfig(certificate), Config(tls=config)):
        assert "hush" not in repr(holder)


@pytest.mark.parametrize(
    ("cert_file", "resumption", "with_cert", "resumes"),
    [(None, True, False, True), (None, False, False, False), ("c", True, False, False), ("c", True, True, True)],
)
def test_tls_config_resumes_with_a_client_certificate_only_if_asked(
    cert_file: str | None, resumption: bool, with_cert: bool, resumes: bool
) -> None:
    config = TlsConfig(cert_file=cert_file, session_resumption=resumption, session_with_client_cert=with_cert)
    assert config.resumes is resumes


def test_config_tls_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidOption, match="tls="):
        Config(tls={})  # type: ignore[arg-type]  # that is the point


CERTIFICATE = TlsCertificate("c.pem")


def test_tls_server_config_is_hashable_picklable_and_takes_mappings() -> None:
    config = TlsServerConfig(CERTIFICATE, certificates={"A.example.": CERTIFICATE})
    assert config.certificate_pairs == (("a.example", CERTIFICATE),)
    assert hash(config) == hash(TlsServerConfig(CERTIFICATE, certificates=[("a.example", CERTIFICATE)]))
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("certificate", {"certificate": "c.pem"}),
        ("certificates", {"certificates": 5}),
        ("certificates", {"certificates": {"a": "c.pem"}}),
        ("certificates", {"certificates": {"": CERTIFICATE}}),
        ("certificates", {"certificates": {f"h{i}.example": CERTIFICATE for i in range(4097)}}),
        ("sni_callback", {"sni_callback": "x"}),
        ("client_auth", {"client_auth": True}),
        ("client_auth", {"client_auth": ClientAuth.REQUIRED}),
        ("client_ca_file", {"client_ca_file": "ca.pem"}),
        ("alpn", {"alpn": ("",)}),
        ("session_tickets", {"session_tickets": 2}),
    ],
)
def test_tls_server_config_wrong_value_is_refused_by_name(field: str, options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption, match=field):
        TlsServerConfig(**{"certificate": CERTIFICATE, **options})  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("cert_file", [None, "", 3])
def test_tls_certificate_without_a_path_is_refused(cert_file: object) -> None:
    with pytest.raises(InvalidOption, match="cert_file"):
        TlsCertificate(cert_file)  # type: ignore[arg-type]  # that is the point


def test_import_of_turbosock_and_of_its_tls_imports_no_engine() -> None:
    program = (
        "import sys, turbosock, turbosock.tls, turbosock.tls.selfsigned\n"
        "print(sorted({'ssl', '_ssl', 'OpenSSL', 'cryptography', 'certifi', 'truststore'} & sys.modules.keys()))"
    )
    path = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
