"""Authorizer: values checked before they are sent, and attempts counted."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock import limits
from turbosock.client.auth import Auth, Authorizer, AuthRequest, CallableAuth
from turbosock.client.auth.digest import DigestAuth
from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.protocol.http1.headers import HeaderList

ORIGIN = ("http", "host", 80)
EMPTY = HeaderList()


def test_authorizer_asks_first_and_after_each_challenge() -> None:
    authorizer = Authorizer(CallableAuth(lambda view: f"Custom {view.attempt}"), AuthRequest(ORIGIN, "GET", "/"))
    assert authorizer.first() == "Custom 0"
    assert authorizer.again(401, EMPTY) == "Custom 1"
    for status in (200, 302, 403, 407, 500):
        assert authorizer.again(status, EMPTY) is None


def test_authorizer_ends_for_a_server_that_asks_for_ever() -> None:
    authorizer = Authorizer(CallableAuth(lambda view: "Custom x"), AuthRequest(ORIGIN, "GET", "/"))
    answers = [authorizer.again(401, EMPTY) for _ in range(limits.MAX_AUTH_ATTEMPTS + 3)]
    assert answers == ["Custom x"] * limits.MAX_AUTH_ATTEMPTS + [None] * 3


def test_authorizer_ends_for_digest_that_is_always_stale() -> None:
    authorizer = Authorizer(DigestAuth("user", "secret"), AuthRequest(ORIGIN, "GET", "/"))
    count = 0
    while authorizer.again(401, stale(count)) is not None:
        count += 1
    assert count == limits.MAX_AUTH_ATTEMPTS


def stale(number: int) -> HeaderList:
    return HeaderList([("WWW-Authenticate", f'Digest realm="r", nonce="n{number}", qop="auth", stale=true')])


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("secret\r\nX-Other: y", InvalidHeader),
        ("secret\0", InvalidHeader),
        ("secret ", InvalidHeader),
        ("secret\u20ac", InvalidHeader),
        ("", InvalidOption),
        (b"secret", InvalidOption),
        (("secret", 1), InvalidOption),
    ],
)
def test_authorizer_lets_nothing_out_that_cannot_be_sent(value: Any, error: type[Exception]) -> None:
    authorizer = Authorizer(CallableAuth(lambda view: value), AuthRequest(ORIGIN, "GET", "/"))
    for ask in (authorizer.first, lambda: authorizer.again(401, EMPTY)):
        with pytest.raises(error) as caught:
            ask()
        assert "secret" not in str(caught.value)


def test_authorizer_tells_of_the_end_unless_it_is_a_challenge() -> None:
    noted: list[HeaderList] = []

    class Noting(Auth):
        def note(self, request: AuthRequest, headers: HeaderList) -> None:
            noted.append(headers)

    authorizer = Authorizer(Noting(), AuthRequest(ORIGIN, "GET", "/"))
    authorizer.finish(401, EMPTY)
    authorizer.finish(404, EMPTY)
    assert noted == [EMPTY]
