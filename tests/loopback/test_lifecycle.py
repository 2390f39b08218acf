"""The end of everything: close() in every phase and from everywhere, use after it, forks, interrupts, exits."""

from __future__ import annotations

import _thread
import contextlib
import gc
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import turbosock
from support import websocket_server
from support.clients import MakeClient
from support.forks import NEEDS_FORK, in_child
from support.https import Pki, secure
from support.in_thread import GUARD_S, InThread
from support.loop_peer import OK, Peer, connect, settle, turns
from support.middleware import Hold
from support.scripted_server import Peer as ServerPeer
from support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    await_close,
    await_event,
    close,
    drip,
    read_head,
    read_request,
    scripted,
    send,
    stall,
)
from support.scripted_server import signal as signalling
from support.websocket_loop import handshake
from turbosock import (
    Client,
    ConcurrencyLimiter,
    Config,
    DatagramSession,
    EventLog,
    Exchange,
    HttpListener,
    Loop,
    LoopQueue,
    MessageConnection,
    Middleware,
    Prewarmer,
    RequestQueue,
    Response,
    TcpListener,
    Timeouts,
    TransportMode,
    UdpListener,
    WebSocket,
    WebSocketConnection,
    WebSocketListener,
)
from turbosock.client.middleware.chained import Chained
from turbosock.config import PoolConfig
from turbosock.errors import ClientClosed, ResponseClosed, StateError, TurbosockError
from turbosock.pool.limiter import Ticket
from turbosock.testing.memory import MemoryConnector

