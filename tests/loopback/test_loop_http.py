"""A Loop and a raw server on loopback: whole exchanges, on every poller, with pooled memory and without."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.loop_peer import (
    MODE_NAMES,
    MODES,
    OK,
    Peer,
    answer,
    chunked,
    collected,
    connect,
    make_config,
    settle,
    turns,
)
from turbosock import EventKind, Loop, PoolConfig
from turbosock.errors import (
    BodyTooLarge,
    BodyTruncated,
    ConnectError,
    ConnectionClosed,
    HeadTooLarge,
    ProtocolError,
    ReadError,
)

Mode = tuple[str, bool]


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def loop(mode: Mode) -> Iterator[Loop]:
    with Loop(make_config(*mode)) as loop:
        yield loop


def ends(loop: Loop) -> list[EventKind]:
    return [kind for kind, *_ in collected(loop)]


# Where the body goes


def test_body_into_a_buffer_lands_there_and_nowhere_else(loop: Loop, peer: Peer) -> None:
    buffer = bytearray(b"." * 16)
    exchange = loop.request("GET", peer.url + "/path?q=1", into=buffer)
    connection = connect(loop, peer)
    assert connection.read_head().startswith(b"GET /path?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    connection.send(answer(b"0123456789"))
    turns(loop, lambda: exchange.done)
    assert exchange.ok and exchange.status_code == 200 and exchange.nbytes == 10
    assert buffer == b"0123456789......"
    assert ends(loop) == [EventKind.RESPONSE]


def test_buffer_is_free_again_once_the_exchange_is_done(loop: Loop, peer: Peer) -> None:
    buffer = bytearray(4)
    exchange = loop.request("GET", peer.url, into=buffer)
    connection = connect(loop, peer)
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    # A bytearray that anybody still views refuses this.
    buffer.extend(b"more")
    assert exchange.into is None


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(70_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\nzz\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_buffer_is_free_again_once_the_exchange_has_failed(loop: Loop, peer: Peer, sent: bytes) -> None:
    buffer = bytearray(100_000)
    exchange = loop.request("GET", peer.url, into=buffer)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(sent)
    settle(loop)
    connection.close()
    turns(loop, lambda: exchange.done)
    assert exchange.error is not None
    # The error is held with the exchange: its traceback's frames would view the buffer.
    buffer.extend(b"more")


def test_body_without_a_place_is_gathered_into_content(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(answer(b'{"a": 1}', "Content-Type: application/json; charset=utf-8"))
    turns(loop, lambda: exchange.done)
    assert exchange.content == b'{"a": 1}' and exchange.text == '{"a": 1}' and exchange.json() == {"a": 1}
    assert exchange.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000, 3_000_000])
def test_gathered_body_of_any_size_is_whole(loop: Loop, peer: Peer, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    data = memoryview(answer(body))
    while data:
        data = data[connection.fill(data[:200_000]) :]
        loop.poll()
    turns(loop, lambda: exchange.done)
    assert exchange.error is None
    assert exchange.content == body and exchange.nbytes == size


def test_streamed_body_comes_as_data_events_then_one_response(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url, stream=True)
    connection = connect(loop, peer)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")
    turns(loop, lambda: len(loop.events))
    assert collected(loop) == [(EventKind.DATA, exchange, b"hello", None)]
    assert not exchange.done and exchange.status_code == 200
    connection.send(b" world")
    turns(loop, lambda: exchange.done)
    assert collected(loop) == [(EventKind.DATA, exchange, b" world", None), (EventKind.RESPONSE, exchange, None, None)]
    settle(loop)
    assert not len(loop.events)


def test_streamed_body_that_came_with_its_head_is_one_data_event(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url, stream=True)
    connect(loop, peer).send(OK)
    turns(loop, lambda: exchange.done)
    assert [(kind, data) for kind, _, data, _ in collected(loop)] == [
        (EventKind.DATA, b"ok"),
        (EventKind.RESPONSE, None),
    ]


def test_streamed_body_without_bytes_is_a_response_alone(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url, stream=True)
    connect(loop, peer).send(answer(b"", status="204 No Content", length=False))
    turns(loop, lambda: exchange.done)
    assert ends(loop) == [EventKind.RESPONSE] and exchange.status_code == 204


def test_streamed_bytes_are_those_that_were_sent(loop: Loop, peer: Peer) -> None:
    body = bytes(range(256)) * 4000
    exchange = loop.request("GET", peer.url, stream=True)
    connection = connect(loop, peer)
    data = memoryview(answer(body))
    received = bytearray()
    while not exchange.done:
        data = data[connection.fill(data[:100_000]) :]
        loop.poll(0.1)
        for event in loop.events:
            received += event.data or b""
    assert exchange.error is None
    assert received == body


@pytest.mark.parametrize("stream", [False, True])
def test_notify_false_ends_without_an_event(loop: Loop, peer: Peer, stream: bool) -> None:
    exchange = loop.request("GET", peer.url, notify=False, stream=stream)
    connect(loop, peer).send(answer(b""))
    turns(loop, lambda: exchange.done)
    assert not len(loop.events) and exchange.ok


# Framings


@pytest.mark.parametrize("where", ["content", "into", "stream"])
def test_chunked_body_arrives_byte_by_byte_wherever_it_goes(loop: Loop, peer: Peer, where: str) -> None:
    buffer = bytearray(9)
    into = buffer if where == "into" else None
    exchange = loop.request("GET", peer.url, into=into, stream=where == "stream")
    connection = connect(loop, peer)
    received = b""
    for byte in chunked(b"one", b"two-", b"3", trailers="X-Sum: 7\r\n"):
        connection.send(bytes([byte]))
        settle(loop, 1)
        received += b"".join(data or b"" for _, _, data, _ in collected(loop))
    turns(loop, lambda: exchange.done)
    assert exchange.error is None and exchange.nbytes == 8
    assert exchange.trailers is not None and exchange.trailers["x-sum"] == "7"
    if where == "content":
        received = exchange.content
    elif where == "into":
        received = bytes(buffer[:8])
    assert received == b"onetwo-3"


def test_chunked_body_that_fits_the_buffer_exactly_is_accepted(loop: Loop, peer: Peer) -> None:
    buffer = bytearray(6)
    exchange = loop.request("GET", peer.url, into=buffer)
    connection = connect(loop, peer)
    connection.send(chunked(b"abc", b"def"))
    turns(loop, lambda: exchange.done)
    assert exchange.error is None and buffer == b"abcdef"


def test_chunked_body_beyond_the_buffer_is_an_error_event(loop: Loop, peer: Peer) -> None:
    buffer = bytearray(5)
    exchange = loop.request("GET", peer.url, into=buffer)
    connection = connect(loop, peer)
    connection.send(chunked(b"abc", b"def"))
    turns(loop, lambda: exchange.done)
    assert isinstance(exchange.error, BodyTooLarge)
    assert ends(loop) == [EventKind.ERROR] and connection.is_closed()


def test_announced_body_beyond_the_buffer_is_refused_before_it_comes(loop: Loop, peer: Peer) -> None:
    for _ in range(2):
        # The second time the head is known already, and must be refused all the same.
        buffer = bytearray(5)
        exchange = loop.request("GET", peer.url, into=buffer)
        connection = connect(loop, peer)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # a default, for this round's one
        assert isinstance(exchange.error, BodyTooLarge) and "6 bytes" in str(exchange.error)
        assert buffer == bytes(5)


def test_body_that_ends_with_the_connection_is_whole(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    settle(loop)
    assert not exchange.done
    connection.close()
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"until the end" and exchange.http_version == "HTTP/1.0"
    assert loop.stats().open == 0


def test_answer_to_head_has_no_body_whatever_it_announces(loop: Loop, peer: Peer) -> None:
    buffer = bytearray(1)
    exchange = loop.request("HEAD", peer.url, into=buffer)
    connection = connect(loop, peer)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    turns(loop, lambda: exchange.done)
    assert exchange.ok and exchange.nbytes == 0 and loop.stats().idle == 1


def test_interim_answers_are_passed_over(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    settle(loop)
    assert not exchange.done
    connection.send(b"HTTP/1.1 102 Processing\r\n\r\n" + OK)
    turns(loop, lambda: exchange.done)
    assert exchange.status_code == 200 and exchange.content == b"ok"


# Requests with a body


def test_body_of_bytes_is_sent_with_its_length(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=b"payload")
    connection = connect(loop, peer)
    assert b"\r\nContent-Length: 7\r\n" in connection.read_head()
    assert connection.read(7) == b"payload"
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.ok


def test_body_of_an_iterable_is_sent_in_chunks(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("PUT", peer.url, content=iter([b"ab", b"", b"cde"]))
    connection = connect(loop, peer)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in connection.read_head()
    expected = b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert connection.read(len(expected)) == expected
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.ok


def test_json_body_is_sent_with_its_type(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, json={"a": [1, 2]})
    connection = connect(loop, peer)
    assert b"\r\nContent-Type: application/json\r\n" in connection.read_head()
    assert connection.read(11) == b'{"a":[1,2]}'
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.ok


@pytest.mark.parametrize("kind", ["bytes", "file", "view"])
def test_large_upload_goes_on_as_the_peer_reads(loop: Loop, peer: Peer, kind: str, tmp_path: Path) -> None:
    body = bytes(range(256)) * 16_384
    content: object = body
    if kind == "file":
        path = tmp_path / "body"
        path.write_bytes(body)
        content = path.open("rb")
    elif kind == "view":
        content = memoryview(bytearray(body))
    exchange = loop.request("POST", peer.url, content=content)
    connection = connect(loop, peer)
    connection.read_head()
    received = bytearray()
    while len(received) < len(body):
        received += connection.take_available()
        loop.poll()
    assert received == body and not exchange.done
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.ok and loop.stats().idle == 1
    if isinstance(content, io.BufferedReader):
        content.close()


def test_expect_continue_holds_the_body_until_the_100(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=b"payload", headers={"Expect": "100-continue"})
    connection = connect(loop, peer)
    connection.read_head()
    settle(loop)
    assert connection.take_available() == b""
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    settle(loop)
    assert connection.read(7) == b"payload"
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.ok


def test_final_answer_before_the_body_was_sent_ends_the_exchange_and_the_connection(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=b"payload", headers={"Expect": "100-continue"})
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(answer(b"no", status="417 Expectation Failed"))
    turns(loop, lambda: exchange.done)
    assert exchange.status_code == 417 and exchange.content == b"no" and not exchange.ok
    assert connection.is_closed() and loop.stats().open == 0


def test_refusal_during_an_upload_is_read_though_the_peer_takes_no_more(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=bytes(20_000_000))
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(answer(b"too large", "Connection: close", status="413 Content Too Large"))
    turns(loop, lambda: exchange.done)
    assert exchange.error is None and exchange.status_code == 413 and exchange.content == b"too large"
    assert loop.stats().open == 0


def test_answer_that_has_begun_ends_the_upload(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=bytes(20_000_000))
    connection = connect(loop, peer)
    connection.read_head()
    settle(loop, 20)
    connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\n")
    turns(loop, lambda: exchange.head is not None)
    sent = loop.reactor.bytes_out
    for _ in range(10):
        connection.take_available()
        settle(loop)
    assert loop.reactor.bytes_out == sent and not exchange.done
    connection.send(b"full")
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"full" and loop.stats().open == 0


# Keep-alive


@pytest.mark.parametrize("where", ["content", "into", "stream"])
@pytest.mark.parametrize("size", [0, 2, 65_536, 100_000, 262_144])
def test_connection_serves_one_exchange_after_another(loop: Loop, peer: Peer, size: int, where: str) -> None:
    body = b"x" * size
    connection = None
    for _ in range(3):
        buffer = bytearray(size)
        exchange = loop.request("GET", peer.url, into=buffer if where == "into" else None, stream=where == "stream")
        connection = connection or connect(loop, peer)
        connection.read_head()
        # Head and body apart: the last receive then asks for exactly what comes.
        connection.send(answer(body)[:-size] if size else answer(body))
        settle(loop, 1)
        received = 0
        data = memoryview(body)
        while not exchange.done:
            data = data[connection.fill(data) if data else 0 :]
            loop.poll(0.1)
            received += sum(len(event.data or b"") for event in loop.events)
        assert exchange.error is None and exchange.nbytes == size
        if where == "stream":
            assert received == size
    assert loop.stats().open == 1 and loop.stats().idle == 1


def test_connection_close_in_the_answer_is_obeyed(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(answer(b"ok", "Connection: close"))
    turns(loop, lambda: exchange.done)
    assert exchange.ok and loop.stats().open == 0 and connection.read_head() and connection.is_closed()


def test_bytes_behind_an_answer_end_the_connection(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(OK + b"HTTP/1.1 200 OK\r\n")
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok"
    assert loop.stats().open == 0 and connection.is_closed()


def test_upgraded_connection_is_not_used_for_another_request(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url, headers={"Connection": "Upgrade", "Upgrade": "echo"})
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    turns(loop, lambda: exchange.done)
    assert loop.stats().idle == 0


@pytest.mark.parametrize("end", ["close", "reset", "speak"])
def test_idle_connection_whose_peer_ends_it_is_let_go(loop: Loop, peer: Peer, end: str) -> None:
    exchange = loop.request("GET", peer.url, into=bytearray(100_000))
    connection = connect(loop, peer)
    connection.send(answer(bytes(100_000))[:-100_000])
    settle(loop)
    connection.send(bytes(100_000))
    turns(loop, lambda: exchange.done)
    assert loop.stats().idle == 1
    if end == "speak":
        connection.send(b"?")
    elif end == "close":
        connection.close()
    else:
        connection.reset()
    turns(loop, lambda: loop.stats().open == 0)
    assert loop.stats().idle == 0


@pytest.mark.parametrize("end", ["close", "reset"])
def test_request_on_a_stale_connection_is_sent_again_on_a_new_one(loop: Loop, peer: Peer, end: str) -> None:
    first = loop.request("PUT", peer.url, content=b"body")
    old = connect(loop, peer)
    old.read_head()
    assert old.read(4) == b"body"
    old.send(OK)
    turns(loop, lambda: first.done)
    second = loop.request("PUT", peer.url, content=b"body")
    # It was taken while it looked sound; the peer closes it without an answer.
    assert loop.stats().idle == 0
    old.read_head()
    old.close() if end == "close" else old.reset()
    settle(loop)
    new = peer.accept()
    turns(loop, lambda: loop.stats().open == 1 and second.retries == 1)
    settle(loop)
    new.read_head()
    assert new.read(4) == b"body"
    new.send(answer(b"second"))
    turns(loop, lambda: second.done)
    assert second.content == b"second" and ends(loop) == [EventKind.RESPONSE, EventKind.RESPONSE]


def test_post_on_a_stale_connection_is_not_sent_twice(loop: Loop, peer: Peer) -> None:
    first = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(OK)
    turns(loop, lambda: first.done)
    second = loop.request("POST", peer.url, content=b"pay")
    connection.close()
    turns(loop, lambda: second.done)
    assert isinstance(second.error, (ConnectionClosed, ReadError)) and second.retries == 0
    settle(loop)
    assert peer.waiting() == 0


def test_stale_retry_happens_once(loop: Loop, peer: Peer) -> None:
    connections = []
    both = [loop.request("GET", peer.url) for _ in range(2)]
    loop.poll()
    for _ in both:
        connections.append(peer.accept())
    turns(loop, lambda: all(exchange.connection is not None for exchange in both))
    for connection in connections:
        connection.send(OK)
    turns(loop, lambda: all(exchange.done for exchange in both))
    second = loop.request("GET", peer.url)
    for connection in connections:
        connection.close()
    settle(loop)
    # The retry dials, and a new connection that breaks is no reason for another retry.
    peer.accept().close()
    turns(loop, lambda: second.done)
    assert isinstance(second.error, (ConnectionClosed, ReadError)) and second.retries == 1


def test_stale_retry_happens_once_even_on_a_kept_connection(mode: Mode, peer: Peer) -> None:
    with Loop(make_config(*mode, pool=PoolConfig(max_connections_per_origin=1))) as loop:
        first = loop.request("GET", peer.url)
        connection = connect(loop, peer)
        connection.read_head()
        connection.send(OK)
        turns(loop, lambda: first.done)
        retried = loop.request("GET", peer.url + "/retried")
        other = loop.request("GET", peer.url + "/other")
        connection.close()
        # The freed place is the other's, who stood in line; the retried one stands behind it.
        turns(loop, lambda: retried.retries == 1)
        connection = connect(loop, peer)
        assert connection.read_head().startswith(b"GET /other ")
        connection.send(OK)
        turns(loop, lambda: other.done)
        assert connection.read_head().startswith(b"GET /retried ")
        connection.close()
        turns(loop, lambda: retried.done)
        assert isinstance(retried.error, (ConnectionClosed, ReadError)) and retried.retries == 1


def test_answer_that_broke_off_is_not_asked_for_again(loop: Loop, peer: Peer) -> None:
    first = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(OK)
    turns(loop, lambda: first.done)
    second = loop.request("GET", peer.url)
    connection.read_head()
    connection.send(b"HTTP/1.1 20")
    settle(loop)
    connection.close()
    turns(loop, lambda: second.done)
    assert isinstance(second.error, ConnectionClosed) and second.retries == 0


# Failures are events


def test_refused_connect_is_an_error_event(loop: Loop) -> None:
    with Peer() as gone:
        url = gone.url
    exchange = loop.request("GET", url)
    turns(loop, lambda: exchange.done)
    assert isinstance(exchange.error, ConnectError) and "ECONNREFUSED" in str(exchange.error)
    assert collected(loop) == [(EventKind.ERROR, exchange, None, exchange.error)]
    assert loop.stats().open == 0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", ConnectionClosed),
        (b"HTTP/1.1 200", ConnectionClosed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", BodyTruncated),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", BodyTruncated),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nab", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, HeadTooLarge),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_answer_is_one_error_event_and_the_connection_is_closed(
    loop: Loop, peer: Peer, sent: bytes, expected: type[Exception], stream: bool
) -> None:
    exchange = loop.request("GET", peer.url, stream=stream)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(sent)
    settle(loop)
    if not exchange.done:
        connection.close()
    turns(loop, lambda: exchange.done)
    assert type(exchange.error) is expected
    kinds = ends(loop)
    assert kinds.count(EventKind.ERROR) == 1 and kinds[-1] is EventKind.ERROR and EventKind.RESPONSE not in kinds
    settle(loop)
    assert not len(loop.events) and loop.stats().open == 0
    assert loop.buffers.stats().outstanding == 0
    with pytest.raises(Exception, match="failed"):
        _ = exchange.content


def test_error_says_what_was_being_done_without_credentials(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", f"http://user:secret@127.0.0.1:{peer.port}/path?token=1")
    connection = connect(loop, peer)
    connection.read_head()
    connection.close()
    turns(loop, lambda: exchange.done)
    message = str(exchange.error)
    assert f"GET http://127.0.0.1:{peer.port}/path: " in message and "while waiting for the response head" in message
    assert "secret" not in message and "token" not in message


def test_failure_of_one_exchange_leaves_its_neighbours_alone(loop: Loop, peer: Peer) -> None:
    exchanges = [loop.request("GET", f"{peer.url}/{number}") for number in range(3)]
    loop.poll()
    by_path = {}
    connections = [peer.accept() for _ in exchanges]
    turns(loop, lambda: all(exchange.connection is not None for exchange in exchanges))
    for connection in connections:
        by_path[connection.read_head().split()[1]] = connection
    by_path[b"/1"].send(b"nonsense\r\n\r\n")
    turns(loop, lambda: exchanges[1].done)
    for path in (b"/2", b"/0"):
        by_path[path].send(answer(path))
    turns(loop, lambda: all(exchange.done for exchange in exchanges))
    assert isinstance(exchanges[1].error, ProtocolError)
    assert exchanges[0].content == b"/0" and exchanges[2].content == b"/2"


class BrokenBody:
    """An iterable whose second block cannot be had."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"first"
        raise ZeroDivisionError("from the caller's own body")


