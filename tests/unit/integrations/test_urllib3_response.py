"""Urllib3Response held against urllib3's own: the same calls, the same bytes, counts and ends."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3

from support.seeds import seeds
from turbosock.integrations.requests import TurbosockAdapter
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector

URL = "http://host/"
# With its head, as a ring's worth, and longer.
SIZES = (0, 1, 1000, 300_000)
KINDS = ("length", "chunks", "last")


def body_of(size: int) -> bytes:
    return bytes(index % 251 for index in range(size))


def answer_of(kind: str, body: bytes, **fields: str) -> HttpAnswer:
    """An answer with its length, in chunks, or with its length and the last of its connection."""
    if kind == "length":
        return HttpAnswer(headers=fields, content=body)
    if kind == "last":
        return HttpAnswer(headers={"Connection": "close", **fields}, content=body)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:700], body[700:]) if piece)
    return HttpAnswer(headers={"Transfer-Encoding": "chunked", **fields}, content=chunks + b"0\r\n\r\n")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


def raw_of(session: requests.Session, answer: HttpAnswer) -> Any:
    """The response beneath that of requests, nothing of it read."""
    session.mount("http://", TurbosockAdapter(connector=MemoryConnector(HttpPeer(answer))))
    return session.get(URL, stream=True).raw


def theirs(body: bytes) -> Any:
    headers = {"Content-Length": str(len(body))}
    return urllib3.HTTPResponse(io.BytesIO(body), headers, 200, preload_content=False, request_method="GET")


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("size", SIZES)
def test_calls_in_any_order_give_what_those_of_urllib3_give(session: requests.Session, size: int, seed: int) -> None:
    rng = random.Random(seed)
    ours, model = raw_of(session, answer_of("length", body_of(size))), theirs(body_of(size))
    for _ in range(40):
        count = rng.choice((0, 1, 7, 500, 70_000, size, size + 1))
        call = rng.choice(("read", "read", "readinto", "all") if rng.random() < 0.1 else ("read", "readinto"))
        if call == "all":
            assert ours.read() == model.read(), f"seed {seed}"
        elif call == "read":
            assert ours.read(count) == model.read(count), f"seed {seed}"
        else:
            # What has arrived may be less than what there is.
            buffer, other = bytearray(count), bytearray(count)
            filled = ours.readinto(buffer)
            assert (filled > 0) == (model.readinto(memoryview(other)[:filled]) > 0), f"seed {seed}"
            assert buffer[:filled] == other[:filled], f"seed {seed}"
        assert ours.tell() == model.tell(), f"seed {seed}"
        assert ours.length_remaining == model.length_remaining or ours.length_remaining == 0, f"seed {seed}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_way_to_read_gives_the_body_once_and_ends(session: requests.Session, size: int, kind: str) -> None:
    body = body_of(size)
    ways: dict[str, Callable[[Any], bytes]] = {
        "read": lambda raw: raw.read(),
        "negative": lambda raw: raw.read(-1),
        "pieces": lambda raw: b"".join(iter(lambda: raw.read(999), b"")),
        "read1": lambda raw: b"".join(iter(lambda: raw.read1(999), b"")),
        "read1 of all": lambda raw: b"".join(iter(raw.read1, b"")),
        "stream": lambda raw: b"".join(raw.stream(999)),
        "lines": b"".join,
        "data": lambda raw: raw.data,
    }
    for name, read in ways.items():
        raw = raw_of(session, answer_of(kind, body))
        assert read(raw) == body, name
        assert (raw.read(), raw.read(5), raw.read1(5), raw.readinto(bytearray(5))) == (b"", b"", b"", 0), name
        assert raw.closed, name
        assert raw.tell() == size, name


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_asked_for_and_nothing_ends(session: requests.Session, size: int) -> None:
    raw = raw_of(session, answer_of("length", body_of(size)))
    assert (raw.read(0), raw.read1(0), raw.readinto(bytearray()), list(raw.stream(0))) == (b"", b"", 0, [])
    assert raw.read() == body_of(size)


def test_body_asked_for_as_data_is_kept(session: requests.Session) -> None:
    raw = raw_of(session, answer_of("length", body_of(2000)))
    assert raw.read(cache_content=True) == body_of(2000)
    assert raw.data == raw.data == body_of(2000)


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("end", ["close", "release_conn"])
def test_response_ended_early_has_nothing_left(session: requests.Session, size: int, end: str) -> None:
    raw = raw_of(session, answer_of("length", body_of(size)))
    raw.read(10)
    client = raw._pool._client
    # What came with its head has left its connection already, and stays to be read by who lets that go.
    stays = size == 1000 and end == "release_conn"
    getattr(raw, end)()
    assert raw.read() == (body_of(size)[10:] if stays else b"")
    assert raw.closed
    assert client.stats().connections.in_use == 0


def test_response_that_does_not_close_itself_is_closed_by_close_alone(session: requests.Session) -> None:
    raw = raw_of(session, answer_of("length", b"text"))
    raw.auto_close = False
    assert raw.read() == b"text"
    assert not raw.closed
    raw.close()
    assert raw.closed


def test_drained_response_gives_its_connection_back(session: requests.Session) -> None:
    raw = raw_of(session, answer_of("length", body_of(300_000)))
    raw.drain_conn()
    assert raw.closed
    assert raw._pool._client.stats().idle == 1


@pytest.mark.parametrize("coded", [True, False])
def test_decoding_is_decided_by_the_first_read(session: requests.Session, coded: bool) -> None:
    body = gzip.compress(body_of(300_000))
    raw = raw_of(session, answer_of("length", body, **{"Content-Encoding": "gzip"}))
    if coded:
        assert raw.read(10, decode_content=False) + raw.read(decode_content=False) == body
    else:
        assert raw.read(10, decode_content=True) == body_of(10)
        with pytest.raises(RuntimeError, match="decoded"):
            raw.read(10, decode_content=False)
    assert raw.length_remaining is not None


def test_chunks_are_read_as_such_where_there_are_some(session: requests.Session) -> None:
    raw = raw_of(session, answer_of("chunks", body_of(2000)))
    assert raw.supports_chunked_reads()
    assert b"".join(raw.read_chunked()) == body_of(2000)
    with pytest.raises(urllib3.exceptions.ResponseNotChunked):
        raw_of(session, answer_of("length", b"text")).read_chunked()


def test_number_of_the_connection_is_there_while_it_is(session: requests.Session) -> None:
    raw = raw_of(session, answer_of("length", body_of(300_000)))
    assert raw.fileno() > 0
    raw.read()
    with pytest.raises(OSError, match="no connection any more"):
        raw.fileno()
