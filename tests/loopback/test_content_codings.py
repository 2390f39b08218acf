"""Content codings as a program meets them: asked for, undone on both faces, and bounded."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Callable, Iterator

import pytest

from support.clients import MakeClient
from support.loop_peer import MODE_NAMES, MODES, Peer, answer, chunked, connect, make_config, turns
from support.scripted_server import Script, await_close, close, read_request, scripted, send, send_bytewise
from turbosock import Client, EventKind, Exchange, Loop, Timeouts, limits
from turbosock.errors import BodyTooLarge, BodyTruncated, DecodingError, ReadTimeout, TurbosockError
from turbosock.protocol.content.registry import accept_encoding

TEXT = b"".join(b"line %d of the content\n" % i for i in range(20_000))
GZIPPED = gzip.compress(TEXT, mtime=0)
BOMB = gzip.compress(bytes(64 * limits.MIB), mtime=0)


def gzipped(body: bytes = GZIPPED, *fields: str, coding: str = "gzip", status: str = "200 OK") -> bytes:
    return answer(body, f"Content-Encoding: {coding}", *fields, status=status)


def again(data: bytes) -> Script:
    """A connection that gives the same answer to six requests."""
    return [read_request, send(data)] * 6 + [await_close]


# What is asked for


def test_client_asks_for_what_it_can_undo(client: Client) -> None:
    with scripted(again(answer(b"ok"))) as server:
        client.get(server.url())
        client.get(server.url(), headers={"Accept-Encoding": "br;q=0"})
        client.get(server.url(), headers={"Range": "bytes=0-1"})
        asked = [request.split(b"Accept-Encoding: ")[1].split(b"\r\n")[0] for request in server.requests]
        assert asked == [accept_encoding().encode(), b"br;q=0", b"identity"]


def test_client_that_does_not_decode_asks_for_nothing_and_hands_bodies_on(make_client: MakeClient) -> None:
    with scripted(again(gzipped())) as server:
        client = make_client(decode=False)
        assert client.get(server.url()).content == GZIPPED
        assert b"accept-encoding" not in server.requests[0].lower()
        with client.stream("GET", server.url()) as response:
            assert response.view() == GZIPPED


# The blocking face


@pytest.mark.parametrize(
    "data",
    [gzipped(), chunked(GZIPPED[:1000], GZIPPED[1000:]).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)],
    ids=["length", "chunked"],
)
def test_every_way_to_read_gives_the_content_and_keeps_the_connection(client: Client, data: bytes) -> None:
    with scripted(again(data)) as server:
        assert client.get(server.url()).content == TEXT
        response = client.get(server.url())
        assert response.text == TEXT.decode()
        assert response.nbytes == len(TEXT) and response.headers["content-encoding"] == "gzip"
        with client.stream("GET", server.url()) as response:
            assert b"".join(response.iter_bytes()) == TEXT
            assert response.nbytes == len(TEXT)
        with client.stream("GET", server.url()) as response:
            assert list(response.iter_lines()) == TEXT.decode().splitlines()
        with client.stream("GET", server.url()) as response:
            assert response.view() == TEXT
        with client.stream("GET", server.url()) as response:
            buffer = bytearray(1000)
            content = bytearray()
            while count := response.readinto(buffer):
                content += buffer[:count]
            assert content == TEXT
        assert client.stats()[:3] == (1, 1, 0)
        assert server.accepted == 1


def test_short_coded_body_that_came_with_its_head_is_decoded(make_client: MakeClient) -> None:
    client = make_client(diagnostics=True)
    with scripted(again(gzipped(gzip.compress(b'{"a": 1}', mtime=0)))) as server:
        for _ in range(3):
            assert client.get(server.url()).json() == {"a": 1}
            with client.stream("GET", server.url()) as response:
                assert response.view().tobytes() == b'{"a": 1}'
        assert client.stats()[:3] == (1, 1, 0)


def test_coded_body_byte_by_byte_is_decoded(client: Client) -> None:
    body = gzip.compress(TEXT[:500], mtime=0)
    with scripted([read_request, send_bytewise(gzipped(body)), await_close]) as server:
        assert client.get(server.url()).content == TEXT[:500]


def test_coding_that_nobody_knows_leaves_the_body_as_it_is(client: Client) -> None:
    with scripted(again(gzipped(b"\x00\x01", coding="x-snappy"))) as server:
        response = client.get(server.url())
        assert (response.content, response.headers["content-encoding"]) == (b"\x00\x01", "x-snappy")


def test_head_and_not_modified_have_no_content(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 500\r\n\r\n"
    unchanged = b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n"
    script = [read_request, send(head), read_request, send(unchanged), read_request, send(gzipped(b"")), await_close]
    with scripted(script) as server:
        assert client.head(server.url()).content == b""
        assert client.get(server.url()).content == b""
        assert client.get(server.url()).content == b""
        assert server.accepted == 1


def test_part_of_a_coded_representation_is_handed_on(client: Client) -> None:
    part = gzipped(GZIPPED[10:20], "Content-Range: bytes 10-19/500", status="206 Partial Content")
    with scripted(again(part)) as server:
        assert client.get(server.url(), headers={"Range": "bytes=10-19"}).content == GZIPPED[10:20]


# What may be said of each: a bomb may meet the bound of what is gathered before that of its ratio.
BAD = {
    "truncated": (gzipped(GZIPPED[:-20]), {"truncated"}),
    "no-gzip": (gzipped(b"this is no gzip at all"), {"decoding"}),
    "checksum": (gzipped(GZIPPED[:-8] + b"\x00\x01\x02\x03" + GZIPPED[-4:]), {"decoding"}),
    "too-many": (gzipped(GZIPPED, coding=",".join(["gzip"] * 1000)), {"too_many_codings"}),
    "bomb": (gzipped(BOMB), {"bomb", "body_too_large"}),
    "bomb-in-bomb": (gzipped(gzip.compress(BOMB, mtime=0), coding="gzip, gzip"), {"bomb", "body_too_large"}),
    "too-large": (gzipped(gzip.compress(TEXT * 8, mtime=0)), {"body_too_large"}),
}


def read_in_pieces(client: Client) -> Callable[[str], object]:
    """What reads the body of a URL as a stream."""

    def read(url: str) -> None:
        with client.stream("GET", url) as response:
            for _ in response.iter_bytes():
                pass

    return read


def check_error(error: TurbosockError | None, codes: set[str]) -> None:
    assert isinstance(error, (DecodingError, BodyTooLarge)) and error.code in codes
    if isinstance(error, DecodingError) and error.code != "too_many_codings":
        assert error.offset is not None


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("face", ["content", "stream"])
def test_bad_coded_body_is_the_named_error_and_costs_its_connection(
    make_client: MakeClient, name: str, face: str
) -> None:
    data, codes = BAD[name]
    if (face, name) == ("stream", "too-large"):
        pytest.skip("what is streamed is its reader's to bound")
    client = make_client(max_body_bytes=2 * limits.MIB)
    with scripted([read_request, send(data), await_close], again(answer(b"good"))) as server:
        read = client.get if face == "content" else read_in_pieces(client)
        with pytest.raises(TurbosockError) as caught:
            read(server.url())
        check_error(caught.value, codes)
        assert client.stats()[:3] == (0, 0, 0)
        assert client.get(server.url()).content == b"good"
        assert client.buffers.stats().outstanding == 0


def test_stream_that_failed_to_decode_stays_failed(client: Client) -> None:
    script = [read_request, send(gzipped(b"no gzip")), await_close]
    with scripted(script) as server, client.stream("GET", server.url()) as response:
        buffer = bytearray(100)
        for _ in range(2):
            with pytest.raises(DecodingError):
                response.readinto(buffer)


def test_coded_body_that_the_peer_cuts_is_truncated(client: Client) -> None:
    with scripted([read_request, send(gzipped()[:-100]), close]) as server, pytest.raises(BodyTruncated):
        client.get(server.url())


def test_coded_body_that_stops_meets_the_read_limit(client: Client) -> None:
    with scripted([read_request, send(gzipped()[:-100]), await_close]) as server:
        with client.stream("GET", server.url(), timeout=Timeouts(read_s=0.2)) as response, pytest.raises(ReadTimeout):
            response.read()
        assert client.stats()[:3] == (0, 0, 0)


def test_stream_closed_before_the_end_of_its_content_gives_its_memory_back(client: Client) -> None:
    with scripted(again(gzipped())) as server:
        with client.stream("GET", server.url()) as response:
            response.readinto(bytearray(10))
        assert client.stats()[:3] == (0, 0, 0)
        assert client.get(server.url()).content == TEXT


def test_deflate_of_both_kinds_is_undone(client: Client) -> None:
    raw = zlib.compressobj(wbits=-15)
    for body in (zlib.compress(TEXT), raw.compress(TEXT) + raw.flush()):
        with scripted(again(gzipped(body, coding="deflate"))) as server:
            assert client.get(server.url()).content == TEXT


def test_bomb_in_a_redirect_is_not_decoded(client: Client) -> None:
    redirect = gzipped(BOMB, "Location: /next", status="302 Found")
    with scripted([read_request, send(redirect), read_request, send(answer(b"there")), await_close]) as server:
        response = client.get(server.url())
        assert response.content == b"there"
        assert server.requests[1].startswith(b"GET /next ")
        rings = client.rings.stats()
        assert rings.idle == rings.made or not client.config.zero_alloc


# The ticking face


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    config = dataclasses.replace(make_config(*request.param), max_body_bytes=2 * limits.MIB)
    with Loop(config) as loop:
        yield loop


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def run(loop: Loop, peer: Peer, exchange: Exchange, data: bytes) -> bytes:
    """Answer the request with `data`, and gather what DATA events bring."""
    connection = connect(loop, peer)
    connection.read_head()
    content = bytearray()
    left = memoryview(data)

    def step() -> bool:
        nonlocal left
        left = left[connection.fill(left) :] if left and not exchange.done else left
        for event in loop.events:
            if event.kind is EventKind.DATA:
                assert event.data is not None and len(event.data) <= limits.SEGMENT_BYTES
                content.extend(event.data)
        return exchange.done

    turns(loop, step)
    step()
    # What events lend ends with the next turn.
    loop.poll()
    return bytes(content)


def test_loop_gathers_the_content(loop: Loop, peer: Peer) -> None:
    exchange = loop.get(peer.url)
    run(loop, peer, exchange, gzipped())
    assert exchange.ok and exchange.content == TEXT and exchange.nbytes == len(TEXT)
    assert loop.stats().idle == 1


def test_loop_writes_the_content_into_a_buffer_of_its_size(loop: Loop, peer: Peer) -> None:
    buffer = bytearray(len(TEXT))
    exchange = loop.get(peer.url, into=buffer)
    run(loop, peer, exchange, gzipped())
    assert exchange.ok and buffer == TEXT and exchange.nbytes == len(TEXT)


def test_loop_compares_a_buffer_with_the_content_and_not_with_the_coded_body(loop: Loop, peer: Peer) -> None:
    # Coded, a short content is longer.
    buffer = bytearray(2)
    exchange = loop.get(peer.url, into=buffer)
    run(loop, peer, exchange, gzipped(gzip.compress(b"ok", mtime=0)))
    assert exchange.ok and buffer == b"ok"


def test_loop_ends_with_too_large_where_the_content_overflows_the_buffer(loop: Loop, peer: Peer) -> None:
    exchange = loop.get(peer.url, into=bytearray(len(TEXT) - 1))
    run(loop, peer, exchange, gzipped())
    assert isinstance(exchange.error, BodyTooLarge)
    assert loop.stats().open == 0


def test_loop_delivers_the_content_in_data_events(loop: Loop, peer: Peer) -> None:
    exchange = loop.get(peer.url, stream=True)
    assert run(loop, peer, exchange, gzipped()) == TEXT
    assert exchange.ok
    assert loop.buffers.stats().outstanding == 0


def test_turn_moves_a_quantum_of_content_at_most(loop: Loop, peer: Peer) -> None:
    content = bytes(range(256)) * 4 * limits.KIB
    exchange = loop.get(peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(gzipped(gzip.compress(content, mtime=0)))
    before = 0
    while not exchange.done:
        loop.poll(0.2)
        assert exchange.nbytes - before <= limits.TURN_QUANTUM_BYTES + limits.SEGMENT_BYTES
        before = exchange.nbytes
    assert exchange.content == content


def test_loop_without_memory_for_events_goes_on_when_there_is_some(loop: Loop, peer: Peer) -> None:
    loop.events.max_queued = 1
    exchange = loop.get(peer.url, stream=True)
    assert run(loop, peer, exchange, gzipped()) == TEXT
    assert loop.events.full_count > 0


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("stream", [False, True], ids=["gathered", "stream"])
def test_loop_ends_with_the_named_error_and_closes(loop: Loop, peer: Peer, name: str, stream: bool) -> None:
    data, codes = BAD[name]
    if stream and name == "too-large":
        pytest.skip("what is streamed is its reader's to bound")
    exchange = loop.get(peer.url, stream=stream)
    run(loop, peer, exchange, data)
    check_error(exchange.error, codes)
    assert loop.stats().open == 0
    assert loop.buffers.stats().outstanding == 0
    rings = loop.rings.stats()
    assert rings.idle == rings.made or not loop.config.zero_alloc
