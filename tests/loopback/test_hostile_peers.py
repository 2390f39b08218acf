"""What a Client does with servers that lie, stop, reset, drip, flood or answer too early.

Each row: the exception of the right class within its deadline, the connection closed and never pooled, the next
request served as if nothing had been.
"""

from __future__ import annotations

import signal as signal_module
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from support.clients import MakeClient, variant_config
from support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    await_close,
    await_event,
    close,
    drip,
    flood,
    half_close,
    read_body,
    read_head,
    read_request,
    reset,
    scripted,
    send,
    send_bytewise,
    signal,
    stall,
)
from turbosock import CancelToken, Client, PoolConfig, Response, Timeouts, TransportMode
from turbosock.connection.http1 import Http1Connection
from turbosock.errors import (
    BodyTooLarge,
    BodyTruncated,
    Cancelled,
    ClientClosed,
    ConnectionClosed,
    DeadlineError,
    HeadTooLarge,
    LimitError,
    NetworkError,
    Phase,
    PoolTimeout,
    ProtocolError,
    ReadError,
    ReadTimeout,
    TotalTimeout,
    TurbosockError,
    WriteError,
    WriteTimeout,
)
from turbosock.pool.origin_pool import OriginPool, Place

GOOD = [read_request, answer(b"good"), await_close]
# A bound for "within its deadline": the promise is 100 ms over it, the rest is for a loaded machine.
GRACE_S = 1.5


class Stopwatch:
    """Checks that a block ended within `limit_s` and some grace."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self.began
        assert took < self.limit_s + GRACE_S, f"took {took:.2f} s where {self.limit_s} s were allowed"


def read_to_end(response: Response) -> None:
    """Read a body in small pieces and drop them."""
    buffer = bytearray(1000)
    while response.readinto(buffer):
        pass


def check_unharmed(client: Client, server: ScriptedServer) -> None:
    """Nothing of the failed connection is kept, and the next request gets the next script's answer."""
    stats = client.stats()
    assert (stats.open, stats.idle, stats.waiting) == (0, 0, 0)
    assert client.get(server.url("/next")).content == b"good"
    stats = client.stats()
    assert (stats.open, stats.idle) == (1, 1)


# Heads that are not heads


