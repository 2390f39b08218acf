"""Event streams from a real listener to both faces: each version of HTTP, plain and over TLS, coded and not."""

from __future__ import annotations

import contextlib
import http.client
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.clients import TIMEOUTS
from support.event_peer import FACES, Told
from support.loop_peer import turns
from support.running_listener import RunningListener
from support.tls import Authority, Files, dns, ip
from turbosock import Client, Config, HttpExchange, Loop, ReconnectPolicy, ServerSentEvent, TransportMode
from turbosock.config import TlsConfig, TlsServerConfig
from turbosock.protocol.sse.serialize import event_bytes

AUTHORITY = Authority()
LEAF = AUTHORITY.leaf([dns(b"localhost"), ip(bytes((127, 0, 0, 1)))])
# Without a rest between the connections of one test.
EAGER = ReconnectPolicy(backoff_first_s=0.001)
BURST = 20_000


class Way(NamedTuple):
    """How events travel: over which version, and whether over TLS."""

    http_versions: tuple[str, ...]
    tls: bool


WAYS = {
    "http1": Way(("HTTP/1.1",), False),
    "http2": Way(("HTTP/2",), False),
    "https": Way(("HTTP/1.1",), True),
    "https2": Way(("HTTP/2", "HTTP/1.1"), True),
}


def feed(exchange: HttpExchange) -> None:
    """Ten events to each request, up to thirty; then the end of the stream."""
    after = int(exchange.request.headers.get("last-event-id") or 0)
    if after == 30:
        exchange.respond(204)
        return
    sender = exchange.respond_events(retry_ms=0)
    for number in range(after + 1, after + 11):
        sender.send(f"event {number}", event="tick", id=str(number))
    sender.end()


def burst(exchange: HttpExchange) -> None:
    """Many events at once, as the client takes them, and no end."""
    state = {"next": 0}
    sender = exchange.respond_events(heartbeat_s=None)
    # A thousand in one piece: each call is all or nothing.
    blocks = [
        b"".join(event_bytes(f"{i} " + "x" * 90) for i in range(start, start + 1000)) for start in range(0, BURST, 1000)
    ]

    def go_on(_: object) -> None:
        while state["next"] < len(blocks) and sender.put(blocks[state["next"]]).name == "OK":
            state["next"] += 1

    sender.on_writable = go_on
    go_on(sender)


def coded(exchange: HttpExchange) -> None:
    """Three events in gzip, each one flushed, and no end."""
    exchange.start(200, {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})
    compressor = zlib.compressobj(wbits=31)
    for number in range(3):
        block = compressor.compress(event_bytes(f"event {number}")) + compressor.flush(zlib.Z_SYNC_FLUSH)
        exchange.send(block)


def echo(exchange: HttpExchange) -> None:
    """The request's body as an event, then the end, as services that stream their answers do."""
    sender = exchange.respond_events()
    sender.send(exchange.request.content)
    sender.end()


def endless(exchange: HttpExchange) -> None:
    """One event without an end."""
    exchange.start(200, {"Content-Type": "text/event-stream"})

    def go_on(exchange: HttpExchange) -> None:
        while exchange.send(b"data: " + b"x" * 1000 + b"\n").name == "OK":
            pass

    exchange.on_writable = go_on
    go_on(exchange)


HANDLERS: dict[str, Callable[[HttpExchange], None]] = {
    "/feed": feed,
    "/burst": burst,
    "/coded": coded,
    "/echo": echo,
    "/endless": endless,
}


def handle(exchange: HttpExchange) -> None:
    HANDLERS[exchange.request.path](exchange)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, RunningListener]]:
    files = Files(tmp_path_factory.mktemp("tls"))
    with RunningListener(handle) as plain, RunningListener(handle, TlsServerConfig(files.certificate(LEAF))) as secure:
        yield {False: plain, True: secure}


@pytest.fixture
def authority(tmp_path: Path) -> TlsConfig:
    return TlsConfig(ca_file=Files(tmp_path).write(AUTHORITY.pem))


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


Take = Callable[..., list[Told]]


@pytest.fixture
def take(face: str, way: Way, servers: dict[bool, RunningListener], authority: TlsConfig) -> Iterator[Take]:
    """Reads events of a path until there are as many as asked for, or the stream is over."""
    config = Config(http_versions=way.http_versions, tls=authority, timeouts=TIMEOUTS)
    with contextlib.ExitStack() as stack:

        def read(path: str, most: int, **options: Any) -> list[Told]:
            url = servers[way.tls].url(path)
            told: list[Told] = []
            if face == "loop":
                loop = stack.enter_context(Loop(config))
                stream = loop.events_from(url, **options)

                def look() -> bool:
                    for event in loop.events:
                        if isinstance(event, ServerSentEvent):
                            told.append(Told(event.event, bytes(event), event.id))
                    return stream.closed or len(told) >= most

                turns(loop, look)
                assert stream.error is None
                return told
            mode = TransportMode(face)
            client = stack.enter_context(
                Client(Config(http_versions=way.http_versions, tls=authority, timeouts=TIMEOUTS, transport=mode))
            )
            with client.events(url, **options) as events:
                for event in events:
                    told.append(Told(event.event, bytes(event), event.id))
                    if len(told) >= most:
                        break
            return told

        yield read


def test_feed_is_told_over_its_connections_up_to_its_end(take: Take) -> None:
    told = take("/feed", 1000, reconnect=EAGER)
    assert told == [Told("tick", b"event %d" % i, str(i)) for i in range(1, 31)]


def test_burst_is_told_whole_and_in_order(take: Take) -> None:
    told = take("/burst", BURST)
    assert [int(each.data.split()[0]) for each in told] == list(range(BURST))


def test_coded_events_are_told_while_the_stream_is_open(take: Take) -> None:
    assert [each.data for each in take("/coded", 3)] == [b"event 0", b"event 1", b"event 2"]


def test_answer_to_a_post_is_told_once(take: Take) -> None:
    assert [each.data for each in take("/echo", 1000, method="POST", json={"a": 1})] == [b'{"a":1}']


def test_stream_that_fails_is_not_noticed_by_those_beside_it(
    way: Way, servers: dict[bool, RunningListener], authority: TlsConfig
) -> None:
    with Loop(Config(http_versions=way.http_versions, tls=authority, timeouts=TIMEOUTS)) as loop:
        good = [loop.events_from(servers[way.tls].url("/feed"), reconnect=EAGER) for _ in range(5)]
        bad = loop.events_from(servers[way.tls].url("/endless"), max_event_bytes=10_000)
        told: dict[object, list[str]] = {stream: [] for stream in good}

        def look() -> bool:
            for event in loop.events:
                if isinstance(event, ServerSentEvent):
                    told[event.connection].append(event.id)
            return bad.closed and all(stream.closed for stream in good)

        turns(loop, look)
        assert bad.error is not None and bad.error.code == "event_too_large"
        assert [stream.error for stream in good] == [None] * 5
        assert all(ids == [str(i) for i in range(1, 31)] for ids in told.values())


def test_client_of_another_house_reads_the_feed(servers: dict[bool, RunningListener]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", servers[False].port, timeout=10)
    try:
        connection.request("GET", "/feed", headers={"Last-Event-ID": "10"})
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.read().startswith(b"retry: 0\n\nevent: tick\nid: 11\ndata: event 11\n\n")
    finally:
        connection.close()
