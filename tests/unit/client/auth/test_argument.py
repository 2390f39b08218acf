"""The `auth=` argument: what each kind of value means, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.client.auth import Auth, AuthRequest, BasicAuth, CallableAuth, auth_argument
from turbosock.client.auth.digest import DigestAuth
from turbosock.errors import InvalidOption


def test_auth_argument_means_what_it_is() -> None:
    digest = DigestAuth("user", "secret")
    assert auth_argument(None) is None
    assert auth_argument(digest) is digest
    assert isinstance(auth_argument(("user", "secret")), BasicAuth)
    assert isinstance(auth_argument(lambda view: "Custom x"), CallableAuth)


@pytest.mark.parametrize(
    "auth",
    ["secret", b"secret", ("secret",), ("secret", "secret", "x"), ("us:er", "secret"), ("user", 5), ["user", "secret"],
     5, {"user": "secret"}, BasicAuth],
)  # fmt: skip
def test_auth_argument_of_another_kind_is_refused_unseen(auth: Any) -> None:
    with pytest.raises(InvalidOption, match="auth: ") as caught:
        auth_argument(auth)
    assert "secret" not in str(caught.value)


def test_auth_base_sends_nothing() -> None:
    request = AuthRequest(("http", "host", 80), "GET", "/")
    assert Auth().authorize(request) is None
