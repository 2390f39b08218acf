"""What a listener's HTTP/2 connection does: its beginning, sends, windows, waits, floods, mistakes and ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from support.http2 import (
    data,
    frame,
    goaway,
    headers,
    padded_data,
    ping,
    priority,
    push_promise,
    reset,
    settings,
    split_headers,
    window_update,
)
from support.http2_stage import Http2Stage, Http2StagePeer
from support.http_stage import Stage, request
from support.seeds import seeds
from turbosock import limits
from turbosock.config import Http2Config
from turbosock.connection.send import Send
from turbosock.errors import InvalidOption
from turbosock.protocol.http2.error_codes import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from turbosock.protocol.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
)
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE
from turbosock.reactor.poller import available_pollers
from turbosock.server.http2_session import Http2ServerSession
from turbosock.server.http2_stream import Http2ServerStream
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener

GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/"))
POST = ((b":method", b"POST"), *GET[1:])
LARGE_WINDOW = window_update(0, 1 << 28)


def echo(exchange: HttpExchange) -> None:
    """Answer with what was understood of the request."""
    asked = exchange.request
    exchange.respond(200, None, f"{asked.method} {asked.target} {asked.http_version}\n".encode() + asked.content)


def session_of(exchange: HttpExchange) -> Http2ServerSession:
    carrier = exchange._carrier
    assert isinstance(carrier, Http2ServerStream)
    return carrier.session


def is_served(stage: Stage) -> bool:
    """Whether another connection goes on."""
    peer = Http2StagePeer(stage)
    number = peer.open(path="/other")
    stage.settle(peer)
    if not peer.streams[number].ended:
        # This stage's handler keeps its exchanges.
        stage.exchanges[-1].respond(200, None, b"/other")
    return b"/other" in peer.answer_of(number).body


class Keeping:
    """A handler that keeps its exchanges, and is told who has left."""

    def __init__(self) -> None:
        self.left: list[HttpExchange] = []

    def __call__(self, exchange: HttpExchange) -> None:
        exchange.on_closed = self.left.append


# The beginning


CONVERSATION = b"".join(
    (
        PREFACE,
        settings((INITIAL_WINDOW_SIZE, 100_000)),
        headers(1, GET, end=True),
        ping(),
        split_headers(3, POST, (3, 9), end=False),
        data(3, b"some "),
        padded_data(3, b"content", 9, end=True),
        priority(3),
        headers(5, POST),
        headers(5, ((b"x-trailer", b"1"),), end=True),
        frame(0x5F, 0, 7, b"unknown"),
    )
)


def converse(pieces: list[bytes]) -> tuple[list[object], int, bool]:
    with Http2Stage(echo) as stage:
        peer = stage.raw(greets=False)
        for number in (1, 3, 5):
            peer.head(number)
        for piece in pieces:
            peer.say(piece)
        answers = [peer.answer_of(number) for number in (1, 3, 5)]
        return [answer.summary()[2:] for answer in answers], len(peer.kinds(GOAWAY)), stage.idle_rings


def test_conversation_cut_anywhere_gets_the_same_answers() -> None:
    whole = converse([CONVERSATION])
    assert whole[0] == [(b"GET / HTTP/2\n", []), (b"POST / HTTP/2\nsome content", []), (b"POST / HTTP/2\n", [])]
    assert whole[1:] == (0, True)
    assert converse([CONVERSATION[i : i + 1] for i in range(len(CONVERSATION))]) == whole
    for cut in range(1, len(CONVERSATION), 3):
        assert converse([CONVERSATION[:cut], CONVERSATION[cut:]]) == whole


@pytest.mark.parametrize("poller", available_pollers())
def test_connection_serves_request_after_request_and_holds_no_ring_between(poller: str) -> None:
    with Http2Stage(echo, poller=poller) as stage:
        peer = stage.raw()
        for count in range(1, 4):
            number = peer.open(path=f"/{count}")
            assert peer.answer_of(number).body == b"GET /%d HTTP/2\n" % count
            assert stage.idle_rings
        stats = stage.listener.stats()
        assert (stats.accepted, stats.open, stats.requests, stats.http2) == (1, 1, 3, 1)


def test_kept_exchanges_hold_no_ring() -> None:
    with Http2Stage() as stage:
        peer = stage.raw()
        peer.open()
        peer.open()
        assert len(stage.exchanges) == 2 and stage.idle_rings


def test_preface_is_refused_where_only_http1_is_spoken() -> None:
    with Stage(echo, http_versions=("HTTP/1.1",)) as stage:
        peer = stage.connect()
        peer.send(PREFACE + settings())
        assert [answer.status_code for answer in peer.answers()] == [505]


def test_request_of_http1_is_refused_where_only_http2_is_spoken() -> None:
    with Http2Stage(echo, http_versions=("HTTP/2",)) as stage:
        peer = stage.raw(greets=False)
        peer.say(request())
        stage.settle(peer)
        assert [code for _, code in peer.goaways] == [PROTOCOL_ERROR] and peer.ended
        good = stage.raw()
        assert good.answer_of(good.open()).status_code == 200


def test_options_that_cannot_work_are_refused_by_name() -> None:
    for option, value in (("http_versions", ("HTTP/3",)), ("http_versions", ()), ("http2", 5)):
        options: dict[str, Any] = {option: value}
        with Stage(echo) as stage, pytest.raises(InvalidOption, match=option):
            HttpListener(stage.reactor, stage.rings, stage.path + "2", echo, **options)


def test_settings_say_what_the_listener_takes() -> None:
    with Http2Stage(echo, http2=Http2Config(initial_window_bytes=50_000, max_streams=7), max_head_bytes=5000) as stage:
        peer = stage.raw()
        peer.news()
        # Streams, windows, fields; and no extended CONNECT, which nobody would answer.
        assert peer.settings == {3: 7, 4: 50_000, 6: 5000}


# Steps and sends


def counting(session: Http2ServerSession) -> dict[str, int]:
    """Counts what a session does with its socket, from here on."""
    counts = {"received": 0, "sent": 0, "passes": 0}
    transport = session.transport
    receive, send = transport._recv_into, transport._send

    def count_receive(*arguments: Any) -> int:
        counts["received"] += 1
        return receive(*arguments)

    def count_send(*arguments: Any) -> int:
        counts["sent"] += 1
        return send(*arguments)

    transport._recv_into = count_receive
    transport._send = count_send

    class Counted(type(session.engine)):  # type: ignore[misc]
        __slots__ = ()

        def receive(self, ring: Any) -> None:
            counts["passes"] += 1
            super().receive(ring)

    session.engine.__class__ = Counted
    return counts


def test_fifty_requests_that_came_together_are_one_receive_one_pass_and_one_send() -> None:
    with Http2Stage(echo) as stage:
        peer = stage.raw()
        peer.answer_of(peer.open())
        counts = counting(session_of(stage.exchanges[0]))
        peer.credits = False
        numbers = range(3, 103, 2)
        peer.say(b"".join(peer.head(number) for number in numbers))
        assert all(peer.answer_of(number).status_code == 200 for number in numbers)
        assert counts == {"received": 1, "sent": 1, "passes": 1}


def test_answers_of_one_tick_leave_in_one_send() -> None:
    with Http2Stage() as stage:
        peer = stage.raw()
        peer.say(b"".join(peer.head(number) for number in range(1, 41, 2)))
        counts = counting(session_of(stage.exchanges[0]))
        for exchange in stage.exchanges:
            assert exchange.respond(200, None, b"late") is Send.OK
        assert counts["sent"] == 0
        assert all(peer.answer_of(number).body == b"late" for number in range(1, 41, 2))
        assert counts["sent"] == 1


def test_requests_of_one_connection_share_a_step_and_then_wait_in_line() -> None:
    with Http2Stage(echo) as stage:
        peer = stage.raw()
        most = limits.MAX_HTTP2_REQUESTS_PER_STEP
        peer.socket.send(b"".join(peer.head(number) for number in range(1, 2 * most + 20, 2)))
        stage.reactor.collect(0.0)
        stage.reactor.step()
        assert len(stage.exchanges) == most and stage.reactor.line
        stage.turn()
        assert len(stage.exchanges) == most + 10


def test_thousand_streams_are_kept_and_answered() -> None:
    with Http2Stage(http2=Http2Config(initial_window_bytes=32_768, max_streams=1000)) as stage:
        peer = stage.raw()
        peer.credits = False
        numbers = range(1, 2001, 2)
        peer.say(b"".join(peer.head(number, path=f"/{number}") for number in numbers))
        assert len(stage.exchanges) == 1000 and stage.idle_rings
        chosen = random.Random(5)
        for exchange in chosen.sample(stage.exchanges, 1000):
            exchange.respond(200, None, exchange.request.path)
        assert all(peer.answer_of(number).body == b"/%d" % number for number in numbers)
        assert stage.idle_rings and not peer.goaways


def test_stream_beyond_the_limit_is_refused_and_the_others_go_on() -> None:
    with Http2Stage(http2=Http2Config(max_streams=3)) as stage:
        peer = stage.raw()
        numbers = [peer.open() for _ in range(5)]
        stage.settle(peer)
        assert [peer.streams[number].reset for number in numbers] == [None] * 3 + [REFUSED_STREAM] * 2
        for exchange in stage.exchanges:
            exchange.respond()
        assert all(peer.answer_of(number).status_code == 200 for number in numbers[:3])
        peer.open()
        assert len(stage.exchanges) == 4


# Windows


def test_slow_reader_stops_its_own_stream_alone() -> None:
    content = bytes(300_000)
    with Http2Stage(lambda exchange: exchange.respond(200, None, content)) as stage:
        peer = stage.raw()
        peer.credits = False
        peer.say(LARGE_WINDOW)
        slow, fast = peer.open(), peer.open()
        stage.settle(peer)
        stalled = peer.streams[slow].answer
        assert stalled is not None and len(stalled.body) == 65_535
        peer.say(window_update(fast, 1 << 20))
        assert peer.answer_of(fast).body == content
        assert len(stalled.body) == 65_535
        peer.say(window_update(slow, 1 << 20))
        assert peer.answer_of(slow).body == content


def test_window_of_the_connection_stops_all_and_is_shared_fairly() -> None:
    with Http2Stage(lambda exchange: exchange.respond(200, None, bytes(500_000))) as stage:
        peer = stage.raw((INITIAL_WINDOW_SIZE, 1 << 20))
        peer.credits = False
        numbers = [peer.open() for _ in range(4)]
        for _ in range(20):
            peer.say(window_update(0, 65_536))
            stage.settle(peer)
        sizes = [len(peer.streams[number].answer.body) for number in numbers]  # type: ignore[union-attr]
        # The first had what there was before the others came.
        assert sum(sizes) == 65_535 + 20 * 65_536
        assert max(sizes[1:]) - min(sizes[1:]) <= 65_536


def test_window_that_goes_below_zero_waits_and_comes_back() -> None:
    with Http2Stage(lambda exchange: exchange.respond(200, None, bytes(100_000))) as stage:
        peer = stage.raw()
        peer.credits = False
        number = peer.open()
        peer.say(LARGE_WINDOW, settings((INITIAL_WINDOW_SIZE, 0)))
        stage.settle(peer)
        answer = peer.streams[number].answer
        assert answer is not None and len(answer.body) == 65_535
        peer.say(window_update(number, 65_535))
        stage.settle(peer)
        assert len(answer.body) == 65_535
        peer.say(window_update(number, 100_000))
        assert len(peer.answer_of(number).body) == 100_000


def test_drip_of_updates_costs_one_question_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[object] = []
    before = Http2ServerStream.on_room

    def on_room(stream: Http2ServerStream) -> None:
        rooms.append(stream)
        before(stream)

    monkeypatch.setattr(Http2ServerStream, "on_room", on_room)
    with Http2Stage(lambda exchange: exchange.respond(200, None, bytes(100_000))) as stage:
        peer = stage.raw((INITIAL_WINDOW_SIZE, 0))
        peer.credits = False
        for _ in range(100):
            peer.open()
        rooms.clear()
        peer.say(window_update(0, 1) * 900)
        assert len(rooms) <= 200


def test_body_is_credited_as_it_is_read_and_not_before() -> None:
    with Http2Stage(stream_body=True, http2=Http2Config(initial_window_bytes=20_000)) as stage:
        peer = stage.raw()
        number = peer.open(end=False, method="POST")
        peer.body(number, bytes(50_000))
        with pytest.raises(AssertionError, match="takes no more"):
            peer.send(b"")
        (exchange,) = stage.exchanges
        view = bytearray(50_000)
        assert exchange.readinto(view) == 20_000
        assert exchange.readinto(view) == -1
        read = 20_000
        while (count := exchange.readinto(view)) != 0:
            read += max(count, 0)
            stage.settle(peer)
            peer.pump()
        assert read == 50_000
        exchange.respond(200, None, b"thanks")
        assert peer.answer_of(number).body == b"thanks" and stage.idle_rings


def test_body_that_nobody_reads_stops_its_own_stream_alone() -> None:
    with Http2Stage(stream_body=True) as stage:
        peer = stage.raw()
        unread = peer.open(end=False, method="POST")
        peer.body(unread, bytes(5_000_000))
        with pytest.raises(AssertionError, match="takes no more"):
            peer.send(b"")
        assert stage.reactor.bytes_in < 400_000
        other = peer.open(end=False, method="POST")
        peer.streams[other].unsent += b"x" * 1000
        peer.streams[other].closing = True
        peer.pump()
        view = bytearray(5000)
        assert stage.exchanges[1].readinto(view) == 1000
        stage.exchanges[1].respond(200, None, b"read")
        assert peer.answer_of(other).body == b"read"


def test_bodies_gathered_together_are_bounded_and_all_become_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HTTP2_GATHERED_BYTES", 100_000)
    with Http2Stage(echo, http2=Http2Config(initial_window_bytes=20_000)) as stage:
        peer = stage.raw()
        numbers = [peer.open(end=False, method="POST") for _ in range(8)]
        held = 0
        for number in numbers:
            stream = peer.streams[number]
            stream.unsent += bytes([number]) * 90_000
            stream.closing = True
        for _ in range(1000):
            peer.pump()
            stage.settle(peer)
            session = next(iter(stage.listener._sessions))
            held = max(held, sum(stream.kept for stream in session.gathering))
            if all(peer.streams[number].ended for number in numbers):
                break
        # The bound, the windows that had been given before it was reached, and the oldest.
        assert 100_000 < held <= 100_000 + 8 * 20_000 + 90_000
        for number in numbers:
            assert peer.answer_of(number).body == b"POST / HTTP/2\n" + bytes([number]) * 90_000


# Answers and ends of streams


def test_early_answer_refuses_the_rest_of_its_request_alone() -> None:
    with Http2Stage(lambda exchange: exchange.respond(403, None, b"no"), stream_body=True) as stage:
        peer = stage.raw()
        number = peer.open(end=False, method="POST")
        assert peer.answer_of(number).status_code == 403
        # What was on its way is ignored, and gets no credit; the client has time to read the answer.
        peer.say(data(number, b"x" * 10_000))
        other = peer.open()
        assert peer.answer_of(other).status_code == 403
        assert not [each for each in peer.kinds(WINDOW_UPDATE) if each.stream]
        assert peer.streams[number].reset is None
        stage.advance(limits.SERVER_LINGER_S)
        stage.settle(peer)
        assert peer.streams[number].reset == NO_ERROR and peer.streams[other].reset is None
        peer.say(data(number, b"x" * 10_000))
        assert peer.answer_of(peer.open()).status_code == 403 and not peer.goaways
        assert stage.listener.stats().timeouts == 0


def test_client_that_leaves_the_rest_of_an_answered_request_out_is_no_flood() -> None:
    with Http2Stage(lambda exchange: exchange.respond(403), stream_body=True) as stage:
        peer = stage.raw()
        for round_number in range(limits.MAX_HTTP2_RESETS + 10):
            number = peer.open(end=False, method="POST")
            assert peer.answer_of(number).status_code == 403
            peer.say(reset(number) if round_number % 2 else data(number, b"x", True))
        assert not peer.goaways and stage.idle_rings
        carriers = {id(exchange._carrier) for exchange in stage.exchanges}
        assert len(carriers) == 1


def test_answer_in_pieces_has_its_length_or_its_end_and_trailers() -> None:
    def answer(exchange: HttpExchange) -> None:
        exchange.start(200, {"Connection": "keep-alive", "Keep-Alive": "timeout=5"})
        for piece in (b"a", "b", b"", bytearray(b"c" * 20_000)):
            assert exchange.send(piece) is Send.OK
        exchange.end([(b"X-Sum", b"1")])

    with Http2Stage(answer) as stage:
        peer = stage.raw()
        answer_read = peer.answer_of(peer.open())
        assert answer_read.body == b"ab" + b"c" * 20_000 and answer_read.trailers == [(b"x-sum", b"1")]
        # What is of a connection of HTTP/1 is left out.
        assert {name for name, _ in answer_read.head.headers.raw} == {b"date"}


def test_client_that_gives_a_stream_up_is_told_to_its_handler_alone() -> None:
    keeping = Keeping()
    with Http2Stage(keeping) as stage:
        peer = stage.raw()
        given_up, other = peer.open(), peer.open()
        peer.say(reset(given_up))
        first, second = stage.exchanges
        assert keeping.left == [first] and first.closed
        assert first.respond() is Send.CLOSED and first.send(b"x") is Send.CLOSED
        second.respond(200, None, b"fine")
        assert peer.answer_of(other).body == b"fine"
        assert stage.listener.stats().refused == 0


def test_client_that_gives_up_a_stream_that_waits_for_room_frees_it() -> None:
    with Http2Stage() as stage:
        peer = stage.raw((INITIAL_WINDOW_SIZE, 0))
        number = peer.open()
        (exchange,) = stage.exchanges
        exchange.start(200)
        exchange.send(b"x" * 1000)
        stage.turn()
        peer.say(reset(number))
        assert exchange.closed and not session_of(exchange).engine.crowded
        stage.settle(peer)
        assert stage.idle_rings


def test_abort_ends_the_stream_alone() -> None:
    with Http2Stage() as stage:
        peer = stage.raw()
        number, other = peer.open(), peer.open()
        first, second = stage.exchanges
        first.start(200)
        first.send(b"part")
        first.abort()
        assert first.closed
        second.respond()
        assert peer.answer_of(other).status_code == 200
        stream = peer.streams[number]
        assert stream.reset == INTERNAL_ERROR and stream.answer is not None and stream.answer.body == b"part"
        # A second one, and one of an exchange that is done, do nothing.
        first.abort()
        second.abort()
        assert peer.answer_of(peer.open() if stage.exchanges[2:] else other).status_code == 200


def test_exchange_that_is_done_is_not_mistaken_for_the_next_one_of_its_stream() -> None:
    with Http2Stage(stream_body=True) as stage:
        peer = stage.raw()
        peer.open()
        first = stage.exchanges[0]
        first.respond()
        number = peer.open(end=False, method="POST")
        second = stage.exchanges[1]
        assert second._carrier is first._carrier
        first.abort()
        assert first.body_complete and not second.body_complete and not second.closed
        second.respond(200, None, b"second")
        assert peer.answer_of(number).body == b"second"


def test_handler_that_fails_costs_its_own_stream(caplog: pytest.LogCaptureFixture) -> None:
    def fail(exchange: HttpExchange) -> None:
        if exchange.request.path == "/begun":
            exchange.start(200)
            exchange.send(b"begun")
        if exchange.request.path != "/fine":
            raise ValueError("broken handler")
        exchange.respond()

    with Http2Stage(fail) as stage:
        peer = stage.raw()
        peer.say(peer.head(1), peer.head(3, path="/begun"), peer.head(5, path="/fine"))
        stage.settle(peer)
        assert peer.answer_of(1).status_code == 500 and peer.answer_of(5).status_code == 200
        assert peer.streams[3].reset == INTERNAL_ERROR
    assert caplog.text.count("ValueError: broken handler") == 2


def test_interrupt_in_a_handler_passes_and_closes_its_connection() -> None:
    keeping = Keeping()

    def interrupt(exchange: HttpExchange) -> None:
        keeping(exchange)
        if exchange.request.path == "/interrupt":
            raise KeyboardInterrupt

    with Http2Stage(interrupt) as stage:
        peer = stage.raw()
        peer.open()
        with pytest.raises(KeyboardInterrupt):
            peer.open(path="/interrupt")
        assert stage.listener.stats().open == 0 and stage.idle_rings
        assert stage.exchanges[0].closed and not keeping.left


def test_callbacks_of_every_kind_may_close_the_listener() -> None:
    def closing(stage: Http2Stage) -> Callable[[HttpExchange], object]:
        return lambda exchange: stage.listener.close()

    for path in ("/handler", "/data", "/writable", "/closed"):
        with Http2Stage(stream_body=True, max_unsent_bytes=10) as stage:
            stage._handler = closing(stage) if path == "/handler" else None
            peer = stage.raw((INITIAL_WINDOW_SIZE, 10))
            number = peer.open(end=False, method="POST")
            (exchange,) = stage.exchanges
            exchange.on_data = exchange.on_writable = exchange.on_closed = closing(stage)
            if path == "/data":
                exchange.on_writable = exchange.on_closed = None
                assert path == "/data" and exchange.readinto(bytearray(9)) == -1
                peer.say(data(number, b"x") * 3)
            elif path == "/writable":
                exchange.start()
                while exchange.send(b"x" * 9) is Send.OK:
                    pass
                peer.say(window_update(number, 1000))
            elif path == "/closed":
                peer.say(reset(number), ping())
            assert stage.listener.closed and exchange.closed
            stage.turn()
            assert stage.idle_rings


# Refusals of the listener's own


def test_requests_that_no_handler_gets_are_answered_and_the_others_go_on() -> None:
    with Http2Stage(echo, max_head_bytes=400, max_head_fields=8, max_body_bytes=10) as stage:
        peer = stage.raw()
        numbers = {
            431: (peer.open((b"x", b"y" * 400)), peer.open(*[(b"x", b"y")] * 5)),
            413: (
                peer.open((b"content-length", b"11"), end=False, method="POST"),
                peer.open((b"content-length", b"99999999999"), end=False, method="POST"),
                peer.open(end=False, method="POST"),
            ),
        }
        peer.say(data(numbers[413][2], b"x" * 11))
        peer.say(headers(101, ((b":method", b"CONNECT"), (b":authority", b"h:443"))))
        peer.head(101, method="CONNECT")
        for status_code, each in numbers.items():
            for number in each:
                assert peer.answer_of(number).status_code == status_code
        assert peer.answer_of(101).status_code == 501
        assert stage.listener.stats().refused == 6 and not stage.exchanges
        peer._next_id = 103
        assert peer.answer_of(peer.open()).status_code == 200


def test_waiting_client_is_told_to_continue_and_an_eager_or_refused_one_is_not() -> None:
    expecting = ((b"expect", b"100-continue"), (b"content-length", b"4"))
    with Http2Stage(echo) as stage:
        peer = stage.raw()
        waiting = peer.open(*expecting, end=False, method="POST")
        stage.settle(peer)
        assert [interim.status_code for interim in peer.streams[waiting].interims] == [100]
        peer.body(waiting, b"body")
        assert peer.answer_of(waiting).body.endswith(b"\nbody")
        peer.say(peer.head(3, *expecting, end=False, method="POST"), data(3, b"body", True))
        assert peer.answer_of(3).body.endswith(b"\nbody") and not peer.streams[3].interims
        peer._next_id = 5
        refused = peer.open((b"expect", b"100-continue"), (b"content-length", b"9" * 11), end=False, method="POST")
        assert peer.answer_of(refused).status_code == 413 and not peer.streams[refused].interims


# Mistakes

# What a client does wrong on stream 3, while stream 1 is open: how that stream is ended.
STREAM_MISTAKES: dict[str, tuple[bytes, int]] = {
    "upper case": (headers(3, (*GET, (b"X-Upper", b"1")), True), PROTOCOL_ERROR),
    "no path": (headers(3, GET[:3], True), PROTOCOL_ERROR),
    "two methods": (headers(3, (GET[0], *GET), True), PROTOCOL_ERROR),
    "connection": (headers(3, (*GET, (b"connection", b"close")), True), PROTOCOL_ERROR),
    "line feed": (headers(3, (*GET, (b"x", b"a\nb")), True), PROTOCOL_ERROR),
    "protocol": (headers(3, ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:])), PROTOCOL_ERROR),
    "too long": (headers(3, (*POST, (b"content-length", b"3"))) + data(3, b"four"), PROTOCOL_ERROR),
    "cut short": (headers(3, (*POST, (b"content-length", b"5"))) + data(3, b"four", True), PROTOCOL_ERROR),
    "no end": (headers(3, POST) + headers(3, ((b"t", b"1"),)), PROTOCOL_ERROR),
    "after the end": (headers(3, GET, True) + data(3, b"x"), STREAM_CLOSED),
    "window": (headers(3, POST) + data(3, bytes(16_000)) * 17, FLOW_CONTROL_ERROR),
    "no update": (headers(3, POST) + window_update(3, 0), PROTOCOL_ERROR),
    "large update": (headers(3, POST) + window_update(3, 2**31 - 1), FLOW_CONTROL_ERROR),
}

# As above, of the whole connection.
CONNECTION_MISTAKES: dict[str, tuple[bytes, int]] = {
    "even stream": (headers(2, GET, True), PROTOCOL_ERROR),
    "older stream": (headers(5, GET, True) + headers(3, GET, True), STREAM_CLOSED),
    "stream zero": (headers(0, GET, True), PROTOCOL_ERROR),
    "data of idle": (data(9, b"x"), PROTOCOL_ERROR),
    "reset of idle": (reset(9), PROTOCOL_ERROR),
    "long frame": (frame(DATA, 0, 1, bytes(16_385)), FRAME_SIZE_ERROR),
    "longest frame": (b"\xff\xff\xff" + bytes(6), FRAME_SIZE_ERROR),
    "bad block": (frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "continuation": (frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR),
    "interrupted head": (frame(HEADERS, 0, 3, b"") + ping(), PROTOCOL_ERROR),
    "push": (push_promise(1, 2), PROTOCOL_ERROR),
    "short ping": (ping(b"1234"), FRAME_SIZE_ERROR),
    "odd settings": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "bad setting": (settings((INITIAL_WINDOW_SIZE, 2**31)), FLOW_CONTROL_ERROR),
    "no update": (window_update(0, 0), PROTOCOL_ERROR),
    "large update": (window_update(0, 2**31 - 1), FLOW_CONTROL_ERROR),
    "more padding": (frame(DATA, 0x8, 1, b"\xffabc"), PROTOCOL_ERROR),
    "garbage": (random.Random(1).randbytes(1000), FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", STREAM_MISTAKES)
def test_mistake_on_a_stream_ends_it_and_nothing_else(name: str) -> None:
    mistake, code = STREAM_MISTAKES[name]
    keeping = Keeping()
    with Http2Stage(keeping, stream_body=True) as stage:
        peer = stage.raw()
        kept = peer.open()
        peer.head(3)
        peer.say(mistake)
        stage.settle(peer)
        assert peer.streams[3].reset == code and not peer.goaways
        assert keeping.left == stage.exchanges[1:]
        assert stage.listener.stats().refused == 1
        stage.exchanges[0].respond(200, None, b"kept")
        assert peer.answer_of(kept).body == b"kept"


@pytest.mark.parametrize("name", CONNECTION_MISTAKES)
def test_mistake_on_a_connection_is_told_and_ends_it_and_no_other(name: str) -> None:
    mistake, code = CONNECTION_MISTAKES[name]
    keeping = Keeping()
    with Http2Stage(keeping) as stage:
        peer = stage.raw()
        peer.open()
        peer.say(mistake)
        stage.settle(peer)
        assert [each for _, each in peer.goaways] == [code]
        assert peer.ended and not peer.reset
        assert keeping.left == stage.exchanges and all(exchange.closed for exchange in keeping.left)
        stats = stage.listener.stats()
        assert (stats.refused, stats.floods) == (1, 0)
        assert is_served(stage)
        peer.close()
        assert stage.listener.stats().open == 1 and stage.idle_rings


# Each row: what is sent again and again, by the number of the round; None: it waits for its own window.
FLOODS: dict[str, Callable[[int], bytes]] = {
    "ping": lambda i: ping(),
    "settings": lambda i: settings(),
    "settings acknowledged": lambda i: frame(SETTINGS, 1, 0),
    "priority": lambda i: priority(1),
    "unknown": lambda i: frame(0xFA, 0, 0, b"x"),
    "empty data": lambda i: data(1),
    "padded data": lambda i: padded_data(1, b"", 200),
    "updates of a closed stream": lambda i: window_update(1, 1),
    "rapid reset": lambda i: headers(2 * i + 3, GET, True) + reset(2 * i + 3),
    "reset without an end": lambda i: headers(2 * i + 3, POST) + reset(2 * i + 3),
    "malformed": lambda i: headers(2 * i + 3, GET[:2], True),
    "made to reset": lambda i: headers(2 * i + 3, GET, True) + window_update(2 * i + 3, 0),
    "refused": lambda i: headers(2 * i + 3, GET, True),
    "continuation": lambda i: frame(CONTINUATION, 0, 3, b"") if i else frame(HEADERS, 0, 3, b""),
    "long continuation": lambda i: frame(CONTINUATION, 0, 3, bytes(16_000)) if i else frame(HEADERS, 0, 3, b""),
    "header bomb": lambda i: frame(
        HEADERS, END_HEADERS | END_STREAM, 3, b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 200
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_ends_with_calm_is_counted_and_disturbs_nobody(name: str) -> None:
    keeping = Keeping()
    with Http2Stage(keeping, stream_body=True, http2=Http2Config(max_streams=20)) as stage:
        peer = stage.raw()
        peer.open(end=False, method="POST")
        sent = 0
        try:
            while not peer.ended:
                for number in range(sent, sent + 50):
                    peer.head(2 * number + 3)
                peer.say(b"".join(FLOODS[name](number) for number in range(sent, sent + 50)))
                sent += 50
                stage.settle(peer)
                assert sent < 10_000, "it goes on for ever"
        except BrokenPipeError:
            # It takes no more.
            stage.settle(peer)
        assert [code for _, code in peer.goaways] == [ENHANCE_YOUR_CALM]
        stats = stage.listener.stats()
        assert stats.floods == 1
        assert stage.exchanges[0] in keeping.left
        assert len(keeping.left) == len(set(keeping.left)) == len(stage.exchanges)
        assert is_served(stage)


def test_flood_of_pings_while_nothing_is_read_is_left_in_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HTTP2_IDLE_FRAMES", 10**9)
    with Http2Stage(echo, write_timeout_s=5) as stage:
        peer = stage.raw()
        peer.look()
        with pytest.raises(AssertionError, match="takes no more"):
            peer.say(ping() * 200_000)
        session = next(iter(stage.listener._sessions))
        assert session.engine.out.length <= limits.RECEIVE_RING_BYTES and len(session.engine._large) < 100
        assert is_served(stage)
        stage.advance(5)
        assert stage.listener.stats().timeouts == 1 and stage.listener.stats().open == 1
        assert stage.idle_rings


@pytest.mark.parametrize("seed", seeds(20))
def test_garbage_is_refused_or_waited_for_and_the_next_client_served(seed: int) -> None:
    chosen = random.Random(seed)
    with Http2Stage(echo) as stage:
        for _ in range(10):
            rows = [row[0] for row in (*STREAM_MISTAKES.values(), *CONNECTION_MISTAKES.values())]
            mixed = bytearray(CONVERSATION + b"".join(chosen.choices(rows, k=2)))
            for _ in range(chosen.randrange(1, 6)):
                mixed[chosen.randrange(len(PREFACE), len(mixed))] = chosen.randrange(256)
            peer = stage.connect_raw()
            try:
                peer.send(bytes(mixed[: chosen.randrange(len(mixed))]))
            except BrokenPipeError:
                pass
            peer.close()
        assert is_served(stage)
        stage.advance(limits.SERVER_IDLE_TIMEOUT_S)
        stage.advance(limits.SERVER_LINGER_S)
        assert stage.listener.stats().open == 0 and stage.idle_rings


# Time


def test_idle_connection_is_told_goodbye_and_closed() -> None:
    with Http2Stage(echo, idle_timeout_s=20) as stage:
        silent, served = stage.raw(), stage.raw()
        served.answer_of(served.open())
        stage.advance(19)
        # No request, and no more time for that.
        silent.say(ping())
        number = served.open()
        assert served.answer_of(number).status_code == 200
        stage.advance(1)
        assert silent.kinds(GOAWAY) and silent.goaways == [(0, NO_ERROR)] and silent.ended
        assert not served.goaways
        stage.advance(19)
        stage.settle(served)
        assert served.goaways == [(number, NO_ERROR)] and served.ended
        stats = stage.listener.stats()
        assert stats.timeouts == 2
        silent.close()
        served.close()
        assert stage.listener.stats().open == 0 and len(stage.reactor.timers) == 0


@pytest.mark.parametrize("waits", ["preface", "frame", "continuation"])
def test_what_does_not_become_whole_has_a_deadline_that_no_drip_moves(waits: str) -> None:
    with Http2Stage(echo, head_timeout_s=10, idle_timeout_s=1000) as stage:
        peer = stage.raw(greets=waits != "preface")
        pieces = {
            "preface": PREFACE[:12] + b"",
            "frame": headers(1, GET, True)[:12],
            "continuation": frame(HEADERS, 0, 1, b""),
        }
        peer.say(pieces[waits])
        for _ in range(9):
            stage.advance(1)
            if waits == "continuation":
                peer.say(frame(CONTINUATION, 0, 1, b""))
        assert not peer.ended
        stage.settle(peer)
        assert not peer.goaways
        stage.advance(1)
        stage.settle(peer)
        assert peer.ended and stage.listener.stats().timeouts == 1
        if waits != "preface":
            assert [code for _, code in peer.goaways] == [ENHANCE_YOUR_CALM]
        assert is_served(stage)


def test_body_that_stands_still_is_answered_408_and_the_others_go_on() -> None:
    with Http2Stage(echo, body_timeout_s=5) as stage:
        peer = stage.raw()
        slow = peer.open(end=False, method="POST")
        for _ in range(3):
            stage.advance(4)
            peer.say(data(slow, b"x"))
        other = peer.open(end=False, method="POST")
        stage.advance(4)
        peer.say(data(other, b"x"))
        stage.advance(1)
        assert peer.answer_of(slow).status_code == 408
        peer.say(data(other, b"y", True))
        assert peer.answer_of(other).body.endswith(b"xy")
        assert stage.listener.stats().timeouts == 1


def test_stream_whose_client_gives_no_credit_is_given_up_alone() -> None:
    keeping = Keeping()
    with Http2Stage(keeping, write_timeout_s=5) as stage:
        peer = stage.raw((INITIAL_WINDOW_SIZE, 10))
        peer.credits = False
        stalled, dripping, kept = peer.open(), peer.open(), peer.open()
        for exchange in stage.exchanges[:2]:
            exchange.start(200)
            exchange.send(b"x" * 1000)
        for _ in range(4):
            stage.advance(4)
            peer.say(window_update(dripping, 1))
        stage.settle(peer)
        assert peer.streams[stalled].reset == CANCEL and peer.streams[dripping].reset is None
        assert keeping.left == [stage.exchanges[0]]
        stage.exchanges[2].respond(204)
        assert peer.answer_of(kept).status_code == 204
        assert stage.listener.stats().timeouts == 1


def test_client_that_takes_nothing_from_its_socket_is_given_up() -> None:
    keeping = Keeping()
    with Http2Stage(keeping, write_timeout_s=5) as stage:
        peer = stage.raw((INITIAL_WINDOW_SIZE, 1 << 30))
        peer.say(LARGE_WINDOW)
        peer.open()
        (exchange,) = stage.exchanges
        exchange.start(200)
        exchange.send(bytes(3_000_000))
        stage.turn()
        stage.advance(4)
        # Progress moves the deadline.
        peer.look(200_000)
        stage.turn()
        stage.advance(4)
        assert not exchange.closed
        stage.advance(1)
        assert keeping.left == [exchange] and stage.listener.stats().open == 0
        assert stage.listener.stats().timeouts == 1 and stage.idle_rings


def test_client_that_stays_is_waited_for_as_long_as_the_handler_thinks() -> None:
    keeping = Keeping()
    with Http2Stage(keeping, idle_timeout_s=20) as stage:
        peer = stage.raw()
        number = peer.open()
        for _ in range(10):
            stage.advance(20)
        assert not keeping.left
        stage.exchanges[0].respond(200, None, b"at last")
        assert peer.answer_of(number).body == b"at last"


def test_client_that_leaves_is_noticed_at_once() -> None:
    keeping = Keeping()
    with Http2Stage(keeping) as stage:
        peer = stage.raw()
        peer.open()
        peer.open()
        peer.close()
        assert keeping.left == stage.exchanges and stage.listener.stats().open == 0
        assert stage.idle_rings


# Goodbyes


def test_handler_may_end_the_connection_which_finishes_what_it_has() -> None:
    with Http2Stage() as stage:
        peer = stage.raw()
        first, second = peer.open(), peer.open()
        stage.exchanges[0].respond(200, {"Connection": "close"}, b"last but one")
        assert peer.answer_of(first).body == b"last but one"
        assert peer.goaways == [(second, NO_ERROR)] and not peer.ended
        late = peer.open()
        stage.exchanges[1].respond(200, None, b"last")
        assert peer.answer_of(second).body == b"last"
        assert peer.ended and len(stage.exchanges) == 2 and peer.streams[late].answer is None
        peer.close()
        assert stage.listener.stats().open == 0


def test_client_that_says_goodbye_gets_its_answers_and_the_end() -> None:
    with Http2Stage() as stage:
        peer = stage.raw()
        number = peer.open()
        peer.say(goaway(0))
        assert not peer.ended
        stage.exchanges[0].respond(200, None, b"bye")
        assert peer.answer_of(number).body == b"bye" and peer.ended


def test_close_of_the_listener_says_goodbye_and_tells_nobody() -> None:
    keeping = Keeping()
    with Http2Stage(keeping) as stage:
        peer = stage.raw()
        number = peer.open()
        for _ in range(2):
            stage.listener.close()
        stage.settle(peer)
        assert peer.goaways == [(number, NO_ERROR)] and peer.ended
        assert stage.exchanges[0].closed and not keeping.left
        assert stage.idle_rings and len(stage.reactor.timers) == 0


def test_drained_listener_finishes_what_it_has_and_closes() -> None:
    with Http2Stage() as stage:
        busy, idle, old = stage.raw(), stage.raw(), Http2Stage.connect_raw(stage)
        number = busy.open()
        old.send(request())
        stage.listener.drain()
        stage.listener.drain()
        stage.settle(busy)
        stage.settle(idle)
        assert busy.goaways == [(number, NO_ERROR)] and idle.goaways == [(0, NO_ERROR)]
        assert idle.ended and not busy.ended
        for exchange in stage.exchanges:
            exchange.respond(200, None, b"last")
        assert busy.answer_of(number).body == b"last" and busy.ended
        (answer,) = old.answers()
        assert answer.header("connection") == "close" and old.ended
        for peer in (busy, idle, old):
            peer.close()
        assert stage.listener.stats().open == 0
