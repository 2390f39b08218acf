"""https in a Loop, on both TLS engines: every fault is an event, and no handshake holds a tick."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from support.https import (
    FAULTS,
    HEAD,
    KeyUpdater,
    Pki,
    Seen,
    TlsSocket,
    at_loopback,
    drip_records,
    keep_little_in_kernel,
    secure,
    send_part,
    send_raw,
    serve,
    take_hello,
    vanish,
)
from support.loop_peer import Peer as RawPeer
from support.loop_peer import make_clock, settle, turns
from support.peers import big_body
from support.scripted_server import (
    Peer,
    answer,
    await_close,
    close,
    read_head,
    read_request,
    scripted,
    send,
    stall,
    take_body,
    take_slowly,
)
from support.scripted_server import signal as tell
from support.tls import HOST, Authority, dns
from turbosock import Config, EventKind, Exchange, Loop, PoolConfig, Timeouts, limits
from turbosock.client.ticking_dial import TickingDial
from turbosock.config import TlsConfig, TlsProviderMode, TlsVersion
from turbosock.errors import (
    BodyTruncated,
    Cancelled,
    ClientClosed,
    ConnectTimeout,
    Phase,
    ReadTimeout,
    TlsError,
    TlsHandshakeError,
    TlsRecordError,
    TlsTruncated,
    TlsVerificationError,
    TotalTimeout,
    WriteError,
    WriteTimeout,
)
from turbosock.reactor.clock import Clock
from turbosock.tls import TlsSession, pin_of

TIMEOUTS = Timeouts(connect_s=5, handshake_s=5, read_s=5, write_s=5, pool_s=5, total_s=8)
Make = Callable[..., Loop]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes loops with one engine, whose every name is 127.0.0.1; closed when the test ends."""
    made: list[Loop] = []

    def make(
        tls: TlsConfig,
        timeouts: Timeouts = TIMEOUTS,
        *,
        pool: PoolConfig | None = None,
        clock: Clock | None = None,
        poller: str | None = None,
    ) -> Loop:
        config = Config(
            tls=replace(tls, provider=request.param),
            timeouts=timeouts,
            pool=pool or PoolConfig(),
            poller=poller,
            http_versions=("HTTP/1.1",),
            diagnostics=True,
        )
        loop = Loop(config) if clock is None else Loop(config, clock=clock)
        at_loopback(loop.reactor.resolver)
        made.append(loop)
        return loop

    yield make
    for loop in made:
        loop.close()
        assert loop.stats()[:2] == (0, 0)


@pytest.fixture
def loop(make: Make, pki: Pki) -> Loop:
    return make(pki.trusting)


def url(port: int, path: str = "/", host: str = HOST) -> str:
    return f"https://{host}:{port}{path}"


def done(loop: Loop, *exchanges: Exchange) -> None:
    """Poll until all are done."""
    turns(loop, lambda: all(exchange.done for exchange in exchanges))


def fetch(loop: Loop, address: str) -> bytes:
    """The body of a GET."""
    exchange = loop.request("GET", address)
    done(loop, exchange)
    if exchange.error is not None:
        raise exchange.error
    return exchange.content


# Faults


@pytest.mark.parametrize("name", FAULTS)
def test_https_fault_is_an_event_in_words_and_its_connection_is_closed(make: Make, pki: Pki, name: str) -> None:
    fault = FAULTS[name](pki)
    loop = make(fault.tls)
    with scripted(fault.script) as server:
        exchange = loop.request("POST", url(server.port, host=fault.host), content=b"a question")
        done(loop, exchange)
        assert [event.kind for event in loop.events] == [EventKind.ERROR]
        error = exchange.error
        assert isinstance(error, fault.kind)
        assert isinstance(error, TlsError)
        assert error.reason in fault.reasons, str(error)
        assert fault.words in str(error)
        assert fault.host in str(error)
        assert (error.method, error.url) == ("POST", url(server.port, host=fault.host))
        assert error.phase is not Phase.NONE
        assert loop.stats()[:3] == (0, 0, 0)
        server.await_ended()
        if isinstance(error, TlsVerificationError):
            assert server.requests == []


