"""WebSockets of a Loop with real sockets: against itself, the blocking client, and the library websockets."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect as websockets_connect
from websockets.sync.server import Server, serve
from websockets.typing import Subprotocol

from support.https import Pki
from support.in_thread import InThread
from support.loop_peer import WAIT_S
from turbosock import (
    Client,
    ClientClosed,
    Config,
    ConnectError,
    DeflateOptions,
    EventKind,
    HttpExchange,
    InvalidOption,
    Loop,
    ProtocolError,
    Send,
    StatusError,
    TlsProviderMode,
    TlsServerConfig,
    WebSocketClosed,
    WebSocketSettings,
)
from turbosock.protocol.websocket.deflate import DeflateArgument

OPEN, MESSAGE, CLOSED = EventKind.OPEN, EventKind.MESSAGE, EventKind.CLOSED
LOCAL = ("127.0.0.1", 0)
SAMPLES: tuple[bytes | str, ...] = ("hi", b"\x00\xff", "é" * 300, b"m" * 5000, "t" * 70_000, bytes(200_000), "", b"")


class Driver:
    """Polls a loop, answers what its servers get, and notes what happens."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.seen: list[tuple[EventKind, Any, Any]] = []
        self.servers: set[Any] = set()

    def turn(self) -> None:
        self.loop.poll(0.05)
        for event in self.loop.events:
            connection: Any = event.connection
            data = event.data
            if event.kind is CLOSED:
                data = event.error
            elif isinstance(data, memoryview):
                data = bytes(data)
            self.seen.append((event.kind, connection, data))
            if event.kind is OPEN and connection.request is not None:
                self.servers.add(connection)
            elif event.kind is MESSAGE and connection in self.servers:
                assert connection.send(event.data) is Send.OK
        self.loop.flush()

    def until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + WAIT_S
        while not done():
            self.turn()
            assert time.monotonic() < end, f"it did not get there: {self.seen[-3:]}"

    def of(self, connection: object, kind: EventKind) -> list[Any]:
        return [data for seen, other, data in self.seen if other is connection and seen is kind]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("websocket_loop_pki"))


@pytest.fixture(params=["plain", "ssl", "pyopenssl"])
def way(request: pytest.FixtureRequest, pki: Pki) -> tuple[Config, TlsServerConfig | None]:
    """How to get there: in clear text, and through either engine on both sides."""
    if request.param == "plain":
        return Config(), None
    provider = TlsProviderMode.SYSTEM_ONLY if request.param == "ssl" else TlsProviderMode.PYOPENSSL_ONLY
    trusting = dataclasses.replace(pki.trusting, provider=provider)
    return Config(tls=trusting), TlsServerConfig(pki.files.certificate(pki.good), provider=provider)


@pytest.fixture
def driver(way: tuple[Config, TlsServerConfig | None]) -> Iterator[Driver]:
    with Loop(way[0]) as loop:
        yield Driver(loop)


@pytest.fixture
def plain() -> Iterator[Driver]:
    with Loop() as loop:
        yield Driver(loop)


