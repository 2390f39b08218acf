"""The server's side, on both providers: which certificate is shown to which name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from support.tls import HOST, Authority, Files, Leaf, Network, dns, shake
from turbosock.config import TlsCertificate, TlsConfig, TlsServerConfig, TlsVersion
from turbosock.errors import TlsHandshakeError
from turbosock.tls import DONE

Names = dict[str, Leaf]


@pytest.fixture
def leaves(authority: Authority) -> Names:
    return {
        name: authority.leaf([dns(name.encode()), dns(b"*." + name.encode())], common_name=name)
        for name in ("default.example", "one.example", "two.example")
    }


@pytest.fixture
def by_name(leaves: Names, files: Files) -> TlsServerConfig:
    return TlsServerConfig(
        files.certificate(leaves["default.example"]),
        certificates={
            "ONE.example": files.certificate(leaves["one.example"]),
            "*.two.example": files.certificate(leaves["two.example"]),
        },
        alpn=("http/1.1",),
    )


@pytest.mark.parametrize("version", list(TlsVersion))
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("one.example", "one.example"),
        ("One.Example.", "one.example"),
        ("a.two.example", "two.example"),
        ("two.example", "default.example"),
        ("a.b.two.example", "default.example"),
        ("default.example", "default.example"),
        ("nobody.example", "default.example"),
        ("127.0.0.1", "default.example"),
    ],
)
def test_certificate_is_chosen_by_the_name_asked_for(
    network: Network,
    trusting: TlsConfig,
    by_name: TlsServerConfig,
    leaves: Names,
    host: str,
    shown: str,
    version: TlsVersion,
) -> None:
    config = replace(trusting, check_hostname=False, maximum_version=version, alpn=("http/1.1",))
    client, server = network.sessions(config, by_name, host)
    assert shake(client, server) == (DONE, DONE)
    assert client.peer_certificate_der == leaves[shown].der
    # What belongs to no single certificate holds for all of them.
    assert client.alpn == "http/1.1"
    assert server.server_name == (None if host == "127.0.0.1" else host.lower().removesuffix("."))


def calling(found: TlsCertificate | None, asked: list[str | None]) -> Callable[[str | None], TlsCertificate | None]:
    """A callback that notes what it is asked and answers `found`."""

    def choose(name: str | None) -> TlsCertificate | None:
        asked.append(name)
        return found

    return choose


def test_callback_chooses_before_the_names(
    network: Network, trusting: TlsConfig, by_name: TlsServerConfig, leaves: Names, files: Files
) -> None:
    asked: list[str | None] = []
    chosen = files.certificate(leaves["two.example"])
    config = replace(trusting, check_hostname=False)
    for answer, shown in ((chosen, "two.example"), (None, "one.example")):
        serving = replace(by_name, sni_callback=calling(answer, asked))
        client, server = network.sessions(config, serving, "one.example")
        assert shake(client, server) == (DONE, DONE)
        assert client.peer_certificate_der == leaves[shown].der
    client, server = network.sessions(config, serving, "10.0.0.1")
    assert shake(client, server) == (DONE, DONE)
    assert asked == ["one.example", "one.example", None]


def broken(_: str | None) -> TlsCertificate | None:
    raise LookupError("no such customer")


def nonsense(_: str | None) -> TlsCertificate | None:
    return "cert.pem"  # type: ignore[return-value]  # what a careless caller would do


@pytest.mark.parametrize(("callback", "words"), [(broken, "no such customer"), (nonsense, "return a TlsCertificate")])
@pytest.mark.parametrize("version", list(TlsVersion))
def test_callback_that_fails_ends_the_handshake_with_its_error_as_the_cause(
    network: Network,
    trusting: TlsConfig,
    serving: TlsServerConfig,
    callback: Callable[[str | None], TlsCertificate | None],
    words: str,
    version: TlsVersion,
) -> None:
    failing = replace(serving, sni_callback=callback, maximum_version=version)
    client, server = network.sessions(trusting, failing)
    outcome, other = shake(client, server)
    assert isinstance(outcome, TlsHandshakeError)
    assert isinstance(other, TlsHandshakeError)
    assert other.reason == "sni_callback"
    assert words in str(other.__cause__)


def test_certificate_of_a_missing_file_from_a_callback_ends_the_handshake(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    missing = TlsCertificate("/nowhere/certificate.pem")
    client, server = network.sessions(trusting, replace(serving, sni_callback=calling(missing, [])))
    outcome, other = shake(client, server)
    assert isinstance(outcome, TlsHandshakeError)
    assert "cert_file" in str(getattr(other, "__cause__", None))


def test_server_that_was_asked_for_another_host_is_refused_by_the_client(
    network: Network, trusting: TlsConfig, by_name: TlsServerConfig
) -> None:
    outcome, other = shake(*network.sessions(trusting, by_name, HOST))
    assert getattr(outcome, "reason", "") == "hostname_mismatch"
    assert isinstance(other, TlsHandshakeError) or other == DONE
