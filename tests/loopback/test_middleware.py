"""Middleware around real exchanges: one suite over both faces, a Client of either mode and a Loop."""

from __future__ import annotations

import gc
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from random import Random
from types import FrameType
from typing import Any

import pytest

from support.in_thread import GUARD_S, InThread
from support.interrupts import Interrupter
from support.middleware import Face, Hold, Raising, Spy
from support.peers import unused_port
from support.running_listener import RunningListener
from support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    await_close,
    await_event,
    close,
    read_request,
    reset,
    scripted,
    send,
    stall,
)
from support.seeds import seeds
from turbosock import Client, ExchangeLog, HeaderDefaults, Loop, RetryHook, Timeline, TimelineRecorder, Timeouts
from turbosock.client.chained_exchange import ChainedExchange
from turbosock.client.loop_exchange import Exchange
from turbosock.client.middleware import NOT_AGAIN, ConcurrencyLimit, Middleware, RateLimit
from turbosock.client.middleware.chained import Chained
from turbosock.client.response import Response, StreamedResponse
from turbosock.errors import (
    BodyTruncated,
    Cancelled,
    ClientClosed,
    ConnectError,
    ConnectionClosed,
    InvalidOption,
    LimitError,
    Phase,
    PoolTimeout,
    ReadError,
    TotalTimeout,
    TurbosockError,
    WriteError,
)
from turbosock.pool.limiter import ConcurrencyLimiter
from turbosock.pool.rate_limiter import RateLimiter
from turbosock.reactor.clock import SYSTEM_CLOCK, ManualClock
from turbosock.reactor.reactor import Reactor
from turbosock.server.http_exchange import HttpExchange
from turbosock.testing.memory import MemoryConnector
from turbosock.transport.connector import Target
from turbosock.transport.transport import Transport

FACES = ("stream", "saea", "loop")
# What a test of a limit waits for where only real time passes.
SHORT_S = 0.05
KEEPING = [read_request, answer(b"first"), read_request, answer(b"second"), await_close]
# Another attempt needs another connection, on either face.
BUSY = answer(b"busy", b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n")
BODY = b"x" * 100_000
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    face = Face(request.param)
    yield face
    face.close()


@pytest.fixture(params=FACES[:2])
def client_face(request: pytest.FixtureRequest) -> Iterator[Face]:
    face = Face(request.param)
    yield face
    face.close()


@pytest.fixture
def loop_face() -> Iterator[Face]:
    face = Face("loop")
    yield face
    face.close()


@pytest.fixture(scope="module")
def site() -> Iterator[RunningListener]:
    def respond(exchange: HttpExchange) -> None:
        path = exchange.request.path
        if path == "/big":
            exchange.respond(200, None, BODY)
        elif path == "/echo":
            exchange.respond(200, None, exchange.request.content)
        elif path == "/field":
            exchange.respond(200, None, exchange.request.headers.get("x-field", "none"))
        else:
            exchange.respond(200, None, "ok")

    with RunningListener(respond) as running:
        yield running


def retrying(decide: Callable[[Chained], float | None], **options: Any) -> RetryHook:
    return RetryHook(decide, **options)


def retry_503(exchange: Chained) -> float | None:
    return 0 if exchange.error is not None or exchange.status_code == 503 else None


# The order of calls


def test_links_are_asked_from_first_to_last_and_left_from_last_to_first(face: Face, site: RunningListener) -> None:
    calls: list[str] = []
    face.open(Spy("a", calls), Spy("b", calls))
    assert face.get(site.url()).content == b"ok"
    assert calls == [
        "a.prepare", "b.prepare", "a.enter", "b.enter", "a.answered", "b.answered", "b.again", "a.again", "b.leave",
        "a.leave",
    ]  # fmt: skip


def test_links_are_not_told_of_an_answer_that_did_not_come(face: Face) -> None:
    spy = Spy()
    with pytest.raises(ConnectError):
        face.open(spy).get(f"http://127.0.0.1:{unused_port()}/")
    assert spy.steps == ["prepare", "enter", "again", "leave"]


def test_link_that_asks_again_is_not_left_and_those_within_it_are(face: Face) -> None:
    calls: list[str] = []
    retry = retrying(retry_503)
    with scripted([read_request, BUSY, await_close], [read_request, answer(), await_close]) as server:
        assert face.open(Spy("out", calls), retry, Spy("in", calls)).get(server.url()).content == b"ok"
    assert calls == [
        "out.prepare", "in.prepare", "out.enter", "in.enter", "out.answered", "in.answered", "in.again", "in.leave",
        "in.enter", "out.answered", "in.answered", "in.again", "out.again", "in.leave", "out.leave",
    ]  # fmt: skip


def test_link_sees_where_an_exchange_is_held_before_it_is_sent(face: Face, site: RunningListener) -> None:
    spy, hold = Spy(), Hold()
    call = face.open(spy, hold).begin("GET", site.url())
    hold.await_held()
    face.idle_turns()
    assert spy.steps == ["prepare", "enter"]
    hold.release()
    assert call.result().content == b"ok"
    spy.check()


# Left once, on every path


def test_links_are_left_after_a_whole_body(face: Face, site: RunningListener) -> None:
    spy = Spy()
    face.open(spy)
    for path, body in (("/", b"ok"), ("/big", BODY)):
        assert face.get(site.url(path)).content == body
    spy.check(2)
    assert spy.left_with == [None, None]


def test_links_are_left_at_the_end_of_a_streamed_body(face: Face, site: RunningListener) -> None:
    spy = Spy()
    face.open(spy)
    for path, body in (("/", b"ok"), ("/big", BODY)):
        assert face.read_stream(site.url(path)) == body
    spy.check(2)
    assert spy.left_with == [None, None]


def test_links_are_left_when_a_streamed_body_is_left(face: Face) -> None:
    spy = Spy()
    with scripted([read_request, send(LONG + b"begun"), await_close]) as server:
        face.open(spy).leave_stream(server.url())
    spy.check()
    assert isinstance(spy.left_with[0], Cancelled) if face.ticks else spy.left_with == [None]


def test_links_stay_entered_while_a_body_is_being_read(client_face: Face) -> None:
    spy = Spy()
    with scripted([read_request, send(LONG + b"begun"), await_close]) as server:
        with client_face.open(spy).client.stream("GET", server.url()) as response:
            response.readinto(bytearray(5))
            assert "leave" not in spy.steps
        assert spy.steps[-1] == "leave"


def drop_stream(client: Client, url: str) -> None:
    client.stream("GET", url)


def test_links_of_a_dropped_response_are_left_by_the_next_call(client_face: Face, site: RunningListener) -> None:
    spy = Spy()
    with scripted([read_request, send(LONG + b"begun"), await_close]) as server:
        client = client_face.open(spy).client
        with pytest.warns(ResourceWarning, match="dropped"):
            drop_stream(client, server.url())
        client.get(site.url())
    spy.check(2)


def test_dropped_response_with_a_timeline_ends_at_once(client_face: Face) -> None:
    records: list[str] = []
    with scripted([read_request, send(LONG + b"begun"), await_close]) as server:
        client = client_face.open(TimelineRecorder(lambda timeline: records.append(repr(timeline)))).client
        gc.disable()
        try:
            with pytest.warns(ResourceWarning, match="dropped"):
                drop_stream(client, server.url())
        finally:
            gc.enable()
        client.stats()
    assert len(records) == 1


def test_drop_of_a_response_wakes_who_waits_for_its_permit(client_face: Face) -> None:
    # The second stands in line when the first is dropped, and nobody else does anything.
    link = ConcurrencyLimit(1)
    with scripted([read_request, send(LONG + b"begun"), await_close], [read_request, answer(), await_close]) as server:
        client = client_face.open(link).client
        dropped = [client.stream("GET", server.url())]
        call = client_face.begin("GET", server.url())
        await_count(lambda: link.limiter.waiting == 1 and client.held)
        with pytest.warns(ResourceWarning, match="dropped"):
            dropped.clear()
        assert call.result().content == b"ok"
    assert link.limiter.in_flight == 0


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([read_request, close], ConnectionClosed),
        ([read_request, reset], (ReadError, ConnectionClosed)),
        ([read_request, send(LONG + b"begun"), close], BodyTruncated),
        ([read_request, send(LONG + b"begun"), reset], (ReadError, BodyTruncated)),
    ],
    ids=["close", "reset", "body-close", "body-reset"],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_links_are_left_with_the_error_that_ended_the_exchange(
    face: Face, script: list[Any], expected: Any, streamed: bool
) -> None:
    outer, inner = Spy(), Spy()
    face.open(outer, inner)
    with scripted(script) as server, pytest.raises(expected) as caught:
        face.read_stream(server.url()) if streamed else face.get(server.url())
    for spy in (outer, inner):
        spy.check()
        assert spy.left_with == [caught.value]


