"""Sessions that go on, on both providers: when they may, and everything that keeps them apart."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest

from support.tls import HOST, Authority, Files, Network, receive, shake
from turbosock import limits
from turbosock.config import TlsConfig, TlsServerConfig, TlsVerdict, TlsVersion
from turbosock.errors import TlsVerificationError
from turbosock.tls import DONE


def visit(
    network: Network,
    config: TlsConfig,
    serving: TlsServerConfig,
    host: str = HOST,
    pool_key: object = None,
    *,
    read: bool = True,
) -> bool:
    """Connect, read one message, close; whether the session was resumed."""
    # Nothing else refers to these sessions: the engine's own memory of a connection ends with it.
    provider = network.provider
    near, far = socket.socketpair()
    client = provider.wrap(near, provider.client_context(config), host, 443, pool_key)
    server = provider.wrap_server(far, provider.server_context(serving))
    assert shake(client, server) == (DONE, DONE)
    if read:
        server.send(b"hello")
        assert receive(client) == b"hello"
    assert client.info().resumed == client.session_reused
    client.close()
    server.close()
    return client.session_reused


@pytest.mark.parametrize("version", list(TlsVersion))
def test_session_is_resumed_by_the_next_connections(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, version: TlsVersion
) -> None:
    config = replace(trusting, maximum_version=version)
    assert [visit(network, config, serving) for _ in range(4)] == [False, True, True, True]


def test_session_of_tls_1_2_is_kept_without_a_read(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    config = replace(trusting, maximum_version=TlsVersion.TLS_1_2)
    assert [visit(network, config, serving, read=False) for _ in range(2)] == [False, True]


def test_session_without_tickets_is_not_resumed(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    silent = replace(serving, session_tickets=False)
    assert [visit(network, trusting, silent) for _ in range(3)] == [False, False, False]


def test_session_is_not_looked_for_in_every_read_where_the_server_gives_none(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = network.connected(trusting, replace(serving, session_tickets=False))
    for _ in range(5):
        server.send(b"x")
        assert receive(client) == b"x"
    assert client._ticket_due == 0


def test_session_resumption_switched_off_never_resumes(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    config = replace(trusting, session_resumption=False)
    assert [visit(network, config, serving) for _ in range(3)] == [False, False, False]


def test_session_with_a_client_certificate_is_resumed_only_if_asked(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    shown = replace(trusting, cert_file=files.write(authority.leaf(None, client=True).pem()))
    assert [visit(network, shown, serving) for _ in range(2)] == [False, False]
    asked = replace(shown, session_with_client_cert=True)
    assert [visit(network, asked, serving) for _ in range(2)] == [False, True]


def test_session_of_another_pool_host_or_setting_is_not_resumed(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    from support.tls import dns

    names = [dns(HOST.encode()), dns(b"other.example.com")]
    serving = TlsServerConfig(files.certificate(authority.leaf(names)))
    assert not visit(network, trusting, serving, pool_key="a")
    assert not visit(network, trusting, serving, pool_key="b")
    assert not visit(network, trusting, serving, "other.example.com", "a")
    assert not visit(network, replace(trusting, strict=False), serving, pool_key="a")
    assert not visit(network, replace(trusting, verify=False), serving, pool_key="a")
    assert visit(network, trusting, serving, pool_key="a")


def test_session_unverified_does_not_help_a_verified_connection(
    network: Network, trusting: TlsConfig, files: Files
) -> None:
    impostor = TlsServerConfig(files.certificate(Authority("stranger").leaf()))
    careless = replace(trusting, verify=False)
    assert [visit(network, careless, impostor) for _ in range(2)] == [False, True]
    outcome, _ = shake(*network.sessions(trusting, impostor))
    assert isinstance(outcome, TlsVerificationError)


def test_session_resumed_keeps_the_chain_for_pins_and_callback(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    seen: list[tuple[int, TlsVerdict]] = []

    def watch(chain: tuple[bytes, ...], verdict: TlsVerdict, host: str) -> bool:
        seen.append((len(chain), verdict))
        return len(seen) < 3

    config = replace(trusting, verify_callback=watch)
    assert [visit(network, config, serving) for _ in range(2)] == [False, True]
    outcome, _ = shake(*network.sessions(config, serving))
    assert isinstance(outcome, TlsVerificationError)
    assert seen == [(2, TlsVerdict.VERIFIED)] * 3
    # The refused session is forgotten.
    sessions = network.provider.client_context(config).sessions
    assert sessions is not None
    assert len(sessions) == 0


def test_session_resumed_knows_the_peer(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> None:
    visit(network, trusting, serving)
    client, _ = network.connected(trusting, serving)
    assert client.session_reused
    assert client.peer_certificate_der is not None
    assert client.peer_chain_der[0] == client.peer_certificate_der
    assert len(client.peer_chain_der) == 2


def test_sessions_kept_are_bounded(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_TLS_SESSIONS", 2)
    for key in "abc":
        assert not visit(network, trusting, serving, pool_key=key)
    sessions = network.provider.client_context(trusting).sessions
    assert sessions is not None
    assert len(sessions) == 2
    assert visit(network, trusting, serving, pool_key="c")
    assert not visit(network, trusting, serving, pool_key="a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_session_does_not_cross_a_fork(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> None:
    visit(network, trusting, serving)
    sessions = network.provider.client_context(trusting).sessions
    assert sessions is not None
    assert len(sessions) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            context = network.provider.client_context(trusting)
            kept = context.sessions
            if kept is sessions and len(kept) == 0 and not visit(network, trusting, serving):
                status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(sessions) == 1
