"""Unsent: bytes in, in pieces, and the same bytes out, whatever happens to the memory that they came from."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.connection.unsent import Unsent


@pytest.mark.parametrize("seed", seeds(20))
def test_random_pieces_come_out_as_they_went_in(seed: int) -> None:
    chosen = random.Random(seed)
    unsent = Unsent()
    expected = bytearray()
    for _ in range(300):
        if chosen.random() < 0.5:
            size = chosen.choice((1, 10, limits.SMALL_PIECE_BYTES - 1, limits.SMALL_PIECE_BYTES, 20_000))
            piece = chosen.randbytes(size)
            start = chosen.randrange(size)
            expected += piece[start:]
            memory = bytearray(piece)
            unsent.append(piece if chosen.random() < 0.5 else memoryview(memory), start)
            # It is its owner's again at once, to be changed and resized.
            memory[:] = b"gone"
        elif unsent.length:
            view = unsent.first()
            count = chosen.randint(1, len(view))
            assert view == expected[: len(view)]
            view.release()
            unsent.skip(count)
            del expected[:count]
        assert unsent.length == len(expected)
    while unsent.length:
        first = bytes(unsent.first())
        assert expected.startswith(first)
        del expected[: len(first)]
        unsent.skip(len(first))
    assert not expected


def test_small_pieces_are_put_together_and_large_bytes_are_not_copied() -> None:
    unsent = Unsent()
    for _ in range(1000):
        unsent.append(b"x")
    assert len(unsent.first()) == 1000
    unsent.clear()
    assert unsent.length == 0
    large = b"y" * 100_000
    unsent.append(large)
    assert unsent.first().obj is large