def test_links_are_left_with_the_error_of_a_body_that_is_too_long(face: Face, site: RunningListener) -> None:
    spy = Spy()
    with pytest.raises(LimitError) as caught:
        face.open(spy, max_body_bytes=1000).get(site.url("/big"))
    spy.check()
    assert spy.left_with == [caught.value]


def test_cancel_while_the_answer_is_waited_for_leaves_the_links(face: Face) -> None:
    spy, asked = Spy(), threading.Event()
    with scripted([read_request, lambda peer: asked.set(), stall]) as server:
        call = face.open(spy).begin("GET", server.url())
        if face.ticks:
            face.drive(asked.is_set)
        assert asked.wait(GUARD_S)
        call.cancel()
        assert isinstance(call.outcome(), Cancelled)
    spy.check()
    assert isinstance(spy.left_with[0], Cancelled)


def test_link_may_cancel_an_exchange_that_another_thread_waits_for(client_face: Face) -> None:
    seen: list[Chained] = []

    class Keeper(Middleware):
        def enter(self, exchange: Chained, now_ns: int) -> int:
            seen.append(exchange)
            return 0

    asked = threading.Event()
    with scripted([read_request, lambda peer: asked.set(), stall]) as server:
        client = client_face.open(Keeper()).client
        call = InThread(lambda: client.get(server.url()))
        assert asked.wait(GUARD_S)
        seen[0].cancel()
        assert isinstance(call.outcome(), Cancelled)


# Held


def test_cancel_while_held_ends_the_exchange_at_once(face: Face) -> None:
    spy, hold = Spy(), Hold()
    call = face.open(spy, hold).begin("GET", "http://127.0.0.1:1/")
    hold.await_held()
    call.cancel()
    outcome = call.outcome()
    assert isinstance(outcome, Cancelled) and outcome.phase is Phase.QUEUE
    spy.check()
    assert spy.left_with == [outcome]


def test_cancel_on_the_loops_own_thread_while_held_ends_the_exchange(loop_face: Face) -> None:
    spy, hold = Spy(), Hold()
    loop = loop_face.open(spy, hold).loop
    exchange = loop.request("GET", "http://127.0.0.1:1/")
    exchange.cancel()
    assert exchange.done and isinstance(exchange.error, Cancelled)
    spy.check()
    assert not loop.requests.held and not loop.dials and loop.next_deadline() == 0.0


def test_total_deadline_while_held_is_a_total_timeout(face: Face) -> None:
    spy, hold = Spy(), Hold()
    face.open(spy, hold, timeouts=Timeouts(total_s=SHORT_S))
    call = face.begin("GET", "http://127.0.0.1:1/")
    hold.await_held()
    face.pass_time(SHORT_S)
    outcome = call.outcome()
    assert isinstance(outcome, TotalTimeout)
    spy.check()


def test_pool_limit_while_held_is_a_pool_timeout(face: Face) -> None:
    spy, hold = Spy(), Hold()
    face.open(spy, hold, timeouts=Timeouts(pool_s=SHORT_S, total_s=15))
    call = face.begin("GET", "http://127.0.0.1:1/")
    hold.await_held()
    face.pass_time(SHORT_S)
    outcome = call.outcome()
    assert isinstance(outcome, PoolTimeout) and "middleware held" in str(outcome)
    spy.check()


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [(Timeouts(pool_s=30, total_s=60), PoolTimeout), (Timeouts(pool_s=60, total_s=30), TotalTimeout)],
)
def test_wait_that_cannot_end_in_time_fails_at_once(face: Face, timeouts: Timeouts, expected: type) -> None:
    class Later(Middleware):
        def enter(self, exchange: Chained, now_ns: int) -> int:
            return now_ns + 30_000_000_000

    spy = Spy()
    call = face.open(spy, Later(), timeouts=timeouts).begin("GET", "http://127.0.0.1:1/")
    assert isinstance(call.outcome(), expected)
    spy.check()


def test_end_of_the_client_or_loop_while_held_ends_the_exchange(face: Face) -> None:
    spy, hold = Spy(), Hold()
    call = face.open(spy, hold).begin("GET", "http://127.0.0.1:1/")
    hold.await_held()
    face.end()
    assert isinstance(call.outcome(), ClientClosed)
    spy.check()


@pytest.mark.parametrize(("how", "expected"), [("cancel", Cancelled), ("end", ClientClosed)])
def test_exchange_that_waits_for_another_attempt_ends_at_once(face: Face, how: str, expected: type) -> None:
    spy, asked = Spy(), threading.Event()

    def decide(exchange: Chained) -> float:
        asked.set()
        return 10

    call = face.open(spy, retrying(decide)).begin("GET", f"http://127.0.0.1:{unused_port()}/")
    if face.ticks:
        face.drive(asked.is_set)
    assert asked.wait(GUARD_S)
    if how == "cancel":
        call.cancel()
    else:
        face.end()
    assert isinstance(call.outcome(), expected)
    spy.check()