@pytest.mark.parametrize("poller", ["epoll", "poll", "select"])
def test_https_handshake_that_stalls_ends_with_its_deadline(make: Make, pki: Pki, poller: str) -> None:
    clock = make_clock()
    loop = make(pki.trusting, replace(TIMEOUTS, handshake_s=2), clock=clock, poller=poller)
    with RawPeer() as peer:
        exchange = loop.request("GET", url(peer.port))
        hello = begin_handshake(loop, peer, exchange)
        assert hello.startswith(b"\x16\x03\x01")
        clock.advance(1.9)
        settle(loop)
        assert not exchange.done
        clock.advance(0.2)
        settle(loop)
        assert isinstance(exchange.error, ConnectTimeout)
        assert "handshake_s" in str(exchange.error)
        assert exchange.error.phase is Phase.TLS
        assert peer.connections[0].is_closed()
        assert loop.stats()[:3] == (0, 0, 0)


def begin_handshake(loop: Loop, peer: RawPeer, exchange: Exchange) -> bytes:
    """Let an exchange send its hello; the hello."""
    turns(loop, lambda: exchange.phase is Phase.TLS or exchange.done)
    connection = peer.accept()
    while not (hello := connection.take_available()):
        loop.poll()
    return hello


@pytest.mark.parametrize(("connect_s", "total_s"), [(2, 8), (5, 2)])
def test_https_handshake_that_stalls_ends_with_the_nearer_deadline(
    make: Make, pki: Pki, connect_s: float, total_s: float
) -> None:
    clock = make_clock()
    loop = make(pki.trusting, replace(TIMEOUTS, connect_s=connect_s, total_s=total_s), clock=clock)
    with RawPeer() as peer:
        exchange = loop.request("GET", url(peer.port))
        begin_handshake(loop, peer, exchange)
        clock.advance(2.1)
        settle(loop)
        assert type(exchange.error) is (ConnectTimeout if connect_s == 2 else TotalTimeout)
        assert exchange.error is not None
        assert exchange.error.phase is Phase.TLS


def test_https_handshake_that_drips_ends_with_its_deadline(make: Make, pki: Pki) -> None:
    clock = make_clock()
    loop = make(pki.trusting, replace(TIMEOUTS, handshake_s=2), clock=clock)
    with RawPeer() as peer:
        exchange = loop.request("GET", url(peer.port))
        begin_handshake(loop, peer, exchange)
        # A record that is never whole: a byte more moves no deadline.
        for byte in b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb" + bytes(10):
            peer.connections[0].send(bytes([byte]))
            clock.advance(0.1)
            settle(loop)
        assert not exchange.done
        clock.advance(0.2)
        settle(loop)
        assert isinstance(exchange.error, ConnectTimeout)


def test_https_body_that_drips_ends_with_the_total_deadline(loop: Loop, pki: Pki) -> None:
    script = (secure(pki.context), read_request, send(HEAD), drip_records(bytes(1000), 0.01))
    with scripted(script) as server:
        exchange = loop.request("GET", url(server.port), timeout=0.3)
        done(loop, exchange)
        assert isinstance(exchange.error, TotalTimeout)
        assert exchange.error.phase is Phase.BODY


def test_https_record_that_is_never_whole_ends_with_the_read_limit(make: Make, pki: Pki) -> None:
    loop = make(pki.trusting, replace(TIMEOUTS, read_s=0.1))
    with scripted((secure(pki.context), read_request, send(HEAD), send_part(bytes(1000), 500), stall)) as server:
        exchange = loop.request("GET", url(server.port))
        done(loop, exchange)
        assert isinstance(exchange.error, ReadTimeout)
        assert exchange.error.phase is Phase.BODY


def test_https_ends_of_a_body_are_told_apart(loop: Loop, pki: Pki) -> None:
    length = send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
    short = send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwhole")
    until_end = send(b"HTTP/1.1 200 OK\r\n\r\nwhole")
    begin = (secure(pki.context), read_request)
    expected: list[type[Exception] | None] = [None, None, None, TlsTruncated, BodyTruncated, BodyTruncated]
    scripts = [
        (*begin, step, end)
        for step, end in (
            (length, close),
            (length, vanish),
            (until_end, close),
            (until_end, vanish),
            (short, close),
            (short, vanish),
        )
    ]
    with scripted(*scripts) as server:
        for kind in expected:
            exchange = loop.request("GET", url(server.port))
            done(loop, exchange)
            server.await_ended()
            # Its closing is noticed before the next request is sent.
            turns(loop, lambda: loop.stats().open == 0)
            if kind is None:
                assert exchange.content == b"whole"
            else:
                assert type(exchange.error) is kind


