from __future__ import annotations

import pytest

from turbosock.protocol.sse.shape import EventShape


def test_shape_without_id_is_its_header() -> None:
    shape = EventShape(b"event: e\ndata: ", -1, -1, False, "e")
    assert (shape.prefix, shape.middle, shape.expected) == (b"event: e\ndata: ", b"", b"\n\nevent: e\ndata: ")
    assert not shape.tight


def test_shape_with_id_leaves_the_id_out() -> None:
    shape = EventShape(b"id: 12\r\ndata: ", 4, 6, True, "message")
    assert (shape.prefix, shape.middle, shape.expected) == (b"id: ", b"\r\ndata: ", b"\r\n\r\nid: ")


@pytest.mark.parametrize(
    ("header", "id_start", "tight"),
    [(b"data:", -1, True), (b"id:1\ndata: ", 3, True), (b"id: 1\ndata:", 4, True), (b"id: 1\ndata: ", 4, False)],
)
def test_shape_is_tight_where_a_space_might_follow(header: bytes, id_start: int, tight: bool) -> None:
    assert EventShape(header, id_start, id_start + 1 if id_start >= 0 else -1, False, "").tight is tight


@pytest.mark.parametrize(
    ("header", "id_start", "expected"),
    [
        (b"data: ", -1, True),
        (b"data", -1, False),
        (b"id\ndata: ", 2, False),
        (b"id:\ndata: ", 3, True),
        (b"event: a\0\ndata: ", -1, False),
    ],
)
def test_header_without_colons_or_with_nul_is_no_shape(header: bytes, id_start: int, expected: bool) -> None:
    assert EventShape.is_one(header, id_start) is expected
