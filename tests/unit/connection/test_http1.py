"""A client's HTTP/1.1 connection, step by step over a transport that plays a script."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple, cast

import pytest

from support.scripted_transport import Incoming, ScriptedTransport, Taking
from support.seeds import seeds
from turbosock import limits
from turbosock.buffers import BufferPool
from turbosock.connection.body_source import body_source as source_of
from turbosock.connection.http1 import Http1Connection
from turbosock.connection.receive_ring import RingPool
from turbosock.connection.source import BodySource
from turbosock.errors import (
    BodyTruncated,
    ConnectionClosed,
    HeadTooLarge,
    ProtocolError,
    ReadError,
    TurbosockError,
    WriteError,
)
from turbosock.protocol.http1.head import ResponseHead
from turbosock.reactor.context import PENDING
from turbosock.transport.transport import Transport

BUFFERS = BufferPool()
ORIGIN = object()
REQUEST = b"GET / HTTP/1.1\r\nHost: host\r\n\r\n"
BLOCKING = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])


def body_source(content: object) -> BodySource | None:
    return source_of(content, BUFFERS)


class Stage(NamedTuple):
    """A connection, the transport under it, and where its rings come from."""

    connection: Http1Connection
    transport: ScriptedTransport
    rings: RingPool


def stage(
    incoming: Iterable[Incoming] = (), taking: Iterable[Taking] = (), *, blocking: bool = True, **options: Any
) -> Stage:
    transport = ScriptedTransport(incoming, taking, blocking=blocking)
    rings = RingPool(diagnostics=True)
    connection = Http1Connection(cast(Transport, transport), rings, **options)
    connection.origin = ORIGIN
    return Stage(connection, transport, rings)


def send_all(stage: Stage) -> None:
    """Step until the request is sent."""
    for _ in range(1_000_000):
        if stage.connection.sent:
            return
        stage.transport.on_writable()
        stage.connection.on_writable()
    raise AssertionError("the request is never sent")


def await_head(stage: Stage) -> ResponseHead:
    """Step until the final head is there."""
    while True:
        before = len(stage.transport.incoming)
        head = stage.connection.read_head()
        if head is not None:
            return head
        assert before, "the script is over and there is no head"
        stage.transport.on_readable()


def await_body(stage: Stage, room: int = 20_000) -> bytes:
    """Step until the body has ended."""
    view = memoryview(bytearray(room))
    body = bytearray()
    if stage.connection.whole:
        ring = stage.connection.ring
        assert ring is not None
        body += ring.readable()
        ring.clear()
        return bytes(body)
    while not stage.connection.body.complete:
        before = len(stage.transport.incoming)
        receives = stage.transport.receives
        count = stage.connection.read_body(view)
        assert -1 <= count <= room
        # Each receive may wait: a driver looks at its deadline before the next one.
        assert stage.transport.receives <= receives + 1
        if count < 0:
            assert before, "the script is over and the body has not ended"
            stage.transport.on_readable()
        else:
            body += view[:count]
    return bytes(body)


class Answer(NamedTuple):
    """All that can be seen of an answer."""

    status_code: int
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]] | None
    reusable: bool


class Expected:
    """What an equal request was answered with last."""

    def __init__(self, head: ResponseHead | None) -> None:
        self.expected = head


def exchange(stage: Stage, method: str = "GET", room: int = 20_000, expected: ResponseHead | None = None) -> Answer:
    """A whole exchange without a request body; afterwards the ring is poisoned."""
    stage.connection.start(method, REQUEST, None, None if expected is None else Expected(expected))
    send_all(stage)
    head = await_head(stage)
    body = await_body(stage, room)
    trailers = None if stage.connection.whole else stage.connection.body.trailers
    reusable = stage.connection.finish()
    assert stage.connection.ring is None
    return Answer(
        head.status_code, head.headers.items(), body, trailers.items() if trailers is not None else None, reusable
    )


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
MESSAGES: list[tuple[str, bytes, Answer, bool]] = [
    (
        "GET",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
        Answer(200, [("Content-Length", "5"), ("X", "y")], b"hello", None, True),
        False,
    ),
    (
        "GET",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Answer(200, [("Content-Length", "0")], b"", None, True),
        False,
    ),
    (
        "GET",
        INTERIM + b"HTTP/1.1 201 Made\r\nContent-Length: 3\r\n\r\nabc",
        Answer(201, [("Content-Length", "3")], b"abc", None, True),
        False,
    ),
    (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n, 12345678\r\n0\r\nX: y\r\n\r\n",
        Answer(200, [("Transfer-Encoding", "chunked")], b"hello, 12345678", [("X", "y")], True),
        False,
    ),
    (
        "GET",
        INTERIM + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        Answer(200, [("Transfer-Encoding", "chunked")], b"x", None, True),
        False,
    ),
    ("GET", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", Answer(200, [], b"until the end", None, False), True),
    ("GET", b"HTTP/1.0 200 OK\r\n\r\n", Answer(200, [], b"", None, False), True),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, [], b"", None, True), False),
    (
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        Answer(304, [("Content-Length", "9")], b"", None, True),
        False,
    ),
    (
        "HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        Answer(200, [("Content-Length", "9")], b"", None, True),
        False,
    ),
    (
        "GET",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        Answer(200, [("Connection", "close"), ("Content-Length", "2")], b"ok", None, False),
        False,
    ),
]


@BLOCKING
@pytest.mark.parametrize("room", [1, 7, 20_000])
@pytest.mark.parametrize(("method", "data", "expected", "closes"), MESSAGES)
def test_answer_cut_anywhere_is_the_same_answer(
    method: str, data: bytes, expected: Answer, closes: bool, blocking: bool, room: int
) -> None:
    end: list[Incoming] = [b""] if closes else []
    cuts: list[list[Incoming]] = [[data], [data[i : i + 1] for i in range(len(data))]]
    cuts += [[data[:i], data[i:]] for i in range(1, len(data))]
    for pieces in cuts:
        assert exchange(stage([*pieces, *end], blocking=blocking), method, room) == expected
        waits = [item for piece in pieces for item in (None, piece)]
        assert exchange(stage([*waits, None, *end], blocking=blocking), method, room) == expected


@pytest.mark.parametrize("seed", seeds(30))
def test_answers_in_a_row_at_random_cuts_are_the_same_answers(seed: int) -> None:
    chance = random.Random(seed)
    # Only what leaves the connection open, so that all of it runs over one connection and its stale ring.
    kept = [message for message in MESSAGES if message[2].reusable]
    chosen = [chance.choice(kept) for _ in range(20)]
    pieces: list[list[Incoming]] = []
    for _, data, _, _ in chosen:
        cuts = sorted({0, len(data), *(chance.randrange(1, len(data)) for _ in range(chance.randrange(6)))})
        pieces.append([data[a:b] for a, b in pairwise(cuts)])
        for at in range(chance.randrange(3)):
            pieces[-1].insert(at, None)
    on = stage(blocking=chance.random() < 0.5)
    expected_head = None
    for (method, _, expected, _), incoming in zip(chosen, pieces, strict=True):
        on.transport.incoming.extend(incoming)
        on.transport.on_readable()
        assert exchange(on, method, chance.choice([1, 5, 20_000]), expected_head) == expected
        expected_head = on.connection.head if method == "GET" else None
    assert on.connection.served == 20
    assert on.rings.stats().made == 1


# Heads known from before


@BLOCKING
def test_head_that_repeats_is_recognised_and_not_parsed_again(blocking: bool) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    on = stage([data + b"ab"], blocking=blocking)
    exchange(on)
    first = on.connection.head
    for cut in range(1, len(data)):
        on.transport.incoming.extend([data[:cut], data[cut:] + b"cd"])
        assert exchange(on, expected=first).body == b"cd"
        assert on.connection.head is first


def test_head_that_came_elsewhere_meanwhile_is_recognised() -> None:
    early, late = (b"HTTP/1.1 200 OK\r\nDate: %d\r\nContent-Length: 2\r\n\r\n" % second for second in (1, 2))
    on, other = stage([early + b"ab"]), stage([late + b"cd"])
    exchange(on)
    exchange(other)
    expected = Expected(on.connection.head)
    on.connection.start("GET", REQUEST, None, expected)
    # As it is there when the answer comes.
    expected.expected = other.connection.head
    on.transport.incoming.append(late + b"ef")
    assert on.connection.read_head() is other.connection.head


def test_head_that_lies_stale_in_the_ring_is_not_taken_for_what_came() -> None:
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: first\r\n\r\n"
    other = b"HTTP/1.1 404 No\r\nContent-Length: 3\r\nX: other\r\n\r\n"
    for cut in range(1, len(other)):
        # Without poison, as a ring is within one origin: the old head is still there, word for word.
        transport = ScriptedTransport([first + b"ab"])
        rings = RingPool()
        connection = Http1Connection(cast(Transport, transport), rings)
        connection.origin = ORIGIN
        on = Stage(connection, transport, rings)
        exchange(on)
        # The same beginning, then something else.
        data = first[:cut] if other.startswith(first[:cut]) else other[:cut]
        transport.incoming.extend([data, None, other[len(data) :], b"xyz"])
        answer = exchange(on, expected=connection.head)
        assert (answer.status_code, answer.body) == (404, b"xyz")


def test_head_limits_hold_for_heads_that_come_in_pieces() -> None:
    long = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 600
    with pytest.raises(HeadTooLarge):
        exchange(stage([long[i : i + 100] for i in range(0, len(long), 100)], max_head_bytes=512))
    many = b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 3 + b"\r\n"
    with pytest.raises(HeadTooLarge):
        exchange(stage([many], max_head_fields=2))
    with pytest.raises(HeadTooLarge):
        exchange(stage([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000, b"y" * 40_000]))


def test_head_that_fills_the_ring_behind_interim_ones_is_still_read() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 40_000 + b"\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"b" * 60_000 + b"\r\n\r\n"
    data = interim + final + b"ok"
    on = stage([data[i : i + 50_000] for i in range(0, len(data), 50_000)])
    answer = exchange(on)
    assert (answer.status_code, answer.body, len(answer.headers[1][1])) == (200, b"ok", 60_000)


@BLOCKING
def test_head_whose_end_comes_after_its_bytes_moved_in_the_ring_is_found(blocking: bool) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 40_000 + b"\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"b" * 30_000 + b"\r\n\r\n"
    # The first receive fills the ring to its last byte; the rest is short, and lies before where the search had been.
    answer = exchange(stage([interim + final + b"ok"], blocking=blocking))
    assert (answer.status_code, answer.body, len(answer.headers[1][1])) == (200, b"ok", 30_000)


def test_interim_heads_are_bounded_for_each_exchange() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    on = stage()
    on.transport.incoming.extend([interim * limits.MAX_INTERIM_RESPONSES, final])
    exchange(on)
    for _ in range(2 * limits.MAX_INTERIM_RESPONSES):
        on.transport.incoming.extend([interim, final])
        assert exchange(on, expected=on.connection.head).body == b"ok"
    on.transport.incoming.extend([interim] * (limits.MAX_INTERIM_RESPONSES + 1))
    with pytest.raises(ProtocolError, match="interim") as caught:
        exchange(on)
    assert caught.value.code == "too_many_interim"


# Failures


@BLOCKING
@pytest.mark.parametrize(
    ("incoming", "error", "code"),
    [
        ([b""], ConnectionClosed, "closed_early"),
        ([b"HTTP/1.1 2", b""], ConnectionClosed, "connection_closed"),
        ([INTERIM, b""], ConnectionClosed, "connection_closed"),
        ([ReadError("reset")], ReadError, "read"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", b""], BodyTruncated, "body_truncated"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""], BodyTruncated, "body_truncated"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", ReadError("reset")], ReadError, "read"),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b""],
            BodyTruncated,
            "body_truncated",
        ),
        ([b"HTTP/1.1 200 OK\r\n\r\nhel", ReadError("reset")], ReadError, "read"),
    ],
)
@pytest.mark.parametrize("room", [1, 20_000])
def test_answer_that_breaks_off_raises_and_the_connection_is_of_no_use(
    incoming: list[Incoming], error: type[TurbosockError], code: str, blocking: bool, room: int
) -> None:
    on = stage(incoming, blocking=blocking)
    with pytest.raises(error) as caught:
        exchange(on, room=room)
    assert caught.value.code == code
    assert not on.connection.finish()
    on.connection.close()
    assert on.transport.closed
    assert on.rings.stats().idle == on.rings.stats().made


@pytest.mark.parametrize("extra", [b"x", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("data", [message[1] for message in MESSAGES if message[2].reusable])
def test_bytes_behind_the_answer_end_the_connection(data: bytes, extra: bytes) -> None:
    assert not exchange(stage([data + extra]), "HEAD" if b"Content-Length: 9" in data else "GET").reusable


def test_bytes_behind_an_answer_that_came_in_pieces_end_the_connection_though_unread() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"
    on = stage([head, b"x" * 50_000])
    on.transport.quiet = False
    assert not exchange(on, room=50_000).reusable


def test_connection_closed_twice_gives_its_ring_back_once() -> None:
    on = stage([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"])
    on.connection.start("GET", REQUEST)
    await_head(on)
    on.connection.close()
    on.connection.close()
    assert (on.rings.stats().idle, on.rings.stats().made) == (1, 1)


@BLOCKING
def test_connection_that_waits_for_its_answer_holds_no_ring_without_blocking(blocking: bool) -> None:
    on = stage([None], blocking=blocking)
    on.transport.readable = blocking
    on.connection.start("GET", REQUEST)
    assert on.connection.read_head() is None
    if not blocking:
        assert on.connection.ring is None
        assert on.transport.receive_context.state == PENDING
        assert on.transport.receive_context.count == 0


# Requests


HEAD = b"POST / HTTP/1.1\r\n\r\n"
BODIES: list[tuple[object, bytes]] = [
    (b"", b""),
    (b"hello", b"hello"),
    (memoryview(bytearray(b"hello")), b"hello"),
    ([b"he", b"", bytearray(b"ll"), memoryview(b"o")], b"2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n"),
    ([], b"0\r\n\r\n"),
    (io.BytesIO(b"hello"), b"hello"),
]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@BLOCKING
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("content", "wire"), BODIES)
def test_request_sent_in_pieces_is_the_same_request(
    content: object, wire: bytes, step: int, waits: bool, blocking: bool
) -> None:
    taking: list[Taking] = []
    for _ in range(len(HEAD + wire)):
        taking += [None, step] if waits else [step]
    on = stage([ANSWER], taking, blocking=blocking)
    if isinstance(content, io.BytesIO):
        content.seek(0)
    on.connection.start("POST", HEAD, body_source(content))
    send_all(on)
    assert on.transport.sent == HEAD + wire
    assert await_head(on).status_code == 200
    assert await_body(on) == b"ok"
    assert on.connection.finish()


def test_request_head_and_first_block_leave_together() -> None:
    on = stage()
    on.connection.start("POST", HEAD, body_source(b"hello"))
    assert on.transport.sends == 1
    assert on.connection.sent


@BLOCKING
def test_request_without_end_gives_its_driver_a_turn(blocking: bool) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    on = stage(blocking=blocking)
    on.connection.start("POST", HEAD, body_source(endless()))
    assert not on.connection.sent
    for _ in range(3):
        before = len(on.transport.sent)
        on.transport.on_writable()
        on.connection.on_writable()
        assert 0 < len(on.transport.sent) - before <= on.transport.burst_bytes + 40_000
    assert not on.connection.sent


@BLOCKING
@pytest.mark.parametrize("taking", [[WriteError("reset")], [3, WriteError("reset")]])
@pytest.mark.parametrize("content", [None, b"hello", [b"hello"]])
def test_request_that_cannot_be_written_raises(taking: list[Taking], content: object, blocking: bool) -> None:
    on = stage([], taking, blocking=blocking)

    def send() -> None:
        on.connection.start("POST", HEAD, body_source(content))
        send_all(on)

    with pytest.raises(WriteError, match="reset"):
        send()
    assert not on.connection.finish()


@BLOCKING
@pytest.mark.parametrize("looked", [True, False], ids=["raised", "unseen"])
def test_end_of_the_stream_after_a_send_that_failed_does_not_end_a_body(blocking: bool, looked: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nthe beginning"
    on = stage([answer, b""], [3, None, WriteError("reset")], blocking=blocking)
    on.connection.start("POST", HEAD, body_source(b"hello"))
    assert not on.connection.sent
    if looked:
        with pytest.raises(WriteError, match="reset"):
            send_all(on)
    else:
        # The failure came up in waiting for the answer.
        on.transport.send_context.disarm()
        on.transport.send_context.set_buffer(b"hello", 0, 5)
        on.transport.taking.clear()
        on.transport.taking.append(WriteError("reset"))
        on.transport.send(on.transport.send_context)
    await_head(on)
    on.connection.abandon_request()
    with pytest.raises(ConnectionClosed, match="after 13 bytes"):
        await_body(on)
    assert not on.connection.body.complete
    assert not on.connection.finish()


@BLOCKING
def test_body_of_known_length_after_a_send_that_failed_is_whole(blocking: bool) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo "
    on = stage([answer, b"large", b""], [3, None, WriteError("reset")], blocking=blocking)
    on.connection.start("POST", HEAD, body_source(b"hello"))
    with pytest.raises(WriteError, match="reset"):
        send_all(on)
    await_head(on)
    on.connection.abandon_request()
    assert await_body(on) == b"too large"
    assert not on.connection.finish()


@BLOCKING
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("content", "wire"), BODIES)
def test_progress_is_told_of_payload_alone_however_it_leaves(
    content: object, wire: bytes, step: int, blocking: bool
) -> None:
    told: list[tuple[int, int | None]] = []
    on = stage([ANSWER], [step] * len(HEAD + wire), blocking=blocking)
    if isinstance(content, io.BytesIO):
        content.seek(0)
    source = body_source(content)
    assert source is not None
    source.progress = lambda sent, total: told.append((sent, total))
    on.connection.start("POST", HEAD, source)
    send_all(on)
    counts = [sent for sent, _ in told]
    payload = 5 if b"o" in wire else 0
    assert counts == sorted(set(counts))
    assert counts[-1:] == ([payload] if payload else [])
    assert {total for _, total in told} <= {source.length if source.length >= 0 else None}
    if step == 1:
        assert counts == list(range(1, payload + 1))


class Noted(BodySource):
    """A body that says when it was closed."""

    def __init__(self, *blocks: bytes) -> None:
        super().__init__(sum(map(len, blocks)), replayable=False)
        self.blocks = list(blocks)
        self.closed = 0

    def next_block(self) -> bytes | None:
        return self.blocks.pop(0) if self.blocks else None

    def close(self) -> None:
        self.closed += 1


def test_request_body_is_closed_once_sent_and_when_the_connection_closes() -> None:
    sent = Noted(b"hello")
    on = stage()
    on.connection.start("POST", HEAD, sent)
    assert sent.closed == 1
    on.connection.close()
    assert sent.closed == 1
    unsent = Noted(b"hello")
    on = stage(taking=[3])
    on.connection.start("POST", HEAD, unsent)
    on.connection.close()
    assert unsent.closed == 1


@BLOCKING
def test_answer_before_the_request_was_sent_ends_the_connection(blocking: bool) -> None:
    source = Noted(b"x" * 100, b"y")
    on = stage([ANSWER], [50, None, None], blocking=blocking)
    on.connection.start("POST", HEAD, source)
    assert not on.connection.sent
    assert await_head(on).status_code == 200
    on.connection.abandon_request()
    assert on.connection.sent
    assert source.closed == 1
    assert await_body(on) == b"ok"
    assert not on.connection.finish()


@BLOCKING
def test_continue_releases_the_body(blocking: bool) -> None:
    on = stage([b"HTTP/1.1 100 Continue\r\n\r\n", ANSWER], blocking=blocking)
    on.connection.start("POST", HEAD, body_source(b"hello"), wait_for_continue=True)
    assert on.transport.sent == HEAD
    assert not on.connection.sent
    assert on.connection.read_head() is None
    assert on.connection.sent
    assert on.transport.sent == HEAD + b"hello"
    assert await_head(on).status_code == 200


def test_continue_that_never_comes_is_not_needed() -> None:
    on = stage([ANSWER])
    on.connection.start("POST", HEAD, body_source([b"hello"]), wait_for_continue=True)
    on.connection.send_body()
    on.connection.send_body()
    send_all(on)
    assert on.transport.sent == HEAD + b"5\r\nhello\r\n0\r\n\r\n"


def test_continue_that_nobody_asked_for_is_passed_over() -> None:
    assert exchange(stage([b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER])).body == b"ok"


def test_continue_before_the_head_was_sent_waits_for_it() -> None:
    on = stage([b"HTTP/1.1 100 Continue\r\n\r\n", ANSWER], [5, None, 5])
    on.connection.start("POST", HEAD, body_source(b"hello"), wait_for_continue=True)
    assert on.connection.read_head() is None
    send_all(on)
    assert on.transport.sent == HEAD + b"hello"


def test_refusal_in_place_of_a_continue_keeps_the_body_back() -> None:
    on = stage([b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"])
    on.connection.start("POST", HEAD, body_source(b"hello"), wait_for_continue=True)
    assert await_head(on).status_code == 417
    on.connection.abandon_request()
    assert on.transport.sent == HEAD
    assert not on.connection.finish()


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ("CONNECT", b"HTTP/1.1 200 Connected\r\n\r\n"),
    ],
)
def test_upgrade_hands_the_transport_and_the_leftover_bytes_over(method: str, head: bytes) -> None:
    on = stage([head + b"first bytes"])
    on.connection.start(method, REQUEST)
    assert await_head(on).upgrade
    transport, leftover = on.connection.take_over()
    assert transport is cast(Transport, on.transport)
    assert leftover == b"first bytes"
    assert on.connection.ring is None
    assert not on.connection.finish()
