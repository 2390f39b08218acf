"""CallableAuth: a user's function sees each attempt and may answer a challenge."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.client.auth import AuthRequest, AuthView, CallableAuth
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.headers import HeaderList

CHALLENGE = HeaderList([("WWW-Authenticate", "Custom nonce=5")])


def test_callable_sees_the_request_and_then_the_challenge() -> None:
    seen: list[AuthView] = []

    def sign(view: AuthView) -> str | None:
        seen.append(view)
        return f"Custom {view.headers['WWW-Authenticate'][-1]}" if view.headers is not None else None

    request = AuthRequest(("https", "host", 443), "POST", "/a?b", b"body")
    auth = CallableAuth(sign)
    assert auth.authorize(request) is None
    assert auth.answer(request, 401, CHALLENGE) == "Custom 5"
    assert auth.answer(request, 401, CHALLENGE) == "Custom 5"
    first = seen[0]
    assert (first.origin, first.method, first.target, first.body) == (request.origin, "POST", "/a?b", b"body")
    assert [(view.attempt, view.status_code) for view in seen] == [(0, None), (1, 401), (2, 401)]


def test_callable_that_raises_leaves_its_error_as_it_is() -> None:
    def fails(view: AuthView) -> str:
        raise LookupError("no key")

    with pytest.raises(LookupError, match="no key"):
        CallableAuth(fails).authorize(AuthRequest(("http", "host", 80), "GET", "/"))


@pytest.mark.parametrize("function", [int, object(), None])
def test_callable_that_is_none_is_refused(function: Any) -> None:
    with pytest.raises(InvalidOption, match="auth"):
        CallableAuth(function)


def test_callable_views_and_requests_show_no_query() -> None:
    request = AuthRequest(("https", "host", 443), "GET", "/?token=secret", b"secret")
    assert "secret" not in repr(request) + repr(AuthView(request, 1, 401, CHALLENGE))
