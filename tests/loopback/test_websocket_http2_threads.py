"""WebSockets of a Client on streams of HTTP/2 (RFC 8441), with a listener of ours whose Loop turns in a thread."""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.https import Pki
from support.in_thread import InThread
from support.websocket_stage import TIMEOUTS, send_for_long, soon
from turbosock import (
    Client,
    ClientClosed,
    Config,
    DeflateOptions,
    EventKind,
    HttpExchange,
    Loop,
    ReadTimeout,
    Send,
    StatusError,
    TlsServerConfig,
    WebSocketClosed,
    WebSocketSettings,
    WriteTimeout,
)

WAIT_S = 20.0
LARGE = 1_000_000
LONG = b"".join(b"%d " % number for number in range(LARGE // 8))
SAMPLES: tuple[bytes | str, ...] = ("hi", b"\x00\xff", "é" * 300, LONG[:70_000], "", b"", LONG)


class Echo:
    """A server that sends back what it gets, and does what some words say; and a client with a connection to it."""

    def __init__(self, client: Config, tls: TlsServerConfig | None, **options: Any) -> None:
        self.requests: list[Any] = []
        self.ends: list[int | None] = []
        self.loop = Loop()
        settings = WebSocketSettings(
            max_message=LARGE, quota=8 * LARGE, max_unsent=8 * LARGE, deflate=DeflateOptions(), ping_interval_s=None
        )

        def answer(exchange: HttpExchange) -> None:
            self.requests.append(exchange.request)
            if exchange.request.path == "/socket":
                exchange.upgrade_websocket(settings)
            elif exchange.request.path == "/forbidden":
                exchange.respond(403, None, b"not you")
            else:
                exchange.respond(200, None, b"a page")

        self.listener = self.loop.listen(("127.0.0.1", 0), handler=answer, tls=tls)
        self.url = self.listener.url
        self._stop = threading.Event()
        self._running = InThread(self._run)
        self.client = Client(dataclasses.replace(client, timeouts=TIMEOUTS, diagnostics=True))
        assert self.client.get(self.url).content == b"a page"

    def _run(self) -> None:
        while not self._stop.is_set():
            self.loop.poll(WAIT_S)
            for event in self.loop.events:
                connection: Any = event.connection
                if event.kind is EventKind.MESSAGE:
                    if event.data == "pause":
                        connection.pause()
                    elif event.data == "close":
                        connection.close(4001, "as you wish")
                    elif event.data == "vanish":
                        self.listener.close()
                        connection.abort()
                    else:
                        assert connection.send(event.data) is Send.OK
                elif event.kind is EventKind.CLOSED:
                    self.ends.append(connection.close_code)
            self.loop.flush()
        self.loop.close()

    def websocket(self, path: str = "/socket", **options: Any) -> Any:
        options.setdefault("close_timeout_s", 1.0)
        return self.client.websocket(f"ws{self.url.removeprefix('http')}{path}", max_message=LARGE, **options)

    def end(self) -> None:
        self.client.close()
        self._stop.set()
        self.loop.wakeup()
        self._running.outcome()
        assert self.client.stats().open == 0
        assert self.client.buffers.stats().outstanding == 0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("websocket_http2_threads_pki"))


@pytest.fixture(params=["plain", "tls"])
def echo(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Echo]:
    if request.param == "plain":
        made = Echo(Config(http_versions=("HTTP/2",)), None)
    else:
        trusting = dataclasses.replace(pki.trusting, verify=False)
        made = Echo(Config(tls=trusting), TlsServerConfig(pki.files.certificate(pki.good)))
    yield made
    made.end()


@pytest.fixture
def plain() -> Iterator[Echo]:
    made = Echo(Config(http_versions=("HTTP/2",)), None)
    yield made
    made.end()


@pytest.mark.parametrize("deflate", [False, True], ids=["as-is", "deflate"])
def test_messages_go_both_ways_on_the_connection_of_the_requests(echo: Echo, deflate: bool) -> None:
    with echo.websocket(deflate=deflate) as ws:
        request = echo.requests[-1]
        assert (request.method, request.http_version) == ("CONNECT", "HTTP/2")
        for sample in SAMPLES:
            ws.send(sample)
            assert ws.recv(timeout=5) == sample
        assert ws.ping(timeout=5) >= 0
        assert echo.client.get(echo.url).status_code == 200
    assert ws.close_code == 1000
    soon(lambda: echo.ends == [1000])
    assert echo.client.get(echo.url).status_code == 200
    assert echo.client.stats().connections.opened == 1


def test_one_thread_sends_while_another_receives(echo: Echo) -> None:
    with echo.websocket() as ws:
        received: list[str] = []
        reader = InThread(lambda: received.extend(ws))
        for number in range(2000):
            ws.send(str(number))
        ws.send("close")
        error = reader.outcome()
    assert received == [str(number) for number in range(2000)]
    assert isinstance(error, WebSocketClosed)
    assert error.close_code == 4001


def test_threads_with_requests_and_websockets_share_the_connection(echo: Echo) -> None:
    def talk() -> None:
        with echo.websocket() as ws:
            for number in range(50):
                ws.send(str(number))
                assert ws.recv(timeout=5) == str(number)

    def fetch() -> None:
        for _ in range(50):
            assert echo.client.get(echo.url).status_code == 200

    running = [InThread(talk) for _ in range(4)] + [InThread(fetch) for _ in range(2)]
    assert [each.outcome() for each in running] == [None] * 6
    assert echo.client.stats().connections.opened == 1


def test_refusal_has_the_answer_and_the_connection_goes_on(echo: Echo) -> None:
    with pytest.raises(StatusError, match="403") as caught:
        echo.websocket("/forbidden")
    refusal: Any = caught.value.response
    assert refusal.content == b"not you"
    with pytest.raises(StatusError, match="400"):
        echo.websocket("/page")
    assert echo.client.get(echo.url).status_code == 200
    assert echo.client.stats().connections.opened == 1


def test_receive_ends_with_its_timeout_and_the_message_comes_later(echo: Echo) -> None:
    with echo.websocket() as ws:
        with pytest.raises(ReadTimeout):
            ws.recv(timeout=0.05)
        ws.send(LONG)
        assert ws.recv(timeout=5) == LONG


def test_send_that_the_peer_does_not_take_ends_with_its_timeout_and_holds_up_nobody(plain: Echo) -> None:
    with plain.websocket() as ws:
        ws.send("pause")
        with pytest.raises(WriteTimeout):
            send_for_long(ws, bytes(200_000), timeout=0.3)
        assert plain.client.get(plain.url).status_code == 200


def test_abort_wakes_threads_that_receive_and_send(plain: Echo) -> None:
    ws = plain.websocket()
    ws.send("pause")
    reading = InThread(ws.recv)
    sending = InThread(lambda: send_for_long(ws, bytes(200_000)))
    soon(lambda: ws.messages_sent > 1)
    ws.abort()
    for each in (reading, sending):
        assert isinstance(each.outcome(), WebSocketClosed)
    assert plain.client.get(plain.url).status_code == 200


def test_client_that_is_closed_ends_its_websockets(plain: Echo) -> None:
    ws = plain.websocket()
    reading = InThread(ws.recv)
    plain.client.close()
    assert isinstance(reading.outcome(), ClientClosed)
    soon(lambda: plain.ends == [1006])


def test_connection_that_ends_is_abnormal(plain: Echo) -> None:
    ws = plain.websocket()
    ws.send("vanish")
    with pytest.raises(WebSocketClosed) as caught:
        ws.recv(timeout=5)
    assert caught.value.close_code in (1001, 1006)
    ws.close()


def test_websocket_dropped_without_close_warns_and_resets_its_stream(plain: Echo) -> None:
    def drop() -> None:
        plain.websocket()
        gc.collect()

    with pytest.warns(ResourceWarning, match="dropped without close"):
        drop()
    # Closed by the way, where a connection is looked for.
    with plain.websocket():
        soon(lambda: plain.ends == [1006])


def test_websocket_without_a_connection_of_requests_is_opened_by_http_1_1(pki: Pki) -> None:
    trusting = dataclasses.replace(pki.trusting, verify=False)
    echo = Echo(Config(tls=trusting), TlsServerConfig(pki.files.certificate(pki.good)))
    with Client(Config(tls=trusting, timeouts=TIMEOUTS)) as client:
        with client.websocket(f"wss{echo.url.removeprefix('https')}/socket") as ws:
            ws.send("hi")
            assert ws.recv(timeout=5) == "hi"
        assert (echo.requests[-1].method, echo.requests[-1].http_version) == ("GET", "HTTP/1.1")
    echo.end()
