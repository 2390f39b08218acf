"""Gathered bodies: every length, memory for what has come, and the bound."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.client.gather import Gatherer
from turbosock.errors import BodyTooLarge


def write_some(gatherer: Gatherer, data: bytes) -> int:
    """Write the beginning of `data`, as much as is lent; the lent view ends with the call."""
    view = gatherer.writable()
    assert len(view) > 0
    count = min(len(view), len(data))
    view[:count] = data[:count]
    gatherer.advance(count)
    return count


def fill(gatherer: Gatherer, data: bytes, step: int) -> None:
    """Write `data` in pieces of at most `step` bytes."""
    at = 0
    while at < len(data):
        at += write_some(gatherer, data[at : at + step])


@pytest.mark.parametrize("length", [1, 2, 100, 65_535, 65_536, 65_537, 1_048_576, 1_048_577, 3_000_000])
@pytest.mark.parametrize("known", [True, False])
def test_gatherer_gives_back_what_was_written(length: int, known: bool) -> None:
    data = random.Random(length).randbytes(length)
    gatherer = Gatherer(length if known else -1, 2**40)
    fill(gatherer, data, 50_000)
    assert gatherer.take() == data


@pytest.mark.parametrize("expected", [0, -1])
def test_gatherer_of_nothing_gives_empty_bytes(expected: int) -> None:
    assert Gatherer(expected, 100).take() == b""
    gatherer = Gatherer(expected, 100)
    assert len(gatherer.writable()) > 0
    gatherer.advance(0)
    assert gatherer.take() == b""


@pytest.mark.parametrize("seed", seeds(20))
def test_gatherer_written_in_random_pieces_gives_back_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(chance.randrange(400_000))
    gatherer = Gatherer(chance.choice([-1, len(data)]), 2**40)
    at = 0
    while at < len(data):
        at += write_some(gatherer, data[at : at + chance.randrange(1, 70_000)])
    assert gatherer.take() == data


def test_gatherer_announced_a_terabyte_takes_one_step() -> None:
    gatherer = Gatherer(10**12, 2**48)
    assert len(gatherer.writable()) <= limits.GATHER_STEP_BYTES
    gatherer.advance(10)
    assert len(gatherer.take()) == 10


def test_gatherer_refuses_an_announced_length_above_its_bound() -> None:
    with pytest.raises(BodyTooLarge, match="max_body_bytes=100"):
        Gatherer(101, 100)
    assert Gatherer(100, 100).expected == 100


@pytest.mark.parametrize("bound", [0, 1, 100, 65_536, 100_000])
def test_gatherer_of_unknown_length_ends_exactly_at_its_bound(bound: int) -> None:
    gatherer = Gatherer(-1, bound)
    fill(gatherer, bytes(bound), 4096)
    assert gatherer.length == bound
    with pytest.raises(BodyTooLarge, match=f"max_body_bytes={bound}"):
        fill(gatherer, b"x", 1)


def test_gatherer_taken_is_empty_and_can_be_used_again() -> None:
    gatherer = Gatherer(-1, 100)
    fill(gatherer, b"abc", 10)
    first = gatherer.take()
    fill(gatherer, b"defg", 10)
    assert (first, gatherer.take(), gatherer.take()) == (b"abc", b"defg", b"")


def test_abandoned_gatherer_ends_what_it_lent() -> None:
    gatherer = Gatherer(1000, 1000)
    lent = gatherer.writable(100)
    assert len(lent) == 100
    gatherer.abandon()
    with pytest.raises(ValueError, match="released"):
        bytes(lent)
    # With a view alive this would raise.
    gatherer._file.close()
    gatherer.abandon()


def test_what_is_lent_is_no_more_than_was_asked_for() -> None:
    gatherer = Gatherer(1000, 1000)
    gatherer.writable(300)[:] = b"a" * 300
    gatherer.advance(300)
    gatherer.writable()[:] = b"b" * 700
    gatherer.advance(700)
    assert gatherer.take() == b"a" * 300 + b"b" * 700


def test_large_body_of_unknown_length_never_has_much_more_room_than_it_fills() -> None:
    gatherer = Gatherer(-1, 64 * limits.MIB)
    block = bytes(limits.MIB)
    length = 0
    while length < 3 * limits.GATHER_DOUBLING_BYTES:
        room = gatherer.writable()
        if length > 2 * limits.GATHER_DOUBLING_BYTES:
            assert len(room) <= length // 8 + 1
        count = min(len(room), len(block))
        room[:count] = block[:count]
        # As of a caller: what is lent ends with the call that it was for.
        del room
        gatherer.advance(count)
        length += count
    assert len(gatherer.take()) == length


@pytest.mark.parametrize("size", [0, 1, 100, 65_536, 65_537, 2_000_000])
def test_body_that_is_full_before_its_end_is_known_keeps_every_byte(size: int) -> None:
    gatherer = Gatherer(size, 1 << 22)
    body = bytes(index % 255 + 1 for index in range(256)) * (size // 256 + 1)
    fill(gatherer, body[:size], 50_000)
    for _ in range(3):
        # Whoever asks for the end needs room to ask with.
        assert len(gatherer.writable()) > 0
    assert gatherer.take() == body[:size]
