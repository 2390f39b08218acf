"""LengthPrefixed: what it can be told, and lengths that are none."""

from __future__ import annotations

from typing import Any

import pytest

from support.framing import Feed
from turbosock.errors import InvalidOption, ProtocolError
from turbosock.protocol.framing.length import LengthPrefixed


@pytest.mark.parametrize(
    ("size", "order"),
    [(3, "big"), (0, "big"), (True, "big"), ("four", "big"), (2.0, "big"), ([], "big"), (4, "middle"), (4, ["big"])],
)
def test_wrong_argument_is_named(size: Any, order: Any) -> None:
    with pytest.raises(InvalidOption, match="size=" if order == "big" else "order="):
        LengthPrefixed(size, order)


@pytest.mark.parametrize(("size", "most"), [(1, 255), (2, 65_535), (4, 2**32 - 1), ("varint", 2**35 - 1)])
def test_length_that_does_not_fit_is_refused(size: int | str, most: int) -> None:
    framing = LengthPrefixed(size)
    assert framing.header(most)
    with pytest.raises(InvalidOption, match="do not fit"):
        framing.header(most + 1)


def test_varint_that_does_not_end_is_refused() -> None:
    feed = Feed(LengthPrefixed("varint"))
    feed.feed(b"\x80\x80\x80\x80")
    assert feed.failed is None
    feed.feed(b"\x80")
    assert isinstance(feed.failed, ProtocolError) and feed.failed.code == "bad_length"


def test_varint_with_needless_bytes_is_its_number() -> None:
    feed = Feed(LengthPrefixed("varint"))
    feed.feed(b"\x83\x80\x00abc")
    assert feed.messages == [b"abc"]
