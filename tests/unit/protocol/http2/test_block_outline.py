from __future__ import annotations

import pytest

from support import hpack_wire as wire
from turbosock.protocol.http2.block_outline import BlockOutline, outline

MANY = 100


@pytest.mark.parametrize(
    ("block", "fields", "insertions"),
    [
        (b"", 0, 0),
        (wire.indexed(2), 1, 0),
        (wire.indexed(61), 1, 0),
        (wire.literal(b"a", b"b"), 1, 0),
        (wire.secret(32, b"b" * 5000), 1, 0),
        (wire.inserted(b"a" * 127, b"b" * 300), 1, 1),
        (wire.inserted(b"a", b"b", huffman=True) + wire.inserted(4, b"c", huffman=True), 2, 2),
        # Its own insertions, and no further back.
        (wire.inserted(b"a", b"b") + wire.indexed(62), 2, 1),
        (wire.inserted(b"a", b"b") + wire.inserted(62, b"c") + wire.literal(63, b"d"), 3, 2),
    ],
)
def test_outline_of_a_block_that_needs_no_table_counts_its_insertions(
    block: bytes, fields: int, insertions: int
) -> None:
    assert outline(block, MANY) == BlockOutline(fields, insertions, -1)


@pytest.mark.parametrize(
    "block",
    [
        wire.indexed(62),
        wire.literal(62, b"a"),
        wire.secret(63, b"a"),
        wire.inserted(62, b"a"),
        wire.inserted(b"a", b"b") + wire.indexed(63),
        wire.indexed(2**33),
    ],
)
def test_outline_of_a_block_that_needs_the_table_counts_no_insertions(block: bytes) -> None:
    assert outline(block, MANY).insertions == -1


@pytest.mark.parametrize(
    ("block", "smallest_size"),
    [
        (wire.resized(0), 0),
        (wire.resized(30) + wire.indexed(2), 30),
        (wire.resized(31) + wire.resized(4096), 31),
        (wire.resized(4096) + wire.resized(100) + wire.indexed(2), 100),
        # Six bytes for a small number.
        (b"\x3f\x80\x80\x80\x80\x00", 31),
    ],
)
def test_outline_of_a_block_that_resizes_tells_the_smallest_size(block: bytes, smallest_size: int) -> None:
    told = outline(block, MANY)
    assert (told.insertions, told.smallest_size) == (-1, smallest_size)


@pytest.mark.parametrize(
    "block",
    [
        # A size after a field.
        wire.indexed(2) + wire.resized(0),
        # Cut inside an integer, before and inside a string.
        b"\xff",
        b"\xff\x80",
        b"\x3f",
        b"\x40",
        b"\x40\x01",
        b"\x40\x01a",
        b"\x40\x01a\x02b",
        b"\x44",
        b"\x44\x7f",
        # An integer without end.
        b"\xff\x80\x80\x80\x80\x80\x00",
        b"\x3f\x80\x80\x80\x80\x80\x00",
        b"\x00\x7f\xff\xff\xff\xff\xff\x00",
    ],
)
def test_outline_of_a_malformed_block_claims_nothing(block: bytes) -> None:
    told = outline(block, MANY)
    assert (told.insertions, told.smallest_size) == (-1, -1)


def test_outline_of_too_many_fields_stops_after_the_first_of_them() -> None:
    assert outline(wire.indexed(2) * 10, 10).fields == 10
    assert outline(wire.indexed(2) * 11, 10).fields == 11
    assert outline(wire.indexed(2) * 5000, 10).fields == 11
