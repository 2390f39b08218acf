"""HTTP/2 as users of both faces meet it: bodies of every kind, both ways, and what stands between."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.faces import Face, face
from support.http2_server import Http2Peer, Request, Wire, frame, http2_site, say_path, serving, update
from support.https import Pki, Seen, secure
from support.middleware import Spy
from support.rings import rings_are_free
from support.scripted_server import answer, await_close, read_request, scripted
from turbosock import Client, Config, Loop, Timeouts
from turbosock.errors import Http2Error, ProtocolError, ReadTimeout, TlsHandshakeError, TotalTimeout, WriteTimeout
from turbosock.protocol.http2.frames import DATA, END_STREAM, PADDED
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE

BIG = bytes(range(256)) * 3000


def answer_by_path(http2: Http2Peer, request: Request) -> None:
    """/N answers with N bytes; /N/unknown does so without a length; /echo gives the request's body back."""
    _, first, *rest = request.path.split("/")
    if first == "echo":
        http2.answer(request, bytes(request.body), fields=[("x-method", request[":method"])])
    elif request[":method"] == "HEAD":
        http2.send(http2.head(request.stream_id, 200, [("content-length", first)], end=True))
    else:
        http2.answer(request, BIG[: int(first)], length=not rest, trailers=[("x-end", "here")] if rest else ())


@pytest.fixture(params=["stream", "saea", "loop"])
def any_user(request: pytest.FixtureRequest, wire: Wire) -> Iterator[Face]:
    """Every face over every wire."""
    with face(request.param, diagnostics=True, **wire.options) as made:
        yield made


def test_get_says_http2(any_user: Face, wire: Wire) -> None:
    with http2_site(wire, serving(say_path)) as site:
        for path in ("/a", "/b", "/" + "c" * 5000):
            answer = any_user.get(site.url(path))
            assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, path.encode())
        assert len(site.connections) == 1


@pytest.mark.parametrize("pooled", [True, False])
def test_bodies_of_any_size_come_whole(wire: Wire, pooled: bool) -> None:
    for kind in ("stream", "loop"):
        with (
            face(kind, zero_alloc=pooled, diagnostics=pooled, **wire.options) as user,
            http2_site(wire, serving(answer_by_path)) as site,
        ):
            for size in (0, 1, 16384, 16385, 65536, 65537, len(BIG)):
                for suffix in ("", "/unknown"):
                    answer = user.get(site.url(f"/{size}{suffix}"))
                    assert answer.content == BIG[:size]
                    found = None if answer.trailers is None else answer.trailers.get("x-end")
                    assert found == ("here" if suffix else None)
            assert user.request("HEAD", site.url("/1000")).content == b""
            rings = user.owner.rings.stats()
            assert rings.idle == rings.made or not pooled


def test_uploads_of_any_kind_arrive_whole(any_user: Face, wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)
    with http2_site(wire, serving(answer_by_path)) as site, path.open("rb") as file:
        told: list[tuple[int, int | None]] = []
        for content in (b"", b"small", BIG, iter([b"ab", b"", BIG]), [b"x", b"y"], file):
            whole = content
            if not isinstance(content, bytes):
                whole = {"list_iterator": b"ab" + BIG, "list": b"xy"}.get(type(content).__name__, BIG)
            answer = any_user.request(
                "POST", site.url("/echo"), content=content, progress=lambda done, total: told.append((done, total))
            )
            assert answer.content == whole
            # The last word is of all of it.
            assert not whole or told[-1][0] == len(answer.content)
            assert answer.headers["x-method"] == "POST"
        assert told
        assert len(site.connections) == 1


def test_upload_stops_where_the_window_ends_and_goes_on(any_user: Face, wire: Wire) -> None:
    most: list[int] = []

    def play(http2: Http2Peer) -> None:
        http2.begin((INITIAL_WINDOW_SIZE, 1000))
        http2.synchronise()
        say_path(http2, http2.await_request())
        http2.credits = False
        request = http2.await_head()
        while not request.whole:
            most.append(len(request.body))
            taken = http2.take_frame()
            if taken.kind == DATA:
                http2.send(update(0, len(taken.payload)), update(request.stream_id, len(taken.payload)))
                assert len(taken.payload) <= 1000
        http2.answer(request, bytes(request.body))
        http2.await_close()

    with http2_site(wire, play) as site:
        any_user.get(site.url("/first"))
        assert any_user.request("PUT", site.url("/up"), content=BIG[:20_000]).content == BIG[:20_000]


