"""httpx and httpx2 over turbosock: the same tests for both, against servers that play scripts."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from support.https import Pki, secure
from support.running_listener import RunningListener
from support.scripted_server import (
    Peer,
    Step,
    answer,
    await_close,
    await_event,
    close,
    echo_paths,
    read_request,
    reset,
    scripted,
    send,
    stall,
)
from turbosock import Config, InvalidOption, PoolConfig

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param, reason=f"pip install {request.param}")


@pytest.fixture
def transport(library: Any) -> Iterator[Any]:
    with transport_of(library) as made:
        yield made


@pytest.fixture
def client(library: Any, transport: Any) -> Iterator[Any]:
    with library.Client(transport=transport) as made:
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def transport_of(library: Any, config: Config | None = None) -> Any:
    return import_module(f"turbosock.integrations.{library.__name__}").TurbosockTransport(config)


def lines_of(request: bytes) -> list[bytes]:
    return request.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_get_answered_has_status_headers_and_body(client: Any) -> None:
    step = answer(b"body", b"HTTP/1.1 201 Made So\r\nX-One: 1\r\nX-One: 2\r\n")
    with scripted([read_request, step]) as server:
        response = client.get(server.url("/path?q=%20|x"), headers={"X-Mine": "mine"})

    assert (response.status_code, response.content) == (201, b"body")
    assert response.headers.get_list("x-one") == ["1", "2"]
    assert response.reason_phrase == "Made So"
    assert response.http_version == "HTTP/1.1"
    assert response.request.extensions["timeout"]


def test_request_goes_as_the_library_made_it(library: Any, transport: Any) -> None:
    request = library.Request("GET", "http://127.0.0.1/a|b?c=%7e^", headers=[("Host", "named"), ("X-One", "1")])
    with scripted([read_request, answer()]) as server:
        request.url = request.url.copy_with(port=server.port)
        response = transport.handle_request(request)
        assert response.read() == b"ok"
        response.close()

    target = request.url.raw_path
    assert lines_of(server.requests[0]) == [b"GET " + target + b" HTTP/1.1", b"Host: named", b"X-One: 1"]


@pytest.mark.parametrize("content", [b"bytes", "täxt", b""], ids=["bytes", "text", "nothing"])
def test_post_sends_bodies_of_known_length(client: Any, content: bytes | str) -> None:
    with scripted([read_request, answer()]) as server:
        client.post(server.url(), content=content)

    sent = content if isinstance(content, bytes) else content.encode()
    assert server.requests[0].endswith(b"\r\n\r\n" + sent)
    assert b"Content-Length: %d" % len(sent) in lines_of(server.requests[0])


def test_post_streams_what_is_iterated(client: Any) -> None:
    asked = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"first"
        assert asked.wait(10)
        yield b"second"

    def take_first(peer: Peer) -> None:
        peer.take_until(b"first\r\n")
        asked.set()
        peer.take_until(b"0\r\n\r\n")

    with scripted([take_first, answer()]) as server:
        assert client.post(server.url(), content=blocks()).content == b"ok"


def test_iterator_that_fails_fails_the_request_as_it_is(client: Any) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"first"
        raise LookupError("gone")

    with scripted([await_close]) as server, pytest.raises(LookupError, match="gone"):
        client.post(server.url(), content=blocks())


def test_coded_body_is_decoded_by_the_library(client: Any) -> None:
    coded = gzip.compress(b"hello " * 1000)
    step = answer(coded, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")
    with scripted([read_request, step, read_request, step]) as server:
        assert client.get(server.url()).content == b"hello " * 1000
        with client.stream("GET", server.url()) as response:
            assert b"".join(response.iter_raw()) == coded
        assert server.accepted == 1


def test_stream_gives_each_chunk_as_it_comes(client: Any) -> None:
    seen = threading.Event()
    script: list[Step] = [
        read_request,
        send(CHUNKED + b"3\r\none\r\n"),
        await_event(seen),
        send(b"3\r\ntwo\r\n0\r\n\r\n"),
    ]
    with scripted(script) as server, client.stream("GET", server.url()) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"one"
        seen.set()
        assert list(pieces) == [b"two"]


def test_stream_left_early_costs_the_connection(client: Any) -> None:
    unread = [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"), await_close]
    with scripted(unread, [read_request, answer()]) as server:
        with client.stream("GET", server.url()):
            pass
        assert client.get(server.url()).content == b"ok"
        assert server.accepted == 2


def test_cookies_and_redirects_are_the_librarys(client: Any) -> None:
    found = send(
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nLocation: /two\r\nContent-Length: 0\r\n\r\n"
    )
    with scripted([read_request, found, read_request, answer(b"there")]) as server:
        assert client.get(server.url(), follow_redirects=True).content == b"there"

    assert dict(client.cookies) == {"a": "1", "b": "2"}
    assert b"Cookie: a=1; b=2" in lines_of(server.requests[1])


# Extensions


def test_target_extension_is_sent_in_place_of_the_path(client: Any) -> None:
    with scripted([read_request, answer()]) as server:
        client.request("OPTIONS", server.url("/path"), extensions={"target": b"*"})

    assert lines_of(server.requests[0])[0] == b"OPTIONS * HTTP/1.1"


def test_trace_extension_is_told_every_step(client: Any) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    with scripted([read_request, answer()]) as server:
        client.get(server.url(), extensions={"trace": lambda name, info: events.append((name, info))})

    assert [name.rpartition(".")[0] for name, _ in events[::2]] == [
        "connection.connect_tcp",
        "http11.send_request_headers",
        "http11.receive_response_headers",
        "http11.receive_response_body",
        "http11.response_closed",
    ]
    assert [name.rpartition(".")[2] for name, _ in events] == ["started", "complete"] * 5
    head = dict(events)["http11.receive_response_headers.complete"]["return_value"]
    assert head == (b"HTTP/1.1", 200, b"OK", [(b"Content-Length", b"2")])


def test_trace_extension_is_told_what_failed(library: Any, client: Any) -> None:
    events: list[str] = []
    with scripted([read_request, close]) as server, pytest.raises(library.RemoteProtocolError):
        client.get(server.url(), extensions={"trace": lambda name, info: events.append(name)})

    assert events[-2:] == ["http11.receive_response_headers.started", "http11.receive_response_headers.failed"]


def test_trace_function_that_fails_ends_the_request(client: Any) -> None:
    def trace(name: str, info: dict[str, Any]) -> None:
        raise LookupError(name)

    with scripted([read_request, answer()]) as server:
        with pytest.raises(LookupError, match="connect_tcp"):
            client.get(server.url(), extensions={"trace": trace})
        assert client.get(server.url()).content == b"ok"


def test_network_stream_extension_knows_the_connection(client: Any) -> None:
    with scripted([read_request, answer(b"x" * 100_000), await_close]) as server:
        response = client.get(server.url())
        stream = response.extensions["network_stream"]

        assert stream.get_extra_info("server_addr") == (server.host, server.port)
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert stream.get_extra_info("ssl_object") is None
        assert stream.get_extra_info("is_readable") is False
        assert stream.get_extra_info("no such thing") is None
        client.close()
        assert stream.get_extra_info("server_addr") is None


def test_sni_hostname_extension_is_sent_and_verified(library: Any, pki: Pki) -> None:
    script = [secure(pki.server()), read_request, answer(), await_close]
    with scripted(*[script] * 2) as server, transport_of(library, Config(tls=pki.trusting)) as transport:
        client = library.Client(transport=transport)
        url = f"https://127.0.0.2:{server.port}/"
        with pytest.raises(library.ConnectError):
            client.get(url)
        with pytest.raises(library.ConnectError):
            client.get(f"https://127.0.0.1:{server.port}/", extensions={"sni_hostname": "other.example"})
        response = client.get(f"https://127.0.0.1:{server.port}/", extensions={"sni_hostname": "localhost"})
        assert response.extensions["network_stream"].get_extra_info("ssl_object").version().startswith("TLS")


def test_answer_over_http2_has_its_stream(library: Any) -> None:
    config = Config(http_versions=("HTTP/2",))
    with (
        RunningListener(lambda exchange: exchange.respond(200, content=b"two")) as server,
        library.Client(transport=transport_of(library, config)) as client,
    ):
        first, second = client.get(server.url()), client.get(server.url())

        assert second.content == b"two"
        assert second.http_version == "HTTP/2"
        assert [each.extensions["stream_id"] for each in (first, second)] == [1, 3]
        assert second.extensions["network_stream"].get_extra_info("server_addr") == ("127.0.0.1", server.port)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 5),
        ("timeout", {"read": "soon"}),
        ("timeout", {"read": []}),
        ("timeout", {"read": -1}),
        ("trace", "print"),
        ("target", "/text"),
        ("target", b"/\xff"),
        ("sni_hostname", b"bytes"),
    ],
)
def test_extension_of_a_wrong_type_is_refused_by_name(library: Any, transport: Any, name: str, value: object) -> None:
    request = library.Request("GET", "http://127.0.0.1:1/", extensions={name: value})

    with pytest.raises(InvalidOption, match="read_s" if value == {"read": -1} else name):
        transport.handle_request(request)


# Errors


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([close], "RemoteProtocolError"),
        ([read_request, reset], "ReadError"),
        ([read_request, send(b"SSH-2.0-x\r\n"), await_close], "RemoteProtocolError"),
        ([read_request, send(CHUNKED + b"zz\r\n"), await_close], "RemoteProtocolError"),
        ([read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), close], "RemoteProtocolError"),
        ([read_request, send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), await_close], "RemoteProtocolError"),
        ([stall], "ReadTimeout"),
    ],
    ids=["closed", "reset", "not http", "bad chunk", "cut body", "long head", "silent"],
)
def test_failure_of_the_peer_is_the_librarys_exception(
    library: Any, client: Any, script: list[Step], error: str
) -> None:
    with scripted(script) as server, pytest.raises(getattr(library, error)) as raised:
        client.get(server.url("/here"), timeout=library.Timeout(5, read=0.05 if script == [stall] else 5))

    assert raised.value.request.url.path == "/here"


def test_time_of_zero_ends_at_once(library: Any, client: Any) -> None:
    with scripted([stall]) as server, pytest.raises(library.TimeoutException):
        client.get(server.url(), timeout=0)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", "ConnectError"),
        ("http://127.0.0.1:123456/", "ConnectError"),
        ("http://[::1%25nowhere]/", "LocalProtocolError"),
        ("ftp://127.0.0.1/", "UnsupportedProtocol"),
    ],
)
def test_url_that_leads_nowhere_is_the_librarys_exception(library: Any, transport: Any, url: str, error: str) -> None:
    try:
        request = library.Request("GET", url)
    except library.InvalidURL:
        pytest.skip("the library refuses it itself")

    with pytest.raises(getattr(library, error)):
        transport.handle_request(request)


def test_value_that_cannot_be_sent_is_a_local_protocol_error(library: Any, transport: Any) -> None:
    request = library.Request("GET", "http://127.0.0.1:1/", headers={"X-One": "a\r\nb"})

    with pytest.raises(library.LocalProtocolError):
        transport.handle_request(request)


def test_no_connection_free_in_time_is_a_pool_timeout(library: Any) -> None:
    script = [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), await_close]
    config = Config(pool=PoolConfig(max_connections=1))
    with scripted(script) as server, transport_of(library, config) as transport:
        client = library.Client(transport=transport)
        with client.stream("GET", server.url()), pytest.raises(library.PoolTimeout):
            client.get(server.url(), timeout=library.Timeout(5, pool=0.01))


# The transport itself


def test_transport_closed_while_a_response_is_read_lets_it_end(client: Any, transport: Any) -> None:
    closed = threading.Event()
    script = [
        read_request,
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"),
        await_event(closed),
        send(b"cd"),
        await_close,
    ]
    with scripted(script) as server:
        with client.stream("GET", server.url()) as response:
            transport.close()
            closed.set()
            assert response.read() == b"abcd"
        server.await_ended()


def test_transport_shared_by_threads_mixes_no_answers(client: Any) -> None:
    def work(number: int) -> None:
        for i in range(20):
            path = f"/{number}/{i}"
            assert client.get(server.url(path)).text == path

    with scripted([echo_paths]) as server, ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, number) for number in range(8)]:
            done.result(30)
        client.close()
        assert server.accepted <= 8


def test_configuration_of_another_kind_is_refused(library: Any) -> None:
    with pytest.raises(InvalidOption, match="config"):
        transport_of(library, "http2")  # type: ignore[arg-type]  # which is refused