def test_wake_has_the_link_asked_again_and_no_more(face: Face, site: RunningListener) -> None:
    hold = Hold()
    call = face.open(hold).begin("GET", site.url())
    for _ in range(3):
        hold.await_held()
        assert InThread(hold.wake_all).outcome() is None
        face.idle_turns()
    InThread(hold.release).outcome()
    assert call.result().content == b"ok"


def test_wake_from_another_thread_ends_the_wait_of_poll(loop_face: Face, site: RunningListener) -> None:
    hold = Hold()
    loop = loop_face.open(hold).loop
    exchange = loop.request("GET", site.url())
    waker = InThread(hold.release)
    while not exchange.done:
        # Without a wake-up it would wait for the limit of the hold, on a clock that stands.
        loop.poll(GUARD_S)
    waker.outcome()
    assert exchange.content == b"ok"


def test_link_that_names_a_time_is_asked_then(face: Face, site: RunningListener) -> None:
    class Until(Middleware):
        def __init__(self) -> None:
            self.due_ns = 0
            self.asked_ns: list[int] = []

        def enter(self, exchange: Chained, now_ns: int) -> int:
            self.asked_ns.append(now_ns)
            if not self.due_ns:
                self.due_ns = now_ns + 20_000_000
            return 0 if now_ns >= self.due_ns else self.due_ns

    until = Until()
    call = face.open(until).begin("GET", site.url())
    face.pass_time(0.02)
    assert call.result().content == b"ok"
    assert until.asked_ns[-1] >= until.due_ns and len(until.asked_ns) < 5


def test_loop_serves_others_while_one_is_held_or_waits_for_another_attempt(
    loop_face: Face, site: RunningListener
) -> None:
    class HoldSome(Hold):
        def enter(self, exchange: Chained, now_ns: int) -> int:
            return super().enter(exchange, now_ns) if exchange.url.endswith("/held") else 0

    hold = HoldSome()
    loop = loop_face.open(hold, retrying(lambda exchange: 5 if exchange.error else None)).loop
    held = loop.request("GET", site.url("/held"))
    failed = loop.request("GET", f"http://127.0.0.1:{unused_port()}/")
    assert isinstance(failed, ChainedExchange)
    for _ in range(5):
        assert loop_face.get(site.url()).content == b"ok"
    assert not held.done and not failed.done and failed.attempts == 1
    hold.release()
    loop_face.drive(lambda: held.done)
    assert held.content == b"ok"


# Links that raise


@pytest.mark.parametrize("step", ["enter", "answered", "again"])
@pytest.mark.parametrize("error", [LimitError("enough"), ZeroDivisionError("a bug")], ids=["ours", "other"])
def test_link_that_raises_ends_the_exchange_and_no_link_asks_for_another(
    face: Face, site: RunningListener, step: str, error: Exception
) -> None:
    asked: list[Chained] = []

    def decide(exchange: Chained) -> float:
        asked.append(exchange)
        return 0

    outer, inner = Spy(), Spy()
    face.open(outer, retrying(decide), inner, Raising(step, error))
    with pytest.raises(TurbosockError) as caught:
        face.get(site.url())
    if isinstance(error, TurbosockError):
        assert caught.value is error and error.url == site.url()
    else:
        assert caught.value.code == "middleware_failed" and caught.value.__cause__ is error
        assert f"Raising.{step}() raised ZeroDivisionError" in str(caught.value)
    assert not asked
    for spy in (outer, inner):
        spy.check()
        assert spy.left_with == [caught.value]


@pytest.mark.parametrize("error", [LimitError("enough"), ZeroDivisionError("a bug")], ids=["ours", "other"])
def test_link_that_raises_when_it_prepares_refuses_the_request(face: Face, error: Exception) -> None:
    spy = Spy()
    face.open(spy, Raising("prepare", error))
    with pytest.raises(TurbosockError) as caught:
        face.get("http://127.0.0.1:1/")
    assert caught.value is error or caught.value.code == "middleware_failed"
    assert spy.steps == ["prepare"]


