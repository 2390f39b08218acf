"""Requests through proxies, on every face: each kind, chains, TLS inside TLS, hostile proxies, and the pool."""

from __future__ import annotations

import base64
import os
import socket
import threading
from typing import Any

import pytest

from support import peers
from support.faces import FACES, face
from support.https import Pki, Seen, secure, serve, tls_of
from support.proxies import ACCEPTING, OPEN, accept_connect, accept_socks5, take_connect, take_socks5
from support.scripted_server import (
    Peer,
    Script,
    ScriptedServer,
    answer,
    await_close,
    close,
    drip,
    flood,
    read_request,
    reset,
    scripted,
    send,
    send_bytewise,
    stall,
)
from support.tls import HOST, dns
from turbosock import (
    Cancelled,
    CancelToken,
    Client,
    ClientClosed,
    Config,
    ConnectTimeout,
    InvalidHeader,
    InvalidOption,
    Loop,
    Proxy,
    ProxyError,
    ResolveError,
    Timeline,
    TimelineRecorder,
    Timeouts,
    TlsConfig,
    TlsProviderMode,
    TlsTruncated,
    TlsVerificationError,
    TotalTimeout,
)
from turbosock.client.thread_prewarming import ThreadPrewarming
from turbosock.errors import Origin, Phase
from turbosock.reactor.resolver import Resolver

ORIGIN = "http://origin.example/path?q=1"
SECURE_ORIGIN = f"https://{HOST}/"


@pytest.fixture(params=FACES)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def hop(server: ScriptedServer, scheme: str = "http", **options: Any) -> Proxy:
    return Proxy(scheme, server.host, server.port, **options)