# Far above GUARD_S: what is over before that was not ended by a time limit, however busy the machine is.
TIMEOUTS = Timeouts(connect_s=60, handshake_s=60, read_s=60, write_s=60, pool_s=60, total_s=80)
ONE = PoolConfig(max_connections=1, max_connections_per_origin=1)
BEGUN = send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=list(TransportMode), ids=lambda mode: mode.value)
def mode(request: pytest.FixtureRequest) -> TransportMode:
    chosen = request.param
    assert isinstance(chosen, TransportMode)
    return chosen


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread, which tells nobody."""
    end_s = time.monotonic() + GUARD_S
    while not condition():
        os.sched_yield()
        assert time.monotonic() < end_s, "it did not get there"


# Use after close()

VERBS = ("get", "head", "options", "delete", "post", "put", "patch")
URL = "http://127.0.0.1:1/"


def make_listener() -> HttpListener:
    loop = Loop()
    listener = loop.listen(("127.0.0.1", 0), handler=lambda exchange: None)
    listener.close()
    # The loop is the listener's alone here.
    loop.close()
    return listener


def make_tcp_listener() -> TcpListener:
    with Loop() as loop:
        return loop.listen(("127.0.0.1", 0), protocol="tcp")


def make_udp_listener() -> UdpListener:
    with Loop() as loop:
        return loop.listen(("127.0.0.1", 0), protocol="udp")


def make_datagram_session() -> DatagramSession:
    with Loop() as loop, socket.socket(type=socket.SOCK_DGRAM) as client:
        listener = loop.listen(("127.0.0.1", 0), protocol="udp", session_timeout_s=60)
        client.sendto(b"hello", listener.address)
        while not listener.sessions:
            loop.poll(1.0)
        (session,) = listener.sessions.values()
        return session


def make_message_connection() -> MessageConnection:
    with Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), protocol="tcp")
        assert isinstance(listener.address, tuple)
        with socket.create_connection(listener.address):
            while not listener.connections:
                loop.poll(1.0)
            return listener.connections[0]


def make_websocket_listener() -> WebSocketListener:
    with Loop() as loop:
        return loop.listen(("127.0.0.1", 0), protocol="websocket")


def make_websocket_connection() -> WebSocketConnection:
    with Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), protocol="websocket")
        assert isinstance(listener.address, tuple)
        with socket.create_connection(listener.address) as client:
            client.sendall(handshake())
            while not listener.connections:
                loop.poll(1.0)
            return listener.connections[0]


def make_websocket() -> WebSocket:
    with Client() as client, scripted((websocket_server.accept(), await_close)) as server:
        return client.websocket(server.url().replace("http", "ws", 1))


def make_response() -> Response:
    with Client(connector=MemoryConnector(lambda data: OK)) as client:
        return client.get("http://anywhere/")


class Rule(NamedTuple):
    """What a closed object does.

    Attributes:
        make: one that is open.
        refused: the arguments of each method that raises ClientClosed, naming itself.
        usable: each other public method, and why it is none of those.
    """

    make: Callable[[], Any]
    refused: dict[str, tuple[Any, ...]]
    usable: dict[str, str]


INSIDE = "for the library's own classes, who hear of the end by themselves"
ENDS = "closes, again and again"
TELLS = "tells what was counted"
FORKS = "for the child of a fork"

RULES: dict[str, Rule] = {
    "Client": Rule(
        Client,
        {
            **dict.fromkeys(VERBS, (URL,)),
            "request": ("GET", URL),
            "stream": ("GET", URL),
            "prewarm": (URL,),
            "download": (URL, "never-written"),
            "events": (URL,),
            "forward": ("GET", URL, (), None, TIMEOUTS),
            "websocket": ("ws://127.0.0.1:1/",),
        },
        {
            "close": ENDS,
            "retire": ENDS,
            "stats": TELLS,
            "keep_websocket": INSIDE,
        },
    ),
    "Loop": Rule(
        Loop,
        {
            **dict.fromkeys(VERBS, (URL,)),
            "request": ("GET", URL),
            "prewarm": (URL,),
            "poll": (),
            "flush": (),
            "next_deadline": (),
            "listen": (("127.0.0.1", 0),),
            "connect": (("127.0.0.1", 1),),
            "websocket": ("ws://127.0.0.1:1/",),
            "events_from": (URL,),
        },
        {
            "close": ENDS,
            "stats": TELLS,
            "broadcast": "asks the connections, which say CLOSED",
            "wakeup": "another thread calls it, and cannot know",
            "mend": INSIDE,
        },
    ),
    "HttpListener": Rule(
        make_listener,
        {},
        {
            "close": ENDS,
            "drain": ENDS,
            "stats": TELLS,
            **dict.fromkeys(
                (
                    "after_close", "change_to_http2", "change_to_websocket", "count_timeout", "forget", "mend",
                    "on_ready", "on_timer", "refuse_handshake", "secured",
                ),
                INSIDE,
            ),
        },
    ),
    "WebSocketListener": Rule(
        make_websocket_listener,
        {},
        {
            "close": ENDS,
            "drain": ENDS,
            "stats": TELLS,
            **dict.fromkeys(
                (
                    "after_close", "change_to_http2", "change_to_websocket", "count_timeout", "forget", "mend",
                    "on_ready", "on_timer", "refuse_handshake", "secured",
                ),
                INSIDE,
            ),
        },
    ),
    "TcpListener": Rule(
        make_tcp_listener,
        {},
        {
            "close": ENDS,
            "stats": TELLS,
            "count_timeout": INSIDE,
            **dict.fromkeys(
                ("after_close", "forget", "mend", "on_ready", "on_timer", "refuse_handshake", "secured"), INSIDE
            ),
        },
    ),
    "UdpListener": Rule(
        make_udp_listener,
        {},
        {
            "close": ENDS,
            "stats": TELLS,
            "send_to": "says CLOSED: an end is no misuse",
            **dict.fromkeys(("forget_session", "on_ready", "on_room"), INSIDE),
        },
    ),
    "DatagramSession": Rule(
        make_datagram_session,
        {},
        {
            "close": ENDS,
            "send": "says CLOSED: an end is no misuse",
            **dict.fromkeys(("note", "on_room", "on_timer"), INSIDE),
        },
    ),
    "MessageConnection": Rule(
        make_message_connection,
        {},
        {
            **dict.fromkeys(("close", "abort"), ENDS),
            **dict.fromkeys(("send", "reserve", "commit"), "say CLOSED, or None: an end is no misuse"),
            **dict.fromkeys(("pause", "resume"), "change nothing"),
            **dict.fromkeys(
                ("begin", "drop", "end", "finish", "flush", "mend", "on_ready", "on_room", "on_timer", "push",
                 "resume_starved", "say_last_words", "share"),
                INSIDE,
            ),
        },
    ),
    "WebSocketConnection": Rule(
        make_websocket_connection,
        {},
        {
            **dict.fromkeys(("close", "abort", "drain"), ENDS),
            **dict.fromkeys(("send", "reserve", "commit"), "say CLOSED, or None: an end is no misuse"),
            **dict.fromkeys(("pause", "resume", "ping"), "change nothing"),
            **dict.fromkeys(
                ("begin", "drop", "end", "finish", "flush", "mend", "on_ready", "on_room", "on_timer", "open_as",
                 "push", "resume_starved", "say_last_words", "share", "take"),
                INSIDE,
            ),
        },
    ),
    "WebSocket": Rule(
        make_websocket,
        {},
        {
            **dict.fromkeys(("close", "abort"), ENDS),
            **dict.fromkeys(("send", "recv", "recv_view", "ping"), "raise how it ended: an end is no misuse"),
            "drop_inherited": FORKS,
        },
    ),
    "EventStream": Rule(
        lambda: Client().events(URL),
        {},
        {
            **dict.fromkeys(("close", "cancel"), ENDS),
            "stats": TELLS,
            **dict.fromkeys(("accept", "after", "begin", "request_options", "timeouts_now"), INSIDE),
        },
    ),
    "EventLog": Rule(
        EventLog,
        {},
        {
            "close": "ends its streams; what is kept stays, and further ones may come",
            "stats": TELLS,
            **dict.fromkeys(("publish", "subscribe", "unsubscribe"), "as before: only the streams have ended"),
        },
    ),
    "ConcurrencyLimiter": Rule(
        ConcurrencyLimiter,
        {"enter": ("host", Ticket()), "permit": ("host",)},
        {"close": ENDS, "stats": TELLS, "leave": "gives back what is held", "drop_inherited": FORKS},
    ),
    "RequestQueue": Rule(
        lambda: RequestQueue(lambda: None, 1),
        {"submit": (), "start": ()},
        {
            "stop": ENDS,
            "stats": TELLS,
            "after_fork": FORKS,
            **dict.fromkeys(("cancel", "watch"), "of a handle, which stays readable"),
        },
    ),
    "LoopQueue": Rule(
        lambda: LoopQueue(lambda: None),
        {"submit": ()},
        {
            "stop": ENDS,
            "stats": TELLS,
            "after_fork": FORKS,
            **dict.fromkeys(("poll", "drain"), "goes on until nothing is left"),
            **dict.fromkeys(("cancel", "watch"), "of a handle, which stays readable"),
        },
    ),
    "Prewarmer": Rule(
        lambda: Prewarmer(object, lambda item: True, lambda item: None),
        {"take": (), "try_take": (), "start": (), "step": (0,)},
        {"close": ENDS, "stats": TELLS, "drop_inherited": FORKS},
    ),
    "Prewarming": Rule(
        lambda: Client().prewarm(URL, timeout=1),
        {},
        {
            "close": ENDS,
            "stats": TELLS,
            "wait": "False: there will be none",
            **dict.fromkeys(
                (
                    "begin_interval", "builds_due", "built", "drop_inherited", "failed", "found_no_room", "join",
                    "look_after", "next_due_ns", "note_error", "start", "step", "wake",
                ),
                INSIDE,
            ),
        },
    ),
    "Response": Rule(
        make_response,
        {},
        {
            **dict.fromkeys(("close", "cancel"), ENDS),
            **dict.fromkeys(
                (
                    "download", "iter_bytes", "iter_lines", "iter_raw", "json", "raise_for_status", "read", "reader",
                    "readinto", "segments", "view",
                ),
                "of an answer that was had; ResponseClosed where it was not: see below",
            ),
            **dict.fromkeys(
                (
                    "begin", "check_deadline", "count_head", "drop_connection", "explained", "forget", "forget_answer",
                    "gather", "make_cancellable", "may_send_again", "perform", "pursue", "release_connection",
                    "end_with", "take_over",
                ),
                INSIDE,
            ),
        },
    ),
}  # fmt: skip


def close_of(thing: Any) -> Callable[[], object]:
    found = getattr(thing, "close", None) or thing.stop
    assert callable(found)
    return found  # type: ignore[no-any-return]  # a method of anything


def public_methods(thing: object) -> set[str]:
    found = set()
    for name in dir(type(thing)):
        member = inspect.getattr_static(type(thing), name)
        if not name.startswith("_") and (callable(member) or isinstance(member, (staticmethod, classmethod))):
            found.add(name)
    return found


def test_everything_public_that_closes_has_its_rule() -> None:
    closing = set()
    for name in turbosock.__all__:
        found = getattr(turbosock, name)
        if inspect.isclass(found) and any(
            callable(inspect.getattr_static(found, end, None)) for end in ("close", "stop")
        ):
            closing.add(name)
    assert closing == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_closed_object_refuses_each_call_by_its_name(name: str) -> None:
    rule = RULES[name]
    thing = rule.make()
    assert public_methods(thing) == set(rule.refused) | set(rule.usable), "each public method has a rule"
    for _ in range(3):
        close_of(thing)()
    for method, arguments in rule.refused.items():
        options = {"handler": lambda exchange: None} if method == "listen" else {}
        with pytest.raises(ClientClosed) as caught:
            getattr(thing, method)(*arguments, **options)
        # A verb is a request().
        assert f"{method}()" in str(caught.value) or (method in VERBS and "request()" in str(caught.value))
    if "stats" in rule.usable:
        assert thing.stats() == thing.stats()
    assert repr(thing)


# One thread has a Loop and its listeners.
@pytest.mark.parametrize("name", sorted(RULES.keys() - {"Loop", "HttpListener"}))
def test_object_closed_by_many_threads_at_once_is_closed(name: str) -> None:
    rule = RULES[name]
    thing = rule.make()
    barrier = threading.Barrier(8)

    def end() -> None:
        barrier.wait(GUARD_S)
        close_of(thing)()

    for ending in [InThread(end) for _ in range(8)]:
        assert ending.outcome() is None
    for method, arguments in rule.refused.items():
        with pytest.raises(ClientClosed):
            getattr(thing, method)(*arguments)


# What the user still holds


def test_response_that_was_read_outlives_its_client(make_client: MakeClient) -> None:
    client = make_client()
    json = answer(b'{"a": 1}')
    with scripted((read_request, json, read_request, json, read_request, BEGUN, await_close)) as server:
        whole = client.get(server.url())
        held = client.stream("GET", server.url())
        with client.stream("GET", server.url()) as cut:
            assert cut.readinto(bytearray(5)) == 5
            client.close()
            for ask in (lambda: cut.readinto(bytearray(5)), cut.read, lambda: list(cut.iter_bytes()), cut.view):
                with pytest.raises((ClientClosed, ResponseClosed)):
                    ask()
        assert held.read() == b'{"a": 1}'
        held.close()
        held.close()
        assert (whole.content, whole.json(), whole.status_code, whole.ok) == (b'{"a": 1}', {"a": 1}, 200, True)
        assert whole.headers["content-length"] == "8" and list(whole.iter_bytes()) == [b'{"a": 1}']
        whole.close()
        assert client.stats()[:3] == (0, 0, 0)


def test_exchange_outlives_its_loop() -> None:
    with Peer() as peer:
        loop = Loop()
        done = loop.get(peer.url)
        connection = connect(loop, peer)
        connection.send(OK)
        turns(loop, lambda: done.done)
        failed = loop.get(peer.url)
        loop.close()
        assert (done.content, done.status_code, done.error) == (b"ok", 200, None)
        assert failed.done and isinstance(failed.error, ClientClosed)
        for ask in (lambda: failed.content, lambda: failed.status_code):
            with pytest.raises(StateError):
                ask()
        failed.cancel()
        done.cancel()
        assert list(loop.events) == [] and done.content == b"ok"


# A Client that closes while others wait

CLIENT_PHASES = ("in line", "looking up", "connecting", "handshaking", "sending", "head", "body", "gathering", "held")


class Waiting(NamedTuple):
    """A call that waits.

    Attributes:
        client: whose call it is.
        call: the thread.
        holder: the response that has the only connection, where the call stands in line.
    """

    client: Client
    call: InThread
    holder: Response | None


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener whose backlog is full: a connect there goes unanswered."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@contextlib.contextmanager
def waiting(phase: str, mode: TransportMode) -> Iterator[Waiting]:
    """A call in this phase."""
    reached, release = threading.Event(), threading.Event()

    def stuck(*arguments: object) -> list[object]:
        reached.set()
        release.wait(GUARD_S)
        raise OSError("no such name")

    def taken(peer: ServerPeer) -> None:
        peer.receive()
        reached.set()

    steps: tuple[Step, ...] = (read_request, signalling(reached), await_close)
    if phase in ("in line", "body", "gathering"):
        steps = (read_request, BEGUN, signalling(reached), await_close)
    elif phase == "sending":
        steps = (read_head, signalling(reached), stall)
    elif phase == "handshaking":
        steps = (taken, await_close)
    hold = Hold()
    links = (hold,) if phase == "held" else ()
    config = Config(transport=mode, timeouts=TIMEOUTS, pool=ONE)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scripted(steps))
        client = stack.enter_context(Client(config, middleware=links))
        stack.callback(release.set)
        holder = client.stream("GET", server.url()) if phase == "in line" else None
        url = server.url()
        if phase == "looking up":
            client.connections.resolver._getaddrinfo = stuck  # type: ignore[assignment]  # a name server that does not answer
            url = "http://name.invalid/"
        elif phase == "connecting":
            url = f"http://127.0.0.1:{stack.enter_context(full_listener())}/"
        elif phase == "handshaking":
            url = f"https://localhost:{server.port}/"

        def read_on() -> object:
            with client.stream("GET", url) as response:
                assert response.readinto(bytearray(100)) == 5
                return response.readinto(bytearray(100))

        calls: dict[str, Callable[[], object]] = {
            "body": read_on,
            "sending": lambda: client.post(url, content=b"x" * 50_000_000),
        }
        there: dict[str, Callable[[], object]] = {
            "in line": lambda: client.stats().waiting == 1,
            "connecting": lambda: client.stats().connections.dialling == 1,
            "held": lambda: client.stats().held == 1,
        }
        thread = InThread(calls.get(phase, lambda: client.get(url)))
        until(there.get(phase, reached.is_set))
        yield Waiting(client, thread, holder)


def assert_woken(waiting: Waiting, began_s: float) -> None:
    error = waiting.call.outcome()
    assert type(error) is ClientClosed, error
    assert "closed" in str(error)
    assert time.monotonic() - began_s < GUARD_S
    if waiting.holder is not None:
        waiting.holder.close()
    assert waiting.client.stats()[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("phase", CLIENT_PHASES)
def test_client_closed_by_another_thread_wakes_who_waits(phase: str, mode: TransportMode) -> None:
    with waiting(phase, mode) as call:
        began_s = time.monotonic()
        call.client.close()
        assert_woken(call, began_s)


@pytest.mark.parametrize("phase", CLIENT_PHASES)
def test_client_left_by_an_exception_wakes_who_waits(phase: str) -> None:
    with waiting(phase, TransportMode.STREAM) as call:
        began_s = time.monotonic()
        with pytest.raises(ZeroDivisionError), call.client:
            raise ZeroDivisionError
        assert_woken(call, began_s)


@pytest.mark.parametrize("phase", CLIENT_PHASES)
def test_client_closed_by_several_threads_wakes_who_waits(phase: str) -> None:
    with waiting(phase, TransportMode.SAEA) as call:
        began_s = time.monotonic()
        for ending in [InThread(call.client.close) for _ in range(4)]:
            assert ending.outcome() is None
        assert_woken(call, began_s)


class Closing(Middleware):
    """Closes its client, or its loop, at one step."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.face: Client | Loop | None = None

    def _look(self, step: str) -> None:
        if step == self.step:
            assert self.face is not None
            self.face.close()

    def enter(self, exchange: Chained, now_ns: int) -> int:
        self._look("enter")
        return 0

    def answered(self, exchange: Chained) -> None:
        self._look("answered")

    def leave(self, exchange: Chained) -> None:
        self._look("leave")