@pytest.mark.parametrize("error", [LimitError("enough"), ZeroDivisionError("a bug")], ids=["ours", "other"])
def test_link_that_raises_when_it_is_left_is_logged_and_changes_nothing(
    face: Face, site: RunningListener, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    outer, inner = Spy(), Spy()
    face.open(outer, Raising("leave", error), inner)
    assert face.get(site.url()).content == b"ok"
    outer.check()
    inner.check()
    assert [record.name for record in caplog.records] == ["turbosock.middleware"]
    assert "Raising.leave() failed" in caplog.text


@pytest.mark.parametrize("step", ["enter", "answered", "again", "leave"])
def test_interrupt_in_a_link_leaves_the_links_and_is_raised(face: Face, site: RunningListener, step: str) -> None:
    class Once(Raising):
        def _look(self, step: str) -> None:
            if step == self._step:
                self._step = ""
                raise KeyboardInterrupt

    outer, inner = Spy(), Spy()
    face.open(outer, Once(step, KeyboardInterrupt()), inner)
    with pytest.raises(KeyboardInterrupt):
        face.get(site.url())
    outer.check()
    inner.check(0 if step == "enter" else 1)
    assert face.get(site.url()).content == b"ok"
    if face.ticks:
        assert face.loop.requests.under_way == 0


@pytest.mark.parametrize("step", ["enter", "answered", "again", "leave"])
def test_link_may_cancel_the_exchange_in_any_step(face: Face, site: RunningListener, step: str) -> None:
    class Canceller(Raising):
        def _step_of(self, exchange: Chained, step: str) -> None:
            if step == self._step:
                self._step = ""
                exchange.cancel()

        def enter(self, exchange: Chained, now_ns: int) -> int:
            self._step_of(exchange, "enter")
            return 0

        def answered(self, exchange: Chained) -> None:
            self._step_of(exchange, "answered")

        def again(self, exchange: Chained, now_ns: int) -> int:
            self._step_of(exchange, "again")
            return NOT_AGAIN

        def leave(self, exchange: Chained) -> None:
            self._step_of(exchange, "leave")

    spy = Spy()
    outcome = face.open(spy, Canceller(step, RuntimeError()), Spy()).begin("GET", site.url("/big")).outcome()
    # A client has the whole answer when it leaves its links.
    assert isinstance(outcome, Cancelled) or (step == "leave" and outcome.content == BODY)
    spy.check()
    assert face.get(site.url()).content == b"ok"


@pytest.mark.parametrize("answered", [None, "soon", 1.5])
def test_answer_of_a_link_that_is_no_time_is_an_error_that_names_it(
    face: Face, site: RunningListener, answered: Any
) -> None:
    class Forgetful(Middleware):
        def enter(self, exchange: Chained, now_ns: int) -> int:
            return answered  # type: ignore[no-any-return]  # the point of the test

    with pytest.raises(TurbosockError, match=r"Forgetful\.enter\(\) returned .*: return GO"):
        face.open(Forgetful()).get(site.url())


@pytest.mark.parametrize("delay", [None, -2, 1.5])
def test_delay_of_a_link_that_is_no_time_is_an_error_that_names_it(
    face: Face, site: RunningListener, delay: Any
) -> None:
    class Forgetful(Middleware):
        def again(self, exchange: Chained, now_ns: int) -> int:
            return delay  # type: ignore[no-any-return]  # the point of the test

    with pytest.raises(TurbosockError, match=r"Forgetful\.again\(\) returned .*: return NOT_AGAIN"):
        face.open(Forgetful()).get(site.url())


# Another attempt


def test_attempt_after_an_answer_is_a_fresh_exchange(face: Face) -> None:
    spy = Spy()
    with scripted([read_request, BUSY, await_close], [read_request, answer(b"good"), await_close]) as server:
        response = face.open(retrying(retry_503), spy).get(server.url())
        assert (response.content, response.status_code, response.attempts) == (b"good", 200, 2)
        assert response.ok and response.error is None
        assert len(server.requests) == 2
    spy.check(2)


def test_attempt_after_an_error_is_a_fresh_exchange(face: Face) -> None:
    spy = Spy()
    with scripted([read_request, close], [read_request, answer(b"good"), await_close]) as server:
        response = face.open(retrying(retry_503), spy).get(server.url())
        assert response.content == b"good" and response.ok and response.error is None and response.attempts == 2
    spy.check(2)
    assert isinstance(spy.left_with[0], ConnectionClosed) and spy.left_with[1] is None


def test_streamed_answer_after_another_attempt_is_read_to_its_end(face: Face) -> None:
    good = [read_request, send(LONG + BODY), await_close]
    with scripted([read_request, BUSY, await_close], good) as server:
        assert face.open(retrying(retry_503)).read_stream(server.url()) == BODY


def test_attempts_are_bounded_by_the_hook_and_the_last_answer_stands(face: Face) -> None:
    spy = Spy()
    with scripted([read_request, BUSY, await_close]) as server:
        response = face.open(retrying(retry_503, max_attempts=3), spy).get(server.url())
        assert (response.status_code, response.content, response.attempts) == (503, b"busy", 3)
        assert len(server.requests) == 3
    spy.check(3)


def test_attempts_are_bounded_for_every_link(face: Face) -> None:
    class Stubborn(Middleware):
        def again(self, exchange: Chained, now_ns: int) -> int:
            return 0

    spy = Spy()
    with pytest.raises(ConnectError):
        face.open(Stubborn(), spy).get(f"http://127.0.0.1:{unused_port()}/")
    spy.check(16)


def test_last_error_is_raised_where_every_attempt_failed(face: Face) -> None:
    spy = Spy()
    with pytest.raises(ConnectError) as caught:
        face.open(spy, retrying(lambda exchange: 0)).get(f"http://127.0.0.1:{unused_port()}/")
    spy.check()
    assert spy.left_with == [caught.value]


@pytest.mark.parametrize("body", ["bytes", "file", "list"])
def test_body_is_sent_again_whole(face: Face, body: str) -> None:
    data = bytes(range(256)) * 40
    content: Any = {"bytes": data, "file": io.BytesIO(data), "list": [data[:5000], data[5000:]]}[body]
    with scripted([read_request, BUSY, await_close], [read_request, answer(), await_close]) as server:
        assert face.open(retrying(retry_503)).request("PUT", server.url(), content=content).content == b"ok"
        first, second = server.requests
        assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2] != b""
        if body != "list":
            assert data in second


def test_body_that_cannot_be_sent_again_is_not(face: Face) -> None:
    spy = Spy()
    with scripted([read_request, BUSY, await_close]) as server:
        blocks = iter([b"once"])
        response = face.open(spy, retrying(retry_503)).request("PUT", server.url(), content=blocks)
        assert response.status_code == 503 and response.attempts == 1 and len(server.requests) == 1
    spy.check()


def test_file_that_was_closed_before_it_is_sent_again_is_a_write_error(face: Face) -> None:
    file = io.BytesIO(b"x" * 100)

    def decide(exchange: Chained) -> float:
        file.close()
        return 0

    spy = Spy()
    face.open(spy, retrying(decide))
    refused = pytest.raises(WriteError, match="cannot be sent again: ValueError")
    with scripted([read_request, BUSY, await_close]) as server, refused as caught:
        face.request("PUT", server.url(), content=file)
    spy.check()
    assert spy.left_with == [caught.value]


@pytest.mark.parametrize(("options", "attempts"), [({}, 1), ({"any_method": True}, 2)])
def test_post_is_sent_again_where_the_hook_says_any_method(face: Face, options: dict[str, Any], attempts: int) -> None:
    with scripted([read_request, BUSY, await_close], [read_request, answer(), await_close]) as server:
        response = face.open(retrying(retry_503, **options)).request("POST", server.url(), content=b"pay")
        assert response.attempts == attempts == len(server.requests)


def test_delay_is_waited_for(face: Face) -> None:
    with scripted([read_request, BUSY, await_close], [read_request, answer(), await_close]) as server:
        hook = retrying(lambda exchange: 0.02 if exchange.status_code == 503 else None)
        call = face.open(hook).begin("GET", server.url())
        if face.ticks:
            face.drive(lambda: bool(face.loop.requests.held) and len(server.requests) == 1)
            face.idle_turns()
            assert len(server.requests) == 1
            face.pass_time(0.02)
        response = call.result()
        assert response.content == b"ok" and response.elapsed.total_seconds() >= 0.02


def test_delay_is_not_cut_short_by_a_wake(face: Face) -> None:
    seen: list[Chained] = []

    def decide(exchange: Chained) -> float | None:
        if exchange.status_code != 503:
            return None
        seen.append(exchange)
        exchange.wake()
        return 0.02

    with scripted([read_request, BUSY, await_close], [read_request, answer(), await_close]) as server:
        call = face.open(retrying(decide)).begin("GET", server.url())
        if face.ticks:
            face.drive(lambda: seen)
            face.idle_turns()
            assert len(server.requests) == 1
            face.pass_time(0.02)
        assert call.result().elapsed.total_seconds() >= 0.02


def test_delay_past_the_deadline_is_not_waited_for(face: Face) -> None:
    with scripted([read_request, BUSY, await_close]) as server:
        response = face.open(retrying(lambda exchange: 15.0)).get(server.url())
        assert response.status_code == 503 and response.attempts == 1
        with pytest.raises(ConnectError):
            face.get(f"http://127.0.0.1:{unused_port()}/")


