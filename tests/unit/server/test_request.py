"""What a handler sees of a request."""

from __future__ import annotations

import pytest

from turbosock.protocol.http1.head import parse_request_head
from turbosock.server.request import Request


def make(target: str, *, version: str = "1.1") -> Request:
    data = bytearray(f"GET {target} HTTP/{version}\r\nHost: h:80\r\nX: y\r\n\r\n".encode())
    head = parse_request_head(data, 0, len(data))
    assert head is not None
    return Request(head, ("127.0.0.1", 5), b"content")


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("/", "/", "", "h:80"),
        ("/a/b%20c?d=e?f", "/a/b%20c", "d=e?f", "h:80"),
        ("/?", "/", "", "h:80"),
        ("/a?http://x/y", "/a", "http://x/y", "h:80"),
        ("//double", "//double", "", "h:80"),
        ("http://other/p?q", "/p", "q", "other"),
        ("http://other:8080", "/", "", "other:8080"),
        ("http://other?q", "/", "q", "other"),
    ],
)
def test_target_splits_into_path_and_query(target: str, path: str, query: str, host: str) -> None:
    assert make(target).query == query
    request = make(target)
    assert (request.target, request.path, request.query, request.host) == (target, path, query, host)
    assert request.path == path


def test_request_shows_the_rest_as_it_came() -> None:
    request = make("/x?secret")
    assert (request.method, request.http_version, request.content) == ("GET", "HTTP/1.1", b"content")
    assert make("/", version="1.0").http_version == "HTTP/1.0"
    assert request.headers["x"] == "y" and request.peer == ("127.0.0.1", 5)
    assert repr(request) == "<Request GET /x>"
