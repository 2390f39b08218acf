"""An HTTP server in memory: requests told apart however they come, and answers that go wrong as they are told to."""

from __future__ import annotations

from typing import Any, cast

import pytest

import turbosock
from turbosock import Client, InvalidHeader, InvalidOption, Loop, Request
from turbosock.errors import BodyTruncated, ConnectionClosed, ReadError
from turbosock.reactor.clock import ManualClock
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector
from turbosock.testing.memory_socket import MemorySocket

URL = "http://anywhere"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


def echo(request: Request) -> HttpAnswer:
    """The method, the target and the body of a request."""
    return HttpAnswer(content=f"{request.method} {request.target} ".encode() + request.content)


def received(sock: MemorySocket) -> bytes:
    """What the peer has sent so far; b"" at its end."""
    found = bytearray()
    buffer = bytearray(4096)
    sock.setblocking(False)
    try:
        while count := sock.recv_into(buffer):
            found += buffer[:count]
    except BlockingIOError:
        pass
    return bytes(found)


def bodies(answers: bytes) -> list[bytes]:
    """The bodies of answers in a row that all have a Content-Length."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        found.append(rest[:length])
        answers = rest[length:]
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
def test_requests_in_pieces_of_any_size_are_answered_in_order(size: int) -> None:
    peer = HttpPeer(echo)
    sock = MemorySocket(peer)
    stream = GET + POST + CHUNKED + GET
    for start in range(0, len(stream), size):
        sock.send(stream[start : start + size])
    assert bodies(received(sock)) == [b"GET /a ", b"POST /b hello", b"PUT /c hello", b"GET /a "]
    assert peer.request_count == 4


def test_same_request_again_is_answered_alike_and_another_is_not_taken_for_it() -> None:
    peer = HttpPeer(HttpAnswer(content=b"same"))
    sock = MemorySocket(peer)
    for _ in range(3):
        sock.send(GET)
    sock.send(POST)
    # Its head alone is not the whole request, although it is known bytes to nobody.
    sock.send(POST[:-5])
    assert bodies(received(sock)) == [b"same"] * 4
    # A known request's bytes as a body's are a body.
    other = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET)
    sock.send(b"world")
    sock.send(other)
    sock.send(GET)
    assert bodies(received(sock)) == [b"same"] * 2
    assert peer.request_count == 6


def test_head_is_answered_without_a_body_and_length_of_it() -> None:
    with Client(connector=MemoryConnector(HttpPeer(HttpAnswer(content=b"12345")))) as client:
        answer = client.head(URL)
        assert (answer.headers["content-length"], answer.content) == ("5", b"")
        assert client.get(URL).content == b"12345"
        assert client.stats().open == 1


@pytest.mark.parametrize("status_code", [204, 304])
def test_status_without_a_body_has_none(status_code: int) -> None:
    with Client(connector=MemoryConnector(HttpPeer(HttpAnswer(status_code, content=b"ignored")))) as client:
        assert [client.get(URL).content for _ in range(2)] == [b"", b""]
        assert client.stats().open == 1


def test_own_framing_of_the_body_stands() -> None:
    answer = HttpAnswer(headers={"Transfer-Encoding": "chunked"}, content=b"2\r\nok\r\n0\r\n\r\n")
    with Client(connector=MemoryConnector(HttpPeer(answer))) as client:
        assert client.get(URL).content == b"ok"


def test_client_that_waits_for_a_100_gets_it() -> None:
    sock = MemorySocket(HttpPeer(echo))
    sock.send(b"POST /b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert received(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.send(b"hello")
    assert bodies(received(sock)) == [b"POST /b hello"]
    # Who sends the body along has not waited for it.
    sock.send(b"POST /b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert bodies(received(sock)) == [b"POST /b hello"]


@pytest.mark.parametrize("headers", [{"Connection": "close"}, {"connection": "Close"}])
def test_answer_that_closes_ends_its_connection(headers: dict[str, str]) -> None:
    connector = MemoryConnector(HttpPeer(HttpAnswer(headers=headers, content=b"ok")))
    with Client(connector=connector) as client:
        assert [client.get(URL).content for _ in range(3)] == [b"ok"] * 3
    assert connector.opened_count == 3


def test_request_that_closes_is_the_last_that_is_answered() -> None:
    peer = HttpPeer(echo)
    sock = MemorySocket(peer)
    sock.send(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET)
    assert bodies(received(sock)) == [b"GET /last "]
    assert peer.request_count == 1


def test_request_that_is_no_http_is_answered_by_400_and_the_end() -> None:
    sock = MemorySocket(HttpPeer(echo))
    sock.send(b"nonsense\r\n\r\n")
    answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("cut_after", range(0, 45, 5))
def test_answer_cut_at_every_point_fails_the_exchange(cut_after: int) -> None:
    whole = len(HttpAnswer(content=b"12345").serialized("GET"))
    assert cut_after < whole
    connector = MemoryConnector(HttpPeer(HttpAnswer(content=b"12345", cut_after=cut_after)))
    with Client(connector=connector) as client, pytest.raises((ConnectionClosed, BodyTruncated)):
        client.get(URL)


@pytest.mark.parametrize("cut_after", [None, 0, 20, 40])
def test_answer_that_is_reset_fails_with_a_read_error(cut_after: int | None) -> None:
    connector = MemoryConnector(HttpPeer(HttpAnswer(content=b"12345", cut_after=cut_after, reset=True)))
    with Client(connector=connector) as client, pytest.raises(ReadError, match="reset"):
        client.get(URL)


def test_delayed_answers_keep_their_order_in_virtual_time() -> None:
    clock = ManualClock()
    delays = iter((3.0, 0.0))
    peer = HttpPeer(lambda request: HttpAnswer(content=request.target.encode(), delay_s=next(delays)))
    sock = MemorySocket(peer, clock=clock)
    sock.send(GET + GET.replace(b"/a", b"/z"))
    assert received(sock) == b""
    clock.advance(2.9)
    assert received(sock) == b""
    clock.advance(0.1)
    assert bodies(received(sock)) == [b"/a", b"/z"]


def test_nothing_is_answered_behind_a_delayed_answer_that_closes() -> None:
    clock = ManualClock()
    peer = HttpPeer(HttpAnswer(headers={"Connection": "close"}, content=b"last", delay_s=1.0))
    sock = MemorySocket(peer, clock=clock)
    sock.send(GET)
    sock.send(GET)
    clock.advance(1.0)
    assert bodies(received(sock)) == [b"last"]
    assert peer.request_count == 1


def test_loop_asks_a_peer_in_virtual_time() -> None:
    clock = ManualClock()
    peer = HttpPeer(HttpAnswer(content=b"ok", delay_s=2.0))
    with Loop(clock=clock, connector=MemoryConnector(peer)) as loop:
        exchanges = [loop.get(URL) for _ in range(5)]
        loop.poll()
        assert peer.request_count == 5
        clock.advance(2.0)
        loop.poll()
        loop.poll()
        assert [exchange.content for exchange in exchanges] == [b"ok"] * 5


def test_answers_differ_by_request_in_threads_of_one_client() -> None:
    with Client(connector=MemoryConnector(HttpPeer(echo))) as client:
        found = [client.post(f"{URL}/{number}", content=str(number)).content for number in range(10)]
    assert found == [f"POST /{number} {number}".encode() for number in range(10)]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"delay_s": -1}, "delay_s=-1"),
        ({"delay_s": float("nan")}, "delay_s=nan"),
        ({"delay_s": True}, "delay_s=True"),
        ({"delay_s": "1"}, "delay_s='1'"),
        ({"cut_after": -1}, "cut_after=-1"),
        ({"cut_after": True}, "cut_after=True"),
        ({"cut_after": 1.5}, "cut_after=1.5"),
        ({"reset": 1}, "reset=1"),
        ({"status_code": 99}, "status_code"),
    ],
)
def test_answer_that_cannot_be_is_refused_where_it_is_made(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidOption, match=word):
        HttpAnswer(**settings)


def test_answer_with_a_field_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidHeader):
        HttpAnswer(headers={"X": "a\r\nb: c"})


def test_peer_without_an_answer_is_refused() -> None:
    with pytest.raises(InvalidOption, match="answer"):
        HttpPeer(cast(HttpAnswer, "ok"))


def test_request_shows_its_connection_and_host() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> HttpAnswer:
        seen.append(request)
        return HttpAnswer()

    with Client(connector=MemoryConnector(HttpPeer(answer))) as client:
        client.get(URL + "/p?q=1", headers={"X-One": "1"})
    request = seen[0]
    assert (request.path, request.query, request.host, request.peer) == ("/p", "q=1", "anywhere", ("memory", 0))
    assert request.headers["x-one"] == "1"
    assert turbosock.__version__ in request.headers["user-agent"]
