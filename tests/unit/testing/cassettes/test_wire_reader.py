"""Exchanges from bytes: however these are cut, whatever is pipelined, refused, cut off or not HTTP."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from support.http2 import block, frame
from turbosock.protocol.http1.headers import Field
from turbosock.protocol.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WITH_PRIORITY,
)
from turbosock.testing.cassettes.entry import Entry
from turbosock.testing.cassettes.wire_reader import WireReader
from turbosock.testing.origin import origin_of


class Target(NamedTuple):
    scheme: str = "http"
    host: str = "h"
    port: int = 80
    path: str | None = None
    upgrades: bool = False


def read(*said: tuple[bool, bytes]) -> list[Entry]:
    """The exchanges of a connection on which this was sent (True) and received."""
    found: list[tuple[tuple[int, int], Entry]] = []
    reader = WireReader(Target(), lambda place, entry: found.append((place, entry)))
    for place, (sent, data) in enumerate(said):
        reader.feed(place, sent, data)
    reader.close()
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]


def told(entries: list[Entry]) -> list[tuple[object, ...]]:
    """Entries in short."""
    return [
        (str(entry.request), entry.request.body.content, entry.answer.status_code, entry.answer.body.content)
        + ((entry.answer.trailers,) if entry.answer.trailers else ())
        + (("cut",) if entry.answer.cut else ())
        for entry in entries
    ]


GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECTED = [
    ("GET http://h/a", b"", 200, b"ok"),
    ("POST http://h/b", b"abc", 201, b"ok", [("X-Sum", "1")]),
]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_http1_exchanges_are_the_same_in_whatever_pieces(step: int) -> None:
    sent, came = GET + POST, OK + CONTINUE + CHUNKED
    pieces = [(True, sent[at : at + step]) for at in range(0, len(sent), step)]
    pieces += [(False, came[at : at + step]) for at in range(0, len(came), step)]
    assert told(read(*pieces)) == EXPECTED


def fields(*pairs: tuple[str, str]) -> list[Field]:
    return [(name.encode(), value.encode()) for name, value in pairs]


def asked(method: str, path: str) -> bytes:
    return block(fields((":method", method), (":scheme", "http"), (":authority", "h"), (":path", path)))


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_http2_exchanges_are_the_same_in_whatever_pieces(step: int) -> None:
    post = asked("POST", "/b")
    sent = (
        PREFACE
        + frame(SETTINGS, 0, 0)
        + frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, bytes(5) + asked("GET", "/a"))
        + frame(HEADERS, PADDED, 3, b"\x02" + post[:9] + b"\0\0")
        + frame(CONTINUATION, END_HEADERS, 3, post[9:])
        + frame(DATA, PADDED, 3, b"\x01ab\0")
        + frame(DATA, END_STREAM, 3, b"c")
    )
    came = (
        frame(SETTINGS, 0, 0)
        + frame(HEADERS, END_HEADERS, 3, block(fields((":status", "103"))))
        + frame(HEADERS, END_HEADERS, 3, block(fields((":status", "201"))))
        + frame(HEADERS, END_HEADERS, 1, block(fields((":status", "200"))))
        + frame(DATA, 0, 3, b"ok")
        + frame(HEADERS, END_HEADERS | END_STREAM, 3, block(fields(("X-Sum", "1"))))
        + frame(DATA, END_STREAM, 1, b"ok")
    )
    pieces = [(True, sent[at : at + step]) for at in range(0, len(sent), step)]
    pieces += [(False, came[at : at + step]) for at in range(0, len(came), step)]
    assert told(read(*pieces)) == EXPECTED


def test_http2_answer_noted_before_its_request_is_read() -> None:
    came = frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields((":status", "204"))))
    request = frame(HEADERS, END_HEADERS | END_STREAM, 1, asked("GET", "/a"))
    assert told(read((True, PREFACE), (False, came), (True, request))) == [("GET http://h/a", b"", 204, b"")]


def test_http2_stream_that_was_reset_is_cut() -> None:
    request = frame(HEADERS, END_HEADERS | END_STREAM, 1, asked("GET", "/a"))
    came = frame(HEADERS, END_HEADERS, 1, block(fields((":status", "200")))) + frame(DATA, 0, 1, b"o")
    reset = frame(RST_STREAM, 0, 1, bytes(4))
    assert told(read((True, PREFACE + request), (False, came), (True, reset))) == [
        ("GET http://h/a", b"", 200, b"o", "cut")
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(True, GET), (False, OK[:-1])], [("GET http://h/a", b"", 200, b"o", "cut")]),
        ([(True, GET), (False, OK[:20])], []),
        ([(True, GET)], []),
        ([(True, POST[:-5]), (False, OK)], [("POST http://h/b", b"abc", 200, b"ok")]),
        (
            [(True, GET), (False, b"HTTP/1.0 200 OK\r\n\r\nall"), (False, b"")],
            [("GET http://h/a", b"", 200, b"all")],
        ),
        ([(True, GET), (False, b"HTTP/1.0 200 OK\r\n\r\nall")], [("GET http://h/a", b"", 200, b"all", "cut")]),
        ([(True, GET), (False, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), (True, b"\0"), (False, b"\0")], []),
        ([(True, GET), (False, OK + b"junk"), (True, GET), (False, OK)], [("GET http://h/a", b"", 200, b"ok")]),
        ([(True, GET), (False, b"SSH-2.0")], []),
        ([(False, b"220 ready"), (True, b"\0\0")], []),
        ([(True, b"GET http://o/x HTTP/1.1\r\nHost: o\r\n\r\n"), (False, OK)], [("GET http://o/x", b"", 200, b"ok")]),
        ([(True, GET.replace(b"GET", b"HEAD")), (False, OK[:-2])], [("HEAD http://h/a", b"", 200, b"")]),
    ],
)
def test_what_was_answered_is_told_and_nothing_else(
    said: list[tuple[bool, bytes]], expected: list[tuple[object, ...]]
) -> None:
    assert told(read(*said)) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(), "http://h"),
        (Target(port=81), "http://h:81"),
        (Target("https", "h", 443), "https://h"),
        (Target(host="::1", port=8080), "http://[::1]:8080"),
        (Target("http+unix", "localhost", 0, "/run/a b"), "http+unix://%2Frun%2Fa%20b"),
    ],
)
def test_origin_is_the_beginning_of_its_urls(target: Target, expected: str) -> None:
    assert origin_of(target) == expected
