"""Combined and malformed Content-Length fields (facts of web-platform-tests), on both sides, fed every way."""

from __future__ import annotations

from typing import Any

import pytest

from support.http1 import read_every_way
from support.vectors import load_cases, require

CASES: list[dict[str, Any] | None] = [*load_cases("content_length.json")] or [None]


@pytest.mark.parametrize("case", CASES, ids=lambda c: repr(c["value"]) if c else "missing")
@pytest.mark.parametrize("side", ["request", "response"])
def test_content_length_case_fed_every_way_gives_its_length_or_is_refused(
    case: dict[str, Any] | None, side: str
) -> None:
    require("content_length.json")
    assert case is not None
    lines = b"".join(b"Content-Length: %b\r\n" % line.encode("utf-8") for line in case["value"].split("\r\n"))
    if side == "request":
        data = b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n" + b"x" * 50
        reader = read_every_way(None, data)
    else:
        data = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + b"x" * 50
        reader = read_every_way("GET", data)
    if case["length"] is None:
        assert reader.error is not None
        assert reader.error.code == "bad_content_length"
        assert reader.messages == []
    else:
        assert reader.messages[0].head.content_length == case["length"]
        assert len(reader.messages[0].body) == case["length"]
        assert reader.messages[0].complete
