"""Heads as -v shows them: no credential, no byte that a terminal obeys."""

from __future__ import annotations

import pytest

from turbosock.cli.shown_head import shown_head


def test_shown_head_has_every_line_behind_its_mark() -> None:
    raw = b"GET /path?query HTTP/1.1\r\nHost: host\r\nX-Time:  10:30 \r\n\r\n"
    assert shown_head(raw, ">") == "> GET /path?query HTTP/1.1\n> Host: host\n> X-Time: 10:30\n>\n"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "X-Auth-Token",
        "Client-Secret",
    ],
)
def test_shown_head_credential_is_hidden(name: str) -> None:
    shown = shown_head(b"GET / HTTP/1.1\r\n%b: s3cr3t\r\n\r\n" % name.encode(), ">")
    assert f"> {name}: (hidden)\n" in shown
    assert "s3cr3t" not in shown


def test_shown_head_challenge_is_not_hidden() -> None:
    shown = shown_head(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="r"\r\n\r\n', "<")
    assert '< WWW-Authenticate: Basic realm="r"\n' in shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://user:s3cr3t@host/path", "http://(hidden)@host/path"),
        ("//user:s3cr3t@host", "//(hidden)@host"),
        ("http://host/path@home", "http://host/path@home"),
        ("http://host?mail=a@b", "http://host?mail=a@b"),
        ("/path//a@b", "/path//a@b"),
    ],
)
def test_shown_head_user_information_of_a_url_is_hidden(value: str, expected: str) -> None:
    shown = shown_head(b"HTTP/1.1 302 Found\r\nLocation: %b\r\n\r\n" % value.encode(), "<")
    assert f"< Location: {expected}\n" in shown


def test_shown_head_bytes_that_move_a_terminal_are_escaped() -> None:
    shown = shown_head(b"HTTP/1.1 200 \x9b2J\r\nX: a\tb\x85\xa0\xe9\r\n\r\n", "<")
    assert shown == "< HTTP/1.1 200 \\x9b2J\n< X: a\\x09b\\x85\\xa0é\n<\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_shown_head_with_bare_line_feeds_is_shown_alike(end: bytes) -> None:
    assert shown_head(end.join([b"HTTP/1.1 200 OK", b"A: b", b"", b""]), "<") == "< HTTP/1.1 200 OK\n< A: b\n<\n"
