"""Events as they stand on the wire: what is written is read, and what cannot be said is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from support.seeds import seeds
from support.sse import Told, read, standard
from turbosock.buffers import BufferPool
from turbosock.errors import InvalidOption
from turbosock.limits import MAX_SSE_RETRY_MS
from turbosock.protocol.sse.parser import EventParser
from turbosock.protocol.sse.serialize import comment_bytes, event_bytes, retry_bytes


def told(block: bytes) -> list[Told]:
    """The events in it, as the parser and the standard agree on them."""
    outcome = read(EventParser(BufferPool()), [block])
    assert outcome == standard(block)
    return outcome.events


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain", b"plain"),
        ("text \u20ac", "text \u20ac".encode()),
        (bytearray(b"memory"), b"memory"),
        (memoryview(b"memory")[1:], b"emory"),
        (b"", b""),
        (b"\n", b"\n"),
        (b"a\nb", b"a\nb"),
        (b"a\r\nb\rc\n\nd\n", b"a\nb\nc\n\nd\n"),
        (b" spaces ", b" spaces "),
        (b"data: x\n\nid: 9", b"data: x\n\nid: 9"),
        (b":comment?", b":comment?"),
        (b"\x00", b"\x00"),
        (b"\xef\xbb\xbfmark", b"\xef\xbb\xbfmark"),
    ],
)
def test_data_is_read_as_it_was_written_but_for_its_line_ends(data: Any, expected: bytes) -> None:
    assert told(event_bytes(data)) == [Told("message", expected, "", None)]


def test_fields_of_an_event_are_read_as_they_were_written() -> None:
    assert told(event_bytes("x", event="tick \u20ac", id="a:b", retry_ms=7)) == [Told("tick \u20ac", b"x", "a:b", 7)]


def test_empty_fields_mean_what_the_standard_says() -> None:
    block = event_bytes("x", id="1") + event_bytes("y") + event_bytes("z", event="", id="")
    assert told(block) == [
        Told("message", b"x", "1", None),
        Told("message", b"y", "1", None),
        Told("message", b"z", "", None),
    ]


def test_comments_and_retries_are_no_events() -> None:
    block = comment_bytes() + comment_bytes("alive") + retry_bytes(5)
    assert comment_bytes() == b":\n\n"
    assert told(block) == []
    assert standard(block).retry_ms == 5


@pytest.mark.parametrize("seed", seeds(20))
def test_any_events_in_a_row_are_read_as_they_were_written(seed: int) -> None:
    rng = random.Random(seed)
    block, expected, last_id = b"", [], ""
    for _ in range(rng.randrange(1, 30)):
        data = "".join(rng.choices("a:\n\r \u20acdi", k=rng.randrange(40)))
        event = rng.choice((None, "", "tick", "\u20ac"))
        id = rng.choice((None, None, "", "7", " 8 "))
        retry_ms = rng.choice((None, None, 0, 10**6))
        block += event_bytes(data, event=event, id=id, retry_ms=retry_ms)
        last_id = last_id if id is None else id
        read_back = data.replace("\r\n", "\n").replace("\r", "\n").encode()
        expected.append(Told(event or "message", read_back, last_id, retry_ms))
    assert told(block) == expected


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"event": "a\nb"}, "event"),
        ({"event": "a\rb"}, "event"),
        ({"event": 7}, "event"),
        ({"event": "\ud800"}, "event"),
        ({"id": "a\nb"}, "id"),
        ({"id": "a\0b"}, "id"),
        ({"id": b"a"}, "id"),
        ({"id": "x" * 8193}, "id"),
        ({"retry_ms": -1}, "retry_ms"),
        ({"retry_ms": True}, "retry_ms"),
        ({"retry_ms": MAX_SSE_RETRY_MS + 1}, "retry_ms"),
        ({"data": 7}, "data"),
        ({"data": "\ud800"}, "data"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{named}"):
        event_bytes(**{"data": "x", **options})


def test_comment_of_two_lines_is_refused() -> None:
    with pytest.raises(InvalidOption, match="text"):
        comment_bytes("a\nb")
