"""The handshake in steps, on both providers: what is agreed on, what is refused, and what never ends."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest

from support.tls import HOST, Authority, Files, Network, raw_context, receive_waiting, shake
from turbosock.config import ClientAuth, TlsConfig, TlsServerConfig, TlsVersion
from turbosock.errors import StateError, TlsHandshakeError
from turbosock.tls import DONE, WANTS_READ


@pytest.mark.parametrize("version", list(TlsVersion))
def test_handshake_agrees_on_version_cipher_and_protocol(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, version: TlsVersion
) -> None:
    config = replace(trusting, alpn=("h2", "http/1.1"), maximum_version=version)
    client, server = network.sessions(config, replace(serving, alpn=("http/1.1", "h2")))
    assert shake(client, server) == (DONE, DONE)
    for side in (client, server):
        assert side.version == version.value
        assert side.alpn == "http/1.1"
        assert side.cipher == client.cipher != ""
        assert not side.session_reused
    info = client.info()
    assert info[2:7] == (version.value, client.cipher, "http/1.1", False, "off")
    assert info.provider == network.provider.name
    assert info.library == network.provider.library


def test_handshake_without_common_protocol_goes_on_without_one(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = network.connected(replace(trusting, alpn=("h2",)), replace(serving, alpn=("http/1.1",)))
    assert client.alpn is None
    assert server.alpn is None


def test_handshake_fed_byte_by_byte_wants_to_read_until_the_last(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    wire = network.wire(trusting, raw_context(files.write(authority.leaf().pem())))
    assert wire.client.handshake() == WANTS_READ
    flight = wire.server.answer(receive_waiting(wire.far))
    codes = []
    for index in range(len(flight)):
        wire.far.sendall(flight[index : index + 1])
        codes.append(wire.client.handshake())
        if codes[-1] == DONE:
            break
    assert codes[-1] == DONE
    assert set(codes[:-1]) == {WANTS_READ}


def test_handshake_with_a_silent_peer_wants_to_read_for_ever(network: Network, trusting: TlsConfig) -> None:
    near, _ = network.pair()
    client = network.client(near, trusting)
    assert {client.handshake() for _ in range(100)} == {WANTS_READ}


def test_handshake_that_stops_half_way_wants_to_read_for_ever(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    wire = network.wire(trusting, raw_context(files.write(authority.leaf().pem())))
    assert wire.client.handshake() == WANTS_READ
    flight = wire.server.answer(receive_waiting(wire.far))
    wire.far.sendall(flight[: len(flight) // 2])
    assert {wire.client.handshake() for _ in range(100)} == {WANTS_READ}


def test_session_before_its_handshake_moves_no_bytes(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = network.sessions(trusting, serving)
    buffer = bytearray(10)
    for side in (client, server):
        with pytest.raises(StateError, match="handshake is not done"):
            side.recv_into(memoryview(buffer), 10)
        with pytest.raises(StateError, match="handshake is not done"):
            side.send(b"early")
        with pytest.raises(StateError, match="handshake is not done"):
            side.unwrap()


@pytest.mark.parametrize("server_side", [False, True])
@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "not_tls", "does not speak TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls", "does not speak TLS"),
        (b"220 mail.example.com ESMTP ready\r\n", "not_tls", "does not speak TLS"),
    ],
)
def test_plaintext_where_tls_should_be_says_so(
    network: Network,
    trusting: TlsConfig,
    serving: TlsServerConfig,
    said: bytes,
    reason: str,
    words: str,
    server_side: bool,
) -> None:
    near, far = network.pair()
    session = network.server(near, serving) if server_side else network.client(near, trusting)
    session.handshake()
    far.sendall(said)
    with pytest.raises(TlsHandshakeError, match=words) as caught:
        session.handshake()
    assert caught.value.reason == reason


def test_http_request_to_a_tls_port_says_so(network: Network, serving: TlsServerConfig) -> None:
    near, far = network.pair()
    server = network.server(near, serving)
    far.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(TlsHandshakeError, match="plain HTTP") as caught:
        server.handshake()
    assert caught.value.reason == "not_tls"


GARBAGE = {
    "a handshake record of noise": b"\x16\x03\x03\x00\x08" + b"\xff" * 8,
    "an application record too early": b"\x17\x03\x03\x00\x08" + b"\xff" * 8,
    "an unknown kind of record": b"\x63\x03\x03\x00\x04" + b"\xff" * 4,
    "a record longer than any": b"\x16\x03\x03\xff\xff" + b"\0" * 64,
    "a hello that lies about its length": b"\x16\x03\x03\x00\x06\x02\xff\xff\xff\x03\x03",
    "an alert of one byte": b"\x15\x03\x03\x00\x01\x02",
    "a finished out of turn": b"\x16\x03\x03\x00\x10\x14\x00\x00\x0c" + b"\0" * 12,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_in_the_handshake_is_an_error_in_words(network: Network, trusting: TlsConfig, garbage: bytes) -> None:
    near, far = network.pair()
    client = network.client(near, trusting)
    assert client.handshake() == WANTS_READ
    far.sendall(garbage)
    far.close()
    with pytest.raises(TlsHandshakeError, match=f"TLS handshake with {HOST} failed: .+; .+") as caught:
        client.handshake()
    assert caught.value.reason


def test_garbage_fed_byte_by_byte_never_completes(network: Network, trusting: TlsConfig) -> None:
    near, far = network.pair()
    client = network.client(near, trusting)
    assert client.handshake() == WANTS_READ
    failure: TlsHandshakeError | None = None
    for byte in b"\x16\x03\x03\x00\x20" + bytes(range(32)):
        far.sendall(bytes([byte]))
        try:
            assert client.handshake() == WANTS_READ
        except TlsHandshakeError as error:
            failure = error
            break
    assert failure is not None


@pytest.mark.parametrize("after", [0, 1, 40], ids=["at once", "in a header", "in a record"])
def test_peer_that_closes_in_the_handshake_is_an_error(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files, after: int
) -> None:
    wire = network.wire(trusting, raw_context(files.write(authority.leaf().pem())))
    assert wire.client.handshake() == WANTS_READ
    flight = wire.server.answer(receive_waiting(wire.far))
    wire.far.sendall(flight[:after])
    wire.far.close()
    with pytest.raises(TlsHandshakeError, match="closed the connection") as caught:
        wire.client.handshake()
    assert caught.value.reason == "closed"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["TLS 1.0", "TLS 1.1"])
def test_server_of_an_old_version_is_refused(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files, version: ssl.TLSVersion
) -> None:
    context = raw_context(files.write(authority.leaf().pem()), version=version, ciphers="ALL:@SECLEVEL=0")
    client, server = network.raw(trusting, context)
    outcome, _ = shake(client, server)
    assert isinstance(outcome, TlsHandshakeError)
    assert outcome.reason == "protocol_version"
    assert "versions" in str(outcome)


def test_server_older_than_the_minimum_is_refused(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = network.sessions(
        replace(trusting, minimum_version=TlsVersion.TLS_1_3), replace(serving, maximum_version=TlsVersion.TLS_1_2)
    )
    outcome, other = shake(client, server)
    assert isinstance(outcome, TlsHandshakeError)
    assert outcome.reason == "protocol_version"
    assert isinstance(other, TlsHandshakeError)
    assert other.reason == "protocol_version"


@pytest.mark.parametrize("ciphers", ["eNULL:@SECLEVEL=0", "aNULL:@SECLEVEL=0"])
def test_server_without_encryption_or_authentication_is_refused(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files, ciphers: str
) -> None:
    context = raw_context(files.write(authority.leaf().pem()), version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
    for config in (trusting, replace(trusting, ciphers="ALL:eNULL:aNULL"), TlsConfig(verify=False)):
        client, server = network.raw(config, context)
        outcome, _ = shake(client, server)
        assert isinstance(outcome, TlsHandshakeError)
        assert outcome.reason == "handshake_refused"
        assert "ciphers" in str(outcome)


def test_ciphers_limit_tls_1_2(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> None:
    config = replace(trusting, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305", maximum_version=TlsVersion.TLS_1_2)
    client, _ = network.connected(config, serving)
    assert client.cipher == "ECDHE-ECDSA-CHACHA20-POLY1305"


@pytest.mark.parametrize("version", list(TlsVersion))
def test_client_certificate_that_is_missing_is_an_error_on_both_sides(
    network: Network,
    authority: Authority,
    trusting: TlsConfig,
    serving: TlsServerConfig,
    version: TlsVersion,
) -> None:
    demanding = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_data=authority.pem, maximum_version=version)
    client, server = network.sessions(trusting, demanding)
    outcome, other = shake(client, server)
    assert isinstance(other, TlsHandshakeError)
    assert other.reason == "no_client_certificate"
    if version is TlsVersion.TLS_1_3:
        # The client was done before the server looked.
        assert outcome == DONE
        with pytest.raises(TlsHandshakeError, match="asks for a client certificate") as caught:
            client.recv_into(memoryview(bytearray(10)), 10)
        assert caught.value.reason == "client_certificate_required"
    else:
        assert isinstance(outcome, TlsHandshakeError)
        assert "client certificate" in str(outcome)


@pytest.mark.parametrize("version", list(TlsVersion))
def test_client_certificate_of_a_stranger_is_refused(
    network: Network,
    authority: Authority,
    trusting: TlsConfig,
    serving: TlsServerConfig,
    files: Files,
    version: TlsVersion,
) -> None:
    demanding = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_data=authority.pem, maximum_version=version)
    stranger = files.write(Authority("stranger").leaf(None, client=True).pem())
    client, server = network.sessions(replace(trusting, cert_file=stranger), demanding)
    outcome, other = shake(client, server)
    assert isinstance(other, Exception)
    assert "the client's certificate is refused" in str(other)
    if outcome == DONE:
        with pytest.raises(TlsHandshakeError) as caught:
            client.recv_into(memoryview(bytearray(10)), 10)
        outcome = caught.value
    assert isinstance(outcome, TlsHandshakeError)
    assert outcome.reason == "client_certificate_refused"
    assert "unknown authority" in str(outcome)


def test_client_certificate_that_is_good_is_seen_by_the_server(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    leaf = authority.leaf(None, client=True)
    demanding = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_file=files.write(authority.pem))
    client, server = network.connected(replace(trusting, cert_file=files.write(leaf.pem())), demanding)
    assert server.peer_certificate_der == leaf.der
    assert server.peer_chain_der[0] == leaf.der
    assert len(server.peer_chain_der) == 2
    assert client.peer_chain_der[0] == client.peer_certificate_der


def test_client_certificate_is_optional_where_the_server_says_so(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    asking = replace(serving, client_auth=ClientAuth.OPTIONAL, client_ca_data=authority.pem)
    _, server = network.connected(trusting, asking)
    assert server.peer_certificate_der is None
    assert server.peer_chain_der == ()


def test_handshake_on_a_socket_already_reset_is_an_error(network: Network, trusting: TlsConfig) -> None:
    near, far = network.pair()
    far.close()
    client = network.client(near, trusting)
    with pytest.raises(TlsHandshakeError, match="closed the connection"):
        client.handshake()
