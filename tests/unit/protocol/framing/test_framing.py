"""Every framing, fed in every way: whole, byte by byte, at every split, from rings of every size."""

from __future__ import annotations

import random

import pytest

from support.framing import FRAMINGS, Feed, pieces
from turbosock.errors import ConnectionClosed, LimitError
from turbosock.protocol.framing.framing import Framing
from turbosock.protocol.framing.raw import RawFraming

MESSAGES = [b"", b"a", b"hello", b"", b"x" * 127, b"y" * 130, b"ab", b"abab", b"z" * 200, b""]
NAMES = sorted(FRAMINGS)


def stream(name: str, messages: list[bytes] = MESSAGES) -> bytes:
    return b"".join(FRAMINGS[name][1](message) for message in messages)


@pytest.mark.parametrize("capacity", [16, 64, 300, 4096])
@pytest.mark.parametrize("name", NAMES)
def test_messages_come_out_whole_however_they_arrive(name: str, capacity: int) -> None:
    framing, _ = FRAMINGS[name]
    data = stream(name)
    ways = [[data], [data[i : i + 1] for i in range(len(data))]]
    ways += [pieces(data, [cut]) for cut in range(1, len(data))]
    rng = random.Random(7)
    ways += [pieces(data, rng.sample(range(1, len(data)), 9)) for _ in range(50)]
    for way in ways:
        feed = Feed(framing, capacity=capacity)
        for piece in way:
            feed.feed(piece)
        assert feed.messages == MESSAGES
        assert feed.failed is None and feed.ring.length == 0
        assert feed.reader.end(feed.ring) is None


@pytest.mark.parametrize("name", NAMES)
def test_frame_written_is_the_frame_read(name: str) -> None:
    framing, encode = FRAMINGS[name]
    if name == "dotted":
        pytest.skip("what is sent through a function's framing is framed by its caller")
    for message in MESSAGES:
        framing.check(message)
        assert framing.header(len(message)) + message + framing.trailer == encode(message)


@pytest.mark.parametrize("name", NAMES)
def test_message_of_the_bound_passes_and_one_byte_more_fails(name: str) -> None:
    framing, encode = FRAMINGS[name]
    feed = Feed(framing, max_message=100)
    feed.feed(encode(b"x" * 100))
    assert feed.messages == [b"x" * 100] and feed.failed is None

    for way in (1, 1000):
        feed = Feed(framing, max_message=100)
        data = encode(b"x" * 101)
        for at in range(0, len(data), way):
            feed.feed(data[at : at + way])
        assert feed.messages == []
        assert isinstance(feed.failed, LimitError) and "max_message=100" in str(feed.failed)


@pytest.mark.parametrize("name", NAMES)
def test_stream_that_ends_inside_a_message_is_told(name: str) -> None:
    framing, encode = FRAMINGS[name]
    feed = Feed(framing)
    feed.feed(encode(b"whole") + encode(b"longer")[:-1])
    error = feed.reader.end(feed.ring)
    assert feed.messages == [b"whole"]
    assert isinstance(error, ConnectionClosed)


@pytest.mark.parametrize("name", NAMES)
def test_endless_message_costs_no_more_than_the_bound(name: str) -> None:
    feed = Feed(FRAMINGS[name][0], max_message=255)
    feed.feed(b"\xfe" * 10_000)
    if name == "one byte":
        assert feed.messages
    else:
        assert feed.failed is not None
    assert feed.largest <= 2 * (255 + 16)


@pytest.mark.parametrize("name", ["four big", "four little", "varint"])
def test_announced_length_makes_no_memory(name: str) -> None:
    framing, _ = FRAMINGS[name]
    feed = Feed(framing, max_message=1 << 28, capacity=64)
    # Its first bytes alone.
    feed.feed(framing.header(1 << 28) + b"x" * 20)
    assert feed.largest == 64 and feed.failed is None


@pytest.mark.parametrize("name", ["four big", "four little", "varint"])
def test_length_of_two_to_the_31_is_refused(name: str) -> None:
    framing, _ = FRAMINGS[name]
    feed = Feed(framing)
    feed.feed(framing.header(1 << 31))
    assert isinstance(feed.failed, LimitError) and str(1 << 31) in str(feed.failed)


def test_search_grows_with_what_comes_and_not_with_its_square() -> None:
    # A million bytes without a delimiter, one by one: searched anew each time that would be 5 * 10**11 bytes.
    framing, _ = FRAMINGS["three bytes"]
    feed = Feed(framing, max_message=1 << 20, capacity=1 << 20)
    data = b"a" * 200_000
    for at in range(0, len(data), 2):
        feed.feed(data[at : at + 2])
        assert feed.reader._examined >= feed.ring.length - 2
    feed.feed(b"ab\xff")
    assert feed.messages == [data]


def test_raw_bytes_are_messages_as_they_come() -> None:
    feed = Feed(RawFraming(), max_message=10)
    feed.feed(b"abc")
    feed.feed(b"d" * 25)
    assert feed.messages == [b"abc", b"d" * 10, b"d" * 10, b"d" * 5]
    assert feed.reader.end(None) is None


@pytest.mark.parametrize("name", NAMES)
def test_framing_shows_itself(name: str) -> None:
    framing: Framing = FRAMINGS[name][0]
    assert repr(framing).startswith(type(framing).__name__)