@pytest.mark.parametrize("step", ["enter", "answered", "leave"])
@pytest.mark.parametrize("body", [b"ok", b"x" * 200_000])
def test_client_closed_by_its_own_middleware_ends_the_call(step: str, body: bytes, mode: TransportMode) -> None:
    link = Closing(step)
    with scripted((read_request, answer(body), await_close)) as server:
        client = link.face = Client(Config(transport=mode, timeouts=TIMEOUTS), middleware=(link,))
        try:
            content = client.get(server.url()).content
        except ClientClosed:
            assert step != "leave"
        else:
            assert content == body
        assert client.closed and client.stats()[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("step", ["enter", "answered", "leave"])
@pytest.mark.parametrize("size", [2, 200_000])
def test_loop_closed_by_its_own_middleware_ends_the_exchange(step: str, size: int) -> None:
    link = Closing(step)
    with scripted((read_request, answer(b"x" * size), await_close)) as server:
        loop = link.face = Loop(middleware=(link,))
        exchange: Exchange | None = None
        with contextlib.suppress(ClientClosed):
            exchange = loop.get(server.url())
            turns(loop, lambda: loop.closed)
        assert loop.closed
        if exchange is not None:
            assert exchange.done
            assert exchange.error is None or isinstance(exchange.error, ClientClosed)
        stats = loop.stats()
        assert (stats.open, stats.timers, stats.dials, stats.held, stats.watched) == (0, 0, 0, 0, 0)


# A Loop that closes with work in every phase

LOOP_PHASES = ("in line", "looking up", "connecting", "handshaking", "sending", "head", "body", "data", "held")


@contextlib.contextmanager
def under_way(phase: str) -> Iterator[tuple[Loop, Exchange]]:
    """An exchange in this phase."""
    hold = Hold()
    release = threading.Event()

    def stuck(*arguments: object) -> list[object]:
        release.wait(GUARD_S)
        raise OSError("no such name")

    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(Peer())
        stack.callback(release.set)
        links = (hold,) if phase == "held" else ()
        loop = stack.enter_context(Loop(Config(timeouts=TIMEOUTS, pool=ONE), middleware=links))
        if phase == "in line":
            loop.get(peer.url)
            settle(loop)
            exchange = loop.get(peer.url)
        elif phase == "looking up":
            loop.reactor.resolver._getaddrinfo = stuck  # type: ignore[assignment]  # as above
            exchange = loop.get("http://name.invalid/")
            turns(loop, lambda: loop.stats().lookups == 1)
        elif phase == "connecting":
            exchange = loop.get(f"http://127.0.0.1:{stack.enter_context(full_listener())}/")
            settle(loop)
            assert loop.stats().connections.dialling == 1
        elif phase == "handshaking":
            exchange = loop.get(f"https://localhost:{peer.port}/")
            settle(loop)
            turns(loop, peer.accept().take_available)
        elif phase == "sending":
            exchange = loop.post(peer.url, content=b"x" * 50_000_000)
            connect(loop, peer)
            settle(loop)
        elif phase == "held":
            exchange = loop.get(peer.url)
            hold.await_held()
            assert (loop.stats().exchanges, loop.stats().timers) == (1, 1)
        else:
            exchange = loop.get(peer.url, stream=phase == "data")
            connection = connect(loop, peer)
            if phase != "head":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
                turns(loop, lambda: exchange.head is not None)
        assert not exchange.done
        yield loop, exchange


def assert_ended(loop: Loop, exchange: Exchange) -> None:
    assert exchange.done and type(exchange.error) is ClientClosed
    stats = loop.stats()
    assert (stats.open, stats.idle, stats.waiting, stats.exchanges, stats.held) == (0, 0, 0, 0, 0)
    assert (stats.dials, stats.timers, stats.watched, stats.backlog, stats.events) == (0, 0, 0, 0, 0)
    assert stats.buffers.outstanding == 0


@pytest.mark.parametrize("phase", LOOP_PHASES)
def test_loop_closed_between_turns_ends_what_is_under_way(phase: str) -> None:
    with under_way(phase) as (loop, exchange):
        loop.close()
        assert_ended(loop, exchange)


@pytest.mark.parametrize("phase", LOOP_PHASES)
def test_loop_closed_by_a_handler_ends_what_is_under_way(phase: str) -> None:
    with under_way(phase) as (loop, exchange):
        listener = loop.listen(("127.0.0.1", 0), handler=lambda _: loop.close())
        assert isinstance(listener.address, tuple)
        with socket.create_connection(listener.address) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            turns(loop, lambda: loop.closed)
            assert caller.recv(1) == b""
        assert listener.closed
        assert_ended(loop, exchange)


@pytest.mark.parametrize("phase", LOOP_PHASES)
def test_loop_left_by_an_exception_ends_what_is_under_way(phase: str) -> None:
    with under_way(phase) as (loop, exchange):
        with pytest.raises(ZeroDivisionError), loop:
            raise ZeroDivisionError
        assert_ended(loop, exchange)


def test_listener_closes_its_connections_once_and_leaves_the_loop_to_others() -> None:
    with Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=lambda exchange: None)
        before = loop.stats().watched
        assert isinstance(listener.address, tuple)
        with socket.create_connection(listener.address) as idle, socket.create_connection(listener.address) as busy:
            busy.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            turns(loop, lambda: listener.stats().requests == 1 and listener.stats().open == 2)
            listener.close()
            listener.close()
            assert (idle.recv(1), busy.recv(1)) == (b"", b"")
        assert (listener.stats().open, loop.stats().watched, loop.stats().timers) == (0, before - 1, 0)
        loop.poll()
        # The address is free again.
        loop.listen(listener.address, handler=lambda exchange: None).close()