@pytest.mark.parametrize(
    ("data", "error", "code"),
    [
        (b"\x00\x01\x02garbage", ProtocolError, "not_http"),
        (b"<html>hello</html>\r\n\r\n", ProtocolError, "not_http"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ProtocolError, "not_http"),
        (b"\x15\x03\x03\x00\x02\x02\x50", ProtocolError, "not_http"),
        (b"HTTP/2.0 200 OK\r\n\r\n", ProtocolError, "bad_version"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", ProtocolError, "bad_status_line"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", ProtocolError, "bad_field"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", ProtocolError, "bad_field"),
        (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", ProtocolError, "bad_field"),
        (b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", ProtocolError, "bad_field"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", ProtocolError, "bad_content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", ProtocolError, "bad_content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nhello", ProtocolError, "bad_content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello", ProtocolError, "bad_content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ProtocolError, "bad_content_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4611686018427387904\r\n\r\n", ProtocolError, "bad_content_length"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            ProtocolError,
            "bad_transfer_encoding",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunkedchunked\r\n\r\n", ProtocolError, "bad_transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ProtocolError, "bad_transfer_encoding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ProtocolError, "bad_transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 257 + b"\r\n", HeadTooLarge, "head_too_large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, HeadTooLarge, "head_too_large"),
    ],
)
def test_head_malformed_raises_its_error_and_the_connection_is_not_kept(
    client: Client, data: bytes, error: type[TurbosockError], code: str
) -> None:
    with scripted([read_request, send(data), await_close], GOOD) as server:
        with pytest.raises(error) as caught:
            client.get(server.url("/bad?secret=1"))
        assert caught.value.code == code
        assert caught.value.phase is Phase.HEAD
        assert (caught.value.method, caught.value.url) == ("GET", server.url("/bad"))
        check_unharmed(client, server)


def test_head_that_never_ends_is_refused_at_its_limit(client: Client) -> None:
    with scripted([read_request, send(b"HTTP/1.1 200 OK\r\n"), flood(b"X-Filler: 0123456789\r\n")], GOOD) as server:
        with pytest.raises(HeadTooLarge):
            client.get(server.url())
        check_unharmed(client, server)


def test_head_limits_of_the_configuration_are_kept(make_client: MakeClient) -> None:
    client = make_client(max_head_bytes=512, max_head_fields=4)
    many = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5 + b"\r\n"
    long = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 600 + b"\r\n\r\n"
    with scripted([read_request, send(many), await_close], [read_request, send(long), await_close], GOOD) as server:
        for _ in range(2):
            with pytest.raises(HeadTooLarge):
                client.get(server.url())
        check_unharmed(client, server)


def test_interim_responses_without_end_are_refused(client: Client) -> None:
    with scripted([read_request, flood(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")], GOOD) as server:
        with pytest.raises(ProtocolError, match="interim") as caught:
            client.get(server.url())
        assert caught.value.code == "too_many_interim"
        check_unharmed(client, server)


def test_interim_responses_of_many_answers_on_one_connection_are_counted_each_for_itself(client: Client) -> None:
    gate = [threading.Event() for _ in range(20)]
    steps: list[Step] = []
    for event in gate:
        steps += [read_request, send(b"HTTP/1.1 103 Early Hints\r\n\r\n"), await_event(event), answer(b"ok")]
    with scripted(steps) as server:
        for event in gate:
            # The final head comes alone, some time after the interim one, and is the one that came before.
            timer = threading.Timer(0.01, event.set)
            timer.start()
            assert client.get(server.url()).content == b"ok"
            timer.join()
        assert server.accepted == 1


# Peers that stop


@pytest.mark.parametrize(
    ("steps", "error", "phase"),
    [
        ([close], ConnectionClosed, Phase.HEAD),
        ([send(b"HTTP/1.1 200 OK\r\nContent-"), close], ConnectionClosed, Phase.HEAD),
        ([send(b"HTTP/1.1 103 Early Hints\r\n\r\n"), close], ConnectionClosed, Phase.HEAD),
        ([reset], ReadError, Phase.HEAD),
        ([send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), close], BodyTruncated, Phase.BODY),
        ([send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), close], BodyTruncated, Phase.BODY),
        (
            [send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 200000), close],
            BodyTruncated,
            Phase.BODY,
        ),
        ([send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"), close], BodyTruncated, Phase.BODY),
        ([send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), close], BodyTruncated, Phase.BODY),
        (
            [send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n"), close],
            BodyTruncated,
            Phase.BODY,
        ),
    ],
)
def test_peer_that_stops_raises_what_was_cut_off(
    client: Client, steps: list[Step], error: type[TurbosockError], phase: Phase
) -> None:
    with scripted([read_request, *steps], GOOD) as server:
        with pytest.raises(error) as caught:
            client.get(server.url())
        assert caught.value.phase is phase
        check_unharmed(client, server)


def test_peer_that_resets_inside_a_body_raises_with_the_bytes_that_came(client: Client) -> None:
    go = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"
    with scripted([read_request, send(head + b"x" * 10), await_event(go), reset], GOOD) as server:
        response = client.stream("GET", server.url())
        buffer = bytearray(100)
        assert response.readinto(buffer) == 10
        go.set()
        with pytest.raises(NetworkError) as caught:
            response.readinto(buffer)
        assert caught.value.bytes_done == 10
        assert "after 10 body bytes" in str(caught.value)
        response.close()
        check_unharmed(client, server)


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ],
)
def test_chunk_framing_broken_is_a_protocol_error(client: Client, chunks: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with scripted([read_request, send(head + chunks), await_close], GOOD) as server:
        with pytest.raises(ProtocolError) as caught:
            client.get(server.url())
        assert caught.value.phase is Phase.BODY
        check_unharmed(client, server)


@pytest.mark.parametrize("filler", [b"a" * 5000, b"5;x=" + b"y" * 5000])
def test_chunk_line_without_end_is_refused_at_its_limit(client: Client, filler: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with scripted([read_request, send(head + filler), await_close], GOOD) as server:
        with pytest.raises((LimitError, ProtocolError)):
            client.get(server.url())
        check_unharmed(client, server)


def test_chunks_of_one_byte_are_read_in_linear_time(mode_client: Client) -> None:
    body = b"1\r\nx\r\n" * 50_000
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with scripted([read_request, send(head + body + b"0\r\n\r\n"), await_close]) as server, Stopwatch(3):
        assert mode_client.get(server.url()).content == b"x" * 50_000


# Bytes that nobody asked for


def test_bytes_behind_a_short_body_close_the_connection(client: Client) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    with scripted([read_request, send(good + smuggled), await_close], GOOD) as server:
        assert client.get(server.url()).content == b"hello"
        check_unharmed(client, server)


@pytest.mark.parametrize("size", [40_000, 70_000, 300_000])
def test_bytes_behind_a_long_body_close_the_connection(client: Client, size: int) -> None:
    go = threading.Event()
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    script = [read_request, send(head), await_event(go), send(b"x" * size + smuggled), await_close]
    with scripted(script, GOOD) as server:
        with client.stream("GET", server.url()) as response:
            go.set()
            view = memoryview(bytearray(size))
            got = 0
            while got < size:
                got += response.readinto(view[got:])
        check_unharmed(client, server)


def test_bytes_behind_a_chunked_body_close_the_connection(client: Client) -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nextra"
    with scripted([read_request, send(body), await_close], GOOD) as server:
        assert client.get(server.url()).content == b"hello"
        check_unharmed(client, server)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"),
    ],
)
def test_body_where_none_may_be_is_not_read_and_closes_the_connection(client: Client, method: str, head: bytes) -> None:
    with scripted([read_request, send(head), await_close], GOOD) as server:
        assert client.request(method, server.url()).content == b""
        check_unharmed(client, server)


def test_unsolicited_answer_on_an_idle_connection_is_not_the_next_answer(make_client: MakeClient) -> None:
    go = threading.Event()
    sent = threading.Event()
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    script = [read_request, answer(b"first"), await_event(go), send(evil), signal(sent), await_close]
    client = make_client()
    with scripted(script, GOOD) as server:
        assert client.get(server.url()).content == b"first"
        go.set()
        assert sent.wait(10)
        # Idle for longer than the time within which a connection is trusted unasked.
        for origin in client.pool._origins.values():
            for connection in origin.idle:
                connection.idle_since_ns -= 1_000_000_000
        assert client.get(server.url()).content == b"good"
        assert server.accepted == 2


def test_close_announced_is_obeyed(client: Client) -> None:
    closing = answer(b"first", b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    with scripted([read_request, closing, await_close], GOOD) as server:
        assert client.get(server.url()).content == b"first"
        check_unharmed(client, server)


def test_http_10_answer_without_keep_alive_closes_and_with_it_stays(client: Client) -> None:
    old = answer(b"first", b"HTTP/1.0 200 OK\r\n")
    kept = answer(b"second", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n")
    with scripted([read_request, old, await_close], [read_request, kept, *GOOD]) as server:
        assert client.get(server.url()).content == b"first"
        assert client.stats().open == 0
        assert client.get(server.url()).content == b"second"
        assert client.get(server.url()).content == b"good"
        assert server.accepted == 2


def test_body_that_ends_with_the_connection_is_read_to_its_end(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with scripted([read_request, send(head + b"x" * 100_000), close], GOOD) as server:
        assert client.get(server.url()).content == b"x" * 100_000
        check_unharmed(client, server)


# Memory


def test_length_announced_without_bytes_allocates_nothing(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=2**48, timeouts=Timeouts(read_s=0.2))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000000\r\n\r\n"
    with scripted([read_request, send(head + b"0123456789"), await_close], GOOD) as server:
        tracemalloc.start()
        try:
            with pytest.raises(ReadTimeout) as caught:
                client.get(server.url())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert caught.value.bytes_done == 10
        assert peak < 8 * 1024 * 1024
        check_unharmed(client, server)


def test_length_above_the_bound_is_refused_before_the_body(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1000)
    announced = send(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n0123456789")
    with scripted([read_request, announced, stall], GOOD) as server:
        with pytest.raises(BodyTooLarge):
            client.get(server.url())
        check_unharmed(client, server)


def test_body_above_the_bound_that_came_with_its_head_is_refused(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1000)
    with scripted([read_request, answer(b"x" * 1001), read_request, answer(b"x" * 1000), await_close]) as server:
        with pytest.raises(BodyTooLarge):
            client.get(server.url())
        # The body was read whole, so that its connection is clean.
        assert len(client.get(server.url()).content) == 1000
        assert server.accepted == 1


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n"]
)
def test_body_without_end_is_refused_at_the_bound(make_client: MakeClient, head: bytes) -> None:
    client = make_client(max_body_bytes=100_000)
    with scripted([read_request, send(head), flood(b"x" * 4096)], GOOD) as server:
        with pytest.raises(BodyTooLarge):
            client.get(server.url())
        check_unharmed(client, server)


# Deadlines

TOTAL = Timeouts(total_s=0.3)


@pytest.fixture(params=list(TransportMode), ids=lambda mode: mode.value)
def mode_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of each transport mode, for what takes time and has nothing to do with pooled memory."""
    with Client(variant_config((request.param, True))) as client:
        yield client


SLOW_SCRIPTS: list[tuple[str, list[Step]]] = [
    ("silent", [read_request, stall]),
    ("half closed", [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), stall]),
    ("half a head", [read_request, send(b"HTTP/1.1 200 OK\r\nContent-"), stall]),
    ("half a body", [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe"), stall]),
    (
        "half a chunk line",
        [read_request, send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5"), stall],
    ),
    ("interim only", [read_request, send(b"HTTP/1.1 103 Early Hints\r\n\r\n"), stall]),
]


@pytest.mark.parametrize("steps", [steps for _, steps in SLOW_SCRIPTS], ids=[name for name, _ in SLOW_SCRIPTS])
def test_silent_peer_ends_at_the_total_deadline(mode_client: Client, steps: list[Step]) -> None:
    with scripted(steps, GOOD) as server:
        with Stopwatch(0.3), pytest.raises(TotalTimeout):
            mode_client.get(server.url(), timeout=TOTAL)
        check_unharmed(mode_client, server)


@pytest.mark.parametrize("steps", [steps for _, steps in SLOW_SCRIPTS], ids=[name for name, _ in SLOW_SCRIPTS])
def test_silent_peer_ends_at_the_read_limit_waited_once(mode_client: Client, steps: list[Step]) -> None:
    with scripted(steps, GOOD) as server:
        began = time.monotonic()
        with pytest.raises(ReadTimeout):
            mode_client.get(server.url(), timeout=Timeouts(read_s=0.6, total_s=15))
        # A second wait of the same length would make it 1.2 s.
        assert 0.5 < time.monotonic() - began < 1.15
        check_unharmed(mode_client, server)


@pytest.mark.parametrize(
    ("prefix", "data"),
    [
        (b"", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x=y;"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["head", "length", "close", "chunked", "extension", "trailers"],
)
def test_dripping_peer_ends_at_the_total_deadline(mode_client: Client, prefix: bytes, data: bytes) -> None:
    with scripted([read_request, send(prefix), drip(data, 0.02)], GOOD) as server:
        with Stopwatch(0.3), pytest.raises(TotalTimeout):
            mode_client.get(server.url(), timeout=TOTAL)
        check_unharmed(mode_client, server)


def test_dripping_peer_within_the_limits_is_read_whole(client: Client) -> None:
    answer_bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    with scripted([read_request, send_bytewise(answer_bytes), await_close]) as server:
        response = client.get(server.url())
        assert response.content == b"hello"
        assert response.trailers is not None
        assert response.trailers.items() == [("X", "y")]


def test_endless_fast_body_ends_at_the_total_deadline(mode_client: Client) -> None:
    with scripted([read_request, send(b"HTTP/1.1 200 OK\r\n\r\n"), flood(b"x" * 65536)], GOOD) as server:
        response = mode_client.stream("GET", server.url(), timeout=TOTAL)
        with Stopwatch(0.3), pytest.raises(TotalTimeout):
            read_to_end(response)
        response.close()
        check_unharmed(mode_client, server)


def test_deadline_covers_the_head_and_the_body_together(mode_client: Client) -> None:
    go = threading.Event()
    script = [read_request, await_event(go), send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), stall]
    with scripted(script, GOOD) as server:
        timer = threading.Timer(0.7, go.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(TotalTimeout) as caught:
            mode_client.get(server.url(), timeout=1.0)
        # A fresh second for the body would end at 1.7 s.
        assert time.monotonic() - began < 1.6
        assert caught.value.phase is Phase.BODY
        timer.join()
        check_unharmed(mode_client, server)


def test_connection_that_is_never_accepted_ends_at_the_connect_limit(mode_client: Client) -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): nothing answers, or the network refuses at once.
    with Stopwatch(0.3), pytest.raises((DeadlineError, NetworkError)) as caught:
        mode_client.get("http://192.0.2.1:81/", timeout=Timeouts(connect_s=0.3))
    assert caught.value.phase is Phase.CONNECT
    assert mode_client.stats().open == 0


# Waiting for a connection


def test_pool_that_stays_full_ends_at_the_pool_limit(make_client: MakeClient) -> None:
    client = make_client(pool=PoolConfig(max_connections=1, max_connections_per_origin=1))
    with scripted([read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), stall]) as server:
        with client.stream("GET", server.url()):
            with Stopwatch(0.2), pytest.raises(PoolTimeout) as caught:
                client.get(server.url(), timeout=Timeouts(pool_s=0.2))
            assert caught.value.phase is Phase.QUEUE
            with Stopwatch(0.2), pytest.raises(TotalTimeout):
                client.get(server.url(), timeout=0.2)
            assert client.stats().waiting == 0
        assert client.stats().open == 0


def test_connection_given_back_by_one_origin_frees_a_place_for_another(make_client: MakeClient) -> None:
    client = make_client(pool=PoolConfig(max_connections=1, max_connections_per_origin=1))
    busy, go = threading.Event(), threading.Event()
    slow = [read_request, signal(busy), await_event(go), answer(b"slow"), await_close]
    with scripted(slow) as first, scripted(GOOD) as second:
        results: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: results.append(client.get(first.url()).content)),
            threading.Thread(target=lambda: results.append(client.get(second.url()).content)),
        ]
        threads[0].start()
        assert busy.wait(10)
        threads[1].start()
        while client.stats().waiting == 0:
            assert threads[1].is_alive()
        go.set()
        for thread in threads:
            thread.join(10)
        assert results == [b"slow", b"good"]
        assert client.stats().open == 1


# Stale connections


def stale_client(client: Client, server: ScriptedServer) -> None:
    """Put a connection into the pool whose server closes as soon as it reads the next request's first bytes."""
    assert client.get(server.url("/first")).content == b"first"
    assert client.stats().idle == 1


STALE = [read_request, answer(b"first"), read_head, close]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_stale_connection_is_replaced_once_for_idempotent_methods(client: Client, method: str) -> None:
    with scripted(STALE, [read_request, answer(b"" if method == "HEAD" else b"good"), await_close]) as server:
        stale_client(client, server)
        assert client.request(method, server.url("/again")).status_code == 200
        assert server.accepted == 2
        assert [request.split(b" ", 2)[1] for request in server.requests] == [b"/first", b"/again", b"/again"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
def test_stale_connection_is_an_error_for_other_methods(client: Client, method: str) -> None:
    with scripted(STALE, GOOD) as server:
        stale_client(client, server)
        with pytest.raises((ConnectionClosed, ReadError)):
            client.request(method, server.url("/once"))
        assert [request.split(b" ", 2)[1] for request in server.requests] == [b"/first", b"/once"]
        check_unharmed(client, server)


def test_new_connection_that_closes_unanswered_is_not_tried_again(client: Client) -> None:
    with scripted([read_request, close], GOOD) as server:
        with pytest.raises(ConnectionClosed):
            client.get(server.url())
        assert server.accepted == 1


def test_stale_connections_one_after_another_are_retried_once_only(client: Client) -> None:
    with scripted(STALE, [read_request, close], GOOD) as server:
        stale_client(client, server)
        with pytest.raises(ConnectionClosed):
            client.get(server.url("/again"))
        assert server.accepted == 2


def test_stale_connection_that_answered_a_byte_is_not_tried_again(client: Client) -> None:
    script = [read_request, answer(b"first"), read_head, send(b"H"), close]
    with scripted(script, GOOD) as server:
        stale_client(client, server)
        with pytest.raises(ConnectionClosed):
            client.get(server.url("/again"))
        assert server.accepted == 1


def test_stale_connection_body_that_cannot_be_replayed_is_not_sent_twice(client: Client) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"once"

    with scripted(STALE, GOOD) as server:
        stale_client(client, server)
        with pytest.raises(NetworkError):
            client.put(server.url(), content=blocks())
        assert server.accepted == 1


def test_stale_connection_body_that_can_be_replayed_is_sent_whole_again(client: Client) -> None:
    with scripted(STALE, GOOD) as server:
        stale_client(client, server)
        assert client.put(server.url(), content=[b"he", b"llo"]).content == b"good"
        assert server.requests[-1].endswith(b"\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")


def test_idle_connection_that_its_peer_closed_is_noticed_before_it_is_used(client: Client) -> None:
    closed = [read_request, answer(b"first"), close]
    with scripted(closed, GOOD) as server:
        assert client.get(server.url()).content == b"first"
        server.await_ended()
        for origin in client.pool._origins.values():
            for connection in origin.idle:
                connection.idle_since_ns -= 1_000_000_000
        # Not even a request that may not be repeated is lost.
        assert client.post(server.url(), content=b"x").content == b"good"


# Uploads

REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"


def endless() -> Iterator[bytes]:
    block = b"x" * 65536
    while True:
        yield block


@pytest.mark.parametrize("content", [b"x" * 30_000_000, "endless"], ids=["length", "chunked"])
@pytest.mark.parametrize("ending", [[await_close], [stall], [half_close, stall], [close]])
def test_upload_refused_early_gives_the_refusal(mode_client: Client, content: object, ending: list[Step]) -> None:
    with scripted([read_head, send(REFUSAL), *ending], GOOD) as server:
        with Stopwatch(3):
            response = mode_client.post(server.url(), content=endless() if content == "endless" else content)
        assert (response.status_code, response.content) == (413, b"big")
        check_unharmed(mode_client, server)


def test_upload_answered_early_does_not_leave_a_dirty_connection(mode_client: Client) -> None:
    # A final status before the body was sent, on a connection that says it lives on.
    with scripted([read_head, answer(b"early"), stall], GOOD) as server:
        assert mode_client.post(server.url(), content=b"x" * 30_000_000).content == b"early"
        check_unharmed(mode_client, server)


def test_upload_that_is_never_read_ends_at_the_write_limit(mode_client: Client) -> None:
    with scripted([stall], GOOD, receive_buffer=4096) as server:
        with Stopwatch(0.5), pytest.raises(WriteTimeout) as caught:
            mode_client.post(server.url(), content=b"x" * 30_000_000, timeout=Timeouts(write_s=0.5))
        assert caught.value.phase is Phase.SEND
        check_unharmed(mode_client, server)


@pytest.mark.parametrize("content", [b"x" * 30_000_000, "endless"], ids=["length", "chunked"])
def test_upload_that_is_never_read_ends_at_the_total_deadline(mode_client: Client, content: object) -> None:
    with scripted([stall], GOOD, receive_buffer=4096) as server:
        with Stopwatch(0.3), pytest.raises(TotalTimeout):
            mode_client.post(server.url(), content=endless() if content == "endless" else content, timeout=TOTAL)
        check_unharmed(mode_client, server)


def test_upload_without_end_that_is_read_as_fast_as_it_comes_ends_at_the_total_deadline(mode_client: Client) -> None:
    with scripted([await_close], GOOD) as server:
        with Stopwatch(0.3), pytest.raises(TotalTimeout):
            mode_client.post(server.url(), content=endless(), timeout=TOTAL)
        check_unharmed(mode_client, server)


def test_upload_reset_by_the_peer_is_a_write_error(mode_client: Client) -> None:
    with scripted([read_head, reset], GOOD) as server:
        with pytest.raises((WriteError, ReadError)):
            mode_client.post(server.url(), content=b"x" * 30_000_000)
        check_unharmed(mode_client, server)


def test_upload_whose_iterable_fails_passes_the_failure_on(client: Client) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise ArithmeticError("the caller's own")

    with scripted([await_close], GOOD) as server:
        with pytest.raises(ArithmeticError, match="own"):
            client.post(server.url(), content=broken())
        check_unharmed(client, server)


@pytest.mark.parametrize("content", [[b"four"], [b"toolong"]])
def test_upload_that_breaks_its_announced_length_is_a_local_write_error(client: Client, content: list[bytes]) -> None:
    with scripted([await_close], GOOD) as server:
        with pytest.raises(WriteError) as caught:
            client.post(server.url(), content=content, headers={"Content-Length": "5"})
        assert caught.value.origin.value == "local"
        check_unharmed(client, server)


def test_expect_continue_sends_the_body_after_the_100(client: Client) -> None:
    script = [read_head, send(b"HTTP/1.1 100 Continue\r\n\r\n"), read_body(5), answer(b"took it"), await_close]
    with scripted(script) as server:
        response = client.post(server.url(), content=b"hello", headers={"Expect": "100-continue"})
        assert response.content == b"took it"
        assert server.requests[1] == b"hello"


def test_expect_continue_refused_keeps_the_body_back(client: Client) -> None:
    with scripted([read_head, answer(b"no", b"HTTP/1.1 417 Expectation Failed\r\n"), await_close], GOOD) as server:
        response = client.post(server.url(), content=b"hello", headers={"Expect": "100-continue"})
        assert (response.status_code, response.content) == (417, b"no")
        check_unharmed(client, server)
        assert b"hello" not in b"".join(server.requests)


def test_expect_continue_unanswered_sends_the_body_all_the_same(mode_client: Client) -> None:
    with scripted([read_head, read_body(5), answer(b"took it"), await_close]) as server, Stopwatch(1.0):
        response = mode_client.post(server.url(), content=b"hello", headers={"Expect": "100-continue"})
        assert response.content == b"took it"


# Cancelling

BODY_BEGUN = send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
CLOSE_BEGUN = send(b"HTTP/1.1 200 OK\r\n\r\nhello")


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Run `call` on a thread; what it raises is in the list."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


@pytest.mark.parametrize(
    ("steps", "content"),
    [
        ([read_request], None),
        ([read_request, BODY_BEGUN], None),
        ([read_request, CLOSE_BEGUN], None),
        ([read_head], b"x" * 30_000_000),
    ],
    ids=["head", "body", "body until close", "upload"],
)
def test_cancel_from_another_thread_ends_the_call(client: Client, steps: list[Step], content: bytes | None) -> None:
    there = threading.Event()
    token = CancelToken()
    with scripted([*steps, signal(there), stall], GOOD) as server:
        thread, raised = in_thread(lambda: client.request("PUT", server.url(), content=content, cancel=token))
        assert there.wait(10)
        with Stopwatch(0.3):
            token.cancel()
            thread.join(10)
        assert [type(error) for error in raised] == [Cancelled]
        check_unharmed(client, server)


def test_cancel_while_waiting_for_a_connection_ends_the_call(make_client: MakeClient) -> None:
    client = make_client(pool=PoolConfig(max_connections=1, max_connections_per_origin=1))
    token = CancelToken()
    with scripted([read_request, BODY_BEGUN, stall], GOOD) as server:
        with client.stream("GET", server.url()):
            thread, raised = in_thread(lambda: client.get(server.url(), cancel=token))
            while client.stats().waiting == 0:
                assert thread.is_alive()
            with Stopwatch(0.3):
                token.cancel()
                thread.join(10)
            assert [type(error) for error in raised] == [Cancelled]
            assert client.stats().waiting == 0
        check_unharmed(client, server)


def test_cancel_while_connecting_ends_the_call(client: Client, full_listener: str) -> None:
    token = CancelToken()
    thread, raised = in_thread(lambda: client.get(full_listener, cancel=token))
    while client.stats().open == 0:
        assert thread.is_alive()
    with Stopwatch(0.3):
        token.cancel()
        thread.join(10)
    assert [type(error) for error in raised] == [Cancelled]
    assert client.stats().open == 0


@pytest.fixture
def full_listener() -> Iterator[str]:
    """The URL of a listener whose backlog is full, so that connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for sock in waiting:
            sock.close()


def test_connect_that_hangs_ends_at_its_limit(mode_client: Client, full_listener: str) -> None:
    with Stopwatch(0.3), pytest.raises(DeadlineError) as caught:
        mode_client.get(full_listener, timeout=Timeouts(connect_s=0.3))
    assert caught.value.code == "connect_timeout"
    with Stopwatch(0.3), pytest.raises(TotalTimeout):
        mode_client.get(full_listener, timeout=0.3)
    assert mode_client.stats().open == 0


def test_cancel_before_the_call_sends_nothing_even_on_a_kept_connection(client: Client) -> None:
    token = CancelToken()
    token.cancel()
    with scripted([read_request, answer(b"first"), read_request, stall], GOOD) as server:
        for call in (client.get, lambda url, cancel: client.stream("GET", url, cancel=cancel)):
            if client.stats().idle == 0 and server.accepted == 0:
                assert client.get(server.url("/first")).content == b"first"
            with Stopwatch(0.3), pytest.raises(Cancelled):
                call(server.url("/never"), cancel=token)
        assert client.get(server.url("/next")).content == b"good"
        assert not any(b"/never" in request for request in server.requests)


def test_cancel_of_a_streamed_response_ends_its_read(client: Client) -> None:
    with scripted([read_request, CLOSE_BEGUN, stall], GOOD) as server:
        response = client.stream("GET", server.url())
        buffer = bytearray(10)
        assert response.readinto(buffer) == 5
        thread, raised = in_thread(lambda: response.readinto(buffer))
        response.cancel()
        thread.join(10)
        assert [type(error) for error in raised] == [Cancelled]
        response.close()
        check_unharmed(client, server)


def test_cancel_token_does_not_remember_streams_that_were_closed(client: Client) -> None:
    token = CancelToken()
    with scripted([read_request, answer(b"x")] * 300) as server:
        for _ in range(300):
            with client.stream("GET", server.url(), cancel=token) as response:
                assert response.content == b"x"
        assert len(token._held) <= 130


# The client closes, or is interrupted


@pytest.mark.parametrize("steps", [[], [BODY_BEGUN], [CLOSE_BEGUN]], ids=["head", "body", "body until close"])
@pytest.mark.parametrize("prepared", [False, True])
def test_client_closed_under_a_call_ends_it_with_client_closed(
    client: Client, steps: list[Step], prepared: bool
) -> None:
    there = threading.Event()
    first = [read_request, answer(b"first", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"), close]
    hanging = [read_request, *steps, signal(there), stall]
    with scripted(*([first, hanging] if prepared else [hanging])) as server:
        if prepared:
            # The second request for the same URL takes the shorter path through the client.
            assert client.get(server.url()).content == b"first"
        thread, raised = in_thread(lambda: client.get(server.url()))
        assert there.wait(10)
        client.close()
        thread.join(10)
        assert [type(error) for error in raised] == [ClientClosed]
        assert client.stats().open == 0


def test_client_closed_while_connecting_ends_the_call(client: Client, full_listener: str) -> None:
    thread, raised = in_thread(lambda: client.get(full_listener))
    while client.stats().open == 0:
        assert thread.is_alive()
    client.close()
    thread.join(10)
    assert [type(error) for error in raised] == [ClientClosed]
    assert client.stats().open == 0


def test_client_closed_just_as_a_connection_stands_keeps_nothing_open(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = OriginPool.opened

    def close_first(origin: OriginPool, connection: Http1Connection, place: Place, now_ns: int) -> None:
        client.close()
        opened(origin, connection, place, now_ns)

    monkeypatch.setattr(OriginPool, "opened", close_first)
    with scripted([read_request, stall]) as server:
        with pytest.raises(ClientClosed):
            client.get(server.url())
        assert client.stats()[:3] == (0, 0, 0)
        assert server.requests == []


def test_client_closed_refuses_every_call_and_closes_again_without_harm(client: Client) -> None:
    with scripted(GOOD) as server:
        assert client.get(server.url()).content == b"good"
        client.close()
        client.close()
        with pytest.raises(ClientClosed):
            client.get(server.url())
        with pytest.raises(ClientClosed):
            client.stream("GET", server.url())
        assert client.stats().open == 0


@pytest.mark.parametrize("begun", [None, BODY_BEGUN], ids=["head", "body"])
def test_keyboard_interrupt_inside_a_wait_costs_the_connection_and_nothing_else(
    client: Client, begun: Step | None
) -> None:
    def interrupt(peer: object) -> None:
        # The main thread sits in its receive: the signal's handler raises there.
        signal_module.pthread_kill(threading.main_thread().ident or 0, signal_module.SIGINT)

    steps = [read_request, interrupt, stall] if begun is None else [read_request, begun, interrupt, stall]
    with scripted(steps, GOOD) as server:
        with pytest.raises(KeyboardInterrupt):
            client.get(server.url())
        check_unharmed(client, server)
