"""The listener over HTTP/2 with clients that others wrote, curl, nghttp and h2load, and with our own, in both faces."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import MakeClient
from support.http2 import headers, settings
from support.peers import require
from support.running_listener import WAIT_S, RunningListener
from support.tls import Authority, Files, dns, ip
from turbosock import Config, EventKind, Http2Config, Loop, PoolConfig
from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.protocol.http2.frames import PREFACE
from turbosock.reactor.poller import available_pollers
from turbosock.server.http_exchange import HttpExchange

CURL_INSTALL = "apt-get install -y curl"
NGHTTP_INSTALL = "apt-get install -y nghttp2-client"
BIG = bytes(i * 7 % 256 for i in range(65_536)) * 64
AUTHORITY = Authority()
LEAF = AUTHORITY.leaf([dns(b"localhost"), ip(bytes((127, 0, 0, 1)))])
VERSION = {"http_versions": ("HTTP/2",)}
PROVIDERS = {"ssl": TlsProviderMode.SYSTEM_ONLY, "pyopenssl": TlsProviderMode.PYOPENSSL_ONLY}
HELLO = PREFACE + settings()
ONE = PoolConfig(max_connections_per_origin=1)


def answer(exchange: HttpExchange) -> None:
    """A handler with a path for each way of answering."""
    request = exchange.request
    if request.path == "/echo":
        exchange.respond(200, {"X-Version": request.http_version}, request.content)
    elif request.path == "/big":
        exchange.respond(200, None, BIG)
    elif request.path == "/pieces":
        exchange.start(200)
        for i in range(100):
            exchange.send(b"%d\n" % i)
        exchange.end([(b"X-Sum", b"100")])
    elif request.path == "/last":
        exchange.respond(200, {"Connection": "close"}, b"last")
    elif request.path == "/fail":
        raise RuntimeError("as asked")
    else:
        exchange.respond(404, {"Content-Type": "text/plain"}, "nothing here: " + request.path)


PIECES = b"".join(b"%d\n" % i for i in range(100))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def ca_file(files: Files) -> str:
    return files.write(AUTHORITY.pem)


@pytest.fixture(params=["clear", "ssl", "pyopenssl"])
def server(request: pytest.FixtureRequest, files: Files) -> Iterator[RunningListener]:
    tls = None
    if request.param != "clear":
        tls = TlsServerConfig(files.certificate(LEAF), provider=PROVIDERS[request.param])
    with RunningListener(answer, tls) as running:
        yield running


def run(executable: str, install: str, *arguments: str, data: bytes | None = None) -> bytes:
    """What a client writes; AssertionError with its own words when it fails."""
    done = subprocess.run(
        [require(executable, install), *arguments], input=data, capture_output=True, timeout=2 * WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def curl(server: RunningListener, *arguments: str, data: bytes | None = None) -> bytes:
    version = "--http2" if server.listener.url.startswith("https") else "--http2-prior-knowledge"
    return run("curl", CURL_INSTALL, "-sSk", "--max-time", str(WAIT_S), version, *arguments, data=data)


def test_curl_gets_posts_and_reuses_one_connection(server: RunningListener) -> None:
    if server.listener.url.startswith("https"):
        # Over http, curl 7.88 takes no second exchange on a connection (nor does it with other servers).
        status = "%{http_version} %{http_code} %{num_connects}\n"
        nowhere = ("-o", os.devnull)
        out = curl(server, "-w", status, *nowhere, server.url("/pieces"), *nowhere, server.url("/big"))
        assert out == b"2 200 1\n2 200 0\n"
    assert curl(server, server.url("/big")) == BIG
    assert curl(server, server.url("/pieces")) == PIECES
    assert curl(server, "--data-binary", "@-", server.url("/echo"), data=BIG) == BIG
    assert curl(server, "-T", "-", server.url("/echo"), data=BIG) == BIG
    assert curl(server, "-w", "%{http_code}", server.url("/x")) == b"nothing here: /x404"
    assert curl(server, server.url("/last")) == b"last"
    head = curl(server, "-I", server.url("/big"))
    assert head.startswith(b"HTTP/2 200") and f"content-length: {len(BIG)}\r\n".encode() in head
    assert server.listener.stats().http2 == server.listener.stats().accepted


def test_curl_waits_for_a_100_and_reads_an_early_refusal(server: RunningListener) -> None:
    heads = curl(
        server, "-H", "Expect: 100-continue", "--data-binary", "@-", "-D", "-", server.url("/echo"), data=b"z" * 9
    )
    assert re.match(rb"HTTP/2 100 \r\n\r\nHTTP/2 200 \r\n", heads) and heads.endswith(b"z" * 9)
    out = curl(server, "-w", "%{http_code}", "-o", os.devnull, "-T", "-", server.url("/echo"), data=b"x" * 20_000_000)
    assert out == b"413"


def test_curl_of_http1_is_answered_at_the_same_port(server: RunningListener) -> None:
    out = run("curl", CURL_INSTALL, "-sSk", "--http1.1", "-w", "%{http_version}", server.url("/pieces"))
    assert out == PIECES + b"1.1"


@pytest.mark.parametrize("server", ["ssl", "pyopenssl"], indirect=True)
def test_curl_fetches_many_at_once_over_one_connection(server: RunningListener) -> None:
    urls = [argument for _ in range(50) for argument in ("-o", os.devnull, server.url("/big"))]
    codes = curl(server, "--parallel", "--parallel-max", "50", "-w", "%{http_code} %{size_download}\n", *urls)
    assert codes.split(b"\n")[:-1] == [b"200 %d" % len(BIG)] * 50
    assert server.listener.stats().accepted == 1


def test_nghttp_gets_pieces_trailers_and_a_body_back(server: RunningListener, tmp_path: Path) -> None:
    told = run("nghttp", NGHTTP_INSTALL, "-nv", "-H", "x-a: 1", server.url("/pieces"))
    assert b"x-sum: 100" in told and b":status: 200" in told
    body = tmp_path / "body"
    body.write_bytes(BIG)
    assert run("nghttp", NGHTTP_INSTALL, "-d", str(body), server.url("/echo")) == BIG
    many = run("nghttp", NGHTTP_INSTALL, "-nsm", "20", server.url("/big"))
    assert many.count(b" 200 ") == 20


@pytest.mark.parametrize(("clients", "at_once"), [(1, 1), (1, 100), (5, 100)])
def test_h2load_is_answered_every_time(server: RunningListener, clients: int, at_once: int) -> None:
    count = 1000
    out = run(
        "h2load",
        NGHTTP_INSTALL,
        *("-n", str(count), "-c", str(clients), "-m", str(at_once), server.url("/echo")),
    )
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout".encode() in out
    assert b"%d 2xx" % count in out
    stats = server.listener.stats()
    assert (stats.requests, stats.http2, stats.refused, stats.floods) == (count, clients, 0, 0)


def test_h2load_uploads_and_reads_large_bodies(server: RunningListener, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(BIG[:300_000])
    out = run("h2load", NGHTTP_INSTALL, "-n", "100", "-c", "2", "-m", "20", "-d", str(body), server.url("/echo"))
    assert b"100 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert int(re.search(rb"(\d+)\) data", out)[1]) == 100 * 300_000  # type: ignore[index]


def test_our_client_of_every_kind_is_answered(server: RunningListener, make_client: MakeClient, ca_file: str) -> None:
    client = make_client(tls=TlsConfig(ca_file=ca_file), **VERSION)
    for _ in range(2):
        response = client.post(server.url("/echo"), content=BIG)
        assert (response.content, response.http_version) == (BIG, "HTTP/2")
        assert response.headers["x-version"] == "HTTP/2"
        assert client.get(server.url("/big")).content == BIG
        pieces = client.get(server.url("/pieces"))
        assert pieces.content == PIECES and pieces.trailers is not None and pieces.trailers["x-sum"] == "100"
        assert client.head(server.url("/big")).headers["content-length"] == str(len(BIG))
        assert client.get(server.url("/fail")).status_code == 500
    assert server.listener.stats().accepted == 1


def test_our_client_goes_on_with_another_connection_after_each_goodbye(
    server: RunningListener, make_client: MakeClient, ca_file: str
) -> None:
    client = make_client(tls=TlsConfig(ca_file=ca_file), **VERSION)
    for count in range(1, 6):
        assert client.get(server.url("/last")).content == b"last"
        assert client.get(server.url("/echo")).status_code == 200
        assert server.listener.stats().http2 == count + 1


@pytest.mark.parametrize("poller", available_pollers())
@pytest.mark.parametrize("over", ["clear", "ssl", "pyopenssl"])
def test_one_loop_asks_itself_a_thousand_times_over_one_connection(
    poller: str, over: str, files: Files, ca_file: str
) -> None:
    count = 1000
    tls = None if over == "clear" else TlsServerConfig(files.certificate(LEAF), provider=PROVIDERS[over])
    wide = Http2Config(initial_window_bytes=32_768, max_streams=1000)
    config = Config(poller=poller, tls=TlsConfig(ca_file=ca_file), http_versions=("HTTP/2",), http2=wide, pool=ONE)
    waiting: list[HttpExchange] = []
    with Loop(config) as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=waiting.append, tls=tls, http2=wide)
        exchanges = [loop.request("POST", f"{listener.url}/{i}", content=b"%d" % i) for i in range(count)]
        answered = 0
        while answered < count:
            loop.poll(WAIT_S, max_time=0.005)
            for event in loop.events:
                assert event.kind is EventKind.RESPONSE, event.error
                answered += 1
            # Each tick answers what the one before has left.
            for exchange in waiting:
                exchange.respond(200, None, exchange.request.path.encode() + b" " + exchange.request.content)
            waiting.clear()
        assert [exchange.content for exchange in exchanges] == [b"/%d %d" % (i, i) for i in range(count)]
        stats = listener.stats()
        assert (stats.requests, stats.http2, stats.accepted) == (count, 1, 1)


def test_goodbyes_lose_no_request_of_a_loop(files: Files, ca_file: str) -> None:
    count = 200
    with Loop(Config(tls=TlsConfig(ca_file=ca_file))) as loop:

        def sometimes_last(exchange: HttpExchange) -> None:
            number = int(exchange.request.path[1:])
            exchange.respond(200, {"Connection": "close"} if number % 60 == 59 else None, b"%d" % number)

        listener = loop.listen(("127.0.0.1", 0), handler=sometimes_last, tls=TlsServerConfig(files.certificate(LEAF)))
        bodies: list[int] = []
        for i in range(count):
            loop.request("GET", f"{listener.url}/{i}")
        while len(bodies) < count:
            loop.poll(WAIT_S)
            for event in loop.events:
                assert event.kind is EventKind.RESPONSE, event.error
                assert event.exchange is not None
                bodies.append(int(event.exchange.content))
        assert sorted(bodies) == list(range(count))


@pytest.mark.parametrize("agreed", [None, "http/1.1"])
def test_preface_over_tls_is_understood_unless_http1_was_agreed_on(
    files: Files, agreed: str | None, ca_file: str
) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    if agreed is not None:
        context.set_alpn_protocols([agreed])
    get = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/echo"))
    with RunningListener(answer, TlsServerConfig(files.certificate(LEAF))) as running:
        with (
            socket.create_connection(("127.0.0.1", running.port), WAIT_S) as sock,
            context.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(HELLO + headers(1, get, True))
            first = secured.recv(12)
        # A SETTINGS frame, or a refusal in the words of HTTP/1.
        assert first[3:4] == b"\x04" if agreed is None else first == b"HTTP/1.1 505"
        assert running.listener.stats().http2 == (agreed is None)


def test_alpn_of_the_listener_may_leave_http2_out(files: Files, make_client: MakeClient, ca_file: str) -> None:
    tls = TlsServerConfig(files.certificate(LEAF), alpn=("http/1.1",))
    with RunningListener(answer, tls) as running:
        response = make_client(tls=TlsConfig(ca_file=ca_file)).get(running.url("/pieces"))
        assert (response.http_version, response.content) == ("HTTP/1.1", PIECES)
        assert running.listener.stats().http2 == 0


def test_stalled_and_hostile_clients_disturb_nobody(
    server: RunningListener, make_client: MakeClient, ca_file: str
) -> None:
    client = make_client(tls=TlsConfig(ca_file=ca_file), **VERSION)
    hostile = (HELLO[:20], HELLO + b"\xff" * 100, PREFACE + b"\0\0\0\1\1\0\0\0\1", HELLO + b"\0\0\0\3")
    stalled = [socket.create_connection(("127.0.0.1", server.port), WAIT_S) for _ in range(20)]
    try:
        for i, sock in enumerate(stalled):
            sock.sendall(hostile[i % 4])
        for _ in range(5):
            assert client.get(server.url("/echo")).content == b""
    finally:
        for sock in stalled:
            sock.close()
