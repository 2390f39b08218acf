"""BearerAuth: tokens as they are, tokens from a callable, and one fresh token after a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.client.auth import AuthRequest, BearerAuth
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.headers import HeaderList

CHALLENGE = HeaderList([("WWW-Authenticate", 'Bearer error="invalid_token"')])


def request() -> AuthRequest:
    return AuthRequest(("https", "host", 443), "GET", "/")


def test_bearer_token_goes_with_the_first_attempt_and_no_other() -> None:
    auth, one = BearerAuth("mF_9.B5f-4.1JqM"), request()
    assert auth.authorize(one) == "Bearer mF_9.B5f-4.1JqM"
    assert auth.answer(one, 401, CHALLENGE) is None


def test_bearer_callable_is_asked_for_each_request_and_once_more_after_a_refusal() -> None:
    tokens = iter(["a", "b", "c", "d"])
    auth, one = BearerAuth(lambda: next(tokens)), request()
    assert auth.authorize(one) == "Bearer a"
    assert auth.answer(one, 401, CHALLENGE) == "Bearer b"
    assert auth.answer(one, 401, CHALLENGE) is None
    assert auth.authorize(request()) == "Bearer c"


def test_bearer_callable_with_the_refused_token_again_gives_up() -> None:
    auth, one = BearerAuth(lambda: "same"), request()
    auth.authorize(one)
    assert auth.answer(one, 401, CHALLENGE) is None


@pytest.mark.parametrize("token", ["", "secret token", "secret\r\nX: y", "secret\xe9", "secret\t", None, b"secret", 5])
def test_bearer_token_that_cannot_be_sent_is_refused_unseen(token: Any) -> None:
    with pytest.raises(InvalidOption, match="token") as caught:
        BearerAuth(token)
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidOption, match="token") as caught:
        BearerAuth(lambda: token).authorize(request())
    assert "secret" not in str(caught.value)


def test_bearer_token_stands_in_no_repr() -> None:
    assert repr(BearerAuth("secret")) == "<BearerAuth>"
