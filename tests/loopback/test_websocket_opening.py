"""Opening a WebSocket: what is asked, what agrees, what refuses, and the ways there that every request has."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.https import Pki, Seen, secure
from support.in_thread import InThread
from support.proxies import accept_connect
from support.scripted_server import (
    Peer,
    Step,
    answer,
    await_close,
    close,
    drip,
    read_head,
    scripted,
    send,
    stall,
)
from support.tls import HOST
from support.websocket_server import accept, agreement, answer_close, echo, fields_of
from support.websocket_stage import TIMEOUTS, WebSocketStage
from turbosock import (
    Cancelled,
    CancelToken,
    Client,
    ClientClosed,
    Config,
    ConnectionClosed,
    DeflateOptions,
    HeadTooLarge,
    InvalidHeader,
    InvalidOption,
    InvalidUrl,
    Middleware,
    PoolConfig,
    ProtocolError,
    RedirectError,
    RetryPolicy,
    StatusError,
    Timeline,
    TimelineRecorder,
    Timeouts,
    TotalTimeout,
)

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


def answered(change: Callable[[bytes], bytes]) -> Step:
    """Answer with the agreement, changed."""

    def step(peer: Peer) -> None:
        read_head(peer)
        send(change(agreement(peer.server.requests[-1])))(peer)

    return step


def test_request_asks_for_what_it_was_told_to(stage: WebSocketStage) -> None:
    with scripted(stage.script(accept(b"Sec-WebSocket-Protocol: v2.chat\r\n"), answer_close)) as server:
        client = stage.client()
        client.cookies.set("jar", "1", domain=HOST if stage.is_tls else "127.0.0.1", path="/")
        with client.websocket(
            stage.url(server),
            subprotocols=["v1.chat", "v2.chat"],
            origin="https://page.example",
            deflate=DeflateOptions(server_max_window_bits=15),
            params={"x": "ä"},
            headers={"X-Own": "yes", "User-Agent": "me"},
            auth=("user", "password"),
            cookies={"own": "2"},
        ) as ws:
            assert ws.subprotocol == "v2.chat"
            assert ws.url.endswith(f":{server.port}/chat") and ws.url.startswith("wss" if stage.is_tls else "ws")
            assert (ws.tls is not None) is stage.is_tls
            if ws.tls is not None:
                assert ws.tls.alpn in (None, "http/1.1")
    head = server.requests[0]
    assert head.startswith(b"GET /chat?room=1&x=%C3%A4 HTTP/1.1\r\n")
    fields = fields_of(head)
    assert len(fields.pop(b"sec-websocket-key")) == 24
    wanted = {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-version": b"13",
        b"sec-websocket-protocol": b"v1.chat, v2.chat",
        b"sec-websocket-extensions": b"permessage-deflate; client_max_window_bits=12",
        b"origin": b"https://page.example",
        b"x-own": b"yes",
        b"user-agent": b"me",
        b"authorization": b"Basic dXNlcjpwYXNzd29yZA==",
    }
    assert {name: fields.get(name) for name in wanted} == wanted
    assert b"own=2" in fields[b"cookie"]


def test_tls_offers_http_1_1_alone_though_the_client_speaks_http_2(websocket_pki: Pki) -> None:
    seen = Seen.nothing()
    context = websocket_pki.server(alpn=("h2", "http/1.1"), seen=seen)
    for way in ("ssl", "pyopenssl"):
        stage = WebSocketStage(way, websocket_pki)
        script = (secure(context, seen), accept(), echo)
        with scripted(script) as server, stage.client().websocket(stage.url(server)) as ws:
            ws.send("x")
            assert ws.recv() == "x"
            assert ws.tls is not None and ws.tls.alpn == "http/1.1"
        stage.end()
    assert seen.protocols == ["http/1.1"] * 2


def test_keys_of_two_openings_differ(plain: WebSocketStage) -> None:
    with scripted(plain.script(accept(), answer_close)) as server:
        client = plain.client()
        for _ in range(2):
            client.websocket(plain.url(server)).close()
    one, other = (fields_of(head)[b"sec-websocket-key"] for head in server.requests)
    assert one != other


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host/", "write ws://"),
        ("HTTPS://host/", "write wss://"),
        ("http+unix://%2Frun%2Fx/", r"write ws\+unix://"),
        ("host/path", "begin with"),
        ("ftp://host/", "begin with"),
        ("ws:/host", "begin with"),
        ("ws://host/#part", "fragment"),
        ("ws://", "host"),
        ("wss://user:secret@/", "host"),
        (b"ws://host/", "bytes"),
    ],
)
def test_url_that_is_none_of_a_websocket_is_refused_with_a_hint(plain: WebSocketStage, url: Any, words: str) -> None:
    with pytest.raises(InvalidUrl, match=words) as caught:
        plain.client().websocket(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subprotocols": "chat"}, "subprotocols"),
        ({"subprotocols": ["a b"]}, "subprotocols"),
        ({"deflate": "yes"}, "deflate"),
        ({"deflate": 1}, "deflate"),
        ({"max_message": 0}, "max_message"),
        ({"max_message": "1"}, "max_message"),
        ({"origin": 5}, "origin"),
        ({"ping_interval_s": 0}, "ping_interval_s"),
        ({"ping_timeout_s": None}, "ping_timeout_s"),
        ({"close_timeout_s": -1}, "close_timeout_s"),
        ({"timeout": None}, "timeout"),
        ({"cancel": 1}, "cancel"),
        ({"follow_redirects": "no"}, "follow_redirects"),
        ({"proxy": "gopher://x"}, "proxy"),
    ],
)
def test_option_that_cannot_work_is_refused_by_its_name(plain: WebSocketStage, options: Any, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        plain.client().websocket("ws://127.0.0.1:1/", **options)


@pytest.mark.parametrize("name", ["Upgrade", "connection", "Sec-WebSocket-Key", "SEC-WEBSOCKET-EXTENSIONS"])
def test_header_that_the_opening_writes_itself_is_refused(plain: WebSocketStage, name: str) -> None:
    with pytest.raises(InvalidHeader, match=name.lower()):
        plain.client().websocket("ws://127.0.0.1:1/", headers=[(name, "x")])


@pytest.mark.parametrize("value", ["x\r\ny", "x\0"])
def test_control_bytes_are_refused_wherever_they_stand(plain: WebSocketStage, value: str) -> None:
    client = plain.client()
    for options in ({"origin": value}, {"subprotocols": [value]}, {"headers": {"X": value}}, {"headers": {value: "x"}}):
        with pytest.raises(InvalidOption):
            client.websocket("ws://127.0.0.1:1/", **options)
    with pytest.raises(InvalidUrl):
        client.websocket(f"ws://127.0.0.1:1/{value}")


# Answers that refuse


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"403 Forbidden", b"404 Not Found", b"503 Busy"])
def test_status_other_than_101_is_an_error_with_the_answer(stage: WebSocketStage, status: bytes) -> None:
    body = b"" if status.startswith(b"204") else b"the reason is this"
    reply = b"HTTP/1.1 %b\r\nX-Why: because\r\n" % status
    script = answer(body, reply) if body else send(reply + b"\r\n")
    with scripted(stage.script(read_head, script, await_close)) as server:
        client = stage.client()
        with pytest.raises(StatusError, match=status[:3].decode()) as caught:
            client.websocket(stage.url(server))
        response: Any = caught.value.response
        assert caught.value.status_code == int(status[:3])
        assert response.headers["X-Why"] == "because" and response.content == body
        assert client.stats().open == client.stats().idle, "kept for another attempt, at most"


@pytest.mark.parametrize(
    "script",
    [send(b"HTTP/1.1 500 Oh\r\n\r\n" + bytes(1_000_000)), drip(b"HTTP/1.1 500 Oh\r\n\r\n", 0.0001)],
    ids=["long", "endless"],
)
def test_body_of_a_refusal_is_kept_up_to_its_bound(plain: WebSocketStage, script: Step) -> None:
    with scripted((read_head, script)) as server, pytest.raises(StatusError) as caught:
        plain.client(Timeouts(total_s=0.5)).websocket(plain.url(server))
    response: Any = caught.value.response
    assert len(response.content) <= 64 * 1024 and response.status_code == 500


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "no Upgrade": lambda head: head.replace(b"Upgrade: websocket\r\n", b""),
    "another Upgrade": lambda head: head.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "no Connection": lambda head: head.replace(b"Connection: Upgrade\r\n", b""),
    "another Connection": lambda head: head.replace(b"Connection: Upgrade", b"Connection: close"),
    "no Accept": lambda head: head.replace(b"Sec-WebSocket-Accept", b"X-Accept"),
    "wrong Accept": lambda head: head.replace(b"Accept: ", b"Accept: A"),
    "two Accepts": lambda head: head[:-2] + b"Sec-WebSocket-Accept: x\r\n\r\n",
    "subprotocol not offered": lambda head: head[:-2] + b"Sec-WebSocket-Protocol: other\r\n\r\n",
    "extension not offered": lambda head: head[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    "extension that is none": lambda head: head[:-2] + b"Sec-WebSocket-Extensions: =\r\n\r\n",
    "no HTTP": lambda head: b"SSH-2.0-OpenSSH\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_agreement_to_something_else_is_a_protocol_error(plain: WebSocketStage, name: str) -> None:
    with scripted(plain.script(answered(BROKEN[name]), await_close)) as server:
        client = plain.client()
        with pytest.raises(ProtocolError):
            client.websocket(plain.url(server), subprotocols=["chat"])
        assert client.stats().open == 0


@pytest.mark.parametrize(
    "parameters",
    [
        b"; server_max_window_bits=7",
        b"; server_max_window_bits=16",
        b"; client_max_window_bits=15",
        b"; client_max_window_bits",
        b"; unknown",
        b"; server_no_context_takeover=1",
        b"; server_no_context_takeover; server_no_context_takeover",
        b", permessage-deflate",
        b", x-other",
    ],
)
def test_compression_that_was_not_offered_is_a_protocol_error(plain: WebSocketStage, parameters: bytes) -> None:
    extension = b"Sec-WebSocket-Extensions: permessage-deflate" + parameters + b"\r\n"
    with scripted(plain.script(accept(extension), await_close)) as server, pytest.raises(ProtocolError) as caught:
        plain.client().websocket(plain.url(server), deflate=True)
    assert caught.value.code == "bad_extensions"


def test_answer_to_another_key_is_refused(plain: WebSocketStage) -> None:
    def replay(peer: Peer) -> None:
        read_head(peer)
        send(agreement(b"", key=b"dGhlIHNhbXBsZSBub25jZQ=="))(peer)

    with scripted((replay, await_close)) as server, pytest.raises(ProtocolError, match="our key"):
        plain.client().websocket(plain.url(server))


def test_head_that_is_too_large_is_refused(plain: WebSocketStage) -> None:
    for extra in (b"X: " + b"x" * 70_000 + b"\r\n", b"X: y\r\n" * 300):
        with scripted((accept(extra), await_close)) as server, pytest.raises(HeadTooLarge):
            plain.client().websocket(plain.url(server))


def test_interim_answers_before_the_agreement_are_passed_over(stage: WebSocketStage) -> None:
    def step(peer: Peer) -> None:
        read_head(peer)
        send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + agreement(peer.server.requests[-1]))(peer)

    with scripted(stage.script(step, echo)) as server, stage.client().websocket(stage.url(server)) as ws:
        ws.send("x")
        assert ws.recv() == "x"


@pytest.mark.parametrize("before", [b"", SWITCHING, SWITCHING + b"Upgrade: websocket\r\n"])
def test_connection_that_ends_before_the_agreement_is_an_error(plain: WebSocketStage, before: bytes) -> None:
    with scripted((read_head, send(before), close)) as server, pytest.raises(ConnectionClosed):
        plain.client().websocket(plain.url(server))


@pytest.mark.parametrize("script", [stall, drip(SWITCHING + b"X: " + b"x" * 10_000, 0.01)], ids=["silent", "drip"])
def test_opening_keeps_to_its_deadline(stage: WebSocketStage, script: Step) -> None:
    with scripted(stage.script(read_head, script)) as server:
        started = time.monotonic()
        with pytest.raises(TotalTimeout):
            stage.client().websocket(stage.url(server), timeout=0.3)
        assert time.monotonic() - started < 0.6


def test_opening_can_be_cancelled_and_its_end_ends_the_token_s_hold(plain: WebSocketStage) -> None:
    token = CancelToken()
    asked = threading.Event()

    def ask(peer: Peer) -> None:
        read_head(peer)
        asked.set()

    with scripted((accept(), echo), (ask, stall)) as server:
        client = plain.client()
        ws = client.websocket(plain.url(server), cancel=token)
        opening = InThread(lambda: client.websocket(plain.url(server), cancel=token))
        assert asked.wait(5)
        token.cancel()
        assert isinstance(opening.outcome(), Cancelled)
        ws.send("still open")
        assert ws.recv() == "still open"
        ws.close()


def test_opening_ends_with_its_client(plain: WebSocketStage) -> None:
    asked = threading.Event()

    def ask(peer: Peer) -> None:
        read_head(peer)
        asked.set()

    with scripted((ask, stall)) as server:
        client = plain.client()
        opening = InThread(lambda: client.websocket(plain.url(server)))
        assert asked.wait(5)
        client.close()
        assert isinstance(opening.outcome(), ClientClosed)
        with pytest.raises(ClientClosed):
            client.websocket(plain.url(server))


# Ways there


@pytest.mark.parametrize("scheme", [b"ws", b"http", b""])
def test_redirect_is_followed_where_that_is_asked_for(plain: WebSocketStage, scheme: bytes) -> None:
    with scripted((accept(b"Sec-WebSocket-Protocol: chat\r\n"), echo)) as target:

        def redirect(peer: Peer) -> None:
            read_head(peer)
            where = b"//127.0.0.1:%d/there" % target.port
            location = scheme + b":" + where if scheme else where
            send(b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")(peer)

        with scripted((redirect, redirect, await_close)) as server:
            client = plain.client()
            with pytest.raises(StatusError, match="follow_redirects"):
                client.websocket(plain.url(server))
            with client.websocket(
                plain.url(server), follow_redirects=True, subprotocols=["chat"], auth=("a", "b"), origin="http://o"
            ) as ws:
                ws.send("x")
                assert ws.recv() == "x"
                assert ws.url == f"ws://127.0.0.1:{target.port}/there"
    asked, followed = (fields_of(head) for head in (server.requests[1], target.requests[0]))
    assert asked.pop(b"sec-websocket-key") != followed.pop(b"sec-websocket-key"), "a key for each attempt"
    assert b"authorization" in asked and b"authorization" not in followed
    assert followed[b"sec-websocket-protocol"] == b"chat" and followed[b"origin"] == b"http://o"


@pytest.mark.parametrize("location", [b"ftp://x/", b"ws://user@x/", b"http+unix://%2Fx/", b"ws://"])
def test_redirect_to_where_no_websocket_is_is_refused(plain: WebSocketStage, location: bytes) -> None:
    reply = b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    with scripted((read_head, send(reply), await_close)) as server, pytest.raises(RedirectError):
        plain.client().websocket(plain.url(server), follow_redirects=True)


def test_redirect_from_wss_to_ws_is_refused(websocket_pki: Pki) -> None:
    stage = WebSocketStage("ssl", websocket_pki)
    reply = b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: ws://127.0.0.1:1/\r\n\r\n"
    with (
        scripted(stage.script(read_head, send(reply), await_close)) as server,
        pytest.raises(RedirectError) as caught,
    ):
        stage.client().websocket(stage.url(server), follow_redirects=True)
    assert caught.value.code == "redirect_downgrade"
    stage.end()


def test_challenge_is_answered_on_the_same_connection_with_a_new_key(plain: WebSocketStage) -> None:
    from turbosock import DigestAuth

    challenge = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    with scripted((read_head, answer(b"no", challenge), accept(), echo)) as server:
        client = plain.client()
        with client.websocket(plain.url(server), auth=DigestAuth("user", "password")) as ws:
            ws.send("x")
            assert ws.recv() == "x"
        assert server.accepted == 1
    first, second = (fields_of(head) for head in server.requests)
    assert b"authorization" not in first and second[b"authorization"].startswith(b"Digest ")
    assert first[b"sec-websocket-key"] != second[b"sec-websocket-key"]


def test_cookie_of_the_agreement_is_kept(plain: WebSocketStage) -> None:
    with scripted((accept(b"Set-Cookie: session=1\r\n"), answer_close), (accept(), answer_close)) as server:
        client = plain.client()
        client.websocket(plain.url(server)).close()
        client.websocket(plain.url(server)).close()
    assert fields_of(server.requests[1])[b"cookie"] == b"session=1"


def test_refusal_for_a_while_is_tried_again_by_the_policy(plain: WebSocketStage) -> None:
    busy = answer(b"", b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n")
    with (
        scripted((read_head, busy, accept(), echo)) as server,
        Client(Config(timeouts=TIMEOUTS), retries=RetryPolicy(count=2)) as client,
        client.websocket(plain.url(server)) as ws,
    ):
        ws.send("x")
        assert ws.recv() == "x"
    assert len({fields_of(head)[b"sec-websocket-key"] for head in server.requests}) == len(server.requests) == 2


@pytest.mark.parametrize("tls", [False, True])
def test_http_proxy_makes_a_tunnel_for_ws_and_wss(websocket_pki: Pki, tls: bool) -> None:
    stage = WebSocketStage("ssl" if tls else "stream", websocket_pki)
    steps = (secure(websocket_pki.context),) if tls else ()
    with scripted((accept_connect, *steps, accept(), echo)) as proxy:
        url = f"{'wss' if tls else 'ws'}://{HOST}/chat"
        with stage.client().websocket(url, proxy=f"http://user:pw@127.0.0.1:{proxy.port}") as ws:
            ws.send("x")
            assert ws.recv() == "x"
    connect, head = proxy.requests
    assert connect.startswith(b"CONNECT %b:%d HTTP/1.1\r\n" % (HOST.encode(), 443 if tls else 80))
    assert b"roxy-" in connect and b"roxy-" not in head
    assert head.startswith(b"GET /chat HTTP/1.1\r\nHost: %b\r\n" % HOST.encode())
    stage.end()


def test_unix_socket_is_reached_by_its_path(plain: WebSocketStage, tmp_path: Path) -> None:
    path = str(tmp_path / "ws.sock")
    heads: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heads.append(connection.recv(65536))
                connection.sendall(agreement(heads[0]) + b"\x81\x02hi\x88\x00")
                while connection.recv(65536):
                    pass

        serving = InThread(serve)
        with plain.client().websocket(f"ws+unix://{quote(path, safe='')}/chat") as ws:
            assert list(ws) == ["hi"]
            assert ws.url.startswith("ws+unix://")
        assert serving.outcome() is None
    assert heads[0].startswith(b"GET /chat HTTP/1.1\r\nHost: localhost\r\n")


def test_websocket_is_no_connection_of_the_pool(plain: WebSocketStage) -> None:
    with scripted((accept(), echo)) as server:
        client = plain.client(pool=PoolConfig(max_connections=1))
        sockets = [client.websocket(plain.url(server)) for _ in range(3)]
        assert client.stats().open == 0
        for ws in sockets:
            ws.send("x")
            assert ws.recv() == "x"
            ws.close()


def test_connection_of_requests_is_not_used_for_a_websocket(plain: WebSocketStage) -> None:
    with scripted((read_head, answer(), await_close), (accept(), echo)) as server:
        client = plain.client()
        assert client.get(server.url()).content == b"ok"
        client.websocket(plain.url(server)).close()
        assert server.accepted == 2


class Watching(Middleware):
    """Counts what it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def prepare(self, draft: Any) -> None:
        draft.set_default("X-Link", "yes")

    def answered(self, exchange: Any) -> None:
        self.seen.append(f"answered {exchange.status_code}")


def test_middleware_sees_the_opening_as_an_exchange_that_ends_with_its_answer(plain: WebSocketStage) -> None:
    timelines: list[Timeline] = []
    link = Watching()
    links: list[Middleware] = [link, TimelineRecorder(timelines.append)]
    with (
        scripted((accept(), echo)) as server,
        Client(Config(timeouts=TIMEOUTS), middleware=links) as client,
        client.websocket(plain.url(server)) as ws,
    ):
        assert len(timelines) == 1, "its links are left"
        ws.send("x")
        assert ws.recv() == "x"
    assert b"\r\nX-Link: yes\r\n" in server.requests[0]
    assert link.seen == ["answered 101"]


def test_dropped_refusal_leaves_nothing_behind(plain: WebSocketStage) -> None:
    with scripted((read_head, answer(b"x" * 100, b"HTTP/1.1 400 No\r\n"), await_close)) as server:
        client = plain.client()
        for _ in range(1):
            with pytest.raises(StatusError):
                client.websocket(plain.url(server))
        assert client.stats().open == client.stats().idle == 1
        assert client.rings.stats().made <= 2


def test_accept_value_of_these_tests_is_the_one_of_the_rfc() -> None:
    head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in agreement(head)