def test_https_failed_exchange_keeps_nobodys_buffer(loop: Loop, pki: Pki) -> None:
    garbage = (secure(pki.context), read_request, send(HEAD), send(b"x" * 100), send_raw(b"no record"), await_close)
    with scripted(garbage) as server:
        into = bytearray(1000)
        exchange = loop.request("GET", url(server.port), into=into)
        done(loop, exchange)
        error = exchange.error
        assert isinstance(error, TlsRecordError)
        assert error.__cause__ is not None
        # What the exchange still holds, its error and the error's cause, refers to no frame that saw the buffer.
        into.extend(b"it can grow again")


def test_https_password_is_in_no_message(make: Make, pki: Pki) -> None:
    with scripted((take_hello, send(b"garbage, no TLS"), await_close)) as server:
        loop = make(pki.trusting)
        exchange = loop.request("GET", f"https://user:hunter2@{HOST}:{server.port}/?token=hunter2")
        done(loop, exchange)
        assert exchange.error is not None
        assert "hunter2" not in f"{exchange.error} {exchange.error!r} {vars(exchange.error)} {exchange!r}"


# Whom to trust


def test_https_client_certificate_pins_and_server_name_work_in_a_loop(make: Make, pki: Pki) -> None:
    seen = Seen.nothing()
    leaf = pki.authority.leaf([dns(b"inner.example.net")])
    context = pki.server(leaf, client_ca=pki.authority.pem, alpn=("http/1.1",), seen=seen)
    config = replace(
        pki.trusting,
        cert_file=pki.client_certificate(password=b"s3cret"),
        key_password="s3cret",
        server_name="inner.example.net",
        pins=(pin_of(leaf.der),),
    )
    with scripted((secure(context, seen), *serve(b"known"))) as server:
        loop = make(config)
        exchange = loop.request("GET", url(server.port))
        done(loop, exchange)
        assert exchange.content == b"known"
        assert exchange.tls is not None
        assert (exchange.tls.alpn, exchange.tls.resumed) == ("http/1.1", False)
        assert seen.names == ["inner.example.net"]
        assert seen.certificates[0] is not None
        wrong = make(replace(config, server_name=None))
        refused = wrong.request("GET", url(server.port))
        done(wrong, refused)
        assert isinstance(refused.error, TlsVerificationError)


