"""The content of coded bodies, read over a transport that plays a script."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple, cast

import pytest

from support.content import CASES, Case, coding_of, encode
from support.scripted_transport import Incoming, ScriptedTransport
from support.seeds import seeds
from turbosock import limits
from turbosock.connection.http1 import Http1Connection
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import BodyTruncated, DecodingError, StateError
from turbosock.transport.transport import Transport

ORIGIN = object()
REQUEST = b"GET / HTTP/1.1\r\nHost: host\r\n\r\n"
CONTENT = b"".join(b"line %d of the content\n" % i for i in range(3000))
BLOCKING = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])


class Stage(NamedTuple):
    connection: Http1Connection
    transport: ScriptedTransport
    rings: RingPool


def stage(incoming: Iterable[Incoming], *, blocking: bool = True, **options: Any) -> Stage:
    """A connection that has sent its request; its rings are poisoned when they come back."""
    transport = ScriptedTransport(incoming, blocking=blocking)
    rings = RingPool(diagnostics=True)
    connection = Http1Connection(cast(Transport, transport), rings, **options)
    connection.origin = ORIGIN
    connection.start("GET", REQUEST)
    while not connection.sent:
        transport.on_writable()
        connection.on_writable()
    while connection.read_head() is None:
        transport.on_readable()
    return Stage(connection, transport, rings)


def read_content(stage: Stage, room: int = 20_000) -> bytes:
    """Step until the content has ended."""
    connection, transport, _ = stage
    view = memoryview(bytearray(room))
    content = bytearray()
    while connection.decoded is not None:
        reader = connection.decoded
        receives = transport.receives
        count = reader.read_body(view)
        assert -1 <= count <= room
        # Each receive may wait: a driver looks at its deadline before the next one.
        assert transport.receives <= receives + 1
        if count >= 0:
            content += view[:count]
        elif not reader.busy:
            assert transport.incoming, "the script is over and the content has not ended"
            transport.on_readable()
    return bytes(content)


def message(body: bytes, coding: str = "gzip", framing: str = "length", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Encoding: {coding}\r\n".encode()
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    if framing == "close":
        return head + b"\r\n" + body
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 999]), body[i : i + 999]) for i in range(0, len(body), 999))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def ends(framing: str) -> list[Incoming]:
    return [b""] if framing == "close" else []


@BLOCKING
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_content_of_each_coding_and_framing_is_decoded(case: Case, framing: str, blocking: bool) -> None:
    coding_of(case)
    data = message(encode(case, CONTENT), case.coding, framing)
    staged = stage([data, *ends(framing)], blocking=blocking)

    assert read_content(staged) == CONTENT
    assert staged.connection.body.complete
    assert staged.connection.finish() is (framing != "close")
    # The one of the answer, and the one of the decoder.
    assert staged.rings.stats() == (2, 2)


@BLOCKING
def test_content_is_the_same_at_every_split(blocking: bool) -> None:
    data = message(gzip.compress(CONTENT[:300], mtime=0), framing="chunked")
    for cut in range(1, len(data)):
        assert read_content(stage([data[:cut], data[cut:]], blocking=blocking)) == CONTENT[:300]
    assert read_content(stage([data[i : i + 1] for i in range(len(data))], blocking=blocking), 7) == CONTENT[:300]


@pytest.mark.parametrize("seed", seeds(5))
def test_content_is_the_same_at_random_splits_and_rooms(seed: int) -> None:
    source = random.Random(seed)
    content = source.randbytes(50_000) + bytes(500_000)
    data = message(gzip.compress(content, mtime=0), framing=source.choice(["length", "chunked"]))
    cuts = sorted({0, len(data), *(source.randrange(len(data)) for _ in range(source.randrange(30)))})
    pieces = [data[start:stop] for start, stop in pairwise(cuts)]

    assert read_content(stage(pieces, blocking=False), source.choice([1000, 32_768, 300_000])) == content


def test_coded_body_that_came_with_its_head_is_not_taken_for_the_content() -> None:
    staged = stage([message(gzip.compress(b"hello", mtime=0))])

    assert not staged.connection.whole
    assert read_content(staged) == b"hello"


@pytest.mark.parametrize("coding", ["x-unknown", "gzip, x-unknown", "identity", ""])
def test_body_in_a_coding_that_cannot_be_undone_is_handed_on_as_it_is(coding: str) -> None:
    staged = stage([message(b"as it is", coding)])

    assert read_content(staged) == b"as it is"
    assert staged.connection.finish()


def test_codings_in_a_row_are_undone() -> None:
    body = gzip.compress(gzip.compress(CONTENT, mtime=0), mtime=0)

    assert read_content(stage([message(body, "gzip, gzip")])) == CONTENT


def test_too_many_codings_are_refused_at_the_first_read() -> None:
    staged = stage([message(b"x", ", ".join(["gzip"] * (limits.MAX_CONTENT_CODINGS + 1)))])

    with pytest.raises(DecodingError) as caught:
        read_content(staged)

    assert caught.value.code == "too_many_codings"


@pytest.mark.parametrize("status", ["206 Partial Content", "204 No Content", "304 Not Modified"])
def test_parts_and_answers_without_a_body_are_not_decoded(status: str) -> None:
    staged = stage([message(b"" if status[0] == "3" or "No" in status else b"part", status=status)])

    assert staged.connection.decoded is None
    assert staged.connection.head is not None and not staged.connection.head.coded


def test_empty_body_is_no_content_and_no_error() -> None:
    staged = stage([message(b"")])

    assert staged.connection.decoded is None
    assert staged.connection.finish()


def test_connection_that_does_not_decode_hands_bodies_on() -> None:
    staged = stage([message(b"raw")], decodes=False)

    assert staged.connection.decoded is None
    assert not staged.connection.whole
    view = memoryview(bytearray(10))
    assert (staged.connection.read_body(view), bytes(view[:3])) == (3, b"raw")


def test_body_that_ends_before_its_coding_is_truncated() -> None:
    staged = stage([message(gzip.compress(CONTENT, mtime=0)[:-9])])

    with pytest.raises(DecodingError) as caught:
        read_content(staged)

    assert caught.value.code == "truncated"


def test_body_that_the_connection_cuts_is_told_as_such() -> None:
    staged = stage([message(gzip.compress(CONTENT, mtime=0))[:-9], b""])

    with pytest.raises(BodyTruncated):
        read_content(staged)


def test_body_that_is_not_in_its_coding_tells_where() -> None:
    broken = bytearray(gzip.compress(CONTENT, mtime=0))
    broken[len(broken) // 2] ^= 0xFF
    staged = stage([message(bytes(broken))])

    with pytest.raises(DecodingError) as caught:
        read_content(staged)

    assert (caught.value.coding, caught.value.code) == ("gzip", "decoding")
    assert caught.value.offset is not None and 0 <= caught.value.offset <= len(broken)


def test_bytes_behind_the_last_member_are_ignored_and_the_connection_kept() -> None:
    staged = stage([message(gzip.compress(b"hello", mtime=0) + b"\r\nserved by")])

    assert read_content(staged) == b"hello"
    assert staged.connection.finish()


def test_bomb_is_refused_within_its_ratio() -> None:
    bomb = gzip.compress(bytes(20 * limits.MIB), mtime=0)
    staged = stage([message(gzip.compress(bomb, mtime=0), "gzip, gzip")])

    with pytest.raises(DecodingError) as caught:
        read_content(staged, 262_144)

    assert caught.value.code == "bomb"


def test_read_without_a_result_gives_its_driver_a_turn() -> None:
    staged = stage([message(gzip.compress(b"", mtime=0) * 500)], blocking=False)
    reader = staged.connection.decoded
    assert reader is not None
    turns = 0
    while staged.connection.decoded is not None:
        count = reader.read_body(memoryview(bytearray(100)))
        assert count == 0 or (count == -1 and reader.busy)
        turns += 1

    assert turns > 5


def test_close_in_the_middle_gives_everything_back_and_later_reads_are_refused() -> None:
    staged = stage([message(gzip.compress(CONTENT, mtime=0), framing="chunked")])
    reader = staged.connection.decoded
    assert reader is not None
    assert reader.read_body(memoryview(bytearray(100))) == 100

    staged.connection.close()

    assert staged.connection.decoded is None
    assert staged.rings.stats() == (2, 2)
    with pytest.raises(StateError):
        reader.read_body(memoryview(bytearray(100)))
