"""Lines of data joined many at once."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.protocol.sse.joining import joined, parted


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (b"a", b"a"),
        (b"a\ndata: b\ndata: ", b"a\nb\n"),
        (b"a\n\ndata: b", b"a\r\nb"),
        (b"a\nid: 1\ndata:b\ndata", b"a\rid: 1\rdata:b\rdata"),
        (b"\ndata: a\n\nevent: x\ndata: b", b"\na\r\revent: x\nb"),
        (b"", b""),
    ],
)
def test_lines_of_data_are_joined_by_lf_and_other_line_ends_become_cr(lines: bytes, text: bytes) -> None:
    assert joined(memoryview(lines)) == text
    assert parted(memoryview(text)) == lines


@pytest.mark.parametrize("seed", seeds(20))
def test_parted_text_is_what_it_was_joined_from(seed: int) -> None:
    chooser = random.Random(seed)
    lines = b"".join(chooser.choices([b"\n", b"data: ", b"data", b": ", b"x", b"\0", b"\xff"], k=200))
    assert parted(memoryview(joined(memoryview(lines)))) == lines
