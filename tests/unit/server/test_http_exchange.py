"""What a handler can do with an exchange: answers in one call and in pieces, bodies read as they come, misuse."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from support.http2_stage import Http2Stage
from support.http_stage import Stage, request
from turbosock import limits
from turbosock.connection.send import Send
from turbosock.errors import BodyTooLarge, BodyTruncated, InvalidHeader, InvalidOption, ProtocolError, StateError
from turbosock.protocol.http1.headers import HeaderList
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_session import HttpSession


@pytest.fixture(params=[Stage, Http2Stage], ids=["http1", "http2"])
def stage_of(request: pytest.FixtureRequest) -> type[Stage]:
    """Where a test is played that must not depend on the version."""
    stage_of: type[Stage] = request.param
    return stage_of


def test_answer_carries_date_length_and_the_handlers_fields() -> None:
    with Stage(lambda exchange: exchange.respond(201, [("X-A", "1"), ("X-A", "2")], b"made")) as stage:
        peer = stage.connect()
        peer.send(request())
        (answer,) = peer.answers()
        assert (answer.status_code, answer.head.reason, answer.body) == (201, "Created", b"made")
        assert answer.head.headers.get_all("X-A") == ["1", "2"]
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.header("date") or "")
        assert answer.header("content-length") == "4"
        assert answer.header("connection") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"short", "tëxt", bytearray(b"array"), memoryview(b"view"), memoryview(bytearray(range(200)))[3:150]],
)
def test_content_of_every_kind_is_sent(stage_of: type[Stage], content: bytes | bytearray | memoryview | str) -> None:
    with stage_of(lambda exchange: exchange.respond(content=content)) as stage:
        peer = stage.connect()
        peer.send(request())
        expected = content.encode() if isinstance(content, str) else bytes(content)
        assert peer.answers()[0].body == expected


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_long_content_arrives_whole_and_is_the_handlers_again_at_once(
    stage_of: type[Stage], make: Callable[[bytes], bytes]
) -> None:
    data = bytes(range(256)) * 20_000

    def answer(exchange: HttpExchange) -> None:
        content = make(data)
        assert exchange.respond(200, None, content) is Send.OK
        if isinstance(content, bytearray):
            content[:] = b"gone"

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request())
        assert peer.answers()[0].body == data


def test_long_content_leaves_in_shares_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN_QUANTUM_BYTES", 20_000)
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        reactor = stage.reactor
        before = reactor.bytes_out
        stage.exchanges[0].respond(content=b"x" * 150_000)
        while reactor.line:
            assert reactor.bytes_out - before <= 20_000
            before = reactor.bytes_out
            reactor.step()
        assert peer.answers()[0].body == b"x" * 150_000


def test_head_is_answered_like_get_without_the_body(stage_of: type[Stage]) -> None:
    def answer(exchange: HttpExchange) -> None:
        if exchange.request.path == "/pieces":
            exchange.start(200, None, 4)
            assert exchange.send(b"body") is Send.OK
            exchange.end()
        else:
            exchange.respond(200, None, b"body")

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request("HEAD") + request("HEAD", "/pieces") + request())
        first, second, third = peer.answers("HEAD", "HEAD", "GET")
        assert first.header("content-length") == second.header("content-length") == "4"
        assert first.body == second.body == b"" and third.body == b"body"


def test_head_may_name_a_length_that_nobody_has_made(stage_of: type[Stage]) -> None:
    with stage_of(lambda exchange: exchange.respond(200, {"Content-Length": "12345"})) as stage:
        peer = stage.connect()
        peer.send(request("HEAD"))
        assert peer.answers("HEAD")[0].header("content-length") == "12345"


@pytest.mark.parametrize("status_code", [204, 304])
def test_statuses_without_a_body_have_none(stage_of: type[Stage], status_code: int) -> None:
    def answer(exchange: HttpExchange) -> None:
        if exchange.request.path == "/pieces":
            exchange.start(status_code)
            exchange.send(b"dropped")
            exchange.end()
            return
        with pytest.raises(InvalidOption, match="content"):
            exchange.respond(status_code, None, b"body")
        exchange.respond(status_code)

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request() + request(target="/pieces") + request())
        answers = peer.answers("GET", "GET", "GET")
        assert [answer.status_code for answer in answers] == [status_code] * 3
        assert all(answer.header("content-length") is None for answer in answers)
        assert all(answer.header("transfer-encoding") is None for answer in answers)


@pytest.mark.parametrize("status_code", [0, 100, 199, 1000, -1, "200", None])
def test_impossible_status_is_refused_and_another_answer_possible(stage_of: type[Stage], status_code: int) -> None:
    def answer(exchange: HttpExchange) -> None:
        for verb in (exchange.respond, exchange.start):
            with pytest.raises(InvalidOption, match="status_code"):
                verb(status_code)
        exchange.respond(200)

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request())
        assert peer.answers()[0].status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Bad\r\nName": "x"},
        {"X": "a\r\nSet-Cookie: b"},
        {"X": "\x00"},
        {"Content-Length": "3"},
        {"Transfer-Encoding": "chunked"},
        [("X", "y", "z")],
        [["X", "\n"]],
    ],
)
def test_fields_that_cannot_be_sent_are_refused_before_a_byte(stage_of: type[Stage], headers: dict[str, str]) -> None:
    def answer(exchange: HttpExchange) -> None:
        with pytest.raises(InvalidHeader, match="headers"):
            exchange.respond(200, headers, b"four")
        exchange.respond(200, None, b"four")

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request())
        (only,) = peer.answers()
        assert only.body == b"four"


@pytest.mark.parametrize(
    ("version", "fields", "said", "ends"),
    [
        ("1.1", "", None, False),
        ("1.1", "Connection: close\r\n", "close", True),
        ("1.0", "", "close", True),
        ("1.0", "Connection: keep-alive\r\n", "keep-alive", False),
        ("1.0", "Connection: keep-alive, close\r\n", "close", True),
    ],
)
def test_connection_field_says_what_happens(version: str, fields: str, said: str | None, ends: bool) -> None:
    with Stage(lambda exchange: exchange.respond()) as stage:
        peer = stage.connect()
        peer.send(request(version=version, fields=fields))
        assert peer.answers()[0].header("connection") == said
        assert peer.ended is ends


def test_handler_may_end_the_connection() -> None:
    with Stage(lambda exchange: exchange.respond(200, HeaderList([("Connection", "close")]))) as stage:
        peer = stage.connect()
        peer.send(request() + request())
        (answer,) = peer.answers()
        assert answer.head.headers.get_all("connection") == ["close"]
        assert peer.ended


# In pieces


def test_unknown_length_goes_in_chunks_with_trailers_and_the_connection_lives() -> None:
    def answer(exchange: HttpExchange) -> None:
        exchange.start(200, {"Content-Type": "text/plain"})
        for piece in (b"a", "b", b"", bytearray(b"c" * 20_000), b"d"):
            assert exchange.send(piece) is Send.OK
        exchange.end([(b"X-Sum", b"1")])

    with Stage(answer) as stage:
        peer = stage.connect()
        for _ in range(2):
            peer.send(request())
        for got in peer.answers("GET", "GET"):
            assert got.header("transfer-encoding") == "chunked"
            assert got.body == b"ab" + b"c" * 20_000 + b"d"
            assert got.trailers == [(b"X-Sum", b"1")]
        assert not peer.ended and stage.idle_rings


def test_unknown_length_to_an_old_client_ends_with_the_connection() -> None:
    def answer(exchange: HttpExchange) -> None:
        exchange.start(200)
        exchange.send(b"until ")
        exchange.send(b"the end")
        exchange.end()

    with Stage(answer) as stage:
        peer = stage.connect()
        peer.send(request(version="1.0", fields="Connection: keep-alive\r\n"))
        (got,) = peer.answers()
        assert got.header("transfer-encoding") is None and got.header("connection") == "close"
        assert got.body == b"until the end" and peer.ended


def test_answer_in_pieces_may_take_many_ticks() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        assert (exchange.started, exchange.done) == (False, False)
        exchange.start(200, None, 6)
        assert peer.look().endswith(b"\r\n\r\n")
        for piece in (b"ab", b"cd", b"ef"):
            stage.advance(100)
            exchange.send(piece)
            assert peer.look().endswith(piece)
        exchange.end()
        assert (exchange.started, exchange.done, exchange.closed) == (True, True, False)
        assert peer.answers()[0].body == b"abcdef"
        peer.send(request())
        assert len(stage.exchanges) == 2


def test_announced_length_is_kept(stage_of: type[Stage]) -> None:
    def answer(exchange: HttpExchange) -> None:
        exchange.start(200, None, 3)
        with pytest.raises(StateError, match="3 of the announced 3"):
            exchange.send(b"four")
        exchange.send(b"ab")
        with pytest.raises(StateError, match="1 of the announced 3"):
            exchange.end()
        exchange.send(b"c")
        with pytest.raises(StateError, match="trailers"):
            exchange.end([(b"X", b"y")])
        exchange.end()

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request())
        assert peer.answers()[0].body == b"abc"


def test_calls_out_of_order_are_refused(stage_of: type[Stage]) -> None:
    def answer(exchange: HttpExchange) -> None:
        with pytest.raises(StateError, match="between start"):
            exchange.send(b"x")
        with pytest.raises(StateError, match="after start"):
            exchange.end()
        with pytest.raises(InvalidOption, match="length"):
            exchange.start(200, None, -1)
        exchange.start(200)
        refuse_to_begin(exchange)
        exchange.end()
        refuse_to_begin(exchange)
        with pytest.raises(StateError, match="between start"):
            exchange.send(b"x")
        with pytest.raises(StateError, match="once"):
            exchange.end()

    def refuse_to_begin(exchange: HttpExchange) -> None:
        with pytest.raises(StateError, match="has begun"):
            exchange.start()
        with pytest.raises(StateError, match="has begun"):
            exchange.respond()

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request())
        assert peer.answers()[0].body == b""
        refuse_to_begin(stage.exchanges[0])


@pytest.mark.parametrize("data", [5, object(), memoryview(b"abcdef")[::2], ["x"]])
def test_content_that_is_no_bytes_is_refused(stage_of: type[Stage], data: bytes) -> None:
    def answer(exchange: HttpExchange) -> None:
        with pytest.raises(InvalidOption, match="content"):
            exchange.respond(200, None, data)
        exchange.start()
        with pytest.raises(InvalidOption, match="data"):
            exchange.send(data)
        exchange.end()

    with stage_of(answer) as stage:
        peer = stage.connect()
        peer.send(request())
        assert peer.answers()[0].status_code == 200


def test_slow_client_makes_send_full_and_room_is_told(stage_of: type[Stage]) -> None:
    told: list[int] = []

    def on_writable(exchange: HttpExchange) -> None:
        told.append(exchange.user)

    with stage_of(max_unsent_bytes=100_000) as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.on_writable = on_writable
        exchange.start(200)
        taken = bytearray()
        for count in range(1000):
            exchange.user = count
            piece = b"%04d" % count * 1000
            if exchange.send(piece) is not Send.OK:
                break
            taken += piece
        assert exchange.send(piece) is Send.FULL
        # All or nothing, and a small one still fits: what is refused is the one that does not.
        assert not told
        stage.settle(peer)
        assert told == [exchange.user]
        assert exchange.send(b"more") is Send.OK
        exchange.end()
        assert peer.answers()[0].body == bytes(taken) + b"more"


def test_room_is_not_told_to_who_was_not_refused(stage_of: type[Stage]) -> None:
    told: list[HttpExchange] = []
    with stage_of() as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.on_writable = told.append
        exchange.start(200)
        exchange.send(b"x" * 900_000)
        stage.settle(peer)
        assert not told


def test_million_tiny_pieces_for_a_slow_client_stay_small() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.start(200)
        exchange.send(b"x" * 1_000_000)
        count = 0
        while count < 12_000 and exchange.send(b"y") is Send.OK:
            count += 1
        assert count == 12_000
        session = exchange._carrier
        assert isinstance(session, HttpSession)
        assert len(session.connection._outgoing) < 100
        stage.settle(peer)
        exchange.end()
        assert peer.answers()[0].body == b"x" * 1_000_000 + b"y" * count


def test_buffer_of_the_handler_may_change_while_its_copy_waits(stage_of: type[Stage]) -> None:
    with stage_of(max_unsent_bytes=50_000_000) as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.start(200)
        buffer = bytearray(3_000_000)
        for value in range(4):
            buffer[:] = bytes([value]) * len(buffer)
            exchange.send(buffer)
        buffer.clear()
        exchange.end()
        assert peer.answers()[0].body == b"".join(bytes([value]) * 3_000_000 for value in range(4))


def test_send_to_a_client_that_went_says_closed() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.start(200)
        peer.socket.close()
        assert exchange.send(b"x") is Send.CLOSED
        assert exchange.closed and not exchange.done
        assert exchange.send(b"x") is Send.CLOSED
        assert exchange.end() is Send.CLOSED
        exchange.abort()
        assert stage.listener.stats().open == 0 and stage.idle_rings


def test_abort_ends_the_connection_without_the_end_of_the_body() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.start(200)
        exchange.send(b"part")
        exchange.abort()
        assert peer.look().endswith(b"part\r\n") and peer.ended
        assert exchange.closed


def test_abort_of_a_finished_exchange_leaves_the_next_one_alone() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request() + request())
        first = stage.exchanges[0]
        first.respond()
        stage.turn()
        first.abort()
        stage.exchanges[1].respond()
        assert len(peer.answers("GET", "GET")) == 2


def test_on_closed_is_called_when_time_ends_an_exchange(stage_of: type[Stage]) -> None:
    closed: list[HttpExchange] = []
    with stage_of(stream_body=True, body_timeout_s=5) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 5\r\n"))
        exchange = stage.exchanges[0]
        exchange.on_closed = closed.append
        assert exchange.readinto(bytearray(5)) == -1
        stage.advance(5)
        assert closed == [exchange] and exchange.closed
        assert peer.answers("POST")[0].status_code == 408


def test_body_that_is_asked_for_every_tick_has_no_more_time_for_that(stage_of: type[Stage]) -> None:
    with stage_of(stream_body=True, body_timeout_s=5) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 5\r\n"))
        exchange = stage.exchanges[0]
        for _ in range(4):
            assert exchange.readinto(bytearray(5)) == -1
            stage.advance(1)
        peer.send(b"x")
        assert exchange.readinto(bytearray(5)) == 1
        for _ in range(4):
            assert exchange.readinto(bytearray(5)) == -1
            stage.advance(1)
        assert not exchange.closed
        stage.advance(1)
        assert exchange.closed and peer.answers("POST")[0].status_code == 408


# Bodies read as they come


class Reading:
    """A handler that reads bodies in small steps and answers with what it read."""

    def __init__(self, step: int = 7) -> None:
        self.step = step
        self.body = bytearray()
        self.calls = 0

    def __call__(self, exchange: HttpExchange) -> None:
        exchange.on_data = self.on_data
        if exchange.body_complete:
            exchange.respond(200, None, b"nothing")

    def on_data(self, exchange: HttpExchange) -> None:
        self.calls += 1
        view = memoryview(bytearray(self.step))
        while (count := exchange.readinto(view)) > 0:
            self.body += view[:count]
        if count == 0:
            exchange.respond(200, None, bytes(self.body))
            self.body.clear()


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_streamed_body_arrives_however_it_is_cut(step: int) -> None:
    chunks = (
        request("POST", fields="Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: v\r\n\r\n"
    )
    data = request("POST", body=b"some body") + chunks + request() + request("PUT", body=b"z" * 50)
    expected = [b"some body", b"hello world", b"nothing", b"z" * 50]
    for cut in range(1, len(data)):
        with Stage(Reading(step), stream_body=True) as stage:
            peer = stage.connect()
            peer.send(data[:cut])
            peer.send(data[cut:])
            assert [answer.body for answer in peer.answers(*["GET"] * 4)] == expected
            assert not peer.ended and stage.idle_rings


def test_streamed_body_of_any_length_goes_straight_into_the_handlers_memory(stage_of: type[Stage]) -> None:
    with stage_of(Reading(100_000), stream_body=True, max_body_bytes=None) as stage:
        peer = stage.connect()
        body = bytes(range(251)) * 100_000
        peer.send(request("POST", body=body))
        assert peer.answers("POST")[0].body == body


def test_body_that_nobody_reads_is_left_with_the_client() -> None:
    with Stage(stream_body=True) as stage:
        peer = stage.connect()
        with pytest.raises(AssertionError, match="takes no more"):
            peer.send(request("POST", body=b"x" * 5_000_000))
        assert stage.listener.stats().bytes_in <= 65_536
        exchange = stage.exchanges[0]
        view = memoryview(bytearray(1_000_000))
        assert exchange.readinto(view) > 0
        stage.advance(1000)
        assert not exchange.closed


def test_waiting_client_is_told_to_send_when_the_handler_reads() -> None:
    expecting = request("POST", fields="Expect: 100-continue\r\nContent-Length: 4\r\n")
    with Stage(stream_body=True) as stage:
        peer = stage.connect()
        peer.send(expecting)
        assert peer.look() == b""
        exchange = stage.exchanges[0]
        view = bytearray(10)
        assert exchange.readinto(view) == -1
        assert peer.look().startswith(b"HTTP/1.1 100 ")
        peer.send(b"body")
        assert exchange.readinto(view) == 4 and exchange.readinto(view) == 0
        assert exchange.body_complete
        exchange.respond()
        assert [answer.status_code for answer in peer.answers("POST")] == [100, 200]
        assert not peer.ended


def test_waiting_client_is_told_to_send_when_the_handler_wants_to_be_called(stage_of: type[Stage]) -> None:
    with stage_of(Reading(), stream_body=True) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Expect: 100-continue\r\nContent-Length: 4\r\n"))
        told = peer.look()
        peer.send(b"body")
        interim, final = peer.answers("POST")
        assert interim.status_code == 100 and final.body == b"body"
        # Before a byte of the body was sent.
        assert len(told) >= interim.head.size


def test_connection_goes_on_after_a_body_that_filled_the_handlers_memory(stage_of: type[Stage]) -> None:
    with stage_of(Reading(20_000), stream_body=True) as stage:
        peer = stage.connect()
        for count in (1, 2):
            peer.send(request("POST", fields="Content-Length: 20000\r\n"))
            peer.send(b"x" * 20_000)
            assert len(peer.answers(*["POST"] * count)) == count


def test_answer_before_the_body_was_read_is_the_last_and_not_lost() -> None:
    with Stage(lambda exchange: exchange.respond(403, None, b"no"), stream_body=True) as stage:
        for data in (
            request("POST", fields="Expect: 100-continue\r\nContent-Length: 400000\r\n"),
            request("POST", body=b"x" * 400_000) + request(),
        ):
            peer = stage.connect()
            peer.send(data)
            (answer,) = peer.answers("POST")
            assert (answer.status_code, answer.header("connection")) == (403, "close")
            assert peer.ended and not peer.reset
            peer.finish()
        assert len(stage.exchanges) == 2
        assert stage.listener.stats().open == 0


def test_answer_may_begin_before_the_body_ends() -> None:
    def echo(exchange: HttpExchange) -> None:
        exchange.on_data = pass_on
        exchange.start(200)

    def pass_on(exchange: HttpExchange) -> None:
        view = memoryview(bytearray(100))
        while (count := exchange.readinto(view)) > 0:
            exchange.send(view[:count])
        if count == 0:
            exchange.end()

    with Stage(echo, stream_body=True) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 6\r\n"))
        for piece in (b"ab", b"cd", b"ef"):
            peer.send(piece)
            assert piece in peer.look()
        (answer,) = peer.answers("POST")
        assert answer.body == b"abcdef" and answer.header("connection") == "close"
        assert peer.ended


def test_broken_body_raises_and_left_alone_is_answered() -> None:
    raised: list[Exception] = []

    def on_data(exchange: HttpExchange) -> None:
        try:
            while exchange.readinto(bytearray(100)) > 0:
                pass
        except Exception as error:
            raised.append(error)
            raise

    def read(exchange: HttpExchange) -> None:
        exchange.on_data = on_data

    chunked = request("POST", fields="Transfer-Encoding: chunked\r\n")
    with Stage(read, stream_body=True, max_body_bytes=10) as stage:
        for data, status_code, kind in (
            (chunked + b"3\r\nabc\r\nx\r\n", 400, ProtocolError),
            (chunked + b"B\r\n" + b"x" * 11, 413, BodyTooLarge),
        ):
            peer = stage.connect()
            peer.send(data)
            assert [answer.status_code for answer in peer.answers("POST")] == [status_code]
            assert type(raised.pop()) is kind
            assert peer.ended
        announced = stage.connect()
        announced.send(request("POST", fields="Content-Length: 11\r\n"))
        assert announced.answers("POST")[0].status_code == 413
        truncated = stage.connect()
        truncated.send(request("POST", fields="Content-Length: 9\r\n") + b"four")
        truncated.finish()
        assert truncated.look() == b"" and truncated.ended
        assert not raised or type(raised.pop()) is BodyTruncated
        assert stage.exchanges[-1].closed


def test_truncated_body_raises_in_a_handler_that_polls() -> None:
    with Stage(stream_body=True) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 9\r\n") + b"four")
        exchange = stage.exchanges[0]
        view = bytearray(100)
        assert exchange.readinto(view) == 4
        assert exchange.readinto(view) == -1
        peer.finish()
        with pytest.raises(BodyTruncated):
            exchange.readinto(view)
        assert exchange.closed
        with pytest.raises(StateError):
            exchange.readinto(view)


def test_empty_memory_to_read_into_is_refused(stage_of: type[Stage]) -> None:
    with stage_of(stream_body=True) as stage:
        peer = stage.connect()
        peer.send(request("POST", body=b"x"))
        with pytest.raises(InvalidOption, match="view"):
            stage.exchanges[0].readinto(bytearray())


def test_exchange_shows_its_state_and_no_secret(stage_of: type[Stage]) -> None:
    with stage_of() as stage:
        peer = stage.connect()
        peer.send(request(target="/path?secret=1", fields="Authorization: secret\r\n"))
        exchange = stage.exchanges[0]
        assert repr(exchange) == "<HttpExchange <Request GET /path> open>"
        exchange.start()
        assert repr(exchange).endswith("started>")
        exchange.end()
        assert repr(exchange).endswith("done>")