def test_deadline_covers_all_attempts_and_delays(face: Face) -> None:
    spy = Spy()
    asked: list[Chained] = []

    def decide(exchange: Chained) -> float:
        asked.append(exchange)
        return 0.02

    face.open(spy, retrying(decide, max_attempts=16), timeouts=Timeouts(total_s=SHORT_S))
    call = face.begin("GET", f"http://127.0.0.1:{unused_port()}/")
    if face.ticks:
        while not call.exchange.done:  # type: ignore[attr-defined]  # of a loop
            face.loop.poll()
            face.clock.advance(0.005)
    assert isinstance(call.outcome(), (ConnectError, TotalTimeout))
    spy.check()
    # 20 ms before each but the first, within 50 ms.
    assert len(asked) <= 3


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf")])
def test_delay_that_is_no_time_is_refused(face: Face, site: RunningListener, delay: float) -> None:
    with pytest.raises(InvalidOption, match=r"decide\(\) returned"):
        face.open(retrying(lambda exchange: delay)).get(site.url())


def test_retry_leaves_and_enters_the_limiter_within_it(face: Face) -> None:
    link = ConcurrencyLimit(1)
    free: list[int] = []

    def decide(exchange: Chained) -> float | None:
        if exchange.status_code != 503:
            return None
        free.append(link.limiter.in_flight)
        return 0.001

    with scripted([read_request, BUSY, await_close], [read_request, answer(), await_close]) as server:
        call = face.open(retrying(decide), link).begin("GET", server.url())
        if face.ticks:
            face.drive(lambda: free)
            assert link.limiter.in_flight == 0
            face.pass_time(0.001)
        assert call.result().content == b"ok"
    stats = link.limiter.stats()
    assert free == [1] and stats.in_flight == 0 and stats.granted == 2 and stats.hosts == 0


# Concurrency


def test_limiter_lets_no_more_through_than_it_has_permits(face: Face) -> None:
    link = ConcurrencyLimit(2)
    let_go = threading.Event()
    # Any of the two connections may serve the rest.
    with scripted([read_request, await_event(let_go), answer(), *[read_request, answer()] * 3, await_close]) as server:
        face.open(link)
        calls = [face.begin("GET", server.url()) for _ in range(5)]
        if face.ticks:
            face.drive(lambda: len(server.requests) == 2)
            face.idle_turns()
        await_count(lambda: len(server.requests) == 2 and link.limiter.waiting == 3)
        assert server.accepted == 2
        let_go.set()
        assert [call.result().content for call in calls] == [b"ok"] * 5
        assert server.accepted == 2
    assert_all_back(link)
    assert link.limiter.stats().granted == 5 and link.limiter.stats().waited == 3


def await_count(until: Callable[[], object]) -> None:
    """Look until it is so: threads of a client come to their place by and by."""
    pause = threading.Event()
    for _ in range(int(GUARD_S * 1000)):
        if until():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come to that")


def assert_all_back(link: ConcurrencyLimit) -> None:
    """No permit is held, nobody waits, and the link remembers nobody."""
    stats = link.limiter.stats()
    assert (stats.in_flight, stats.waiting, stats.hosts) == (0, 0, 0)
    assert not link._tickets


def test_hosts_do_not_wait_for_each_other(face: Face, site: RunningListener) -> None:
    link = ConcurrencyLimit(1)
    reached = threading.Event()
    with scripted([read_request, lambda peer: reached.set(), stall]) as server:
        call = face.open(link).begin("GET", server.url())
        if face.ticks:
            face.drive(reached.is_set)
        assert reached.wait(GUARD_S)
        assert face.get(site.url()).content == b"ok"
        call.cancel()
        assert isinstance(call.outcome(), Cancelled)
    assert_all_back(link)


def test_permit_of_other_code_holds_exchanges_of_the_same_host(face: Face, site: RunningListener) -> None:
    limiter = ConcurrencyLimiter(1)
    link = ConcurrencyLimit(limiter)
    with limiter.permit(f"127.0.0.1:{site.port}"):
        call = face.open(link).begin("GET", site.url())
        await_count(lambda: limiter.waiting == 1)
    assert call.result().content == b"ok"
    assert_all_back(link)


@pytest.mark.parametrize("how", ["cancel", "pool", "total", "end"])
def test_exchange_that_ends_in_the_limiters_line_leaves_it(face: Face, site: RunningListener, how: str) -> None:
    limiter = ConcurrencyLimiter(1)
    link = ConcurrencyLimit(limiter)
    timeouts = {"pool": Timeouts(pool_s=SHORT_S, total_s=15), "total": Timeouts(total_s=SHORT_S)}
    face.open(link, timeouts=timeouts.get(how, Timeouts()))
    expected = {"pool": PoolTimeout, "total": TotalTimeout, "cancel": Cancelled, "end": ClientClosed}[how]
    with limiter.permit(f"127.0.0.1:{site.port}"):
        call = face.begin("GET", site.url())
        await_count(lambda: limiter.stats().waited == 1)
        if how == "cancel":
            call.cancel()
        elif how == "end":
            face.end()
        else:
            face.pass_time(SHORT_S)
        assert isinstance(call.outcome(), expected)
        assert limiter.waiting == 0 and limiter.in_flight == 1
    assert_all_back(link)
    stats = limiter.stats()
    assert (stats.timed_out, stats.cancelled) == ((1, 0) if how in timeouts else (0, 1))


def test_end_of_the_limiter_ends_those_who_wait_with_client_closed(face: Face, site: RunningListener) -> None:
    limiter = ConcurrencyLimiter(1)
    link, spy = ConcurrencyLimit(limiter), Spy()
    with limiter.permit(f"127.0.0.1:{site.port}"):
        call = face.open(spy, link).begin("GET", site.url())
        await_count(lambda: limiter.waiting == 1)
        assert InThread(limiter.close).outcome() == 1
        outcome = call.outcome()
        assert isinstance(outcome, ClientClosed) and "limiter was closed" in str(outcome)
        with pytest.raises(ClientClosed, match="limiter is closed"):
            face.get(site.url())
    spy.check(2)
    assert_all_back(link)


def test_end_of_the_limiter_with_cancel_ends_what_is_in_flight(face: Face) -> None:
    link = ConcurrencyLimit(1)
    reached = threading.Event()
    with scripted([read_request, lambda peer: reached.set(), stall]) as server:
        call = face.open(link).begin("GET", server.url())
        if face.ticks:
            face.drive(reached.is_set)
        assert reached.wait(GUARD_S)
        closing = InThread(lambda: link.limiter.close(cancel=True, wait_s=GUARD_S))
        assert isinstance(call.outcome(), Cancelled)
        assert closing.outcome() == 0
    assert_all_back(link)


