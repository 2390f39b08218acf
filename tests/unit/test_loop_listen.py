"""The Loop with a listener: handlers that turn back to the loop they run in, and what flush() sends for sessions."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.loop_peer import MODE_NAMES, MODES, Peer, make_clock, make_config, settle, turns
from turbosock import Loop, limits
from turbosock.errors import ClientClosed, StateError
from turbosock.reactor.clock import ManualClock
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_session import HttpSession

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"


@pytest.fixture
def clock() -> ManualClock:
    return make_clock()


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def loop(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Loop]:
    poller, zero_alloc = request.param
    with Loop(make_config(poller, zero_alloc), clock=clock) as loop:
        yield loop


class Clients:
    """Bare sockets, accepted by a listener at a Unix path: what they send is there at once."""

    def __init__(self, loop: Loop, path: Path, count: int) -> None:
        self.sockets = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for each in self.sockets:
            each.connect(str(path))
            each.setblocking(False)
        settle(loop)

    def send(self, data: bytes) -> None:
        """Send from all of them."""
        for each in self.sockets:
            each.sendall(data)

    def take(self) -> int:
        """Take what waits for all of them; how much."""
        count = 0
        for each in self.sockets:
            try:
                while data := each.recv(1 << 20):
                    count += len(data)
            except BlockingIOError:
                pass
        return count

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self.sockets:
            each.close()


# Handlers that turn back to their loop


@pytest.mark.parametrize("budget", [{}, {"max_time": 1.0}, {"max_bytes": 1 << 20}, {"max_events": 100}], ids=str)
def test_close_by_a_handler_ends_the_turn_for_all(loop: Loop, tmp_path: Path, budget: dict[str, float]) -> None:
    handled = []

    def close(exchange: HttpExchange) -> None:
        handled.append(exchange)
        exchange.respond(200, content=b"last")
        loop.close()

    loop.listen(str(tmp_path / "s"), handler=close)
    with Clients(loop, tmp_path / "s", 4) as clients:
        clients.send(REQUEST)
        result = loop.poll(**budget)  # type: ignore[arg-type]  # whole budgets are whole numbers
    assert len(handled) == 1 and result.backlog == 0 and result.delivered == 0
    with pytest.raises(ClientClosed):
        loop.poll()


def test_close_by_a_callback_for_data_ends_the_turn(loop: Loop, tmp_path: Path) -> None:
    def on_data(exchange: HttpExchange) -> None:
        loop.close()

    def answer(exchange: HttpExchange) -> None:
        exchange.on_data = on_data

    loop.listen(str(tmp_path / "s"), handler=answer, stream_body=True)
    with Clients(loop, tmp_path / "s", 3) as clients:
        clients.send(UPLOAD)
        loop.poll()
        clients.send(b"body")
        loop.poll()
    assert loop.closed


def test_close_by_a_callback_of_a_timer_ends_the_turn(loop: Loop, clock: ManualClock, tmp_path: Path) -> None:
    closed = []

    def on_closed(exchange: HttpExchange) -> None:
        closed.append(exchange)
        loop.close()

    def answer(exchange: HttpExchange) -> None:
        exchange.on_closed = on_closed
        exchange.on_data = print

    loop.listen(str(tmp_path / "s"), handler=answer, stream_body=True, body_timeout_s=1.0)
    with Clients(loop, tmp_path / "s", 3) as clients:
        clients.send(UPLOAD)
        loop.poll()
        clock.advance(1.0)
        loop.poll()
    assert loop.closed and len(closed) == 1


@pytest.mark.parametrize("close", [True, False], ids=["close", "nested"])
def test_callback_of_a_flush_may_close_the_loop_and_not_flush_again(loop: Loop, tmp_path: Path, close: bool) -> None:
    refused: list[StateError] = []

    def on_writable(exchange: HttpExchange) -> None:
        if close:
            loop.close()
            return
        with pytest.raises(StateError, match="inside poll") as caught:
            loop.flush()
        refused.append(caught.value)

    def answer(exchange: HttpExchange) -> None:
        exchange.on_writable = on_writable
        exchange.start(200, length=1 << 30)
        while exchange.send(bytes(1 << 20)).name == "OK":
            pass

    loop.listen(str(tmp_path / "s"), handler=answer, max_unsent_bytes=1 << 21)
    with Clients(loop, tmp_path / "s", 3) as clients:
        clients.send(REQUEST)
        loop.poll()
        while clients.take() and not loop.closed and not refused:
            loop.flush(max_time=1.0)
    assert loop.closed is close and bool(refused) is not close


@pytest.mark.parametrize("call", [Loop.poll, Loop.flush], ids=["poll", "flush"])
def test_turn_inside_a_turn_is_refused_and_the_outer_one_goes_on(
    loop: Loop, tmp_path: Path, call: Callable[[Loop], object]
) -> None:
    def answer(exchange: HttpExchange) -> None:
        with pytest.raises(StateError, match=call.__name__):
            call(loop)
        exchange.respond(200, content=b"ok")

    loop.listen(str(tmp_path / "s"), handler=answer)
    with Clients(loop, tmp_path / "s", 3) as clients:
        clients.send(REQUEST)
        loop.poll()
        assert [each.recv(1000)[-2:] for each in clients.sockets] == [b"ok"] * 3


def test_turn_after_one_that_was_interrupted_works(loop: Loop, tmp_path: Path) -> None:
    interrupted: list[HttpExchange] = []

    def answer(exchange: HttpExchange) -> None:
        if not interrupted:
            interrupted.append(exchange)
            raise KeyboardInterrupt
        exchange.respond(200, content=b"ok")

    loop.listen(str(tmp_path / "s"), handler=answer)
    with Clients(loop, tmp_path / "s", 2) as clients:
        clients.send(REQUEST)
        with pytest.raises(KeyboardInterrupt):
            loop.poll()
        settle(loop)
        loop.flush()
        # Whose turn came first is the poller's choice.
        assert sorted(each.recv(1000)[-2:] for each in clients.sockets) == [b"", b"ok"]


def test_close_by_the_iterable_of_a_body_ends_the_turn(loop: Loop, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        loop.close()
        yield b"piece"

    with Peer(tmp_path / "s") as peer:
        exchange = loop.request("POST", peer.url, content=pieces())
        loop.poll()
    assert loop.closed and type(exchange.error) is ClientClosed


def test_close_in_the_middle_of_a_body_that_goes_on_ends_the_turn(loop: Loop, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        # More than one step sends: the rest would wait for its turn.
        yield bytes(limits.TURN_QUANTUM_BYTES)
        loop.close()
        yield bytes(limits.TURN_QUANTUM_BYTES)

    with Peer(tmp_path / "s") as peer:
        exchange = loop.request("POST", peer.url, content=pieces())
        while not loop.closed:
            loop.poll()
            if peer.connections or peer.waiting():
                peer.connections[0].take_available()
        assert type(exchange.error) is ClientClosed and repr(loop) == "<Loop closed exchanges=0 events=0>"
        with pytest.raises(ClientClosed):
            loop.poll()


# Flushing


@pytest.mark.parametrize("readable", [False, True], ids=["writable", "readable too"])
def test_flush_sends_for_a_session_that_waits_in_line(loop: Loop, tmp_path: Path, readable: bool) -> None:
    started: list[HttpExchange] = []

    def answer(exchange: HttpExchange) -> None:
        started.append(exchange)
        exchange.start(200, length=1 << 30)

    loop.listen(str(tmp_path / "s"), handler=answer, max_unsent_bytes=1 << 23)
    with Clients(loop, tmp_path / "s", 1) as clients:
        clients.send(REQUEST)
        loop.poll()
        session = started[0]._carrier
        assert isinstance(session, HttpSession)
        # More than a turn's share has room.
        session.connection.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        while started[0].send(bytes(1 << 20)).name == "OK":
            pass
        settle(loop)
        # One turn's share goes out, and the session stands in line for the next.
        while not session.queued:
            assert clients.take()
            loop.poll()
        unsent = session.connection.unsent
        if readable:
            clients.send(REQUEST)
        clients.take()
        assert loop.flush() > 0
        assert session.connection.unsent < unsent and len(started) == 1


# Where it is found


@pytest.mark.parametrize("where", ["127.0.0.1", "::1", "unix"])
def test_url_of_a_listener_is_where_a_client_finds_it(loop: Loop, tmp_path: Path, where: str) -> None:
    if where == "::1" and not has_ipv6_loopback():
        pytest.skip("this machine has no ::1: enable IPv6 on its loopback interface")
    path = str(tmp_path / "a socket%")
    listener = loop.listen(path if where == "unix" else (where, 0), handler=lambda exchange: exchange.respond())
    expected = {"127.0.0.1": "http://127.0.0.1:", "::1": "http://[::1]:", "unix": "http+unix://%2F"}
    assert listener.url.startswith(expected[where])
    exchange = loop.get(listener.url + "/path")
    turns(loop, lambda: exchange.done)
    assert exchange.status_code == 200


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
