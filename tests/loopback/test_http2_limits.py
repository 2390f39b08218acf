"""HTTP/2 connections that end, refuse, or take few streams (RFC 9113 §5.1.2, §6.8, §8.7), against both faces."""

from __future__ import annotations

import threading

import pytest

from support.faces import Face, face
from support.http2_server import (
    Http2Peer,
    Request,
    Wire,
    goaway,
    http2_site,
    reset,
    say_path,
    serving,
    settings,
)
from support.scripted_server import half_close
from turbosock import PoolConfig, Timeouts
from turbosock.errors import ConnectionClosed, Http2Error, PoolTimeout, TurbosockError
from turbosock.protocol.http2.error_codes import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, REFUSED_STREAM
from turbosock.protocol.http2.settings import MAX_CONCURRENT_STREAMS

ONE = PoolConfig(max_connections_per_origin=1)


def counts(user: Face) -> tuple[int, int, int]:
    """Connections that are open, idle and in use."""
    stats = user.owner.pool.stats()
    return stats.open, stats.idle, stats.in_use


# GOAWAY


def test_graceful_goaway_lets_open_streams_end_and_others_begin_elsewhere(user: Face, clear: Wire) -> None:
    said = threading.Event()
    end = threading.Event()

    def play(http2: Http2Peer) -> None:
        http2.begin()
        first, second = http2.await_requests(2)
        http2.send(http2.head(first.stream_id), goaway(2**31 - 1))
        http2.synchronise()
        said.set()
        end.wait(20)
        http2.send(goaway(max(first.stream_id, second.stream_id)))
        for request in (first, second):
            if request is first:
                http2.answer_rest(request, request.path.encode())
            else:
                say_path(http2, request)
        http2.await_close()

    with http2_site(clear, play, serving(say_path)) as site:
        exchanges = {path: user.begin("GET", site.url(path)) for path in ("/a", "/b")}
        user.await_event(said)
        assert user.get(site.url("/c")).content == b"/c"
        assert len(site.connections) == 2
        end.set()
        for path, exchange in exchanges.items():
            assert exchange.outcome().content == path.encode()
        site.server.await_ended()
        assert counts(user) == (1, 1, 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_that_a_goaway_leaves_out_is_sent_again(user: Face, clear: Wire, method: str) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        first, _ = sorted(http2.await_requests(2), key=lambda each: each.stream_id)
        http2.send(goaway(first.stream_id, ENHANCE_YOUR_CALM))
        say_path(http2, first)
        http2.await_close()

    with http2_site(clear, play, serving(say_path)) as site:
        exchanges = {path: user.begin(method, site.url(path), content=b"x" * 10) for path in ("/a", "/b")}
        for path, exchange in exchanges.items():
            assert exchange.outcome().content == path.encode()
        site.server.await_ended()
        assert len(site.connections) == 2
        assert counts(user) == (1, 1, 0)


def test_request_before_a_goaway_that_named_it_fails_with_the_connection(user: Face, clear: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        request = http2.await_request()
        http2.send(goaway(request.stream_id, INTERNAL_ERROR))
        half_close(http2.peer)
        http2.await_close()

    with http2_site(clear, play, serving(say_path)) as site:
        error = user.error(site.url("/a"), "POST", content=b"x")
        assert isinstance(error, (ConnectionClosed, Http2Error))
        assert len(site.connections) == 1
        assert user.get(site.url("/b")).content == b"/b"
        assert counts(user) == (1, 1, 0)


def test_idle_connection_whose_server_says_goodbye_is_not_used_again(user: Face, clear: Wire) -> None:
    gone = threading.Event()

    def play(http2: Http2Peer) -> None:
        http2.begin()
        say_path(http2, http2.await_request())
        http2.send(goaway(1))
        half_close(http2.peer)
        gone.set()
        http2.await_close()

    with http2_site(clear, play, serving(say_path)) as site:
        assert user.get(site.url("/a")).content == b"/a"
        user.await_event(gone)
        # Nothing of it was looked at: even a POST is sent again.
        assert user.request("POST", site.url("/b"), content=b"x").content == b"/b"
        assert len(site.connections) == 2
        assert counts(user) == (1, 1, 0)


# Refusals


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_stream_is_sent_again(user: Face, clear: Wire, method: str) -> None:
    refused: list[str] = []

    def handle(http2: Http2Peer, request: Request) -> None:
        if not refused:
            refused.append(request.path)
            http2.send(reset(request.stream_id, REFUSED_STREAM))
        else:
            http2.answer(request, bytes(request.body))

    with http2_site(clear, serving(handle)) as site:
        assert user.request(method, site.url("/a"), content=b"abc").content == b"abc"
        assert refused == ["/a"]


@pytest.mark.parametrize("others", [0, 1])
def test_refused_stream_of_the_only_connection_is_sent_again_there(clear: Wire, others: int) -> None:
    for kind in ("stream", "loop"):
        refused: list[str] = []
        held: list[Request] = []

        def handle(
            http2: Http2Peer, request: Request, refused: list[str] = refused, held: list[Request] = held
        ) -> None:
            if request.path == "/held":
                held.append(request)
            elif len(refused) < 2:
                refused.append(request.path)
                http2.send(reset(request.stream_id, REFUSED_STREAM))
            else:
                say_path(http2, request)
                for other in held:
                    say_path(http2, other)
                held.clear()

        with (
            face(kind, pool=ONE, **clear.options) as user,
            http2_site(clear, serving(handle)) as site,
        ):
            kept = [user.begin("GET", site.url("/held")) for _ in range(others)]
            assert user.begin("POST", site.url("/a"), content=b"x").outcome().content == b"/a"
            for other in kept:
                assert other.outcome().content == b"/held"
            assert refused == ["/a", "/a"]
            assert len(site.connections) == (1 if others else 3)
            assert counts(user) == (1, 1, 0)


def test_stream_that_is_always_refused_fails_in_the_end(user: Face, clear: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        http2.send(reset(request.stream_id, REFUSED_STREAM))

    with http2_site(clear, serving(handle)) as site:
        error = user.error(site.url("/a"))
        assert isinstance(error, Http2Error)
        assert error.error_code == REFUSED_STREAM
        assert counts(user)[2] == 0


@pytest.mark.parametrize("kind", ["iterable", "iterator"])
def test_refused_upload_is_sent_again_only_if_it_can_be(user: Face, clear: Wire, kind: str) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        if len(site.connections) == 1:
            http2.send(reset(request.stream_id, REFUSED_STREAM))
        else:
            http2.answer(request, bytes(request.body))

    with http2_site(clear, serving(handle)) as site:
        content = [b"abc", b"def"] if kind == "iterable" else iter([b"abc", b"def"])
        if kind == "iterable":
            assert user.request("POST", site.url("/a"), content=content).content == b"abcdef"
        else:
            error = user.error(site.url("/a"), "POST", content=content)
            assert isinstance(error, Http2Error)
            assert error.error_code == REFUSED_STREAM


@pytest.mark.parametrize("code", [CANCEL, INTERNAL_ERROR, 0xBEEF])
def test_reset_stream_fails_alone_and_is_not_sent_again(user: Face, clear: Wire, code: int) -> None:
    asked: list[str] = []

    def play(http2: Http2Peer) -> None:
        http2.begin()
        bad, good = sorted(http2.await_requests(2), key=lambda each: each.path)
        asked.extend((bad.path, good.path))
        http2.send(reset(bad.stream_id, code))
        say_path(http2, good)
        http2.serve(say_path)

    with http2_site(clear, play) as site:
        bad, good = [user.begin("GET", site.url(path)) for path in ("/bad", "/good")]
        error = bad.outcome()
        assert isinstance(error, Http2Error)
        assert (error.error_code, error.code) == (code, "stream_reset")
        assert good.outcome().content == b"/good"
        assert asked == ["/bad", "/good"]
        assert counts(user) == (1, 1, 0)


def test_connection_that_ends_inside_an_answer_fails_it(user: Face, clear: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        request = http2.await_request()
        http2.answer(request, b"some", ends=False, length=False)
        half_close(http2.peer)
        http2.await_close()

    with http2_site(clear, play, serving(say_path)) as site:
        assert isinstance(user.error(site.url("/a")), ConnectionClosed)
        assert user.get(site.url("/b")).content == b"/b"
        assert counts(user) == (1, 1, 0)


# How many streams there may be


def test_no_more_streams_are_open_than_the_server_takes(clear: Wire) -> None:
    for kind in ("stream", "loop"):
        most: list[int] = []
        held: list[Request] = []

        def handle(http2: Http2Peer, request: Request, most: list[int] = most, held: list[Request] = held) -> None:
            if request.path == "/first":
                say_path(http2, request)
                return
            held.append(request)
            most.append(len(held))
            if len(held) == 3:
                # Only these are open: the next ones come when there are answers.
                http2.synchronise()
                assert not http2._whole
                for each in held:
                    say_path(http2, each)
                held.clear()

        with (
            face(kind, pool=ONE, **clear.options) as user,
            http2_site(clear, serving(handle, (MAX_CONCURRENT_STREAMS, 3))) as site,
        ):
            user.get(site.url("/first"))
            exchanges = [user.begin("GET", site.url(f"/{index}")) for index in range(12)]
            for index, exchange in enumerate(exchanges):
                assert exchange.outcome().content == f"/{index}".encode()
            assert max(most) == 3
            assert len(site.connections) == 1
            assert counts(user) == (1, 1, 0)


def test_lowered_limit_holds_for_idle_streams_too(clear: Wire) -> None:
    for kind in ("stream", "loop"):
        waves: list[int] = []
        held: list[Request] = []

        def handle(http2: Http2Peer, request: Request, waves: list[int] = waves, held: list[Request] = held) -> None:
            if request.path == "/lower":
                http2.send(settings((MAX_CONCURRENT_STREAMS, 2)))
                say_path(http2, request)
                return
            held.append(request)
            full = 6 if not waves else 2
            if len(held) == full:
                http2.synchronise()
                waves.append(len(held) + len(http2._whole))
                for each in held:
                    say_path(http2, each)
                held.clear()

        with (
            face(kind, pool=ONE, **clear.options) as user,
            http2_site(clear, serving(handle)) as site,
        ):
            for exchange in [user.begin("GET", site.url(f"/{index}")) for index in range(6)]:
                exchange.outcome()
            user.get(site.url("/lower"))
            exchanges = [user.begin("GET", site.url(f"/{index}")) for index in range(6)]
            for index, exchange in enumerate(exchanges):
                assert exchange.outcome().content == f"/{index}".encode()
            assert waves == [6, 2, 2, 2]
            assert counts(user) == (1, 1, 0)


def test_raised_limit_lets_those_in_line_go(clear: Wire) -> None:
    for kind in ("stream", "loop"):
        held: list[Request] = []

        def handle(http2: Http2Peer, request: Request, held: list[Request] = held) -> None:
            if request.path == "/first":
                say_path(http2, request)
                return
            held.append(request)
            if len(held) == 1:
                http2.send(settings((MAX_CONCURRENT_STREAMS, 5)))
            if len(held) == 5:
                for each in held:
                    say_path(http2, each)

        with (
            face(kind, pool=ONE, **clear.options) as user,
            http2_site(clear, serving(handle, (MAX_CONCURRENT_STREAMS, 1))) as site,
        ):
            user.get(site.url("/first"))
            exchanges = [user.begin("GET", site.url(f"/{index}")) for index in range(5)]
            for index, exchange in enumerate(exchanges):
                assert exchange.outcome().content == f"/{index}".encode()
            assert len(site.connections) == 1


def test_server_that_takes_no_stream_ends_in_a_clear_error(clear: Wire) -> None:
    timeouts = Timeouts(connect_s=5, read_s=5, write_s=5, pool_s=0.3, total_s=10)
    for kind in ("stream", "loop"):

        def handle(http2: Http2Peer, request: Request) -> None:
            http2.send(reset(request.stream_id, REFUSED_STREAM))

        with (
            face(kind, timeouts=timeouts, pool=ONE, **clear.options) as user,
            http2_site(clear, serving(handle, (MAX_CONCURRENT_STREAMS, 0))) as site,
        ):
            error = user.error(site.url("/a"))
            assert isinstance(error, (Http2Error, PoolTimeout)), error
            assert counts(user)[2] == 0


def test_full_connection_gets_a_second_one_where_that_is_allowed(user: Face, clear: Wire) -> None:
    held: list[tuple[Http2Peer, Request]] = []

    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/first":
            say_path(http2, request)
            return
        if any(peer is http2 for peer, _ in held):
            http2.send(reset(request.stream_id, REFUSED_STREAM))
            return
        held.append((http2, request))
        if len(held) == 5:
            everyone.set()
        everyone.wait(20)
        say_path(http2, request)

    everyone = threading.Event()
    with http2_site(clear, serving(handle, (MAX_CONCURRENT_STREAMS, 1))) as site:
        user.get(site.url("/first"))
        exchanges = [user.begin("GET", site.url(f"/{index}")) for index in range(5)]
        for index, exchange in enumerate(exchanges):
            assert exchange.outcome().content == f"/{index}".encode()
        assert len(site.connections) == 5
        assert counts(user) == (5, 5, 0)


def test_errors_tell_which_request_they_ended(user: Face, clear: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        http2.send(reset(request.stream_id, INTERNAL_ERROR))

    with http2_site(clear, serving(handle)) as site:
        error: TurbosockError = user.error(site.url("/a"))
        assert (error.method, error.url) == ("GET", site.url("/a"))
        assert "INTERNAL_ERROR" in str(error)