# The end of the interpreter

EXITS = {
    "idle": "",
    "stream": "held = client.stream('GET', url)",
    "thread": "threading.Thread(target=client.get, args=(silent,), daemon=True).start(); "
    "wait(lambda: client.stats().open > 1)",
    "prewarming": "warm = client.prewarm(url, 2); assert warm.wait(10)",
    "prewarming a stall": "warm = client.prewarm(silent.replace('http:', 'https:')); "
    "wait(lambda: warm.stats().building)",
    "prewarming nobody": "warm = client.prewarm('http://127.0.0.1:1'); wait(lambda: warm.stats().failed)",
    "queue": "queue = RequestQueue(client.get, 2); queue.start(); queue.submit(silent); queue.submit(silent); "
    "queue.submit(silent); wait(lambda: queue.stats().running == 2)",
    "prewarmer": "keeper = Prewarmer(object, bool, id); keeper.start(); keeper.take(5)",
    "limiter": "limiter = ConcurrencyLimiter(1); permit = limiter.permit('a').__enter__()",
    "loop": "loop = Loop(); exchange = loop.get(silent); loop.prewarm(url); "
    "loop.listen(('127.0.0.1', 0), handler=print); [loop.poll(0.01) for _ in range(20)]",
}
PRELUDE = """
import sys, threading, time
from turbosock import *
url, silent = sys.argv[1:]
def wait(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
client = Client(Config(timeouts=Timeouts(connect_s=30, handshake_s=30, read_s=30)))
assert client.get(url).content == b"ok"
"""