def test_upload_that_the_server_never_takes_ends_by_the_write_timeout(clear: Wire) -> None:
    timeouts = Timeouts(connect_s=5, read_s=5, write_s=0.2, pool_s=5, total_s=10)
    for kind in ("stream", "loop"):

        def play(http2: Http2Peer) -> None:
            http2.begin()
            http2.credits = False
            stalled = http2.await_head()
            other = http2.await_request()
            while other is stalled:
                other = http2.await_request()
            say_path(http2, other)
            http2.serve(say_path)

        with face(kind, timeouts=timeouts, **clear.options) as user, http2_site(clear, play) as site:
            stalled = user.begin("POST", site.url("/stalled"), content=bytes(1_000_000))
            assert user.get(site.url("/other")).content == b"/other"
            assert isinstance(stalled.outcome(), WriteTimeout)
            assert user.get(site.url("/after")).content == b"/after"


def test_timeouts_are_each_streams_own(user: Face, clear: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/head":
            http2.send(http2.head(request.stream_id, 200, [("content-length", "10")]))
        elif request.path == "/go":
            say_path(http2, request)

    with http2_site(clear, serving(handle)) as site:
        silent = user.begin("GET", site.url("/silent"), timeout=Timeouts(read_s=0.1))
        half = user.begin("GET", site.url("/head"), timeout=Timeouts(read_s=0.1))
        late = user.begin("GET", site.url("/late"), timeout=0.15)
        assert user.get(site.url("/go")).content == b"/go"
        assert isinstance(silent.outcome(), ReadTimeout)
        assert isinstance(half.outcome(), ReadTimeout)
        assert isinstance(late.outcome(), TotalTimeout)
        assert user.get(site.url("/go")).content == b"/go"


def test_interim_answers_are_told_and_a_100_lets_the_body_go(any_user: Face, wire: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        request = http2.await_head()
        assert request["expect"] == "100-continue"
        assert not request.body
        http2.send(http2.head(request.stream_id, 103, [("link", "</a>")]), http2.head(request.stream_id, 100))
        while not request.whole:
            http2.take_frame()
        http2.answer(request, bytes(request.body))
        http2.await_close()

    with http2_site(wire, play) as site:
        told: list[tuple[int, str | None]] = []
        answer = any_user.request(
            "POST",
            site.url("/a"),
            content=b"the body",
            headers={"Expect": "100-continue"},
            on_informational=lambda status, fields: told.append((status, fields.get("link"))),
        )
        assert answer.content == b"the body"
        assert told == [(103, "</a>"), (100, None)]


def test_redirects_cookies_and_codings_work_as_ever(any_user: Face, wire: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/from":
            http2.answer(request, b"moved", 302, [("location", "/to"), ("set-cookie", "a=b")])
        else:
            assert request.get("cookie") == "a=b"
            assert "gzip" in request["accept-encoding"]
            http2.answer(request, gzip.compress(BIG), fields=[("content-encoding", "gzip")])

    with http2_site(wire, serving(handle)) as site:
        answer = any_user.get(site.url("/from"))
        assert answer.content == BIG
        assert [past.status_code for past in answer.history] == [302]
        assert len(site.connections) == 1


def test_padding_and_unknown_frames_change_nothing(any_user: Face, wire: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        http2.send(
            frame(0x77, 0xFF, request.stream_id, b"what?"),
            http2.head(request.stream_id),
            frame(DATA, PADDED, request.stream_id, b"\x03abc\0\0\0"),
            frame(0x78, 0xFF, 0, b""),
            frame(DATA, PADDED | END_STREAM, request.stream_id, b"\x00def"),
        )

    with http2_site(wire, serving(handle)) as site:
        assert any_user.get(site.url("/")).content == b"abcdef"


def test_middleware_sees_each_exchange_once(wire: Wire) -> None:
    for kind in ("client", "loop"):
        spy = Spy()
        config = Config(**wire.options)
        with http2_site(wire, serving(say_path)) as site:
            if kind == "client":
                with Client(config, middleware=[spy]) as client:
                    assert client.get(site.url("/a")).content == b"/a"
            else:
                with Loop(config, middleware=[spy]) as loop:
                    exchange = loop.get(site.url("/a"))
                    Face(loop).turn_until(lambda exchange=exchange: exchange.done)  # type: ignore[misc]
                    assert exchange.content == b"/a"
        spy.check()


def test_end_that_comes_behind_the_last_byte_changes_nothing(user: Face, clear: Wire) -> None:
    whole = threading.Event()

    def handle(http2: Http2Peer, request: Request) -> None:
        http2.answer(request, BIG[:100_000], trailers=[("x-end", "here")], ends=False)
        # The client has asked for more than there is, and waits.
        http2.synchronise()
        whole.set()
        http2.send(http2.headers(request.stream_id, [("x-end", "here")], end=True))

    with http2_site(clear, serving(handle)) as site:
        answer = user.get(site.url("/"))
        assert answer.content == BIG[:100_000]
        assert whole.is_set()
        assert answer.trailers is not None


# What each face does with a body


def test_client_reads_a_stream_in_every_way(wire: Wire, tmp_path: Path) -> None:
    with face("stream", diagnostics=True, **wire.options) as user, http2_site(wire, serving(answer_by_path)) as site:
        client = user.owner
        assert isinstance(client, Client)
        for size in (0, 100, len(BIG)):
            body = BIG[:size]
            for suffix in ("", "/unknown"):
                url = site.url(f"/{size}{suffix}")
                with client.stream("GET", url) as response:
                    assert bytes(response.view()) == body
                with client.stream("GET", url) as response:
                    assert b"".join(bytes(segment) for segment in response.segments()) == body
                with client.stream("GET", url) as response:
                    assert b"".join(response.iter_bytes(7000)) == body
                with client.stream("GET", url) as response:
                    buffer = bytearray(5000)
                    found = b""
                    while count := response.readinto(buffer):
                        found += buffer[:count]
                    assert found == body
                path = tmp_path / "file"
                client.download(url, path)
                assert path.read_bytes() == body
        assert len(site.connections) == 1
        assert rings_are_free(client)


def test_client_reads_lines_as_they_come(clear: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        http2.send(http2.head(request.stream_id))
        for piece in (b"one\ntw", b"o\nthr", b"ee"):
            http2.send(frame(DATA, 0, request.stream_id, piece))
        http2.send(frame(DATA, END_STREAM, request.stream_id))

    with face("stream", **clear.options) as user, http2_site(clear, serving(handle)) as site:
        client = user.owner
        assert isinstance(client, Client)
        with client.stream("GET", site.url("/")) as response:
            assert list(response.iter_lines()) == ["one", "two", "three"]


def test_loop_delivers_into_a_buffer_and_in_events(wire: Wire) -> None:
    with face("loop", diagnostics=True, **wire.options) as user, http2_site(wire, serving(answer_by_path)) as site:
        loop = user.owner
        assert isinstance(loop, Loop)
        for size in (0, 100, len(BIG)):
            for suffix in ("", "/unknown"):
                url = site.url(f"/{size}{suffix}")
                buffer = bytearray(len(BIG))
                exchange = user.request("GET", url, into=buffer)
                assert (exchange.nbytes, bytes(buffer[:size])) == (size, BIG[:size])
                found = b""
                streamed = loop.get(url, stream=True)
                while not streamed.done:
                    loop.poll(1.0)
                    for event in loop.events:
                        if event.data is not None:
                            found += bytes(event.data)
                assert found == BIG[:size]


def test_slow_reader_stops_its_own_stream_alone(clear: Wire) -> None:
    sent: list[int] = []

    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/slow":
            http2.answer(request, BIG * 4)
            sent.append(http2.initial_window - http2.windows[request.stream_id])
        else:
            say_path(http2, request)

    with face("stream", diagnostics=True, **clear.options) as user, http2_site(clear, serving(handle)) as site:
        client = user.owner
        assert isinstance(client, Client)
        with client.stream("GET", site.url("/slow")) as response:
            for index in range(50):
                assert client.get(site.url(f"/{index}")).content == f"/{index}".encode()
            # No more came than was allowed for a stream of which nothing was read.
            assert sent == [site.connections[0].initial_window]
            assert response.content == BIG * 4
        assert len(site.connections) == 1


# Which version


def test_server_without_http2_is_refused_where_nothing_else_is_allowed(clear: Wire) -> None:
    for kind in ("stream", "loop"):
        with scripted((read_request, answer(b"old"), await_close)) as server, face(kind, **clear.options) as user:
            error = user.error(server.url())
            assert isinstance(error, Http2Error)
        tls = Wire("ssl", clear.pki)
        script = (secure(clear.pki.server(alpn=("http/1.1",))), read_request, answer(b"old"), await_close)
        with scripted(script) as server:
            url = f"https://127.0.0.1:{server.port}/"
            with face(kind, http_versions=("HTTP/1.1",), **tls.options) as user:
                assert user.get(url).http_version == "HTTP/1.1"
            with face(kind, **tls.options) as user:
                assert user.get(url).http_version == "HTTP/1.1"
            with face(kind, http_versions=("HTTP/2",), **tls.options) as user:
                refused = user.error(url)
                assert isinstance(refused, ProtocolError | TlsHandshakeError), refused
                assert user.owner.pool.stats().open == 0


@pytest.mark.parametrize("kind", ["ssl", "pyopenssl"])
def test_http11_alone_is_offered_where_http2_is_not_wanted(http2_pki: Pki, kind: str) -> None:
    wire = Wire(kind, http2_pki)
    seen = Seen.nothing()
    script = (
        secure(wire.pki.server(alpn=("h2", "http/1.1"), seen=seen), seen),
        read_request,
        answer(b"old"),
        await_close,
    )
    with scripted(script) as server, face("stream", http_versions=("HTTP/1.1",), **wire.options) as user:
        assert user.get(f"https://127.0.0.1:{server.port}/").content == b"old"
        assert seen.protocols == ["http/1.1"]