@pytest.fixture
def peer() -> Iterator[str]:
    """A server of the library websockets that sends back what it gets."""

    def echo(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    server: Server = serve(echo, "127.0.0.1", 0, compression="deflate", subprotocols=[Subprotocol("echo")])
    running = InThread(server.serve_forever)
    yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
    server.shutdown()
    running.outcome()


@pytest.mark.parametrize("deflate", [None, True, DeflateOptions()], ids=["as-is", "by default", "deflate"])
def test_both_ends_in_one_loop_echo_and_close(
    driver: Driver, way: tuple[Config, TlsServerConfig | None], deflate: DeflateArgument
) -> None:
    loop = driver.loop
    listener = loop.listen(LOCAL, protocol="websocket", tls=way[1], deflate=deflate)
    client = loop.websocket(listener.url, deflate=deflate, user="mine")
    assert client.address == listener.url
    driver.until(lambda: driver.of(client, OPEN))
    for sample in SAMPLES:
        assert client.send(sample) is Send.OK
    driver.until(lambda: len(driver.of(client, MESSAGE)) == len(SAMPLES))
    client.close(4001, "done")
    driver.until(lambda: driver.of(client, CLOSED) and loop.stats().messages.open == 0)
    (server,) = driver.servers

    assert driver.of(client, MESSAGE) == list(SAMPLES)
    assert driver.of(client, CLOSED) == [None] and driver.of(server, CLOSED) == [None]
    assert client.user == "mine" and client.close_code == 4001
    assert (server.close_code, server.close_reason) == (4001, "done")
    assert loop.stats().messages.lent_bytes == 0
    if deflate is not None:
        assert client.bytes_out < 100_000


def test_blocking_client_talks_to_a_listener(driver: Driver, way: tuple[Config, TlsServerConfig | None]) -> None:
    listener = driver.loop.listen(LOCAL, protocol="websocket", tls=way[1], subprotocols=("game",))

    def talk() -> tuple[Any, ...]:
        with Client(way[0]) as client, client.websocket(listener.url, subprotocols=["game"]) as ws:
            got = []
            for sample in SAMPLES:
                ws.send(sample)
                got.append(ws.recv(timeout=WAIT_S))
            latency = ws.ping()
            ws.close(1001, "bye")
            return got, latency > 0, ws.subprotocol, ws.close_code

    talking = InThread(talk)
    driver.until(lambda: any(kind is CLOSED for kind, _, _ in driver.seen))
    outcome = talking.outcome()
    if isinstance(outcome, BaseException):
        raise outcome

    assert outcome == (list(SAMPLES), True, "game", 1001)
    assert [data for kind, _, data in driver.seen if kind is CLOSED] == [None]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_client_of_another_library_talks_to_a_listener(plain: Driver, compression: str | None) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket", deflate=DeflateOptions())

    def talk() -> tuple[Any, ...]:
        with websockets_connect(listener.url, compression=compression) as ws:
            got = []
            for sample in SAMPLES:
                ws.send(sample)
                got.append(ws.recv(timeout=WAIT_S))
            ws.send(["in ", "three ", "pieces"])
            got.append(ws.recv(timeout=WAIT_S))
            answered = ws.ping().wait(WAIT_S)
        return got, answered, ws.close_code

    talking = InThread(talk)
    plain.until(lambda: any(kind is CLOSED for kind, _, _ in plain.seen))

    assert talking.outcome() == ([*SAMPLES, "in three pieces"], True, 1000)


@pytest.mark.parametrize("deflate", [False, True])
def test_loop_talks_to_a_server_of_another_library(plain: Driver, peer: str, deflate: bool) -> None:
    client = plain.loop.websocket(peer, deflate=deflate, subprotocols=("echo",))
    plain.until(lambda: driver_open(plain, client))
    for sample in SAMPLES:
        client.send(sample)
    client.ping()
    plain.until(lambda: len(plain.of(client, MESSAGE)) == len(SAMPLES) and client.latency_s is not None)
    client.close()
    plain.until(lambda: plain.of(client, CLOSED))

    assert plain.of(client, MESSAGE) == list(SAMPLES)
    assert client.subprotocol == "echo" and client.close_code == 1000 and client.error is None


def driver_open(driver: Driver, connection: object) -> bool:
    return bool(driver.of(connection, OPEN))


def test_message_of_a_client_that_is_built_in_place_is_masked_and_arrives(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket")
    client = plain.loop.websocket(listener.url)
    plain.until(lambda: plain.of(client, OPEN))
    for size, text in ((3, True), (1000, False)):
        view = client.reserve(size)
        assert view is not None
        view[:] = b"v" * size
        view.release()
        client.commit(text=text)
    client.send(b"k" * 1000, key="k")
    client.send("x" * 1000, key="k")
    plain.until(lambda: len(plain.of(client, MESSAGE)) == 3)

    assert plain.of(client, MESSAGE) == ["vvv", b"v" * 1000, "x" * 1000]


def test_broadcast_reaches_those_with_and_without_compression(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket", deflate=DeflateOptions())
    clients = [plain.loop.websocket(listener.url, deflate=number % 2 == 0) for number in range(6)]
    plain.until(lambda: len(plain.servers) == 6 and all(plain.of(client, OPEN) for client in clients))
    before = [server.bytes_out for server in listener.connections]
    result = plain.loop.broadcast(plain.servers, "a world " * 100)
    plain.until(lambda: all(plain.of(client, MESSAGE) for client in clients))

    assert result.ok == 6
    assert [plain.of(client, MESSAGE) for client in clients] == [["a world " * 100]] * 6
    assert [server.bytes_out - was for server, was in zip(listener.connections, before, strict=True)] == [804] * 6


def test_refused_opening_is_one_closed_event_with_the_answer(plain: Driver) -> None:
    def refuse(exchange: HttpExchange) -> None:
        exchange.respond(403, {"X-Why": "no"}, b"not you")

    listener = plain.loop.listen(LOCAL, protocol="http", handler=refuse)
    client = plain.loop.websocket(listener.url.replace("http", "ws"))
    plain.until(lambda: plain.seen)
    ((kind, connection, error),) = plain.seen

    assert kind is CLOSED and connection is client
    assert isinstance(error, StatusError) and error.status_code == 403
    assert error.response.content == b"not you" and error.response.headers["x-why"] == "no"  # type: ignore[attr-defined]  # an exchange


def test_refusal_with_a_long_page_is_not_kept(plain: Driver) -> None:
    def refuse(exchange: HttpExchange) -> None:
        exchange.start(500)
        exchange.send(bytes(300_000))
        exchange.end()

    listener = plain.loop.listen(LOCAL, protocol="http", handler=refuse)
    client = plain.loop.websocket(listener.url.replace("http", "ws"))
    plain.until(lambda: plain.of(client, CLOSED))
    (error,) = plain.of(client, CLOSED)

    assert isinstance(error, StatusError) and error.status_code == 500


def test_answer_to_another_key_is_an_error(plain: Driver) -> None:
    def lie(exchange: HttpExchange) -> None:
        # As a proxy that repeats an old answer.
        (field,) = [value for name, value in exchange.request.headers.raw if name.lower() == b"sec-websocket-key"]
        old = b"dGhlIHNhbXBsZSBub25jZQ=="
        head = exchange.request.head
        head.headers = type(head.headers)(
            [(name, old if value is field else value) for name, value in head.headers.raw]
        )
        exchange.request.headers = head.headers
        exchange.upgrade_websocket(WebSocketSettings())

    listener = plain.loop.listen(LOCAL, protocol="http", handler=lie)
    client = plain.loop.websocket(listener.url.replace("http", "ws"))
    plain.until(lambda: plain.of(client, CLOSED))
    (error,) = plain.of(client, CLOSED)

    assert isinstance(error, ProtocolError) and "Sec-WebSocket-Accept" in str(error)
    assert not plain.of(client, OPEN)


def test_redirect_is_followed_where_asked_for(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket", path="/here")

    def send_on(exchange: HttpExchange) -> None:
        exchange.respond(307, {"Location": listener.url})

    first = plain.loop.listen(LOCAL, protocol="http", handler=send_on)
    url = first.url.replace("http", "ws")
    client = plain.loop.websocket(url, follow_redirects=True)
    other = plain.loop.websocket(url)
    plain.until(lambda: plain.of(client, OPEN) and plain.of(other, CLOSED))

    assert "redirect" in str(other.error)


def test_address_where_nobody_listens_is_a_closed_event(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket")
    url = listener.url
    listener.close()
    client = plain.loop.websocket(url)
    plain.until(lambda: plain.of(client, CLOSED))

    assert isinstance(client.error, ConnectError) and not plain.of(client, OPEN)


def test_websocket_that_is_closed_before_it_is_open_never_opens(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket")
    client = plain.loop.websocket(listener.url)
    client.close()
    client.close()
    for _ in range(3):
        plain.loop.poll()
        plain.seen += [(event.kind, event.connection, None) for event in plain.loop.events]

    assert [kind for kind, connection, _ in plain.seen if connection is client] == [CLOSED]
    assert plain.loop.stats().exchanges == 0 and plain.loop.stats().open == 0


def test_server_that_vanishes_is_1006(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket")
    client = plain.loop.websocket(listener.url)
    plain.until(lambda: plain.of(client, OPEN) and plain.servers)
    (server,) = plain.servers
    server.abort()
    plain.until(lambda: plain.of(client, CLOSED))
    (error,) = plain.of(client, CLOSED)

    assert isinstance(error, WebSocketClosed) and error.close_code == 1006
    assert plain.loop.stats().open == 0


def test_many_websockets_leave_nothing_behind(plain: Driver) -> None:
    listener = plain.loop.listen(LOCAL, protocol="websocket")
    for _ in range(5):
        clients = [plain.loop.websocket(listener.url) for _ in range(20)]
        plain.until(lambda: all(plain.of(client, OPEN) for client in clients))  # noqa: B023  # called at once
        for client in clients:
            client.send("x")
        plain.until(lambda: all(plain.of(client, MESSAGE) for client in clients))  # noqa: B023  # as above
        for client in clients:
            client.close()
        plain.until(lambda: plain.loop.stats().messages.open == 0)
    stats = plain.loop.stats()

    assert (stats.open, stats.exchanges, stats.timers, stats.messages.lent_bytes) == (0, 0, 0, 0)
    assert listener.stats().opened == 100 and listener.stats().open == 0


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://127.0.0.1/", {}),
        ("ws://127.0.0.1/#part", {}),
        ("ws://127.0.0.1/", {"max_message": 0}),
        ("ws://127.0.0.1/", {"ping_interval_s": -1}),
        ("ws://127.0.0.1/", {"deflate": 9}),
        ("ws://127.0.0.1/", {"origin": 1}),
        ("ws://127.0.0.1/", {"subprotocols": "chat"}),
        ("ws://127.0.0.1/", {"content": b"x"}),
    ],
)
def test_argument_that_cannot_work_is_refused(plain: Driver, url: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        plain.loop.websocket(url, **options)
    assert plain.loop.stats().messages.open == 0


def test_closed_loop_opens_nothing(tmp_path: Path) -> None:
    loop = Loop()
    loop.close()

    with pytest.raises(ClientClosed, match="websocket"):
        loop.websocket("ws://127.0.0.1/")
