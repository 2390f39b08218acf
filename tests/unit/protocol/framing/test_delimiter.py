"""Delimited: what it can be told, and messages that hold the delimiter."""

from __future__ import annotations

import pytest

from support.framing import Feed
from turbosock.errors import InvalidOption
from turbosock.protocol.framing.delimiter import Delimited


@pytest.mark.parametrize("delimiter", [b"", "\n", b"x" * 129, None])
def test_wrong_delimiter_is_named(delimiter: object) -> None:
    with pytest.raises(InvalidOption, match="delimiter="):
        Delimited(delimiter)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(
    ("delimiter", "message"),
    [(b"\n", b"a\nb"), (b"\n", b"a\n"), (b"\n", b"\n"), (b"\r\n", b"a\r\nb"), (b"aa", b"xa"), (b"aba", b"xab")],
)
def test_message_that_would_arrive_in_two_is_refused(delimiter: bytes, message: bytes, kind: type) -> None:
    feed = Feed(Delimited(delimiter))
    feed.feed(message + delimiter)
    assert feed.messages != [message]
    with pytest.raises(InvalidOption, match="holds the delimiter"):
        Delimited(delimiter).check(kind(message))


@pytest.mark.parametrize(
    ("delimiter", "message"), [(b"\r\n", b"a\r"), (b"\r\n", b"\n"), (b"ab", b"a"), (b"\r\n", b""), (b"abc", b"ab")]
)
def test_message_that_only_resembles_the_delimiter_passes(delimiter: bytes, message: bytes) -> None:
    Delimited(delimiter).check(message)
    feed = Feed(Delimited(delimiter))
    feed.feed(message + delimiter)
    assert feed.messages == [message]