def known_names(resolver: Resolver, names: dict[str, str]) -> None:
    """Let these names have these addresses, and no other one any."""

    def resolve(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        if host not in names:
            raise OSError(-2, "Name or service not known")
        return [(2, kind, 6, "", (names[host], port))]

    resolver._getaddrinfo = resolve


# Each kind alone


def test_plain_request_is_forwarded_with_its_whole_url(kind: str) -> None:
    with scripted((*(read_request, answer()) * 2, await_close)) as proxy:
        with face(kind, proxy=f"http://alice:secret@{proxy.host}:{proxy.port}") as user:
            for _ in range(2):
                assert user.get(ORIGIN).content == b"ok"
        assert proxy.accepted == 1
        first = proxy.requests[0]
    assert first.startswith(b"GET http://origin.example/path?q=1 HTTP/1.1\r\nHost: origin.example\r\n")
    assert b"\r\nProxy-Authorization: Basic " + base64.b64encode(b"alice:secret") + b"\r\n" in first


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
def test_tunnel_is_asked_for_by_name_and_the_origin_sees_nothing_of_it(kind: str, scheme: str) -> None:
    with scripted((ACCEPTING[scheme], *(read_request, answer()) * 2, await_close)) as server:
        options: dict[str, Any] = {"tunnel": True} if scheme == "http" else {}
        with face(kind, proxy=hop(server, scheme, username="alice", **options)) as user:
            for _ in range(2):
                assert user.get(ORIGIN).content == b"ok"
        assert server.accepted == 1
        *asked, request, again = server.requests
    assert b"origin.example:80" in b"".join(asked)
    assert request == again
    assert request.startswith(b"GET /path?q=1 HTTP/1.1\r\nHost: origin.example\r\n")
    assert b"roxy" not in request
    assert b"alice" not in request


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
def test_tunnel_of_a_proxy_that_takes_addresses_is_asked_for_by_address(kind: str, scheme: str) -> None:
    with scripted((ACCEPTING[scheme], read_request, answer(), await_close)) as server:
        with face(kind, proxy=hop(server, scheme)) as user:
            known_names(user.resolver, {"origin.example": "192.0.2.7"})
            assert user.get(ORIGIN).content == b"ok"
        asked = b"".join(server.requests[:-1])
    assert b"192.0.2.7:80" in asked or b"\xc0\0\2\7:80" in asked


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
def test_https_goes_through_a_tunnel_and_is_verified_for_the_origin(kind: str, scheme: str, pki: Pki) -> None:
    seen = Seen.nothing()
    script = (ACCEPTING[scheme], secure(pki.server(seen=seen), seen), *serve(b"one", b"two"))
    with scripted(script) as server:
        with face(kind, proxy=hop(server, scheme), tls=pki.trusting) as user:
            response = user.get(SECURE_ORIGIN)
            assert (response.content, user.get(SECURE_ORIGIN).content) == (b"one", b"two")
            assert response.tls is not None
        assert server.accepted == 1
    assert seen.names == [HOST]


def test_certificate_of_the_proxy_is_not_the_origins(kind: str, pki: Pki) -> None:
    wrong = pki.authority.leaf([dns(b"other.example.com")])
    with (
        scripted((accept_connect, secure(pki.server(wrong)))) as server,
        face(kind, proxy=hop(server), tls=pki.trusting) as user,
    ):
        error = user.error(SECURE_ORIGIN)
    assert isinstance(error, TlsVerificationError)
    assert error.phase is Phase.TLS


@pytest.mark.parametrize("provider", [TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY])
def test_proxy_over_tls_has_tls_inside_tls(kind: str, provider: TlsProviderMode, pki: Pki) -> None:
    outer, inner = Seen.nothing(), Seen.nothing()
    body = os.urandom(300_000)
    script = (
        secure(pki.server(seen=outer), outer),
        accept_connect,
        secure(pki.server(seen=inner, alpn=("http/1.1",)), inner),
        *serve(b"one", body, b"three"),
    )
    with scripted(script) as server:
        proxy = Proxy("https", "localhost", server.port, "alice", "secret")
        tls = TlsConfig(ca_file=pki.trusting.ca_file, provider=provider)
        with face(kind, proxy=proxy, tls=tls) as user:
            assert user.get(SECURE_ORIGIN).content == b"one"
            assert user.get(SECURE_ORIGIN).content == body
            response = user.get(SECURE_ORIGIN)
            assert response.content == b"three"
            assert response.tls is not None and response.tls.alpn == "http/1.1"
        assert server.accepted == 1
        assert b"Proxy-Authorization" in server.requests[0]
        assert b"Proxy-Authorization" not in server.requests[1]
    assert (outer.names, inner.names) == (["localhost"], [HOST])


def test_plain_request_through_a_proxy_over_tls_is_forwarded_inside_it(kind: str, pki: Pki) -> None:
    with scripted((secure(pki.context), *serve(b"one", b"two"))) as server:
        with face(kind, proxy=f"https://localhost:{server.port}", tls=pki.trusting) as user:
            response = user.get(ORIGIN)
            assert (response.content, user.get(ORIGIN).content) == (b"one", b"two")
            # Nobody verified the origin.
            assert response.tls is None
        assert server.requests[0].startswith(b"GET http://origin.example/path?q=1 HTTP/1.1\r\n")


def test_proxy_over_tls_is_verified_even_where_origins_are_not(kind: str, pki: Pki) -> None:
    wrong = pki.authority.leaf([dns(b"other.example.com")])
    with scripted((secure(pki.server(wrong)),)) as server:
        lax = TlsConfig(verify=False)
        for tls in (pki.trusting, lax):
            with face(kind, proxy=f"https://localhost:{server.port}", tls=tls) as user:
                error = user.error(SECURE_ORIGIN)
            assert isinstance(error, TlsVerificationError)
            assert error.phase is Phase.PROXY
        assert server.requests == []
    with (
        scripted((secure(pki.server(wrong)), accept_connect, secure(pki.context), *serve(b"one"))) as server,
        face(kind, proxy=hop(server, "https", tls=lax), tls=pki.trusting) as user,
    ):
        assert user.get(SECURE_ORIGIN).content == b"one"


def test_certificate_and_pins_for_origins_are_not_for_proxies(kind: str, pki: Pki) -> None:
    outer, inner = Seen.nothing(), Seen.nothing()
    asking = pki.server(client_ca=pki.authority.pem, seen=inner)
    optional = pki.server(seen=outer)
    optional.verify_mode = 1  # type: ignore[assignment]  # CERT_OPTIONAL
    optional.load_verify_locations(cadata=pki.authority.pem.decode())
    script = (secure(optional, outer), accept_connect, secure(asking, inner), *serve(b"one"))
    with scripted(script) as server:
        tls = TlsConfig(ca_file=pki.trusting.ca_file, cert_file=pki.client_certificate(), server_name=HOST)
        with face(kind, proxy=f"https://localhost:{server.port}", tls=tls) as user:
            assert user.get(SECURE_ORIGIN).content == b"one"
    assert outer.certificates == [None]
    assert inner.certificates != [None]
    assert outer.names == ["localhost"]


@pytest.mark.parametrize("provider", [TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY])
def test_records_inside_that_come_in_one_outside_are_all_read(kind: str, provider: TlsProviderMode, pki: Pki) -> None:
    # No poller tells of the second one: it is here when the first one is.
    def answer_in_pieces(peer: Peer) -> None:
        inner = tls_of(peer)
        pieces = (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"one", b"two")
        inner.raw.sendall(b"".join(inner.encrypt(piece) for piece in pieces))

    script = (secure(pki.context), accept_connect, secure(pki.context), *(read_request, answer_in_pieces) * 3)
    with scripted((*script, await_close)) as server:
        tls = TlsConfig(ca_file=pki.trusting.ca_file, provider=provider)
        with face(kind, proxy=f"https://localhost:{server.port}", tls=tls) as user:
            for _ in range(3):
                assert user.get(SECURE_ORIGIN).content == b"onetwo"
        assert server.accepted == 1


def test_tls_inside_tls_is_kept_ready_though_tickets_came(kind: str, pki: Pki) -> None:
    script = (secure(pki.context), accept_connect, secure(pki.context), *serve(b"one", b"two"))
    with scripted(script) as server:
        with face(kind, proxy=f"https://localhost:{server.port}", tls=pki.trusting) as user:
            warm = user.owner.prewarm(SECURE_ORIGIN)
            if isinstance(warm, ThreadPrewarming):
                assert warm.wait(10)
            else:
                user.turn_until(lambda: warm.ready == 1)
            warm.close()
            assert [user.get(SECURE_ORIGIN).content for _ in range(2)] == [b"one", b"two"]
            stats = user.owner.stats().connections
        assert server.accepted == 1
        assert stats.unfit == 0


def test_body_that_the_outer_session_cuts_short_is_not_whole(kind: str, pki: Pki) -> None:
    def cut(peer: Peer) -> None:
        inner = tls_of(peer)
        inner.raw.sendall(inner.encrypt(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf"))
        tls_of(Peer(peer.server, inner.raw)).raw.shutdown(socket.SHUT_WR)

    script = (secure(pki.context), accept_connect, secure(pki.context), read_request, cut, await_close)
    with scripted(script) as server, face(kind, proxy=f"https://localhost:{server.port}", tls=pki.trusting) as user:
        assert isinstance(user.error(SECURE_ORIGIN), TlsTruncated)


# Chains


def test_chain_asks_each_hop_for_the_next_and_the_last_for_the_origin(kind: str, pki: Pki) -> None:
    script = (accept_socks5, accept_connect, ACCEPTING["socks4a"], secure(pki.context), *serve(b"one"))
    with scripted(script) as server:
        hops = (
            hop(server, "socks5h", username="alice", password="first"),
            Proxy("http", "second.example", 3128, "bob", "second"),
            Proxy("socks4a", "third.example", 1080, "carol"),
        )
        with face(kind, proxy=hops, tls=pki.trusting) as user:
            assert user.get(SECURE_ORIGIN).content == b"one"
        credentials, second, third, origin, request = server.requests
    assert credentials == b"alice:first"
    assert second == b"second.example:3128"
    assert third.startswith(b"CONNECT third.example:1080 HTTP/1.1\r\n")
    assert base64.b64encode(b"bob:second") in third
    assert origin == b"carol@" + HOST.encode() + b":443"
    assert b"roxy" not in request


def test_chain_of_proxies_over_tls_nests_three_sessions(kind: str, pki: Pki) -> None:
    names = Seen.nothing()
    context = pki.server(
        pki.authority.leaf([dns(b"localhost"), dns(b"second.example"), dns(HOST.encode())]), seen=names
    )
    body = os.urandom(100_000)
    script: Script = (secure(context), accept_connect, secure(context), accept_connect, secure(context), *serve(body))
    with scripted(script) as server:
        hops = (f"https://localhost:{server.port}", "https://second.example")
        with face(kind, proxy=hops, tls=pki.trusting) as user:
            assert user.get(SECURE_ORIGIN).content == body
    assert names.names == ["localhost", "second.example", HOST]


def test_last_hop_of_a_chain_forwards_plain_requests(kind: str) -> None:
    with scripted((accept_socks5, read_request, answer(), await_close)) as server:
        with face(kind, proxy=(hop(server, "socks5h"), "http://bob:pw@second.example")) as user:
            assert user.get(ORIGIN).content == b"ok"
        assert server.requests[0] == b"second.example:80"
        assert server.requests[1].startswith(b"GET http://origin.example/path?q=1 HTTP/1.1\r\n")


def test_chain_is_kept_ready(kind: str, pki: Pki) -> None:
    script = (accept_socks5, accept_connect, secure(pki.context), *serve(b"one"))
    with scripted(script) as server:
        hops = (hop(server, "socks5h"), "http://second.example:3128")
        with face(kind, proxy=hops, tls=pki.trusting) as user:
            warm = user.owner.prewarm(SECURE_ORIGIN)
            if isinstance(warm, ThreadPrewarming):
                assert warm.wait(10)
            else:
                user.turn_until(lambda: warm.ready == 1)
            assert user.get(SECURE_ORIGIN).content == b"one"
        assert server.accepted >= 1


# What goes wrong


FORBIDDEN = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
ANSWER = b"HTTP/1.1 200 OK\r\n\r\n"
# Scheme, script, code.
HOSTILE: dict[str, tuple[str, Script, str]] = {
    "refused": ("http", (take_connect, send(FORBIDDEN), await_close), "proxy_refused"),
    "auth": ("http", (take_connect, send(b"HTTP/1.1 407 Auth\r\n\r\n"), await_close), "proxy_auth"),
    "away": ("http", (take_connect, send_bytewise(b"HTTP/1.1 502 Bad\r\n\r\n"), await_close), "proxy_unreachable"),
    "closes": ("http", (take_connect, close), "proxy_closed"),
    "closes in the head": ("http", (take_connect, send(b"HTTP/1.1 200 OK\r\n"), close), "proxy_closed"),
    "resets": ("http", (take_connect, reset), "proxy_closed"),
    "nonsense": ("http", (take_connect, send(b"220 smtp ready\r\n"), await_close), "proxy_protocol"),
    "endless": ("http", (take_connect, flood(b"HTTP/1.1 100 Continue\r\n\r\n")), "proxy_protocol"),
    "endless head": ("http", (take_connect, send(b"HTTP/1.1 200 OK\r\n"), flood(b"a: b\r\n")), "proxy_protocol"),
    "early": ("http", (take_connect, send(OPEN + b"\x16\x03\x03"), await_close), "proxy_early_bytes"),
    "early plaintext": ("http", (take_connect, send(OPEN + ANSWER), await_close), "proxy_early_bytes"),
    "not socks": ("socks5h", (send(b"HTTP/1.1 400 Bad\r\n\r\n"), await_close), "proxy_protocol"),
    "no method": ("socks5h", (send(b"\5\xff"), await_close), "proxy_auth"),
    "socks refusal": ("socks5h", (send(b"\5\0\5\5\0\1\0\0\0\0\0\0"), await_close), "proxy_unreachable"),
    "socks early": (
        "socks5h",
        (take_socks5, send(b"\5\0\0\1\0\0\0\0\0\0\x16"), await_close),
        "proxy_early_bytes",
    ),
    "socks4 refusal": ("socks4a", (send(b"\0\x5b\0\0\0\0\0\0"), await_close), "proxy_refused"),
    "tls expected": ("https", (send(b"HTTP/1.1 400 Bad\r\n\r\n"), await_close), "tls_handshake"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_proxy_is_named_with_its_fault_and_not_the_origin(kind: str, what: str, pki: Pki) -> None:
    scheme, script, code = HOSTILE[what]
    with scripted(script) as server:
        secret = None if scheme == "socks4a" else "hunter2"
        proxy = hop(server, scheme, username="alice", password=secret)
        with face(kind, proxy=proxy, tls=pki.trusting) as user:
            for _ in range(2):
                error = user.error(SECURE_ORIGIN)
                assert error.code == code
                assert error.phase is Phase.PROXY
                assert error.url == SECURE_ORIGIN
                assert "hunter2" not in f"{error!r}{error}{error.__cause__}"
                if code.startswith("proxy"):
                    assert isinstance(error, ProxyError)
                    assert error.proxy == f"{scheme}://{server.host}:{server.port}"
            assert user.owner.stats().open == 0


def test_early_bytes_of_a_plain_tunnel_are_nobodys_answer(kind: str) -> None:
    answered = OPEN + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"
    with (
        scripted((take_connect, send(answered), await_close)) as server,
        face(kind, proxy=hop(server, tunnel=True)) as user,
    ):
        with pytest.raises(ProxyError) as caught:
            user.get(ORIGIN)
        assert caught.value.code == "proxy_early_bytes"


def test_reply_in_single_bytes_opens_the_way(kind: str) -> None:
    with (
        scripted((take_connect, send_bytewise(OPEN), read_request, answer(), await_close)) as server,
        face(kind, proxy=hop(server, tunnel=True)) as user,
    ):
        assert user.get(ORIGIN).content == b"ok"


@pytest.mark.parametrize("script", [(take_connect, stall), (take_connect, send(b"HTTP/1.1 200"), drip(b"0", 0.05))])
def test_proxy_that_stalls_or_drips_ends_at_the_deadline(kind: str, script: Script) -> None:
    with scripted(script) as server:
        proxy = hop(server, tunnel=True)
        for timeouts, wanted in (
            (Timeouts(handshake_s=0.2), ConnectTimeout),
            (Timeouts(connect_s=0.2), ConnectTimeout),
            (Timeouts(total_s=0.2, connect_s=0.2), TotalTimeout),
        ):
            with face(kind, proxy=proxy, timeouts=timeouts) as user:
                error = user.error(ORIGIN)
            assert isinstance(error, (wanted, ProxyError))
            assert error.phase is Phase.PROXY
        server.stopping.set()


def test_proxy_that_is_not_there_is_an_error_of_the_proxy(kind: str) -> None:
    port = peers.unused_port()
    with face(kind, proxy=f"http://127.0.0.1:{port}") as user:
        error = user.error(SECURE_ORIGIN)
    assert isinstance(error, ProxyError)
    assert (error.code, error.phase, error.origin) == ("proxy_connect", Phase.PROXY, Origin.REMOTE)


def test_name_of_a_proxy_that_is_not_found_is_an_error_of_the_proxy(kind: str) -> None:
    with face(kind, proxy="http://proxy.example") as user:
        known_names(user.resolver, {})
        error = user.error(ORIGIN)
    assert isinstance(error, ProxyError)
    assert (error.code, error.phase) == ("proxy_resolve", Phase.PROXY)


def test_name_of_an_origin_that_is_not_found_is_no_error_of_the_proxy(kind: str) -> None:
    with scripted((stall,)) as server:
        with face(kind, proxy=hop(server, "socks5")) as user:
            known_names(user.resolver, {})
            error = user.error(ORIGIN)
        assert type(error) is ResolveError
        assert error.phase is Phase.RESOLVE
        assert server.accepted == 0


def test_origin_without_ipv4_is_too_much_for_socks4(kind: str) -> None:
    with scripted((stall,)) as server, face(kind, proxy=hop(server, "socks4")) as user:
        error = user.error("http://[::1]/")
    assert isinstance(error, ProxyError)
    assert error.code == "proxy_unsupported"


def test_cancel_ends_a_wait_for_a_proxy() -> None:
    arrived = threading.Event()

    def note(peer: Any) -> None:
        take_connect(peer)
        arrived.set()

    with scripted((note, stall)) as server, face("stream", proxy=hop(server, tunnel=True)) as user:
        token, errors = CancelToken(), list[BaseException]()

        def ask() -> None:
            try:
                user.get(ORIGIN, cancel=token)
            except Cancelled as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert arrived.wait(10)
        token.cancel()
        thread.join(10)
        assert len(errors) == 1
        server.stopping.set()


def test_cancel_of_an_exchange_ends_its_way_through_a_proxy() -> None:
    with scripted((take_connect, stall)) as server, face("loop", proxy=hop(server, tunnel=True)) as user:
        assert isinstance(user.owner, Loop)
        exchange = user.owner.get(ORIGIN)
        user.turn_until(lambda: bool(server.requests))
        exchange.cancel()
        user.turn_until(lambda: exchange.done)
        assert isinstance(exchange.error, Cancelled)
        assert exchange.error.phase is Phase.PROXY
        assert user.owner.stats()[:3] == (0, 0, 0)
        server.stopping.set()


def test_close_of_a_loop_ends_ways_through_proxies() -> None:
    with scripted((take_connect, stall)) as server, face("loop", proxy=hop(server, tunnel=True)) as user:
        assert isinstance(user.owner, Loop)
        exchange = user.owner.get(ORIGIN)
        user.turn_until(lambda: bool(server.requests))
        user.owner.close()
        assert isinstance(exchange.error, ClientClosed)
        server.stopping.set()


def test_forwarding_proxys_own_answers_are_answers(kind: str) -> None:
    with (
        scripted((read_request, answer(b"who?", b"HTTP/1.1 407 Auth\r\n"), await_close)) as server,
        face(kind, proxy=hop(server)) as user,
    ):
        response = user.get(ORIGIN)
        assert (response.status_code, response.content) == (407, b"who?")


def test_timeline_has_the_moment_of_the_proxies(pki: Pki) -> None:
    found: list[tuple[int, ...]] = []

    def note(record: Timeline) -> None:
        found.append((record.resolve_ns, record.connect_ns, record.proxy_ns, record.tls_ns, record.send_ns))
        assert {"proxy", "tls"} <= record.durations_s().keys()

    config = Config(proxy=None, tls=pki.trusting)
    with (
        scripted((accept_connect, secure(pki.context), *serve(b"one"))) as server,
        Client(config, middleware=[TimelineRecorder(note)]) as client,
    ):
        assert client.get(SECURE_ORIGIN, proxy=hop(server)).content == b"one"
    assert found == [tuple(sorted(found[0]))]
    assert found[0][0] > 0


def test_redirect_goes_through_the_requests_own_proxy(kind: str, pki: Pki) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % SECURE_ORIGIN.encode()
    forwarding = (read_request, send(moved), await_close)
    tunnelling = (accept_connect, secure(pki.context), *serve(b"end"))
    with scripted(forwarding, tunnelling) as server:
        proxy = hop(server, username="alice", password="secret")
        with face(kind, tls=pki.trusting) as user:
            assert user.get(ORIGIN, proxy=proxy, follow_redirects=True).content == b"end"
        forwarded, tunnel, request = server.requests
    assert forwarded.startswith(b"GET http://origin.example/path?q=1 ") and b"Proxy-Authorization" in forwarded
    assert tunnel.startswith(b"CONNECT ") and b"Proxy-Authorization" in tunnel
    # What was for the proxy is not for the origin, once it is spoken with itself.
    assert b"roxy" not in request


# The pool, and what decides


def test_connections_through_other_hops_are_not_shared(kind: str) -> None:
    script = (accept_socks5, *(read_request, answer()) * 4, await_close)
    with scripted(script) as server:
        proxy = hop(server, "socks5h")
        with face(kind) as user:
            ways = [proxy.with_credentials(name, "x") for name in ("stream-1", "stream-2", "stream-1")]
            for way in (*ways, proxy):
                assert user.get(ORIGIN, proxy=way).content == b"ok"
        assert server.accepted == 3
        assert server.requests.count(b"stream-1:x") == 1


def test_tls_sessions_are_not_resumed_from_one_stream_to_another(kind: str, pki: Pki) -> None:
    seen = Seen.nothing()
    context = pki.server(seen=seen)
    with scripted((accept_socks5, secure(context, seen), read_request, answer(), close)) as server:
        proxy = hop(server, "socks5h")
        with face(kind, tls=pki.trusting) as user:
            for name in ("one", "one", "two"):
                user.get(SECURE_ORIGIN, proxy=proxy.with_credentials(name, "x"))
    assert seen.resumed == [False, True, False]


def test_request_may_go_without_the_usual_proxy_or_through_another(kind: str) -> None:
    with (
        scripted((read_request, answer(b"direct"), await_close)) as origin,
        scripted((read_request, answer(b"usual"), await_close)) as usual,
        scripted((read_request, answer(b"other"), await_close)) as other,
        face(kind, proxy=hop(usual)) as user,
    ):
        assert user.get(origin.url()).content == b"usual"
        assert user.get(origin.url(), proxy=False).content == b"direct"
        assert user.get(origin.url(), proxy=f"http://{other.host}:{other.port}").content == b"other"


def test_wrong_proxy_of_a_request_is_refused_before_anything_is_sent(kind: str) -> None:
    with face(kind) as user:
        with pytest.raises(InvalidOption, match=r"^proxy: "):
            user.get(ORIGIN, proxy=5)
        with pytest.raises(InvalidOption, match=r"^proxy: ") as caught:
            user.get(ORIGIN, proxy="ftp://alice:hunter2@a")
        assert "hunter2" not in str(caught.value)
        with pytest.raises(InvalidHeader, match="Proxy-Authorization"):
            user.get(ORIGIN, headers={"Proxy-Authorization": "Basic x"})


def test_environment_decides_where_nothing_else_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        scripted((read_request, answer(b"direct"), await_close)) as origin,
        scripted((*(read_request, answer(b"proxied")) * 4, await_close)) as proxy,
    ):
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}:{proxy.port}")
        with face(kind) as user:
            assert user.get(origin.url()).content == b"proxied"
        with face(kind, trust_env=False) as user:
            assert user.get(origin.url()).content == b"direct"
        with face(kind, proxy=False) as user:
            assert user.get(origin.url()).content == b"direct"
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,127.0.0.0/8")
        with face(kind) as user:
            assert user.get(origin.url()).content == b"direct"
            assert user.get("http://origin.example/").content == b"proxied"


def test_no_credential_shows_anywhere(kind: str) -> None:
    with scripted((read_request, answer(), await_close)) as server:
        proxy = hop(server, username="alice", password="hunter2")
        with face(kind, proxy=proxy) as user:
            response = user.get(ORIGIN)
            shown = f"{user.owner!r}{user.owner.config!r}{response!r}{response.prepared!r}{user.owner.stats()!r}"
            shown += repr(response.prepared.origin.key)
    assert "hunter2" not in shown
    assert "alice" not in shown
    assert base64.b64encode(b"alice:hunter2").decode() not in shown
