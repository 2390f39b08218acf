"""Poison fills memory and is not text."""

from __future__ import annotations

import pytest

from turbosock.buffers.poison import CANARY, POISON, fill


@pytest.mark.parametrize("byte", [POISON, CANARY])
def test_fill_sets_every_byte_of_the_view_and_none_beside_it(byte: int) -> None:
    storage = bytearray(8)
    fill(memoryview(storage)[2:6], byte)
    assert storage == bytes(2) + bytes((byte,)) * 4 + bytes(2)


def test_marks_are_outside_ascii_and_differ() -> None:
    assert POISON == 0xDB
    assert CANARY > 0x7F
    assert CANARY != POISON