@pytest.mark.parametrize(
    "script",
    [
        [read_request, close],
        [read_request, send(b"nonsense\r\n\r\n")],
        [read_request, send(LONG + b"begun"), close],
        [read_request, answer(), close],
        [read_request, send(LONG + BODY), close],
    ],
    ids=["close", "nonsense", "body-close", "whole", "big"],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_permit_comes_back_whatever_the_peer_does(face: Face, script: list[Any], streamed: bool) -> None:
    link = ConcurrencyLimit(1)
    face.open(link)
    with scripted(script) as server:
        for _ in range(3):
            try:
                face.read_stream(server.url()) if streamed else face.get(server.url())
            except TurbosockError:
                pass
            assert_all_back(link)


def test_permit_comes_back_where_no_connection_can_be_made(face: Face) -> None:
    link = ConcurrencyLimit(1)
    face.open(link)
    for _ in range(3):
        with pytest.raises(ConnectError):
            face.get(f"http://127.0.0.1:{unused_port()}/")
    assert_all_back(link)


def test_permit_comes_back_from_a_body_that_is_left(face: Face) -> None:
    link = ConcurrencyLimit(1)
    with scripted([read_request, send(LONG + b"begun"), await_close]) as server:
        face.open(link).leave_stream(server.url())
    assert_all_back(link)


def test_one_limiter_serves_a_client_and_a_loop_at_once(client_face: Face, loop_face: Face) -> None:
    link = ConcurrencyLimit(1)
    client_face.open(link)
    loop_face.open(link)
    let_go = threading.Event()
    script = [read_request, await_event(let_go), answer(b"client"), await_close]
    with scripted(script, [read_request, answer(b"loop"), await_close]) as server:
        blocked = client_face.begin("GET", server.url())
        await_count(lambda: server.requests)
        exchange = loop_face.loop.request("GET", server.url())
        loop_face.idle_turns()
        assert link.limiter.waiting == 1
        let_go.set()
        # The client's thread gives its permit to the loop, which is waiting in poll().
        loop_face.drive(lambda: exchange.done)
        assert blocked.result().content == b"client" and exchange.content == b"loop"
        # And the other way round.
        held = loop_face.loop.request("GET", server.url(), stream=True)
        blocked = client_face.begin("GET", server.url())
        await_count(lambda: link.limiter.waiting == 1)
        held.cancel()
        blocked.cancel()
        blocked.outcome()
    assert_all_back(link)


def test_threads_share_a_limit(client_face: Face, site: RunningListener) -> None:
    link, spy = ConcurrencyLimit(3), Spy()
    client = client_face.open(link).client

    def work() -> int:
        return sum(client.get(site.url()).content == b"ok" for _ in range(20))

    threads = [InThread(work) for _ in range(8)]
    assert [thread.outcome() for thread in threads] == [20] * 8
    assert_all_back(link)
    assert link.limiter.stats().granted == 160 and spy.calls == []


# A connection that was interrupted on its way from one owner to the next is closed by the collector, which says so.
@pytest.mark.filterwarnings(
    "ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning", "ignore:unclosed <socket:ResourceWarning"
)
@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("path", ["/", "/big"])
def test_interrupt_anywhere_loses_no_permit(face: Face, site: RunningListener, seed: int, path: str) -> None:
    link = ConcurrencyLimit(1)
    face.open(link)

    def once() -> None:
        assert face.get(site.url(path)).status_code == 200

    interrupter = Interrupter()
    once()
    interrupter.run(once, 0)
    assert interrupter.count > 100
    places = range(1, interrupter.count)
    for target in sorted(Random(seed).sample(places, min(len(places), 150))):
        try:
            interrupter.run(once, target)
        except KeyboardInterrupt:
            pass
        if face.ticks:
            # What was begun goes on, and holds its permit meanwhile.
            once()
        else:
            face.client.stats()
        assert link.limiter.in_flight == 0, f"lost at {interrupter.where} ({target})"
        assert not link._tickets, f"remembered at {interrupter.where} ({target})"
    once()


# Rates


def rate_limiter(face: Face, rate_per_s: float, burst: int = 1, **options: Any) -> RateLimiter:
    """A limiter on the face's clock."""
    return RateLimiter(rate_per_s, burst, clock=face.clock if face.ticks else SYSTEM_CLOCK, **options)


def test_rate_holds_back_what_comes_too_soon(face: Face, site: RunningListener) -> None:
    limiter = rate_limiter(face, 50, 2)
    records: list[float] = []
    recorder = TimelineRecorder(lambda timeline: records.append(timeline.held_ns / 1e9))
    face.open(recorder, RateLimit(limiter))
    calls = [face.begin("GET", site.url()) for _ in range(2)]
    assert [call.result().content for call in calls] == [b"ok"] * 2
    third = face.begin("GET", site.url())
    face.idle_turns()
    face.pass_time(0.02)
    assert third.result().content == b"ok"
    assert limiter.stats().reserved == 3 and limiter.stats().returned == 0
    if face.ticks:
        assert limiter.stats().delayed == 1
        assert records[:2] == [0.0, 0.0] and 0.0199 < records[2] < 0.021


@pytest.mark.parametrize("how", ["cancel", "pool", "end"])
def test_turn_that_is_not_used_is_given_back(face: Face, site: RunningListener, how: str) -> None:
    limiter = rate_limiter(face, 0.1)
    link = RateLimit(limiter)
    face.open(link, timeouts=Timeouts(pool_s=5 if how == "pool" else 15, total_s=60))
    assert face.get(site.url()).content == b"ok"
    call = face.begin("GET", site.url())
    await_count(lambda: limiter.stats().reserved == 2)
    if how == "cancel":
        call.cancel()
    elif how == "end":
        face.end()
    assert isinstance(call.outcome(), {"cancel": Cancelled, "pool": PoolTimeout, "end": ClientClosed}[how])
    assert limiter.stats().returned == 1 and not link._turns


def test_turn_of_a_request_that_an_inner_link_stopped_is_given_back(face: Face, site: RunningListener) -> None:
    link = RateLimit(rate_limiter(face, 0.1))
    face.open(link, Raising("enter", LimitError("no")))
    for _ in range(3):
        with pytest.raises(LimitError, match="no"):
            face.get(site.url())
    assert link.limiter.stats().returned == 3 and link.limiter.stats().delayed == 0


def test_turn_of_a_request_that_failed_is_used(face: Face) -> None:
    link = RateLimit(rate_limiter(face, 1000, 10))
    with pytest.raises(ConnectError):
        face.open(link).get(f"http://127.0.0.1:{unused_port()}/")
    assert link.limiter.stats().returned == 0 and not link._turns


def test_turn_that_is_too_far_away_is_a_limit_error(face: Face, site: RunningListener) -> None:
    face.open(RateLimit(rate_limiter(face, 0.1, max_wait_s=1)))
    assert face.get(site.url()).content == b"ok"
    with pytest.raises(LimitError, match="max_wait_s"):
        face.get(site.url())


# Headers


def test_default_fields_are_added_where_the_request_has_none(face: Face, site: RunningListener) -> None:
    tokens = iter(["one", "two", "three"])
    face.open(HeaderDefaults({"X-Field": lambda: next(tokens)}))
    url = site.url("/field")
    assert face.get(url).content == b"one"
    assert face.get(url, headers={"Accept": "*/*"}).content == b"two"
    assert face.get(url, headers={"x-field": "own"}).content == b"own"


def test_default_fields_do_not_use_up_headers_that_are_an_iterator(face: Face, site: RunningListener) -> None:
    face.open(HeaderDefaults({"X-Field": "default", "Y": "y"}))
    assert face.get(site.url("/field"), headers=iter([("X-Field", "own")])).content == b"own"


@pytest.mark.parametrize("headers", ["text", 5, [("a",)], ["ab"], [5]])
def test_headers_that_are_none_are_refused_as_without_defaults(face: Face, headers: Any) -> None:
    with pytest.raises(InvalidOption, match="headers"):
        face.open(HeaderDefaults({"A": "b"})).get("http://127.0.0.1:1/", headers=headers)


# Logs


def test_each_exchange_is_one_record_without_credentials(
    face: Face, site: RunningListener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "turbosock.exchange")
    face.open(ExchangeLog())
    url = f"http://user:hunter2@127.0.0.1:{site.port}/path?token=hunter3#part"
    assert face.get(url).content == b"ok"
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["method"], fields["url"]) == ("GET", f"http://127.0.0.1:{site.port}/path")
    assert (fields["status_code"], fields["error"], fields["nbytes"], fields["attempts"]) == (200, "", 2, 1)
    assert record.levelno == logging.INFO and fields["elapsed_s"] >= 0
    assert record.getMessage().startswith(f"GET http://127.0.0.1:{site.port}/path 200, 2 bytes in ")
    assert "hunter" not in str(fields)


