"""Heads of answers: what is added, what is refused, and that nothing outlives its second."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from turbosock import limits
from turbosock.errors import InvalidHeader
from turbosock.protocol.http1.headers import HeaderList
from turbosock.reactor.clock import ManualClock
from turbosock.server.response_heads import (
    CHUNKED,
    CLOSES,
    NO_BODY,
    PERSISTS,
    UNSAID,
    UNTIL_CLOSE,
    ResponseHeads,
    http_date,
)


class Wall:
    """A wall clock that the test sets."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("seconds", [0, 1_000_000_000, 1_709_164_800, 1_735_689_599.9, 4_102_444_800])
def test_date_is_written_as_the_standard_library_writes_it(seconds: float) -> None:
    assert http_date(seconds).decode() == formatdate(int(seconds), usegmt=True)


def test_date_is_of_the_present_second_and_no_other() -> None:
    clock, wall = ManualClock(), Wall(1000.75)
    heads = ResponseHeads(clock, wall)

    def date() -> bytes:
        raw, _ = heads.head(200, None, 0, UNSAID)
        return raw.split(b"Date: ")[1].split(b"\r\n")[0]

    assert date() == http_date(1000)
    clock.advance(0.25)
    wall.seconds = 1001.0
    assert date() == http_date(1001)
    clock.advance(0.999)
    wall.seconds = 1001.999
    assert date() == http_date(1001)


@pytest.mark.parametrize(
    ("length", "persistence", "expected"),
    [
        (0, UNSAID, b"Content-Length: 0\r\n"),
        (12, CLOSES, b"Content-Length: 12\r\nConnection: close\r\n"),
        (12, PERSISTS, b"Content-Length: 12\r\nConnection: keep-alive\r\n"),
        (NO_BODY, UNSAID, b""),
        (CHUNKED, UNSAID, b"Transfer-Encoding: chunked\r\n"),
        (UNTIL_CLOSE, CLOSES, b"Connection: close\r\n"),
    ],
)
def test_framing_and_persistence_are_added(length: int, persistence: int, expected: bytes) -> None:
    heads = ResponseHeads(ManualClock(), Wall(0))
    raw, closes = heads.head(200, {"Date": "mine"}, length, persistence)
    assert raw == b"HTTP/1.1 200 OK\r\nDate: mine\r\n" + expected + b"\r\n"
    assert closes is (persistence == CLOSES)


@pytest.mark.parametrize("value", ["close", "Close", "upgrade, close"])
def test_close_among_the_fields_wins_and_is_not_repeated(value: str) -> None:
    heads = ResponseHeads(ManualClock(), Wall(0))
    raw, closes = heads.head(200, {"connection": value}, 0, UNSAID)
    assert closes and raw.lower().count(b"connection:") == 1


@pytest.mark.parametrize(
    "make",
    [dict, list, tuple, HeaderList, lambda pairs: [list(pair) for pair in pairs], lambda pairs: iter(list(pairs))],
)
def test_fields_may_come_in_every_form(make: Any) -> None:
    heads = ResponseHeads(ManualClock(), Wall(0))
    pairs = (("A", "1"), ("B", "2"))
    raws = {heads.head(200, make(pairs), 0, UNSAID)[0] for _ in range(2)}
    (raw,) = raws
    assert b"A: 1\r\nB: 2\r\n" in raw


def test_equal_fields_are_serialised_once_a_second_and_changed_ones_anew() -> None:
    clock = ManualClock()
    heads = ResponseHeads(clock, Wall(0))
    fields = {"A": "1"}
    first, _ = heads.head(200, fields, 5, UNSAID)
    assert heads.head(200, {"A": "1"}, 5, UNSAID)[0] is first
    fields["A"] = "2"
    assert b"A: 2" in heads.head(200, fields, 5, UNSAID)[0]
    assert heads.head(404, {"A": "1"}, 5, UNSAID)[0] != first
    assert heads.head(200, {"A": "1"}, 6, UNSAID)[0] != first
    clock.advance(1)
    assert heads.head(200, {"A": "1"}, 5, UNSAID)[0] is not first


def test_memory_for_heads_is_bounded() -> None:
    heads = ResponseHeads(ManualClock(), Wall(0))
    for length in range(2 * limits.MAX_REMEMBERED_RESPONSE_HEADS):
        heads.head(200, None, length, UNSAID)
    assert len(heads._remembered) == limits.MAX_REMEMBERED_RESPONSE_HEADS
    large = ResponseHeads(ManualClock(), Wall(0))
    large.head(200, {"X": "y" * limits.MAX_REMEMBERED_RESPONSE_HEAD_BYTES}, 0, UNSAID)
    assert not large._remembered


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"Transfer-Encoding": "chunked"}, CHUNKED),
        ({"Content-Length": "5"}, 6),
        ({"Content-Length": "5"}, CHUNKED),
        ({"Content-Length": "5"}, UNTIL_CLOSE),
        ({"Content-Length": "five"}, NO_BODY),
        ({"X\r\n": "y"}, 0),
        (5, 0),
        ([("X", [])], 0),
    ],
)
def test_fields_that_contradict_the_body_or_break_the_head_are_refused(headers: Any, length: int) -> None:
    with pytest.raises(InvalidHeader, match="headers"):
        ResponseHeads(ManualClock(), Wall(0)).head(200, headers, length, UNSAID)


@pytest.mark.parametrize("byte", [value for value in range(256) if (value < 0x20 and value != 9) or value == 0x7F])
def test_control_byte_in_a_field_of_an_answer_is_refused(byte: int) -> None:
    heads = ResponseHeads(ManualClock(), Wall(0))
    for headers in ({f"X{chr(byte)}Y": "z"}, {"X": f"a{chr(byte)}b"}):
        with pytest.raises(InvalidHeader, match="headers"):
            heads.head(200, headers, 0, UNSAID)
