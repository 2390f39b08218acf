"""WebSockets on streams of HTTP/2 (RFC 8441): between two Loops, and with clients of the libraries h2 and wsproto."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from wsproto.connection import Connection as WsConnection
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, TextMessage

from support.https import Pki
from support.loop_peer import WAIT_S
from turbosock import (
    Config,
    DeflateOptions,
    EventKind,
    Http2Config,
    HttpExchange,
    Loop,
    Send,
    StatusError,
    TlsServerConfig,
    WebSocketClosed,
    WebSocketConnection,
    WebSocketSettings,
)

OPEN, MESSAGE, CLOSED, WRITABLE = EventKind.OPEN, EventKind.MESSAGE, EventKind.CLOSED, EventKind.WRITABLE
LARGE = 2_000_000
# Of what does not look like a bomb when it is compressed.
LONG = b"".join(b"%d " % number for number in range(LARGE // 8))
SAMPLES: tuple[bytes | str, ...] = ("hi", b"\x00\xff", "é" * 300, LONG[:70_000], "", b"", LONG)


class Two:
    """A Loop that serves, and one that asks; what their events were."""

    def __init__(self, config: Config, tls: TlsServerConfig | None, **listening: Any) -> None:
        self.server = Loop(Config(diagnostics=True))
        self.client = Loop(dataclasses.replace(config, diagnostics=True))
        self.settings = WebSocketSettings(
            max_message=LARGE, quota=8 * LARGE, max_unsent=8 * LARGE, deflate=DeflateOptions(), ping_interval_s=None
        )
        self.requests: list[Any] = []
        self.seen: list[tuple[EventKind, Any, Any]] = []
        self.echoes = True
        self.listener = self.server.listen(("127.0.0.1", 0), handler=self.answer, tls=tls, **listening)

    def answer(self, exchange: HttpExchange) -> None:
        self.requests.append(exchange.request)
        path = exchange.request.path
        if path == "/socket":
            exchange.upgrade_websocket(self.settings, {"X-Room": "1"})
        elif path == "/forbidden":
            exchange.respond(403, None, b"not you")
        else:
            exchange.respond(200, None, b"a page")

    def turn(self) -> None:
        for loop in (self.client, self.server):
            loop.poll(0.001)
            for event in loop.events:
                connection: Any = event.connection
                data = event.error if event.kind is CLOSED else event.data
                self.seen.append((event.kind, connection, bytes(data) if isinstance(data, memoryview) else data))
                if event.kind is MESSAGE and connection.request is not None and self.echoes:
                    assert connection.send(event.data) is Send.OK

    def until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + WAIT_S
        while not done():
            self.turn()
            assert time.monotonic() < end, f"it did not get there: {self.seen[-3:]!r:.300}"

    def of(self, connection: object, kind: EventKind) -> list[Any]:
        return [data for seen, other, data in self.seen if other is connection and seen is kind]

    def fetch(self) -> int:
        """Have a connection of HTTP/2 in the pool."""
        exchange = self.client.request("GET", f"{self.listener.url}/")
        self.until(lambda: exchange.done)
        assert exchange.error is None
        return exchange.status_code

    def websocket(self, path: str = "/socket", **options: Any) -> WebSocketConnection:
        options.setdefault("ping_interval_s", None)
        url = f"ws{self.listener.url.removeprefix('http')}{path}"
        return self.client.websocket(url, max_message=LARGE, quota=8 * LARGE, max_unsent=8 * LARGE, **options)

    def opened(self, **options: Any) -> tuple[WebSocketConnection, WebSocketConnection]:
        """A WebSocket on a stream, and its other end."""
        self.fetch()
        ws = self.websocket(**options)
        self.until(lambda: self.of(ws, OPEN))
        other = next(each for kind, each, _ in reversed(self.seen) if kind is OPEN and each.request is not None)
        assert isinstance(other, WebSocketConnection)
        return ws, other

    def end(self) -> None:
        self.client.close()
        self.server.close()
        for loop in (self.client, self.server):
            assert loop.stats().messages.lent_bytes == 0
            assert loop.stats().messages.outgoing_bytes == 0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("websocket_http2_pki"))


@pytest.fixture(params=["plain", "tls"])
def two(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Two]:
    if request.param == "plain":
        made = Two(Config(http_versions=("HTTP/2",)), None)
    else:
        made = Two(
            Config(tls=dataclasses.replace(pki.trusting, verify=False)),
            TlsServerConfig(pki.files.certificate(pki.good)),
        )
    yield made
    made.end()


@pytest.fixture
def plain() -> Iterator[Two]:
    made = Two(Config(http_versions=("HTTP/2",)), None)
    yield made
    made.end()


@pytest.mark.parametrize("deflate", [False, True], ids=["as-is", "deflate"])
def test_messages_go_both_ways_on_the_connection_of_the_requests(two: Two, deflate: bool) -> None:
    ws, other = two.opened(deflate=deflate)
    request = two.requests[-1]
    assert (request.method, request.http_version, other.request) == ("CONNECT", "HTTP/2", request)
    for sample in SAMPLES:
        assert ws.send(sample) is Send.OK
    two.until(lambda: len(two.of(ws, MESSAGE)) == len(SAMPLES))
    assert two.of(ws, MESSAGE) == list(SAMPLES)
    assert two.fetch() == 200
    ws.close(4000, "enough")
    two.until(lambda: two.of(ws, CLOSED) and two.of(other, CLOSED))
    assert (other.close_code, other.close_reason, ws.close_code) == (4000, "enough", 4000)
    assert two.of(ws, CLOSED) == two.of(other, CLOSED) == [None]
    assert two.fetch() == 200
    assert two.client.stats().connections.opened == 1
    assert two.listener.stats().accepted == 1


def test_many_websockets_share_one_connection(plain: Two) -> None:
    plain.fetch()
    sockets = [plain.websocket() for _ in range(40)]
    plain.until(lambda: all(plain.of(ws, OPEN) for ws in sockets))
    for number, ws in enumerate(sockets):
        assert ws.send(f"{number}") is Send.OK
    plain.until(lambda: all(plain.of(ws, MESSAGE) for ws in sockets))
    assert [plain.of(ws, MESSAGE) for ws in sockets] == [[f"{number}"] for number in range(40)]
    for ws in sockets:
        ws.close()
    plain.until(lambda: all(plain.of(ws, CLOSED) for ws in sockets))
    assert plain.listener.stats().accepted == 1


def test_first_websocket_without_a_connection_is_opened_by_http_1_1(two: Two) -> None:
    if two.client.stats().connections.opened or not two.listener.url.startswith("https"):
        pytest.skip("in clear text this client speaks HTTP/2 from the first byte on")
    ws = two.websocket()
    two.until(lambda: two.of(ws, OPEN))
    assert (two.requests[-1].method, two.requests[-1].http_version) == ("GET", "HTTP/1.1")


def test_refusal_is_a_closed_event_with_the_answer_and_the_connection_goes_on(two: Two) -> None:
    two.fetch()
    timers = two.client.stats().timers
    ws = two.websocket("/forbidden")
    two.until(lambda: two.of(ws, CLOSED))
    error = two.of(ws, CLOSED)[0]
    assert isinstance(error, StatusError)
    assert "403" in str(error)
    assert two.client.stats().timers == timers, "a stream that serves nobody any more waits for nothing"
    assert two.fetch() == 200
    assert two.client.stats().connections.opened == 1


def test_page_in_answer_to_an_extended_connect_opens_nothing(plain: Two) -> None:
    plain.fetch()
    ws = plain.websocket("/page")
    plain.until(lambda: plain.of(ws, CLOSED))
    error = plain.of(ws, CLOSED)[0]
    assert isinstance(error, StatusError)
    assert "400" in str(error)
    assert plain.listener.stats().refused == 1


def test_origin_that_is_not_welcome_is_refused_by_its_status(plain: Two) -> None:
    plain.fetch()
    ws = plain.websocket(origin="https://elsewhere.test")
    plain.until(lambda: plain.of(ws, CLOSED))
    assert "403" in str(plain.of(ws, CLOSED)[0])


def test_server_that_drains_says_going_away(plain: Two) -> None:
    ws, other = plain.opened()
    plain.listener.drain()
    plain.until(lambda: plain.of(ws, CLOSED) and plain.of(other, CLOSED))
    assert ws.close_code == 1001
    assert plain.of(ws, CLOSED) == [None]
    plain.until(lambda: not plain.listener.stats().open)


def test_listener_that_closes_says_going_away(plain: Two) -> None:
    ws, other = plain.opened()
    plain.listener.close()
    plain.until(lambda: plain.of(ws, CLOSED) and plain.of(other, CLOSED))
    assert ws.close_code == 1001


def test_websocket_that_is_aborted_resets_its_stream_alone(two: Two) -> None:
    ws, other = two.opened()
    ws.abort()
    two.until(lambda: two.of(other, CLOSED))
    assert other.close_code == 1006
    error = two.of(other, CLOSED)[0]
    assert isinstance(error, WebSocketClosed)
    assert two.fetch() == 200
    assert two.client.stats().connections.opened == 1


def test_websocket_ends_with_its_connection(two: Two) -> None:
    ws, other = two.opened()
    two.client.pool.close(lambda waiter: None)
    two.until(lambda: two.of(other, CLOSED) and two.of(ws, CLOSED))
    assert (ws.close_code, other.close_code) == (1006, 1006)


def test_turn_that_breaks_off_costs_no_websocket(plain: Two) -> None:
    def interrupted() -> Iterator[bytes]:
        # More than there is a window for, so that what follows is asked for inside a turn.
        yield bytes(600_000)
        raise KeyboardInterrupt

    ws, other = plain.opened()
    # The session in a step of which it happens is lost.
    elsewhere = plain.server.listen(("127.0.0.1", 0), handler=plain.answer)
    exchange = plain.client.request("POST", f"{elsewhere.url}/", content=interrupted())
    with pytest.raises(KeyboardInterrupt):
        plain.until(lambda: exchange.done)
    assert ws.send(b"still there") is Send.OK
    plain.until(lambda: plain.of(ws, MESSAGE))
    assert plain.of(ws, MESSAGE) == [b"still there"]
    assert other.open


def test_paused_reader_holds_its_own_peer_up_and_no_request(plain: Two) -> None:
    ws, other = plain.opened()
    plain.echoes = False
    other.pause()
    sent = 0
    while ws.send(b"x" * 60_000) is Send.OK:
        sent += 1
        plain.turn()
        assert sent < 2000, "nothing holds it up"
    assert plain.of(other, MESSAGE) == []
    # As much as the stream's window, which is credit for memory, and what goes on its way to it.
    window = Http2Config().initial_window_bytes
    assert ws.bytes_out < 2 * window + 70_000
    assert plain.fetch() == 200
    other.resume()
    plain.until(lambda: len(plain.of(other, MESSAGE)) == sent)
    plain.until(lambda: plain.of(ws, WRITABLE))


def test_quota_that_nobody_takes_from_leaves_the_stream_unread(plain: Two) -> None:
    plain.settings = WebSocketSettings(max_message=100_000, quota=200_000, ping_interval_s=None)
    ws, other = plain.opened()
    for _ in range(40):
        assert ws.send(b"x" * 60_000) is Send.OK
    # No event of the server's is taken.
    for _ in range(100):
        plain.client.poll()
        plain.server.poll()
    assert other.held
    assert plain.server.stats().messages.quota_hits
    plain.echoes = False
    plain.until(lambda: len(plain.of(other, MESSAGE)) == 40)


class Foreign:
    """A client of the libraries h2 and wsproto, with one WebSocket."""

    def __init__(self, two: Two, **fields: str) -> None:
        self.two = two
        address = two.listener.address
        assert isinstance(address, tuple)
        self.socket = socket.create_connection(address)
        self.socket.setblocking(False)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.said: list[Event] = []
        self.ws = WsConnection(ConnectionType.CLIENT)
        self.flush()
        two.until(lambda: self.had(h2.events.RemoteSettingsChanged) or self.take())
        pairs = {
            ":method": "CONNECT",
            ":protocol": "websocket",
            ":scheme": "http",
            ":authority": "here",
            ":path": "/socket",
            "sec-websocket-version": "13",
        }
        pairs.update({name.replace("_", "-"): value for name, value in fields.items() if not name.startswith("p_")})
        for name, value in fields.items():
            if name.startswith("p_"):
                pairs[f":{name.removeprefix('p_')}"] = value
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.stream, list(pairs.items()))
        self.flush()
        two.until(lambda: self.take() or self.had(h2.events.ResponseReceived) or self.had(h2.events.StreamReset))

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def take(self) -> bool:
        """Take what has come; False, for who waits for something else."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return False
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived) and event.data:
                self.ws.receive_data(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, self.stream)
                self.said += self.ws.events()
        self.flush()
        return False

    def had(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def fields(self) -> dict[str, str]:
        found = {}
        for name, value in self.had(h2.events.ResponseReceived)[0].headers:
            found[_text(name)] = _text(value)
        return found

    def say(self, event: Any) -> None:
        self.raw(self.ws.send(event))

    def raw(self, data: bytes) -> None:
        while data:
            room = self.h2.local_flow_control_window(self.stream)
            room = min(room, self.h2.max_outbound_frame_size)
            if not room:
                self.two.turn()
                self.take()
                continue
            self.h2.send_data(self.stream, data[:room])
            data = data[room:]
            self.flush()

    def until(self, done: Callable[[], object]) -> None:
        self.two.until(lambda: self.take() or done())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def foreign(plain: Two) -> Iterator[Callable[..., Foreign]]:
    made: list[Foreign] = []

    def make(**fields: str) -> Foreign:
        made.append(Foreign(plain, **fields))
        return made[-1]

    yield make
    for each in made:
        each.socket.close()


def test_client_of_other_libraries_is_answered_and_understood(plain: Two, foreign: Callable[..., Foreign]) -> None:
    client = foreign()
    assert client.h2.remote_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1
    assert (client.fields[":status"], client.fields["x-room"]) == ("200", "1")
    client.say(TextMessage("hello"))
    client.say(BytesMessage(b"m" * 300_000))
    said = client.said
    client.until(lambda: _whole(said, TextMessage) == "hello" and len(_whole(said, BytesMessage)) == 300_000)
    client.say(CloseConnection(1000, "bye"))
    client.until(lambda: client.had(h2.events.StreamEnded))
    client.h2.end_stream(client.stream)
    client.flush()
    assert [(event.code, event.reason) for event in said if isinstance(event, CloseConnection)] == [(1000, "")]
    plain.until(lambda: any(kind is CLOSED for kind, _, _ in plain.seen))
    assert [error for kind, _, error in plain.seen if kind is CLOSED] == [None]


def _whole(said: list[Event], kind: type[Any]) -> Any:
    parts = [event.data for event in said if isinstance(event, kind)]
    return "".join(parts) if kind is TextMessage else b"".join(parts)


def test_bad_frame_is_answered_with_its_code_and_one_closed_event(plain: Two, foreign: Callable[..., Foreign]) -> None:
    client = foreign()
    # A frame that is not masked.
    client.raw(b"\x81\x02hi")
    client.until(lambda: any(isinstance(event, CloseConnection) for event in client.said))
    assert [event.code for event in client.said if isinstance(event, CloseConnection)] == [1002]
    plain.until(lambda: any(kind is CLOSED for kind, _, _ in plain.seen))
    assert len([1 for kind, _, _ in plain.seen if kind is CLOSED]) == 1


def test_stream_that_ends_or_is_reset_without_a_close_is_1006(plain: Two, foreign: Callable[..., Foreign]) -> None:
    for end in ("end", "reset", "vanish"):
        plain.seen.clear()
        client = foreign()
        if end == "end":
            client.h2.end_stream(client.stream)
        elif end == "reset":
            client.h2.reset_stream(client.stream, h2.errors.ErrorCodes.CANCEL)
        else:
            client.socket.close()
        if end != "vanish":
            client.flush()
        plain.until(lambda: any(kind is CLOSED for kind, _, _ in plain.seen))
        connection = next(each for kind, each, _ in plain.seen if kind is CLOSED)
        assert connection.close_code == 1006, end


def test_credit_follows_what_was_read(plain: Two, foreign: Callable[..., Foreign]) -> None:
    client = foreign()
    plain.until(lambda: any(kind is OPEN for kind, _, _ in plain.seen))
    connection = next(each for kind, each, _ in plain.seen if kind is OPEN)
    plain.echoes = False
    connection.pause()
    message = client.ws.send(BytesMessage(b"x" * 50_000))
    window = client.h2.local_flow_control_window(client.stream)
    sent = 0
    while client.h2.local_flow_control_window(client.stream) > len(message):
        client.raw(message)
        message = client.ws.send(BytesMessage(b"x" * 50_000))
        sent += 1
        plain.turn()
        client.take()
    assert sent * 50_000 <= window
    assert client.h2.local_flow_control_window(client.stream) <= window - sent * 50_000
    connection.resume()
    client.until(lambda: len(plain.of(connection, MESSAGE)) == sent)
    client.until(lambda: client.h2.local_flow_control_window(client.stream) > window // 2)


def test_other_protocol_and_plain_get_open_nothing(plain: Two, foreign: Callable[..., Foreign]) -> None:
    assert foreign(p_protocol="smoke-signals").fields[":status"] == "501"
    exchange = plain.client.request("GET", f"{plain.listener.url}/socket")
    plain.until(lambda: exchange.done)
    assert (exchange.status_code, exchange.content[:11]) == (400, b"over HTTP/2")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"sec_websocket_version": "12"}, "400"),
        ({"origin": "https://elsewhere.test"}, "403"),
        ({"sec_websocket_protocol": "a b"}, "400"),
        ({"sec_websocket_extensions": "permessage-deflate; ="}, "400"),
        ({"p_path": "/forbidden"}, "403"),
    ],
)
def test_bad_handshake_gets_its_status(
    foreign: Callable[..., Foreign], plain: Two, fields: dict[str, str], status: str
) -> None:
    assert foreign(**fields).fields[":status"] == status
    assert not any(kind is OPEN for kind, _, _ in plain.seen)
