"""HTTP/2 inside a Loop, with time in a test's hands: signs of life, user code that raises, fairness."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.faces import Face
from support.http2_server import Http2Peer, Request, Wire, http2_site, say_path, serving
from support.rings import rings_are_free
from turbosock import Config, Loop, Timeouts, limits
from turbosock.errors import ConnectionClosed
from turbosock.protocol.http2.frames import ACK, PING
from turbosock.reactor.clock import NS_PER_S, ManualClock

PATIENT = Timeouts(connect_s=600, read_s=600, write_s=600, pool_s=600, total_s=1000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NS_PER_S)


@pytest.fixture
def timed(clear: Wire, clock: ManualClock) -> Iterator[Face]:
    with Loop(Config(timeouts=PATIENT, diagnostics=True, **clear.options), clock=clock) as loop:
        yield Face(loop)


@pytest.mark.parametrize("alive", [True, False])
def test_silent_peer_is_asked_for_a_sign_of_life(timed: Face, clear: Wire, clock: ManualClock, alive: bool) -> None:
    asked = threading.Event()
    pinged = threading.Semaphore(0)

    def play(http2: Http2Peer) -> None:
        http2.begin()
        request = http2.await_request()
        http2.synchronise()
        asked.set()
        for _ in range(3 if alive else 1):
            taken = http2.await_kind(PING)
            if alive:
                http2.send(b"\0\0\x08\x06\x01\0\0\0\0" + taken.payload)
            pinged.release()
        if alive:
            say_path(http2, request)
        http2.await_close()

    with http2_site(clear, play) as site:
        loop = timed.owner
        assert isinstance(loop, Loop)
        exchange = loop.get(site.url("/late"))
        timed.turn_until(asked.is_set)
        for _ in range(3 if alive else 1):
            # Something has come in this while, and nothing in the next one.
            clock.advance(limits.HTTP2_PING_S)
            for _ in range(20):
                loop.poll(0.01)
            clock.advance(limits.HTTP2_PING_S)
            timed.turn_until(lambda: pinged.acquire(blocking=False))
            assert loop.stats().connections.open == 1
        if alive:
            timed.turn_until(lambda: exchange.done)
            assert exchange.content == b"/late"
        else:
            clock.advance(limits.HTTP2_PING_S)
            timed.turn_until(lambda: exchange.done)
            assert isinstance(exchange.error, ConnectionClosed)
            assert exchange.error.code == "no_pong"
            assert loop.stats().connections.open == 0


def test_idle_connection_is_not_asked_for_a_sign_of_life(timed: Face, clear: Wire, clock: ManualClock) -> None:
    with http2_site(clear, serving(say_path)) as site:
        timed.get(site.url("/a"))
        loop = timed.owner
        assert isinstance(loop, Loop)
        clock.advance(limits.HTTP2_PING_S + 1)
        for _ in range(5):
            loop.poll(0.01)
        assert not [taken for taken in site.connections[0].frames if taken.kind == PING and not taken.flags & ACK]


def test_callback_that_raises_ends_its_own_exchange_alone(clear: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        requests = {request.path: request for request in http2.await_requests(2)}
        http2.send(
            # In one segment: what comes behind the callback's frame is here already.
            http2.head(requests["/raises"].stream_id, 103),
            http2.head(requests["/other"].stream_id, 204, end=True),
        )
        http2.serve(say_path)

    def raise_it(status: int, fields: object) -> None:
        raise LookupError("the user's own")

    with Loop(Config(**clear.options)) as loop, http2_site(clear, play) as site:
        bad = loop.get(site.url("/raises"), on_informational=raise_it)
        good = loop.get(site.url("/other"))
        user = Face(loop)
        with pytest.raises(LookupError):
            user.turn_until(lambda: bad.done and good.done)
        user.turn_until(lambda: bad.done and good.done)
        assert bad.error is not None
        assert good.status_code == 204
        assert user.get(site.url("/after")).content == b"/after"
        assert len(site.connections) == 1


def test_hundred_exchanges_share_one_connection(clear: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        http2.answer(request, request.path.encode() * 3000)

    with Loop(Config(**clear.options)) as loop, http2_site(clear, serving(handle)) as site:
        user = Face(loop)
        for _ in range(3):
            exchanges = {f"/{index}": loop.get(site.url(f"/{index}")) for index in range(100)}
            user.turn_until(lambda: all(each.done for each in exchanges.values()))  # noqa: B023  # it ends in this turn
            for path, exchange in exchanges.items():
                assert exchange.content == path.encode() * 3000
        assert len(site.connections) == 1
        assert rings_are_free(loop)