@pytest.mark.parametrize(
    ("how", "last"),
    [(how, "") for how in EXITS]
    + [(how, "raise SystemExit(0)") for how in ("thread", "prewarming a stall", "queue", "loop")]
    + [(how, "client.close()") for how in ("stream", "thread", "prewarming a stall", "queue", "loop")],
)
def test_interpreter_that_exits_with_something_open_says_nothing_and_does_not_hang(how: str, last: str) -> None:
    ok = (read_request, answer(), read_request, BEGUN, await_close)
    with scripted(ok) as server, scripted((await_close,)) as silent:
        ended = subprocess.run(
            [sys.executable, "-c", f"{PRELUDE}\n{EXITS[how]}\n{last}", server.url(), silent.url()],
            env={**os.environ, "PYTHONPATH": str(Path(turbosock.__file__).parent.parent)},
            capture_output=True,
            timeout=GUARD_S,
        )
        # A thread of the program's own says what close() did to its call.
        told = ended.stderr if not (how == "thread" and last == "client.close()") else b""
        assert (ended.returncode, told) == (0, b"")


# Forks


@NEEDS_FORK
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("phase", ["idle", "head", "body", "in line", "queued"])
def test_client_forked_in_each_phase_is_new_in_the_child_and_goes_on_in_the_parent(
    phase: str, tls: bool, pki: Pki, mode: TransportMode
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    before: tuple[Step, ...] = (secure(pki.context),) if tls else ()
    cut: Step = send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")

    def finish(peer: ServerPeer) -> None:
        send(b"x" * 45)(peer)

    slow: tuple[Step, ...] = (read_request, signalling(reached), await_event(go_on), cut, finish)
    if phase == "body":
        slow = (read_request, cut, signalling(reached), await_event(go_on), finish)
    again: tuple[Step, ...] = (read_request, answer(b"again"), read_request, answer(b"again"), await_close)
    first = (*before, read_request, answer(b"first"), *(() if phase == "idle" else slow), *again)
    config = Config(transport=mode, timeouts=TIMEOUTS, pool=ONE, tls=pki.trusting)
    with scripted(first, (*before, *again)) as server, Client(config) as client:
        url = f"https://localhost:{server.port}/" if tls else server.url()
        assert client.get(url).content == b"first"
        calls: list[InThread] = []
        queue = RequestQueue(client.get, 2)
        if phase == "queued":
            queue.start()
            handles = [queue.submit(url) for _ in range(2)]
        elif phase != "idle":
            calls = [InThread(lambda: client.get(url).content) for _ in range(2 if phase == "in line" else 1)]
        if phase != "idle":
            assert reached.wait(GUARD_S)
        if phase in ("in line", "queued"):
            until(lambda: client.stats().waiting == 1)

        def use() -> None:
            assert client.stats()[:4] == (0, 0, 0, 0)
            assert [client.get(url).content for _ in range(2)] == [b"again"] * 2
            if phase == "queued":
                with pytest.raises(ClientClosed):
                    queue.submit(url)
            client.close()

        in_child(use)
        go_on.set()
        expected = [b"hello" + b"x" * 45, b"again"]
        if phase == "queued":
            assert sorted(handle.result(GUARD_S).content for handle in handles) == sorted(expected)
        assert sorted(call.outcome() for call in calls) == sorted(expected[: len(calls)])
        queue.stop()
        assert client.get(url).content == b"again"
        # The parent has gone on with its one connection.
        assert (client.stats().connections.opened, server.accepted) == (1, 2)


# Interrupts, and threads that die


def read_all(client: Client, url: str) -> None:
    with client.stream("GET", url) as response:
        while response.readinto(bytearray(100)):
            pass


class Interrupting:
    """Sends SIGINT to this process, once for each call."""

    def __call__(self, peer: ServerPeer) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("phase", ["head", "body", "gathering", "sending", "handshaking"])
def test_interrupt_in_the_middle_costs_the_connection_and_gives_the_place_back(phase: str, mode: TransportMode) -> None:
    interrupt = Interrupting()

    def taken(peer: ServerPeer) -> None:
        peer.receive()
        interrupt(peer)

    steps: tuple[Step, ...] = (read_request, interrupt, await_close)
    if phase in ("body", "gathering"):
        steps = (read_request, BEGUN, interrupt, await_close)
    elif phase == "sending":
        steps = (read_head, interrupt, await_close)
    elif phase == "handshaking":
        steps = (taken, await_close)
    with (
        scripted(steps) as server,
        scripted((read_request, answer(), await_close)) as sound,
        Client(Config(transport=mode, timeouts=TIMEOUTS, pool=ONE)) as client,
    ):
        calls: dict[str, Callable[[], object]] = {
            "body": lambda: read_all(client, server.url()),
            "sending": lambda: client.post(server.url(), content=b"x" * 50_000_000),
            "handshaking": lambda: client.get(f"https://localhost:{server.port}/"),
        }
        call = calls.get(phase, lambda: client.get(server.url()))
        with pytest.raises(KeyboardInterrupt):
            call()
        assert client.stats()[:3] == (0, 0, 0)
        server.await_ended()
        assert client.get(sound.url()).content == b"ok"


def test_interrupt_in_line_leaves_the_line(mode: TransportMode) -> None:
    with (
        scripted((read_request, BEGUN, await_close), (read_request, answer(), await_close)) as server,
        Client(Config(transport=mode, timeouts=TIMEOUTS, pool=ONE)) as client,
    ):
        holder = client.stream("GET", server.url())

        def interrupt() -> None:
            until(lambda: client.stats().waiting == 1)
            os.kill(os.getpid(), signal.SIGINT)

        interrupting = InThread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.get(server.url())
        assert interrupting.outcome() is None
        assert client.stats()[:3] == (1, 0, 0)
        holder.close()
        assert client.get(server.url()).content == b"ok"


# What a thread leaves behind is collected with its traceback, the socket's own finalizer included.
@pytest.mark.filterwarnings("ignore:a streamed response of .* was dropped:ResourceWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("end", [SystemExit, RuntimeError, _thread.exit])
def test_thread_that_dies_with_a_request_gives_its_place_back(end: Any, mode: TransportMode) -> None:
    def body() -> Iterator[bytes]:
        yield b"begun"
        raise end() if isinstance(end, type) else SystemExit

    with (
        scripted(
            (read_head, await_close), (read_request, BEGUN, await_close), (read_request, answer(), await_close)
        ) as server,
        Client(Config(transport=mode, timeouts=TIMEOUTS, pool=ONE)) as client,
    ):
        error = InThread(lambda: client.post(server.url(), content=body())).outcome()
        assert isinstance(error, (SystemExit, RuntimeError, TurbosockError))
        assert client.stats()[:3] == (0, 0, 0)

        def leave_behind() -> None:
            held = client.stream("GET", server.url())
            if held.status_code == 200:
                end() if not isinstance(end, type) else None
                raise SystemExit

        InThread(leave_behind).outcome()
        gc.collect()
        assert client.get(server.url()).content == b"ok"


def test_lease_of_a_dropped_view_is_told_with_the_line_that_took_it(make_client: MakeClient) -> None:
    client = make_client(diagnostics=True)

    def look() -> None:
        response = client.stream("GET", server.url())
        response.view()
        del response
        gc.collect()

    with scripted((read_request, answer(b"x" * 200_000), await_close)) as server:
        with pytest.warns(ResourceWarning, match=r"test_lifecycle\.py"):
            look()
        client.close()


# Origins that behave badly

BAD: dict[str, tuple[Step, ...]] = {
    "closes": (read_request, close),
    "says nothing": (stall,),
    "drips": (read_request, drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000, 0.02)),
}
SLOTS = PoolConfig(max_connections=16, max_connections_per_origin=8)


def good_server() -> contextlib.AbstractContextManager[ScriptedServer]:
    return scripted((*(read_request, answer()) * 100, await_close))


@pytest.mark.parametrize("kind", BAD)
def test_client_origin_that_behaves_badly_costs_its_own_slots_alone(kind: str, mode: TransportMode) -> None:
    config = Config(transport=mode, timeouts=TIMEOUTS, pool=SLOTS)
    with scripted(BAD[kind]) as bad, good_server() as good, Client(config) as client:
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                with contextlib.suppress(TurbosockError):
                    client.get(bad.url())

        asking = [InThread(ask) for _ in range(12)]
        until(lambda: bad.accepted >= 8)
        before_s = time.monotonic()
        for _ in range(50):
            assert client.get(good.url()).content == b"ok"
            stats = client.stats()
            assert stats.open <= 16
        assert time.monotonic() - before_s < GUARD_S
        assert good.accepted == 1
        stop.set()
        client.close()
        for thread in asking:
            assert thread.outcome() is None


@pytest.mark.parametrize("kind", BAD)
def test_loop_origin_that_behaves_badly_costs_its_own_slots_alone(kind: str) -> None:
    config = Config(timeouts=TIMEOUTS, pool=SLOTS)
    with scripted(BAD[kind]) as bad, good_server() as good, Loop(config) as loop:
        for _ in range(100):
            loop.get(bad.url(), notify=False)
        before_s = time.monotonic()
        for _ in range(50):
            exchange = loop.get(good.url(), notify=False)
            turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # bound in this round
            assert exchange.content == b"ok"
            assert loop.stats().open <= 9
        assert time.monotonic() - before_s < GUARD_S
        assert good.accepted == 1
