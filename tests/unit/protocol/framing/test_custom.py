"""CustomFraming: what a user's function may return, and what becomes of what it raises."""

from __future__ import annotations

from typing import Any

import pytest

from support.framing import Feed
from turbosock.buffers import RingBuffer
from turbosock.errors import InvalidOption, LimitError, Origin, ProtocolError
from turbosock.protocol.framing.choice import framing_of
from turbosock.protocol.framing.custom import CustomFraming
from turbosock.protocol.framing.delimiter import Delimited
from turbosock.protocol.framing.framing import FAILED, FrameReader
from turbosock.protocol.framing.raw import RawFraming


def test_number_is_the_size_of_the_message() -> None:
    feed = Feed(CustomFraming(lambda data, examined: 3 if len(data) >= 3 else 0))
    feed.feed(b"abcdefgh")
    assert feed.messages == [b"abc", b"def"]


def test_function_is_told_how_much_it_has_seen() -> None:
    seen = []

    def find(data: memoryview, examined: int) -> int:
        seen.append((len(data), examined))
        return len(data) if data[-1] == ord(".") else 0

    feed = Feed(CustomFraming(find))
    for piece in (b"ab", b"c", b"d.", b"e"):
        feed.feed(piece)
    assert seen == [(2, 0), (3, 2), (5, 3), (1, 0)]


@pytest.mark.parametrize(
    "found",
    [-1, 9, (2, 1, 3), (0, 4, 3), (-1, 2, 3), (0, 1, 9), (0, 0, 0), (0, 2), (0, 1.0, 2), (0, 1, 2.0), 2.0, "abc", None],
)
def test_nonsense_is_an_error_of_ours(found: Any) -> None:
    feed = Feed(CustomFraming(lambda data, examined: found))
    feed.feed(b"abcd")
    assert isinstance(feed.failed, ProtocolError) and feed.failed.origin is Origin.LOCAL


def test_exception_is_the_peers_breach_and_its_cause() -> None:
    def find(data: memoryview, examined: int) -> int:
        raise ValueError("what a mess")

    feed = Feed(CustomFraming(find))
    feed.feed(b"abcd")
    assert isinstance(feed.failed, ProtocolError) and "what a mess" in str(feed.failed)
    assert isinstance(feed.failed.__cause__, ValueError)


def test_error_of_ours_stays_itself() -> None:
    error = LimitError("enough")

    def find(data: memoryview, examined: int) -> int:
        raise error

    feed = Feed(CustomFraming(find))
    feed.feed(b"abcd")
    assert feed.failed is error


def test_argument_chooses_the_framing() -> None:
    lines = Delimited()
    assert framing_of(lines) is lines
    assert isinstance(framing_of(None), RawFraming)
    assert isinstance(framing_of(lambda data, examined: 0), CustomFraming)


@pytest.mark.parametrize("framing", ["lines", 4, Delimited])
def test_argument_that_is_no_framing_is_named(framing: object) -> None:
    with pytest.raises(InvalidOption, match="framing="):
        framing_of(framing)  # type: ignore[arg-type]  # that is the point


def test_custom_framing_of_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(InvalidOption, match="framing="):
        CustomFraming(4)  # type: ignore[arg-type]  # that is the point


def test_function_that_ended_its_connection_gets_nothing_delivered() -> None:
    readers: list[FrameReader] = []

    def find(data: memoryview, examined: int) -> int:
        readers[0].stop()
        return 1

    ring = RingBuffer(512)
    readers.append(CustomFraming(find).reader(100))
    ring.write(b"ab")
    assert readers[0].next(ring) == FAILED
    assert readers[0].error is None and ring.length == 2