def test_failed_exchange_is_a_warning_with_its_code(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "turbosock.exchange")
    face.open(ExchangeLog())
    with scripted([read_request, send(LONG + b"begun"), close]) as server, pytest.raises(BodyTruncated):
        face.get(server.url())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and vars(record)["error"] == "body_truncated"
    assert vars(record)["nbytes"] == 5 and "failed (body_truncated)" in record.getMessage()


def test_log_within_a_retry_hook_has_one_record_an_attempt(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "turbosock.exchange")
    face.open(retrying(retry_503), ExchangeLog())
    scripts: list[list[Step]] = [
        [read_request, close],
        [read_request, BUSY, await_close],
        [read_request, answer(), await_close],
    ]
    with scripted(*scripts) as server:
        assert face.get(server.url()).content == b"ok"
    told = [(vars(record)["error"], vars(record)["status_code"], vars(record)["attempts"]) for record in caplog.records]
    assert told == [("closed_early", 0, 1), ("", 503, 2), ("", 200, 3)]


# Timelines


class Sink:
    """Keeps what a recorder tells, and the records themselves where it is asked to."""

    def __init__(self, keep: bool = False) -> None:
        self.records: list[Timeline] = []
        self.told: list[dict[str, Any]] = []
        self._keep = keep
        self.recorder = TimelineRecorder(self)

    def __call__(self, timeline: Timeline) -> None:
        self.told.append({name: getattr(timeline, name) for name in Timeline.__slots__})
        if self._keep:
            self.records.append(timeline)

    def check_pool(self) -> None:
        """Every record came back."""
        stats = self.recorder._timelines.stats()
        assert stats.rented == stats.returned == len(self.told)


MOMENTS = ("started_ns", "connect_ns", "send_ns", "sent_ns", "first_byte_ns", "head_ns", "done_ns")


def test_timeline_has_every_moment_in_order(face: Face, site: RunningListener) -> None:
    sink = Sink()
    face.open(sink.recorder)
    assert face.get(site.url("/big?secret=1")).content == BODY
    assert face.get(site.url("/big")).content == BODY
    first, second = sink.told
    moments = [first[name] for name in MOMENTS]
    assert all(moments) and moments == sorted(moments)
    assert first["resolve_ns"] and first["started_ns"] <= first["resolve_ns"] <= first["connect_ns"]
    assert (first["queued_ns"], first["tls_ns"], first["held_ns"]) == (0, 0, 0)
    assert (first["method"], first["url"]) == ("GET", site.url("/big"))
    assert (first["status_code"], first["nbytes"], first["error"], first["attempts"]) == (200, len(BODY), "", 1)
    # The second came on a kept connection.
    assert (second["resolve_ns"], second["connect_ns"]) == (0, 0) and second["send_ns"]
    sink.check_pool()


def test_timeline_has_the_wait_for_a_link(face: Face, site: RunningListener) -> None:
    sink, hold = Sink(), Hold()
    call = face.open(sink.recorder, hold).begin("GET", site.url())
    hold.await_held()
    face.pass_time(2.0)
    hold.release()
    assert call.result().content == b"ok"
    (told,) = sink.told
    assert told["held_ns"] > (1_999_000_000 if face.ticks else 0)
    assert told["queued_ns"] == 0


@pytest.mark.parametrize("how", ["cancel", "pool", "end"])
def test_timeline_has_the_wait_for_a_link_that_let_nobody_through(face: Face, how: str) -> None:
    sink, hold = Sink(), Hold()
    face.open(sink.recorder, hold, timeouts=Timeouts(pool_s=SHORT_S if how == "pool" else 10, total_s=15))
    call = face.begin("GET", "http://127.0.0.1:1/")
    hold.await_held()
    face.pass_time(SHORT_S)
    if how == "cancel":
        call.cancel()
    elif how == "end":
        face.end()
    call.outcome()
    (told,) = sink.told
    assert told["held_ns"] > (SHORT_S * 999_000_000 if face.ticks or how == "pool" else 0)
    assert told["error"] == {"cancel": "cancelled", "pool": "pool_timeout", "end": "closed"}[how]
    assert told["attempts"] == 0 and told["send_ns"] == 0
    sink.check_pool()


def test_timeline_over_a_retry_has_the_last_attempts_moments(face: Face) -> None:
    outer, inner = Sink(), Sink()
    face.open(outer.recorder, retrying(retry_503), inner.recorder)
    with scripted([read_request, close], [read_request, answer(), await_close]) as server:
        assert face.get(server.url()).content == b"ok"
    (whole,) = outer.told
    first, second = inner.told
    assert (whole["attempts"], whole["error"], whole["status_code"]) == (2, "", 200)
    assert (first["error"], first["status_code"], second["error"]) == ("closed_early", 0, "")
    for name in MOMENTS[1:-1]:
        assert whole[name] == second[name] != 0
    outer.check_pool()
    inner.check_pool()


