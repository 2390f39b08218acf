"""BasicAuth: RFC 7617's examples, what cannot be sent, and that nothing shows it."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.client.auth import AuthRequest, BasicAuth
from turbosock.client.auth.basic import basic_value
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.headers import HeaderList

REQUEST = AuthRequest(("https", "host", 443), "GET", "/")


@pytest.mark.parametrize(
    ("user", "password", "value"),
    [
        # RFC 7617 sections 2 and 2.1.
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("test", "123\xa3", "Basic dGVzdDoxMjPCow=="),
        ("", "", "Basic Og=="),
        ("user", "a:b:c", "Basic dXNlcjphOmI6Yw=="),
    ],
)
def test_basic_credentials_are_sent_without_being_asked_for(user: str, password: str, value: str) -> None:
    assert BasicAuth(user, password).authorize(REQUEST) == value


def test_basic_credentials_refused_are_given_up() -> None:
    headers = HeaderList([("WWW-Authenticate", 'Basic realm="a"')])
    assert BasicAuth("user", "secret").answer(REQUEST, 401, headers) is None


@pytest.mark.parametrize(
    ("user", "password", "named"),
    [
        ("us:er", "secret", "colon"),
        ("us\ner", "secret", "control"),
        ("user", "sec\rret", "control"),
        ("user", "secret\x7f", "control"),
        ("user", "secret\ud800", "surrogate"),
        (b"user", "secret", "both str"),
        ("user", None, "both str"),
    ],
)
def test_basic_credentials_that_cannot_be_sent_are_refused_unseen(user: Any, password: Any, named: str) -> None:
    with pytest.raises(InvalidOption, match=named) as caught:
        basic_value(user, password)
    assert "secret" not in str(caught.value) and "user'" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_basic_credentials_stand_in_no_repr() -> None:
    assert repr(BasicAuth("Aladdin", "open sesame")) == "<BasicAuth>"
