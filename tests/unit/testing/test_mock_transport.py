"""A mock: what it answers, to whom, when and how it fails, what it remembers, and what it says of mistakes.

The first part is held against a real server as well: what a program may rely on is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.answering_service import KINDS, AnsweringServer, Service, answering_service
from support.faces import Face
from turbosock import (
    Client,
    Config,
    EventKind,
    InvalidOption,
    Loop,
    RateLimit,
    RateLimiter,
    ReconnectPolicy,
    RedirectPolicy,
    RetryPolicy,
    ServerSentEvent,
    Timeouts,
)
from turbosock.errors import (
    ConnectError,
    ConnectionClosed,
    DecodingError,
    InvalidHeader,
    MisuseError,
    NetworkError,
    ReadError,
    ReadTimeout,
    StateError,
    TurbosockError,
    WebSocketClosed,
)
from turbosock.reactor.clock import NS_PER_S
from turbosock.testing import (
    Answer,
    Closes,
    Expects,
    Fault,
    FaultTransport,
    MockRequest,
    MockTransport,
    Network,
    Recorder,
    Sends,
    Waits,
)

URL = "https://api.example/users/1"


# What holds for the real server, too


@pytest.fixture(params=[(kind, owner) for kind in KINDS for owner in (Client, Loop)], ids=str)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    kind, owner = request.param
    with answering_service(kind, owner) as running:
        yield running


def test_answer_has_status_fields_and_body(service: Service) -> None:
    answer = service.face.get(service.url("/hello"))
    assert (answer.status_code, answer.reason, answer.content) == (200, answer.reason, b"hello")
    assert answer.headers["x-served-by"] == "a test"
    assert answer.headers["content-length"] == "5"
    assert "date" in answer.headers


def test_json_is_read_as_it_was_given(service: Service) -> None:
    answer = service.face.get(service.url("/json"))
    assert answer.json() == {"name": "Ada", "langs": ["en", "fr"]}
    assert answer.headers["content-type"] == "application/json"


def test_statuses_and_bodies_of_every_kind_arrive(service: Service) -> None:
    for path, status_code, content in (
        ("/missing", 404, b"nothing here"),
        ("/empty", 204, b""),
        ("/pieces", 200, b"a" * 10 + b"b" * 70_000 + b"c"),
        ("/large", 200, bytes(1_000_000)),
    ):
        answer = service.face.get(service.url(path))
        assert (answer.status_code, answer.content) == (status_code, content)


def test_head_brings_the_fields_alone(service: Service) -> None:
    answer = service.face.request("HEAD", service.url("/hello"))
    assert (answer.headers["content-length"], answer.content) == ("5", b"")


def test_bodies_of_requests_arrive_whole(service: Service) -> None:
    for body in (b"", b"x", bytes(300_000), [b"in ", b"pieces"]):
        whole = b"".join(body) if isinstance(body, list) else body
        answer = service.face.request("POST", service.url("/echo"), content=body)
        assert answer.content == b"POST " + whole


def test_redirects_are_followed(service: Service) -> None:
    answer = service.face.request("GET", service.url("/moved"), follow_redirects=True)
    assert answer.content == b"hello"
    assert [past.status_code for past in answer.history] == [302]


def test_events_arrive_and_the_stream_ends(service: Service) -> None:
    owner = service.face.owner
    told = []
    policy = ReconnectPolicy(max_attempts=1)
    if isinstance(owner, Client):
        with owner.events(service.url("/events"), reconnect=policy) as events:
            for each in events:
                told.append((each.event, bytes(each.data), each.id))
                if len(told) == 2:
                    break
    else:
        stream = owner.events_from(service.url("/events"), reconnect=policy)
        for _ in range(100):
            owner.poll(0.1)
            told += [
                (event.event, bytes(event.data), event.id)
                for event in owner.events
                if isinstance(event, ServerSentEvent)
            ]
            if len(told) >= 2:
                break
        stream.close()
    assert told[:2] == [("message", b"one", ""), ("named", b"two", "7")]


def test_websocket_goes_through_its_script(service: Service) -> None:
    owner = service.face.owner
    url = service.websocket_url("/chat")
    if isinstance(owner, Client):
        with owner.websocket(url) as socket:
            assert socket.recv() == "welcome"
            socket.send("hi")
            assert socket.recv() == b"binary"
            with pytest.raises(WebSocketClosed) as caught:
                socket.recv()
        assert (caught.value.close_code, caught.value.close_reason) == (1000, "bye")
        return
    connection = owner.websocket(url)
    told: list[Any] = []
    for _ in range(100):
        owner.poll(0.1)
        for event in owner.events:
            if event.kind is EventKind.MESSAGE:
                told.append(event.data if isinstance(event.data, str) else bytes(event.data))
            elif event.kind is EventKind.OPEN:
                connection.send("hi")
            elif event.kind is EventKind.CLOSED:
                told.append(connection.close_code)
        if 1000 in told:
            break
    assert told == ["welcome", b"binary", 1000]


@pytest.mark.parametrize("owner", [Client, Loop])
@pytest.mark.parametrize(
    "held",
    [
        test_answer_has_status_fields_and_body,
        test_json_is_read_as_it_was_given,
        test_statuses_and_bodies_of_every_kind_arrive,
        test_head_brings_the_fields_alone,
        test_bodies_of_requests_arrive_whole,
        test_redirects_are_followed,
        test_events_arrive_and_the_stream_ends,
    ],
)
def test_what_holds_for_the_server_holds_for_the_cassette_of_that_run(
    held: Callable[[Service], None], owner: type[Client] | type[Loop], tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    with AnsweringServer() as server:
        base = server.url("")
        with Recorder(path, mode="record") as recorder, owner(connector=recorder) as asking:
            held(Service(Face(asking), base))
    with Recorder(path, mode="replay") as replay, owner(connector=replay) as asking:
        held(Service(Face(asking), base))


# What is the mock's alone


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def mock(request: pytest.FixtureRequest) -> Iterator[MockTransport]:
    with MockTransport(http_version=request.param, strict=False) as made:
        yield made


@pytest.fixture
def client(mock: MockTransport) -> Iterator[Client]:
    with Client(connector=mock) as made:
        yield made


def elapsed_s(mock: MockTransport) -> float:
    return mock.clock.now_ns() / NS_PER_S - 1


def test_queue_answers_in_order_once(mock: MockTransport, client: Client) -> None:
    mock.add(content="one")
    mock.add(Answer(201))
    mock.add(lambda request: Answer(content=request.path))
    assert client.get(URL).text == "one"
    assert client.get(URL).status_code == 201
    assert client.get(URL).text == "/users/1"
    mock.assert_all_used()


def test_first_route_that_agrees_answers_before_the_queue(mock: MockTransport, client: Client) -> None:
    mock.add(content="queue")
    mock.route("POST", URL, content="posted")
    mock.route("GET", "https://api.example/users/*", content="first", times=1)
    mock.route(None, "/users/1", content="second")
    answers = [client.get(URL).text, client.get(URL).text, client.post(URL).text, client.get(URL + "/x").text]
    assert answers == ["first", "second", "posted", "queue"]


@pytest.mark.parametrize(
    ("pattern", "agrees"),
    [
        ("https://api.example/users/1", True),
        ("https://api.example/users/*", True),
        ("https://api.example/users", False),
        ("http://api.example/users/1", False),
        ("https://*/users/1", True),
        ("/users/1", True),
        ("/users/?", False),
        ("api.example", True),
        ("*.example", True),
        ("other.example", False),
        ("*", True),
        ("/users/1?page=2", True),
        ("/users/1?page=3", False),
        ("/users/1?*", True),
        (re.compile(r"/users/\d+\?"), True),
        (re.compile(r"/users/$"), False),
    ],
    ids=str,
)
def test_patterns_agree_with_what_they_say(mock: MockTransport, client: Client, pattern: Any, agrees: bool) -> None:
    mock.route("GET", pattern, content="route")
    mock.add(content="queue")
    assert client.get(f"{URL}?page=2").text == ("route" if agrees else "queue")


def test_match_headers_must_all_be_there(mock: MockTransport, client: Client) -> None:
    mock.route("GET", "*", content="json", match_headers={"Accept": "application/json", "X-Version": "2"})
    mock.route("GET", "*", content="other")
    assert client.get(URL, headers={"accept": "application/json", "x-version": "2"}).text == "json"
    assert client.get(URL, headers={"accept": "application/json"}).text == "other"


def test_requests_are_remembered_whole(mock: MockTransport, client: Client) -> None:
    mock.route(None, "*", status_code=202)
    client.post(f"{URL}?a=1", json={"n": 1}, headers={"X-Token": "t"})
    client.get("http://other.example:8080/")
    first, second = mock.requests
    assert (first.method, first.url, first.host, first.path) == ("POST", f"{URL}?a=1", "api.example", "/users/1")
    assert (first.json(), first.text, first.headers["x-token"]) == ({"n": 1}, '{"n":1}', "t")
    assert second.url == "http://other.example:8080/"
    assert mock.sent("GET") == [second]


def test_assert_sent_finds_or_names_what_was_sent(mock: MockTransport, client: Client) -> None:
    mock.route(None, "*")
    client.post(URL, content=b"body", headers={"X-A": "1"})
    assert mock.assert_sent("POST", "/users/*", count=1, headers={"x-a": "1"}, content="body") == mock.requests
    mock.assert_sent("GET", count=0)
    for arguments in ({"method": "GET"}, {"url": "/other"}, {"headers": {"x-a": "2"}}, {"content": b""}, {"count": 2}):
        with pytest.raises(AssertionError, match=f"POST {URL}"):
            mock.assert_sent(**arguments)


def test_delays_and_timeouts_take_no_time(mock: MockTransport, client: Client) -> None:
    mock.add(content="late", delay_s=20.0)
    assert client.get(URL, timeout=25.0).elapsed.total_seconds() == pytest.approx(20.0)
    mock.add(content="too late", delay_s=40.0)
    with pytest.raises(ReadTimeout):
        client.get(URL, timeout=Timeouts(read_s=5.0))
    mock.add(chunks=[b"a", b"b", b"c"], interval_s=3.0)
    before_s = elapsed_s(mock)
    assert client.get(URL).content == b"abc"
    assert elapsed_s(mock) - before_s == pytest.approx(6.0)


def test_delay_in_a_loop_is_of_its_time(mock: MockTransport) -> None:
    mock.add(content="late", delay_s=2.0)
    with Loop(connector=mock) as loop:
        exchange = loop.get(URL)
        polls = 0
        while not exchange.done:
            loop.poll(0.5)
            polls += 1
        assert exchange.content == b"late"
        assert elapsed_s(mock) == pytest.approx(2.0)


@pytest.mark.parametrize("error", [ReadError("as told"), DecodingError("odd"), ConnectionClosed("gone")])
def test_named_error_is_what_the_exchange_ends_with(mock: MockTransport, client: Client, error: TurbosockError) -> None:
    mock.route("GET", "*", error=error)
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)) as caught:
            client.get(URL, timeout=5.0)
        assert caught.value is not error
    with Loop(connector=mock) as loop:
        exchange = loop.get(URL)
        while not exchange.done:
            loop.poll(1.0)
        assert type(exchange.error) is type(error)


@pytest.mark.parametrize("failure", ["reset", "close"])
def test_broken_connection_ends_the_exchange_at_once(mock: MockTransport, client: Client, failure: Any) -> None:
    mock.add(content="before")
    mock.add(error=failure)
    mock.add(content="after")
    assert client.get(URL).text == "before"
    with pytest.raises(NetworkError):
        client.get(URL)
    # On a connection of its own, and without having been asked for twice.
    assert client.get(URL).text == "after"
    assert len(mock.requests) == 3


def test_silence_is_ended_by_the_clients_own_timeout(mock: MockTransport, client: Client) -> None:
    mock.add(error="silence")
    with pytest.raises(ReadTimeout):
        client.get(URL)
    assert elapsed_s(mock) == pytest.approx(30.0)


def test_request_that_nobody_answers_is_named_with_the_routes_there_are(mock: MockTransport, client: Client) -> None:
    mock.route("GET", "https://api.example/orders/*")
    mock.route(None, re.compile("/x+$"), match_headers={"A": "b"}, times=2)
    with pytest.raises(MisuseError) as caught:
        client.post(URL)
    assert caught.value.code == "no_route"
    for words in (f"POST {URL}", "GET https://api.example/orders/*", "* re:/x+$ [A: b] (0 of 2)"):
        assert words in str(caught.value)
    with pytest.raises(AssertionError, match="no answer for POST"):
        mock.assert_all_used()
    with Loop(connector=mock) as loop:
        exchange = loop.post(URL)
        while not exchange.done:
            loop.poll(1.0)
        assert isinstance(exchange.error, MisuseError)


def test_function_that_fails_fails_the_request_with_its_cause(mock: MockTransport, client: Client) -> None:
    def broken(request: MockRequest) -> Answer:
        raise KeyError("absent")

    mock.add(broken)
    with pytest.raises(MisuseError, match="absent") as caught:
        client.get(URL)
    assert caught.value.code == "answer_failed"
    mock.add(lambda request: None)  # type: ignore[arg-type, return-value]  # which is the mistake
    with pytest.raises(InvalidOption, match="NoneType"):
        client.get(URL)


REFUSED = ConnectError("refused")


def refused(mock: MockTransport, url: str = URL, **options: Any) -> list[str]:
    """What each face ends with that asks once; each has a connection to make."""
    found = []
    with Client(connector=mock) as client, pytest.raises(ConnectError) as caught:
        client.post(url, **options)
    found.append(str(caught.value))
    with Loop(connector=mock) as loop:
        exchange = loop.post(url, **options)
        while not exchange.done:
            loop.poll(1.0)
        found.append(str(exchange.error))
    return found


@pytest.mark.parametrize("pattern", ["api.example", "*.example", "https://api.example/*", "wss://api.example/*"])
def test_route_for_a_whole_host_refuses_its_connections(mock: MockTransport, pattern: str) -> None:
    mock.route(None, "other.example", content="other")
    route = mock.route(None, pattern, error=REFUSED)
    assert all("while connecting" in words for words in refused(mock, content=b"body"))
    assert (route.count, mock.requests) == (2, [])


def test_queue_refuses_connections_that_no_route_is_for(mock: MockTransport) -> None:
    mock.route("GET", "other.example", content="other")
    mock.add(error=REFUSED)
    mock.add(error=REFUSED)
    refused(mock)
    assert mock.requests == []
    mock.add(error=REFUSED)
    with Client(connector=mock) as client:
        assert client.get("https://other.example/").text == "other"
    with pytest.raises(AssertionError, match="1 of the queue"):
        mock.assert_all_used()


@pytest.mark.parametrize(
    "route",
    [("POST", "api.example"), (None, URL), (None, "/users/*"), (None, re.compile("users")), (None, "https://*/*")],
)
def test_error_of_connecting_that_depends_on_the_request_ends_it(mock: MockTransport, route: tuple[Any, Any]) -> None:
    mock.route(*route, error=REFUSED)
    refused(mock)
    assert len(mock.requests) == 2


def test_connection_that_is_refused_has_sent_nothing_and_may_be_tried_again(mock: MockTransport) -> None:
    mock.route(None, "api.example", error=REFUSED, times=1)
    mock.route("POST", URL, content="at last")
    with Client(connector=mock, retries=RetryPolicy()) as client:
        assert client.post(URL, content=iter([b"once ", b"only"])).text == "at last"
    (request,) = mock.requests
    assert request.content == b"once only"


def test_kept_connection_is_not_refused_and_its_request_ends_with_the_error(mock: MockTransport) -> None:
    mock.add(content="kept")
    with Client(connector=mock) as client:
        assert client.get(URL).text == "kept"
        mock.route(None, "*", error=REFUSED)
        with pytest.raises(ConnectError):
            client.get(URL)
    assert len(mock.requests) == 2


def test_connections_and_turns_that_are_over_are_forgotten(mock: MockTransport) -> None:
    mock.route(None, "*")
    planned = []
    for _ in range(20):
        with Client(connector=mock) as client:
            client.get(URL)
        mock.clock.sleep(0.001)
        planned.append(len(mock.clock._happenings))
    assert len(mock._connections) == 0
    with Client(connector=mock) as client:
        for _ in range(100):
            client.get(URL)
    assert len(mock.clock._happenings) < planned[-1] + 20


def test_socket_of_unix_is_in_the_url_of_its_requests(mock: MockTransport, client: Client) -> None:
    mock.route("GET", "http+unix://%2Frun%2Fapp.sock/*", content="found")
    assert client.get("http+unix://%2Frun%2Fapp.sock/a").text == "found"
    assert mock.requests[0].url == "http+unix://%2Frun%2Fapp.sock/a"


def test_function_may_raise_the_error_that_is_meant(mock: MockTransport, client: Client) -> None:
    def refuse(request: MockRequest) -> Answer:
        raise ReadError("refused")

    mock.add(refuse)
    with pytest.raises(ReadError, match="refused"):
        client.get(URL)


def test_websocket_that_leaves_its_script_is_closed_and_named(mock: MockTransport, client: Client) -> None:
    mock.websocket("wss://chat.example/*", Expects("hi"), Waits(5.0), Sends("hello"))
    with client.websocket("wss://chat.example/room") as socket:
        socket.send("bye")
        with pytest.raises(WebSocketClosed) as caught:
            socket.recv()
    assert caught.value.close_code == 1011
    with pytest.raises(AssertionError, match="'bye' came where 'hi' is expected"):
        mock.assert_all_used()


def test_websocket_that_ends_before_its_script_is_named(mock: MockTransport, client: Client) -> None:
    mock.websocket("wss://chat.example/*", Expects("hi"), Closes())
    client.websocket("wss://chat.example/room").close()
    with pytest.raises(AssertionError, match=r"not come to Expects\(data='hi'\)"):
        mock.assert_all_used()


def test_websocket_may_be_a_function(mock: MockTransport, client: Client) -> None:
    mock.websocket("/echo", lambda message: message if message != "quiet" else None)
    with client.websocket("wss://chat.example/echo") as socket:
        for message in ("a", b"b" * 100_000, "quiet", "c"):
            socket.send(message)
        assert [socket.recv() for _ in range(3)] == ["a", b"b" * 100_000, "c"]
        with pytest.raises(ReadTimeout):
            socket.recv(timeout=60.0)


def test_route_of_a_websocket_answers_no_plain_request(mock: MockTransport, client: Client) -> None:
    mock.websocket("/echo", lambda message: message)
    with pytest.raises(MisuseError, match="WEBSOCKET /echo"):
        client.get("https://chat.example/echo")


def test_unused_answers_are_named_at_the_end() -> None:
    mock = MockTransport()
    mock.route("GET", "/used")
    mock.route("GET", "/never")
    mock.route("GET", "/twice", times=2)
    mock.add(content="left")
    with Client(connector=mock) as client:
        client.get("http://x/used")
        client.get("http://x/twice")
    with pytest.raises(AssertionError) as caught, mock:
        pass
    assert "GET /never; GET /twice (1 of 2)" in str(caught.value)
    assert "1 of the queue" in str(caught.value)
    assert "/used" not in str(caught.value)


def test_error_inside_the_block_is_not_hidden_by_unused_answers() -> None:
    mock = MockTransport()
    mock.add()
    with pytest.raises(ZeroDivisionError), mock:
        raise ZeroDivisionError


def test_several_owners_share_a_mock(mock: MockTransport) -> None:
    mock.route(None, "*", content="shared")
    with Client(connector=mock) as one, Client(Config(), connector=mock) as other, Loop(connector=mock) as loop:
        assert one.get(URL).text == other.get(URL).text == "shared"
        exchange = loop.get(URL)
        while not exchange.done:
            loop.poll(1.0)
        assert exchange.content == b"shared"
    assert len(mock.requests) == 3


def test_faults_and_recorders_go_round_a_mock_in_its_time(mock: MockTransport, tmp_path: Path) -> None:
    mock.route(None, "*", content=bytes(5000))
    faults = FaultTransport(Fault.delay(100, 7.0), inner=mock)
    with Client(connector=Recorder(tmp_path / "of-faults.json", inner=faults)) as client:
        assert client.get(URL).elapsed.total_seconds() == pytest.approx(7.0)
    with Loop(connector=faults) as loop:
        exchange = loop.get(URL)
        while not exchange.done:
            loop.poll(1.0)
        assert exchange.content == bytes(5000)
    assert elapsed_s(mock) == pytest.approx(14.0)


def test_turns_of_a_rate_limit_take_no_time(mock: MockTransport) -> None:
    mock.route(None, "*")
    limit = RateLimit(RateLimiter(0.1, clock=mock.clock))
    with Client(connector=mock, middleware=[limit]) as client:
        for _ in range(3):
            client.get(URL)
    assert elapsed_s(mock) == pytest.approx(20.0)


def test_pauses_of_an_event_stream_take_no_time(mock: MockTransport, client: Client) -> None:
    for number in range(3):
        mock.add(events=[{"data": str(number), "id": str(number), "retry_ms": 20_000}])
    with client.events(URL) as events:
        told = [bytes(next(events).data) for _ in range(3)]
    assert told == [b"0", b"1", b"2"]
    assert [request.headers.get("last-event-id") for request in mock.requests] == [None, "0", "1"]
    assert 40.0 <= elapsed_s(mock) < 90.0


def test_mock_lives_on_the_network_that_it_is_given() -> None:
    with Network(latency_s=0.1) as network, MockTransport(network) as mock, Client(connector=mock) as client:
        network.listen(("served.example", 80), handler=lambda exchange: exchange.respond(200, None, b"served"))
        mock.add(content="mocked")
        assert client.get("http://served.example/").content == b"served"
        assert client.get("http://other.example/").content == b"mocked"
        assert elapsed_s(mock) == pytest.approx(0.8)


def test_closed_mock_answers_nobody_and_takes_no_answers(mock: MockTransport) -> None:
    mock.close()
    mock.close()
    for call in (mock.add, lambda: mock.route("GET", "*"), lambda: mock.websocket("*", Sends("a"))):
        with pytest.raises(StateError, match="closed"):
            call()
    with Client(connector=mock, redirects=RedirectPolicy()) as client, pytest.raises(StateError, match="closed"):
        client.get(URL)


# Bad input


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("status_code", 99),
        ("status_code", "200"),
        ("headers", {"a b": "c"}),
        ("headers", 7),
        ("content", 7),
        ("json", object()),
        ("chunks", b"one"),
        ("chunks", ["text"]),
        ("events", "one"),
        ("events", [7]),
        ("events", [{"datum": "x"}]),
        ("events", [{"data": "x", "id": "a\nb"}]),
        ("delay_s", -1),
        ("interval_s", "1"),
        ("error", "explosion"),
        ("error", ValueError("none of ours")),
        ("colour", "red"),
    ],
)
def test_field_that_cannot_be_sent_is_named(mock: MockTransport, name: str, bad: Any) -> None:
    expected = (InvalidOption, InvalidHeader)
    for add in (mock.add, lambda **fields: mock.route("GET", "*", **fields)):
        with pytest.raises(expected) as caught:
            add(**{name: bad})
        if not isinstance(caught.value, InvalidHeader):
            assert name.rstrip("s") in str(caught.value) or (name, bad) == ("status_code", 99)


@pytest.mark.parametrize("headers", [{"Content-Length": "7"}, {"Transfer-Encoding": "chunked"}])
def test_fields_that_contradict_the_body_end_the_request(
    mock: MockTransport, client: Client, headers: dict[str, str]
) -> None:
    for delay_s in (0.0, 1.0):
        mock.add(headers=headers, content="hello", delay_s=delay_s)
        with pytest.raises(InvalidHeader, match=next(iter(headers))):
            client.get(URL)


def test_interim_status_is_no_answer() -> None:
    with pytest.raises(InvalidOption, match="status_code"):
        Answer(100)


def test_text_that_is_no_utf8_is_named() -> None:
    with pytest.raises(InvalidOption, match="content"):
        Answer(content="\ud800")


def test_secrets_of_requests_and_routes_are_in_no_message(mock: MockTransport, client: Client) -> None:
    mock.route("PUT", "https://api.example/?api_key=word", match_headers={"Authorization": "Bearer word"})
    with pytest.raises(MisuseError, match="no answer for POST") as caught:
        client.post("https://user:word@api.example/?token=word")
    with pytest.raises(AssertionError, match="a request PUT") as missing:
        mock.assert_sent("PUT", headers={"Authorization": "Bearer word"})
    assert "word" not in f"{caught.value} {missing.value} {mock.requests}"


def test_body_is_given_in_one_way(mock: MockTransport) -> None:
    with pytest.raises(InvalidOption, match="json: the body is given by content"):
        mock.add(content="a", json=1)
    with pytest.raises(InvalidOption, match="content: a 204 answer has no body"):
        mock.add(status_code=204, content="a")
    with pytest.raises(InvalidOption, match="status_code: an answer is given already"):
        mock.add(Answer(), status_code=200)
    with pytest.raises(InvalidOption, match="answer"):
        mock.add("hello")  # type: ignore[arg-type]  # which is the mistake


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("", "*"), "method"),
        ((7, "*"), "method"),
        (("GET", ""), "url"),
        (("GET", 7), "url"),
        (("GET", re.compile(b"bytes")), "url"),
        (("GET", "*", 7), "answer"),
    ],
)
def test_route_is_checked(mock: MockTransport, arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(InvalidOption, match=name):
        mock.route(*arguments)
    for times in (0, True, "1"):
        with pytest.raises(InvalidOption, match="times"):
            mock.route("GET", "*", times=times)  # type: ignore[arg-type]  # which is the mistake
    with pytest.raises(InvalidOption, match="headers"):
        mock.route("GET", "*", match_headers=7)  # type: ignore[arg-type]  # which is the mistake


def test_steps_are_checked(mock: MockTransport) -> None:
    kinds: list[tuple[Any, Any]] = [(Sends, 7), (Expects, None), (Waits, -1), (Closes, 99), (Closes, "1000")]
    for kind, bad in kinds:
        with pytest.raises(InvalidOption):
            kind(bad)
    steps: list[list[Any]] = [["hello"], [Sends("a"), print], [7]]
    for each in steps:
        with pytest.raises(InvalidOption, match="steps"):
            mock.websocket("*", *each)


@pytest.mark.parametrize(("name", "bad"), [("count", -1), ("count", "2"), ("count", True), ("content", {"a": 1})])
def test_expectation_that_nothing_can_meet_is_refused_by_name(mock: MockTransport, name: str, bad: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}"):
        mock.assert_sent(**{name: bad})


@pytest.mark.parametrize(("name", "bad"), [("network", "lan"), ("http_version", "HTTP/3"), ("strict", "no")])
def test_options_of_a_mock_are_checked(name: str, bad: Any) -> None:
    with pytest.raises(InvalidOption, match=name):
        MockTransport(**{name: bad})