def test_https_pin_that_does_not_match_is_only_logged_in_report_mode(
    make: Make, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted((secure(pki.context), *serve(b"reported"))) as server:
        loop = make(replace(pki.trusting, pins=("sha256/" + "A" * 43 + "=",), pins_report_only=True))
        assert fetch(loop, url(server.port)) == b"reported"
        assert "none of the pins" in caplog.text


def test_https_server_that_chooses_what_is_not_spoken_is_refused(make: Make, pki: Pki) -> None:
    with scripted((secure(pki.server(alpn=("h2",))), read_request)) as server:
        loop = make(replace(pki.trusting, alpn=("h2", "http/1.1")))
        with pytest.raises(TlsHandshakeError, match="it chose h2"):
            fetch(loop, url(server.port))
        assert server.requests == []
        assert loop.stats()[:3] == (0, 0, 0)


@pytest.mark.parametrize("version", list(TlsVersion))
def test_https_session_is_resumed_by_the_next_connection(make: Make, pki: Pki, version: TlsVersion) -> None:
    seen = Seen.nothing()
    closing = answer(b"x", b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    with scripted((secure(pki.server(), seen), read_request, closing, close)) as server:
        loop = make(replace(pki.trusting, maximum_version=version))
        for _ in range(3):
            assert fetch(loop, url(server.port)) == b"x"
        assert seen.resumed == [False, True, True]
        assert fetch(make(replace(pki.trusting, session_resumption=False)), url(server.port)) == b"x"
        assert not seen.resumed[3]


def test_https_unverified_and_verified_loops_share_nothing(make: Make, pki: Pki) -> None:
    with scripted((secure(pki.server(Authority("stranger").leaf())), *serve(b"one", b"two"))) as server:
        careless, careful = make(TlsConfig(verify=False)), make(pki.trusting)
        assert fetch(careless, url(server.port)) == b"one"
        with pytest.raises(TlsVerificationError):
            fetch(careful, url(server.port))
        assert fetch(careless, url(server.port)) == b"two"


# Connections


def test_https_connection_is_kept_for_the_next_request(loop: Loop, pki: Pki) -> None:
    bodies = (b"one", big_body(300_000), b"", b"three")
    with scripted((secure(pki.context), *serve(*bodies))) as server:
        for body in bodies:
            assert fetch(loop, url(server.port)) == body
            # Tickets that come while it is idle are no reason to close it.
            settle(loop)
            assert loop.stats()[:3] == (1, 1, 0)
        assert server.accepted == 1


@pytest.mark.parametrize("end", [close, vanish, send_raw(b"garbage"), send(b"HTTP/1.1 200 OK\r\n\r\n")])
def test_https_connection_that_ends_or_speaks_while_idle_is_closed(
    loop: Loop, pki: Pki, end: Callable[[Peer], None]
) -> None:
    with scripted((secure(pki.context), read_request, answer(b"x"), end, await_close)) as server:
        for accepted in (1, 2):
            assert fetch(loop, url(server.port)) == b"x"
            turns(loop, lambda: loop.stats().open == 0)
            assert server.accepted == accepted


def test_https_and_http_to_the_same_port_share_no_connection(loop: Loop, pki: Pki) -> None:
    with scripted(
        (read_request, answer(b"plain"), await_close), (secure(pki.context), *serve(b"secret", b"secret"))
    ) as server:
        assert fetch(loop, f"http://{HOST}:{server.port}/") == b"plain"
        assert fetch(loop, url(server.port)) == b"secret"
        assert fetch(loop, url(server.port)) == b"secret"
        assert server.accepted == 2
        assert loop.stats()[:3] == (2, 2, 0)


def test_https_exchanges_go_on_while_handshakes_stall(make: Make, pki: Pki) -> None:
    # One loop, one pool: stalled handshakes hold places and deadlines of their own, and nothing else.
    clock = make_clock()
    loop = make(pki.trusting, clock=clock, pool=PoolConfig(max_connections_per_origin=40))
    with RawPeer() as stalled, scripted((secure(pki.context), *serve(*[b"served"] * 100))) as server:
        stuck = [loop.request("GET", url(stalled.port)) for _ in range(40)]
        turns(loop, lambda: all(exchange.phase is Phase.TLS for exchange in stuck))
        going = [loop.request("GET", url(server.port)) for _ in range(30)]
        done(loop, *going)
        assert {exchange.content for exchange in going} == {b"served"}
        assert not any(exchange.done for exchange in stuck)
        clock.advance(5.1)
        done(loop, *stuck)
        assert {type(exchange.error) for exchange in stuck} == {ConnectTimeout}
        assert fetch(loop, url(server.port)) == b"served"


def test_https_tick_with_stalled_handshakes_does_not_wait(loop: Loop) -> None:
    with RawPeer() as stalled:
        stuck = [loop.request("GET", url(stalled.port)) for _ in range(20)]
        turns(loop, lambda: all(exchange.phase is Phase.TLS for exchange in stuck))
        began = time.monotonic()
        for _ in range(100):
            loop.poll()
        # The handshakes have five seconds each; a single wait for one would show.
        assert time.monotonic() - began < 2
        assert not any(exchange.done for exchange in stuck)


@pytest.mark.parametrize("poller", ["epoll", "poll", "select"])
@pytest.mark.parametrize("budget", [{}, {"max_time": 1.0}, {"max_bytes": 1 << 20}, {"max_events": 100}])
def test_https_handshakes_of_one_turn_are_capped(
    make: Make, pki: Pki, monkeypatch: pytest.MonkeyPatch, poller: str, budget: dict[str, float]
) -> None:
    monkeypatch.setattr(limits, "MAX_DIAL_HANDSHAKES_PER_TURN", 3)
    steps = 0

    def counted(session: TlsSession) -> int:
        nonlocal steps
        steps += 1
        return taken(session)

    loop = make(pki.trusting, poller=poller)
    loop.secure.prepare()
    kind = session_class(loop)
    taken = kind.handshake
    monkeypatch.setattr(kind, "handshake", counted)
    with scripted((secure(pki.context), *serve(b"served"))) as server:
        exchanges = [loop.request("GET", url(server.port)) for _ in range(20)]
        end = time.monotonic() + 5
        most = 0
        while not all(exchange.done for exchange in exchanges):
            before = steps
            loop.poll(0.2, **budget)  # type: ignore[arg-type]  # one of poll's budgets
            most = max(most, steps - before)
            assert time.monotonic() < end
        assert {exchange.content for exchange in exchanges} == {b"served"}
        # One step each at least: the cap was reached, and never passed.
        assert steps >= server.accepted == 20
        assert most == 3


def session_class(loop: Loop) -> type[TlsSession]:
    """The class of this loop's TLS sessions."""
    near, far = socket.socketpair()
    with contextlib.closing(far):
        session = loop.secure.wrap(near, HOST, 443)
        session.close()
    return type(session)


# Bodies

SIZE = 3_000_000


def chunks_of(body: bytes, size: int) -> bytes:
    framed = b"".join(
        b"%x\r\n%s\r\n" % (len(body[start : start + size]), body[start : start + size])
        for start in range(0, len(body), size)
    )
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


@pytest.mark.parametrize("chunk", [0, 100_000, 16_384, 1000], ids=["length", "100k", "16k", "1k"])
def test_https_large_download_is_whole_wherever_it_goes(loop: Loop, pki: Pki, chunk: int) -> None:
    body = big_body(SIZE)
    reply = answer(body) if not chunk else send(chunks_of(body, chunk))
    script = (secure(pki.context), *[read_request, reply] * 3, await_close)
    with scripted(script) as server:
        assert fetch(loop, url(server.port)) == body
        into = bytearray(SIZE)
        exchange = loop.request("GET", url(server.port), into=into)
        done(loop, exchange)
        assert exchange.error is None
        assert into == body
        streamed = bytearray()
        exchange = loop.request("GET", url(server.port), stream=True)
        end = time.monotonic() + 5
        while not exchange.done:
            loop.poll(0.2)
            for event in loop.events:
                if event.data is not None:
                    streamed += event.data
            assert time.monotonic() < end
        assert streamed == body
        assert server.accepted == 1


@pytest.mark.parametrize("kind", ["bytes", "iterable"])
def test_https_large_upload_is_whole(loop: Loop, pki: Pki, kind: str) -> None:
    body = big_body(SIZE)
    found: list[bytes] = []

    def take(peer: Peer) -> None:
        found.append(take_body(peer))

    with scripted((secure(pki.context), take, answer(b"1"), take, answer(b"2"), await_close)) as server:
        for number in (b"1", b"2"):
            content = body if kind == "bytes" else iter([body[:100], body[100:1_000_000], body[1_000_000:]])
            exchange = loop.request("POST", url(server.port), content=content)
            done(loop, exchange)
            assert exchange.content == number
        assert found == [body, body]
        assert server.accepted == 1


def test_https_upload_to_a_slow_reader_outlives_the_write_limit(
    make: Make, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make(pki.trusting, replace(TIMEOUTS, write_s=0.4))
    body = big_body(200_000)
    taken = bytearray()
    keep_little_in_kernel(monkeypatch)
    script = (secure(pki.context), take_slowly(taken, len(body), 0.08), answer(b"at last"), await_close)
    with scripted(script, receive_buffer=4096) as server:
        exchange = loop.request("POST", url(server.port), content=body)
        done(loop, exchange)
        assert exchange.content == b"at last"
        assert taken == body


def test_https_upload_that_nobody_takes_ends_with_the_write_limit(make: Make, pki: Pki) -> None:
    clock = make_clock()
    loop = make(pki.trusting, replace(TIMEOUTS, write_s=2), clock=clock)
    begun = threading.Event()
    with scripted((secure(pki.context), read_head, tell(begun), stall), receive_buffer=4096) as server:
        exchange = loop.request("POST", url(server.port), content=big_body(20_000_000))
        turns(loop, begun.is_set)
        settle(loop, 20)
        # What the kernel took at last may have been after the last step.
        for _ in range(2):
            clock.advance(2.1)
            settle(loop)
        assert isinstance(exchange.error, WriteTimeout)
        assert loop.stats()[:3] == (0, 0, 0)


def test_https_refusal_of_an_upload_is_its_answer(loop: Loop, pki: Pki) -> None:
    refusal = answer(b"too much", b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n")
    with scripted((secure(pki.context), read_head, refusal, await_close)) as server:
        exchange = loop.request("POST", url(server.port), content=big_body(20_000_000))
        done(loop, exchange)
        assert (exchange.status_code, exchange.content) == (413, b"too much")
        assert loop.stats()[:3] == (0, 0, 0)


def test_https_peer_that_goes_during_an_upload_is_a_failed_write(loop: Loop, pki: Pki) -> None:
    with scripted((secure(pki.context), read_head, vanish)) as server:
        exchange = loop.request("POST", url(server.port), content=big_body(20_000_000))
        done(loop, exchange)
        # Whichever is noticed first: that it takes nothing more, or that it has ended.
        assert isinstance(exchange.error, WriteError) or exchange.error.code == "closed_early"  # type: ignore[union-attr]  # None fails, too
        assert loop.stats()[:3] == (0, 0, 0)


def test_https_key_update_mid_stream_goes_unnoticed(loop: Loop, pki: Pki) -> None:
    server = KeyUpdater(pki)
    try:
        server.type(b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n")
        found = bytearray()
        exchange = loop.request("GET", url(server.port), stream=True)

        def take() -> int:
            for event in loop.events:
                if event.data is not None:
                    found.extend(event.data)
            return len(found)

        turns(loop, lambda: exchange.head is not None)
        for number, (part, command) in enumerate(((b"before\n", b"k\n"), (b"after.\n", b"K\n"), (b"again.\n", b""))):
            server.type(part)
            turns(loop, lambda number=number: take() == 7 * (number + 1))  # type: ignore[misc]  # bound now
            if command:
                server.type(command)
                assert exchange.connection is not None
                assert select.select([exchange.connection.transport.fd], [], [], 5)[0]
                settle(loop)
        done(loop, exchange)
        assert found == b"before\nafter.\nagain.\n"
        assert loop.stats()[:3] == (1, 1, 0)
    finally:
        server.close()


# Interruptions


def test_https_cancel_during_the_handshake_ends_it(loop: Loop) -> None:
    with RawPeer() as peer:
        for elsewhere in (False, True):
            exchange = loop.request("GET", url(peer.port))
            begin_handshake(loop, peer, exchange)
            if elsewhere:
                thread = threading.Thread(target=exchange.cancel)
                thread.start()
                thread.join(5)
            else:
                exchange.cancel()
            done(loop, exchange)
            assert isinstance(exchange.error, Cancelled)
            assert exchange.error.phase is Phase.TLS
            assert peer.connections[-1].is_closed()
            assert loop.stats()[:3] == (0, 0, 0)


def test_https_close_of_the_loop_ends_handshakes_and_bodies(loop: Loop, pki: Pki) -> None:
    with RawPeer() as peer, scripted((secure(pki.context), read_request, send(HEAD), stall)) as server:
        shaking, reading = loop.request("GET", url(peer.port)), loop.request("GET", url(server.port))
        turns(loop, lambda: shaking.phase is Phase.TLS and reading.phase is Phase.BODY)
        loop.close()
        for exchange in (shaking, reading):
            assert isinstance(exchange.error, ClientClosed)
        peer.accept()
        peer.connections[0].take_available()
        assert peer.connections[0].is_closed()


def test_https_keyboard_interrupt_in_the_handshake_leaves_nothing(
    make: Make, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(chain: object, verdict: object, host: str) -> bool:
        raise KeyboardInterrupt

    loop = make(replace(pki.trusting, verify_callback=interrupted))
    with scripted((secure(pki.context), *serve(b"never"))) as server:
        exchange = loop.request("GET", url(server.port))
        with pytest.raises(KeyboardInterrupt):
            done(loop, exchange)
        assert exchange.done
        assert exchange.error is not None
        assert loop.stats()[:3] == (0, 0, 0)
        server.await_ended()
        assert server.requests == []


def test_https_dial_needs_no_more_than_its_turns(loop: Loop, pki: Pki) -> None:
    # A step is taken when the poller says so, and not in every turn.
    with RawPeer() as peer:
        exchange = loop.request("GET", url(peer.port))
        hello = begin_handshake(loop, peer, exchange)
        dial = next(iter(loop.dials))
        assert isinstance(dial, TickingDial)
        loop.poll()
        assert not loop.reactor.line
        connection = peer.connections[0]
        tls = TlsSocket(connection.socket, pki.context)
        tls.incoming.write(hello)
        thread = threading.Thread(target=tls.handshake)
        thread.start()
        turns(loop, lambda: exchange.phase is not Phase.TLS)
        thread.join(5)
        assert tls.recv(1000).startswith(b"GET / HTTP/1.1\r\n")
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        done(loop, exchange)
        assert exchange.content == b"ok"
        assert not loop.dials