def test_timeline_of_a_failure_says_how_far_it_came(face: Face) -> None:
    sink = Sink()
    face.open(sink.recorder)
    with pytest.raises(ConnectError):
        face.get(f"http://127.0.0.1:{unused_port()}/")
    with scripted([read_request, send(LONG + b"begun"), close]) as server, pytest.raises(BodyTruncated):
        face.get(server.url())
    with pytest.raises(TurbosockError), scripted([read_request, close]) as server:
        face.get(server.url())
    refused, cut, silent = sink.told
    assert refused["error"] == "connect" and refused["send_ns"] == 0 and refused["connect_ns"] and refused["done_ns"]
    assert (cut["error"], cut["status_code"], cut["nbytes"]) == ("body_truncated", 200, 5) and cut["head_ns"]
    assert silent["error"] == "closed_early" and silent["sent_ns"] and not silent["first_byte_ns"]
    sink.check_pool()


def test_record_that_its_sink_keeps_is_never_overwritten(face: Face, site: RunningListener) -> None:
    sink = Sink(keep=True)
    face.open(sink.recorder)
    for number in range(5):
        face.get(site.url(f"/{number}"))
    assert [record.url for record in sink.records] == [site.url(f"/{number}") for number in range(5)]
    kept = [{name: getattr(record, name) for name in Timeline.__slots__} for record in sink.records]
    assert kept == sink.told
    sink.check_pool()


def test_record_that_was_poisoned_is_reset_before_it_is_used_again(face: Face) -> None:
    sink = Sink()
    face.open(sink.recorder)
    poison = object()

    def poisoned() -> Timeline:
        timeline = Timeline()
        for name in Timeline.__slots__:
            setattr(timeline, name, poison)
        return timeline

    for _ in range(4):
        sink.recorder._timelines._keep(poisoned())
    with scripted([read_request, close]) as server, pytest.raises(TurbosockError):
        face.get(server.url())
    (told,) = sink.told
    assert poison not in told.values()


def test_sink_that_raises_is_logged_and_the_record_comes_back(
    face: Face, site: RunningListener, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = TimelineRecorder(lambda timeline: 1 / 0)
    assert face.open(recorder).get(site.url()).content == b"ok"
    assert "the sink of a TimelineRecorder failed" in caplog.text
    stats = recorder._timelines.stats()
    assert stats.rented == stats.returned == 1


def test_timeline_has_the_first_byte_of_a_head_that_comes_in_pieces(face: Face) -> None:
    sink, seen = Sink(), threading.Event()
    begun = [read_request, send(b"HTTP/1.1 200 OK\r\n"), await_event(seen), send(b"Content-Length: 0\r\n\r\n")]
    with scripted([*begun, await_close]) as server:
        call = face.open(sink.recorder).begin("GET", server.url())
        if face.ticks:
            face.drive(lambda: call.exchange.timeline.first_byte_ns)  # type: ignore[attr-defined]  # of a loop
            face.pass_time(1.0)
        seen.set()
        assert call.result().status_code == 200
    (told,) = sink.told
    assert told["sent_ns"] <= told["first_byte_ns"] <= told["head_ns"]
    if face.ticks:
        assert told["head_ns"] - told["first_byte_ns"] >= 1_000_000_000


# Without links


def test_empty_chain_makes_plain_objects(site: RunningListener) -> None:
    with Client(middleware=()) as client, Loop(middleware=[]) as loop:
        assert client.chain is None and loop.chain is None
        assert type(client.get(site.url())) is Response
        with client.stream("GET", site.url()) as response:
            assert type(response) is StreamedResponse
        exchange = loop.request("GET", site.url())
        assert type(exchange) is Exchange
        while not exchange.done:
            loop.poll(0.1)


def middleware_frames(call: Callable[[], object]) -> list[str]:
    """The functions of middleware that `call` enters, in this thread."""
    found: list[str] = []

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and ("middleware" in frame.f_code.co_filename or "chained" in frame.f_code.co_filename):
            found.append(frame.f_code.co_qualname)

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.fixture(scope="module")
def answering() -> Iterator[ScriptedServer]:
    with scripted([read_request, answer()] * 2000) as server:
        yield server


def test_empty_chain_costs_a_request_no_call_and_no_memory(answering: ScriptedServer) -> None:
    url = answering.url()
    buffer = bytearray(64)
    with Client() as client, Loop() as loop:

        def get() -> None:
            client.get(url)

        def stream() -> None:
            with client.stream("GET", url) as response:
                response.readinto(buffer)

        def tick() -> None:
            exchange = loop.request("GET", url, into=buffer, notify=False)
            while not exchange.done:
                loop.poll(0.1)

        for request in (get, stream, tick):
            for _ in range(20):
                request()
            here = [name for name in middleware_frames(request) if not name.startswith(("test_", "middleware_frames"))]
            assert here == ["test"] * 0
            before = sys.getallocatedblocks()
            for _ in range(100):
                request()
            grown = sys.getallocatedblocks() - before
            # The server notes each request.
            assert grown < 400, f"{grown} blocks stayed after 100 requests"


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_permit_of_a_loop_that_was_dropped_comes_back_with_the_next_who_enters() -> None:
    limit = ConcurrencyLimit(1)
    with scripted([read_request, await_close], [read_request, answer(), await_close]) as server:
        loop = Loop(middleware=[limit])
        loop.get(server.url())
        while not loop.stats().connections.in_use:
            loop.poll(0.01)
        del loop
        gc.collect()
        with Client(middleware=[limit]) as client:
            assert client.get(server.url()).content == b"ok"
        assert limit.limiter.stats().in_flight == 0 and not limit._tickets


class _FailsOnce:
    """A connector whose first connection fails."""

    def __init__(self) -> None:
        self.calls = 0
        self._memory = MemoryConnector(lambda data: b"HTTP/1.1 204 No Content\r\n\r\n")

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        self.calls += 1
        if self.calls == 1:
            raise ConnectError("not this time")
        return self._memory.connect(target, reactor, deadline_ns)


def test_turn_that_woke_an_exchange_does_not_sleep_before_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    hook = RetryHook(lambda exchange: 3.0 if exchange.error is not None else None)
    collect = Reactor.collect

    def noting(reactor: Reactor, timeout_s: float) -> None:
        waits.append(timeout_s)
        collect(reactor, 0.0)

    monkeypatch.setattr(Reactor, "collect", noting)
    with Loop(middleware=[hook, ConcurrencyLimit(1)], connector=_FailsOnce(), clock=ManualClock(1)) as loop:
        loop.get("http://x/a")
        second = loop.get("http://x/b")
        for _ in range(4):
            if not second.done:
                loop.poll(5.0)
    # The first lost its permit to the second inside a turn, and is not tried again for three seconds.
    assert second.status_code == 204 and waits[0] == 0.0