def test_body_that_raises_is_an_error_event_with_its_cause(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("PUT", peer.url, content=BrokenBody())
    turns(loop, lambda: exchange.done)
    assert exchange.error is not None and isinstance(exchange.error.__cause__, ZeroDivisionError)
    assert ends(loop) == [EventKind.ERROR]


def test_body_that_raises_is_not_sent_again_on_another_connection(loop: Loop, peer: Peer) -> None:
    first = loop.request("GET", peer.url)
    connect(loop, peer).send(OK)
    turns(loop, lambda: first.done)
    second = loop.request("PUT", peer.url, content=BrokenBody())
    turns(loop, lambda: second.done)
    assert second.error is not None and second.retries == 0
    settle(loop)
    assert peer.waiting() == 0


# Cancelling


def test_cancel_on_the_loops_thread_ends_the_exchange_at_once(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    exchange.cancel()
    assert exchange.done and exchange.error is not None and exchange.error.code == "cancelled"
    exchange.cancel()
    assert collected(loop) == [(EventKind.ERROR, exchange, None, exchange.error)]
    settle(loop)
    assert not len(loop.events) and connection.is_closed() and loop.stats().open == 0


def test_cancel_from_another_thread_wakes_the_waiting_poll(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    settle(loop)
    thread = threading.Thread(target=exchange.cancel)
    thread.start()
    while not exchange.done:
        # It would wait for the read timeout if the cancel did not wake it.
        loop.poll(None)
    thread.join()
    assert exchange.error is not None and exchange.error.code == "cancelled"
    assert ends(loop) == [EventKind.ERROR] and connection.is_closed()


def test_cancel_of_a_streamed_exchange_leaves_delivered_data_valid_until_the_next_poll(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url, stream=True)
    connection = connect(loop, peer)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    turns(loop, lambda: len(loop.events))
    event = next(loop.events)
    exchange.cancel()
    assert event.data is not None and bytes(event.data) == b"some"
    assert ends(loop) == [EventKind.ERROR]


# Unix sockets


def test_request_over_a_unix_socket(mode: Mode, tmp_path: Path) -> None:
    with Peer(tmp_path / "s") as peer, Loop(make_config(*mode)) as loop:
        exchange = loop.request("GET", peer.url + "/where")
        connection = connect(loop, peer)
        assert connection.read_head().startswith(b"GET /where HTTP/1.1\r\nHost: localhost\r\n")
        connection.send(OK)
        turns(loop, lambda: exchange.done)
        assert exchange.content == b"ok" and exchange.url.startswith("http+unix://")


def test_unix_path_without_a_server_is_an_error_event(mode: Mode, tmp_path: Path) -> None:
    with Loop(make_config(*mode)) as loop:
        exchange = loop.request("GET", f"http+unix://{str(tmp_path / 'none').replace('/', '%2F')}/")
        turns(loop, lambda: exchange.done)
        assert isinstance(exchange.error, ConnectError) and "ENOENT" in str(exchange.error)


# Many at once


def test_many_exchanges_over_few_connections_each_get_their_own_answer(mode: Mode, peer: Peer) -> None:
    config = make_config(*mode, pool=PoolConfig(max_connections_per_origin=4))
    with Loop(config) as loop:
        exchanges = [loop.request("GET", f"{peer.url}/{number}") for number in range(40)]
        settle(loop)
        for _ in range(peer.waiting()):
            pass
        assert len(peer.connections) == 4
        while not all(exchange.done for exchange in exchanges):
            loop.poll(0.05)
            for connection in peer.connections:
                for head in connection.take_available().split(b"\r\n\r\n")[:-1]:
                    connection.send(answer(b"answer to " + head.split()[1]))
        assert [exchange.content for exchange in exchanges] == [b"answer to /%d" % number for number in range(40)]
        assert loop.stats()[:3] == (4, 4, 0)
