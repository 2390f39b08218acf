"""Where transports come from: what a connector is asked, what wraps them, and what their failures become."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import cast

import pytest

from turbosock import Client, ClientClosed, Config, InvalidOption, Loop, Timeouts
from turbosock.errors import ConnectError, ConnectTimeout, MisuseError, Phase, TotalTimeout, TurbosockError
from turbosock.reactor.clock import SYSTEM_CLOCK, ManualClock
from turbosock.reactor.reactor import Reactor
from turbosock.transport.connector import Connector, Source, Target, Wrapper, connect_with
from turbosock.transport.transport import SaeaTransport, StreamTransport, Transport

URL = "http://not-a-name.invalid/"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Pairs:
    """Connects to socket pairs whose other end has answered already, or says nothing."""

    speaks = True

    def __init__(self) -> None:
        self.asked: list[tuple[Target, Reactor | None, int]] = []
        self.far: list[socket.socket] = []
        self.failure: Exception | None = None
        self.answer: object = None

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        self.asked.append((target, reactor, deadline_ns))
        if self.failure is not None:
            raise self.failure
        if self.answer is not None:
            return cast(Transport, self.answer)
        near, far = socket.socketpair()
        if self.speaks:
            far.sendall(OK)
        self.far.append(far)
        return StreamTransport(near) if reactor is None else SaeaTransport(near, reactor)


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = Pairs()
    yield made
    for far in made.far:
        far.close()


def finish(loop: Loop) -> BaseException | None:
    """The error of one GET, or None."""
    exchange = loop.get(URL)
    for _ in range(5):
        if not exchange.done:
            loop.poll(1.0)
    assert exchange.done
    return exchange.error


def test_client_asks_its_connector_and_neither_resolves_nor_dials(pairs: Pairs) -> None:
    with Client(Config(timeouts=Timeouts(connect_s=5.0)), connector=pairs) as client:
        before_ns = SYSTEM_CLOCK.now_ns()
        assert client.get(URL).content == b"ok"
    [(target, reactor, deadline_ns)] = pairs.asked
    assert (target.scheme, target.host, target.port, target.path) == ("http", "not-a-name.invalid", 80, None)
    assert reactor is None
    assert before_ns < deadline_ns - 5_000_000_000 < SYSTEM_CLOCK.now_ns()


def test_client_gives_a_connector_no_more_than_its_total_time(pairs: Pairs) -> None:
    with Client(connector=pairs) as client:
        client.get(URL, timeout=2.0)
    assert pairs.asked[0][2] - SYSTEM_CLOCK.now_ns() < 2_000_000_000


def test_loop_asks_its_connector_in_the_next_turn(pairs: Pairs) -> None:
    with Loop(connector=pairs) as loop:
        exchange = loop.get(URL)
        assert not pairs.asked
        loop.poll()
        [(target, reactor, deadline_ns)] = pairs.asked
        assert (target.host, reactor) == ("not-a-name.invalid", loop.reactor)
        assert deadline_ns > SYSTEM_CLOCK.now_ns()
        loop.poll(1.0)
        assert exchange.content == b"ok"


@pytest.mark.parametrize("failure", [ConnectError("down"), ConnectTimeout("slow")])
def test_errors_of_a_connector_are_the_exchanges(pairs: Pairs, failure: Exception) -> None:
    pairs.failure = failure
    with Client(connector=pairs) as client:
        with pytest.raises(type(failure)) as caught:
            client.get(URL)
        assert caught.value is failure
        assert isinstance(caught.value, (ConnectError, ConnectTimeout))
        assert caught.value.phase is Phase.CONNECT
        assert client.stats().open == 0
    with Loop(connector=pairs) as loop:
        assert finish(loop) is failure
        assert loop.stats().open == 0


@pytest.mark.parametrize("failure", [OSError(111, "refused"), ValueError("odd")])
def test_other_exceptions_of_a_connector_are_connect_errors(pairs: Pairs, failure: Exception) -> None:
    pairs.failure = failure
    with Client(connector=pairs) as client, pytest.raises(ConnectError, match=type(failure).__name__) as caught:
        client.get(URL)
    assert caught.value.errno == getattr(failure, "errno", None)
    with Loop(connector=pairs) as loop:
        assert isinstance(finish(loop), ConnectError)


def test_connector_that_answers_with_something_else_is_misused(pairs: Pairs) -> None:
    pairs.answer = "a transport"
    with Client(connector=pairs) as client, pytest.raises(MisuseError, match="str"):
        client.get(URL)
    near, far = socket.socketpair()
    with near, far, Loop(connector=pairs) as loop:
        # A blocking socket under a Loop would hold everybody up.
        pairs.answer = StreamTransport(near)
        error = finish(loop)
        assert isinstance(error, MisuseError)
        assert "SaeaTransport" in str(error)


def test_client_closed_while_its_connector_was_asked_closes_what_it_made(pairs: Pairs) -> None:
    class Closing(Pairs):
        speaks = False

        def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
            client.close()
            return super().connect(target, reactor, deadline_ns)

    connector = Closing()
    client = Client(connector=connector)
    with pytest.raises(ClientClosed):
        client.get(URL)
    connector.far[0].settimeout(10)
    assert connector.far[0].recv(1) == b""
    connector.far[0].close()


def test_exchange_cancelled_by_its_connector_leaves_no_connection() -> None:
    class Cancelling(Pairs):
        speaks = False

        def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
            exchange.cancel()
            return super().connect(target, reactor, deadline_ns)

    connector = Cancelling()
    with Loop(connector=connector) as loop:
        exchange = loop.get(URL)
        loop.poll()
        assert exchange.done
        assert loop.stats().open == 0
        connector.far[0].settimeout(10)
        assert connector.far[0].recv(1) == b""
    connector.far[0].close()


def test_time_is_over_before_a_connector_is_asked(pairs: Pairs) -> None:
    with Client(connector=pairs) as client, pytest.raises(TotalTimeout):
        client.get(URL, timeout=1e-9)
    assert not pairs.asked


@pytest.mark.parametrize("face", [Client, Loop])
def test_what_cannot_connect_is_refused_at_construction(face: type[Client] | type[Loop]) -> None:
    with pytest.raises(InvalidOption, match="connector"):
        face(connector=cast(Connector, object()))


def test_connect_with_accepts_any_transport_for_a_blocking_caller(pairs: Pairs) -> None:
    near, far = socket.socketpair()
    with near, far:
        for transport in (StreamTransport(near), SaeaTransport(near)):
            pairs.answer = transport
            assert connect_with(pairs, cast(Target, None), None, 0) is transport


class Around:
    """Wraps transports in themselves, and remembers what it was asked."""

    def __init__(self, name: str, inner: Connector | Wrapper | None, asked: list[tuple[str, str, bool]]) -> None:
        self.name = name
        self.inner = inner
        self.asked = asked
        self.failure: Exception | None = None
        self.wrapped: list[Transport] = []

    def wrap(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        self.asked.append((self.name, target.host, reactor is None))
        self.wrapped.append(transport)
        if self.failure is not None:
            raise self.failure
        return transport


@pytest.mark.parametrize("face", [Client, Loop])
def test_wrappers_are_asked_from_the_innermost_outwards(pairs: Pairs, face: type[Client] | type[Loop]) -> None:
    asked: list[tuple[str, str, bool]] = []
    outer = Around("outer", Around("inner", pairs, asked), asked)
    with face(connector=outer) as owner:
        if isinstance(owner, Client):
            assert owner.get(URL).content == b"ok"
        else:
            assert finish(owner) is None
    assert asked == [(name, "not-a-name.invalid", face is Client) for name in ("inner", "outer")]


@pytest.mark.parametrize("face", [Client, Loop])
def test_wrapper_of_nothing_wraps_what_is_dialled(face: type[Client] | type[Loop]) -> None:
    asked: list[tuple[str, str, bool]] = []
    with socket.create_server(("127.0.0.1", 0)) as server, face(connector=Around("only", None, asked)) as owner:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        if isinstance(owner, Client):
            with pytest.raises(TurbosockError):
                owner.get(url, timeout=0.01)
        else:
            owner.get(url)
            for _ in range(5):
                owner.poll(0.1 if not asked else 0.0)
    assert asked == [("only", "127.0.0.1", face is Client)]


@pytest.mark.parametrize("failure", [ConnectError("no"), ValueError("odd")])
@pytest.mark.parametrize("face", [Client, Loop])
def test_wrapper_that_fails_leaves_no_connection(
    pairs: Pairs, face: type[Client] | type[Loop], failure: Exception
) -> None:
    around = Around("only", pairs, [])
    around.failure = failure
    with face(connector=around) as owner:
        if isinstance(owner, Client):
            with pytest.raises(ConnectError):
                owner.get(URL)
        else:
            assert isinstance(finish(owner), ConnectError)
        assert owner.stats().open == 0
    assert [transport.fd for transport in around.wrapped] == [-1]


def test_what_a_wrapper_goes_round_is_checked_at_construction() -> None:
    with pytest.raises(InvalidOption, match="str"):
        Source(Around("outer", cast(Connector, "the network"), []))
    around = Around("round", None, [])
    around.inner = around
    with pytest.raises(InvalidOption, match="Around"):
        Source(around)


def test_clock_is_that_of_the_outermost_which_has_one(pairs: Pairs) -> None:
    clock = ManualClock(7)
    pairs.clock = clock  # type: ignore[attr-defined]
    with Loop(connector=Around("only", pairs, [])) as loop:
        assert loop.reactor.clock is clock
    with Loop(connector=pairs, clock=SYSTEM_CLOCK) as loop:
        assert loop.reactor.clock is SYSTEM_CLOCK
