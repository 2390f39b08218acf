"""-u, --digest and --bearer: what they make, what they exclude, and that nothing of them is repeated."""

from __future__ import annotations

import getpass
import warnings

import pytest

from turbosock.cli.credentials import ask_password, credentials
from turbosock.client.auth import AuthRequest, BasicAuth, BearerAuth
from turbosock.client.auth.digest import DigestAuth
from turbosock.errors import InvalidOption

REQUEST = AuthRequest(("http", "host", 80), "GET", "/")


def nobody() -> str:
    raise AssertionError("nobody is to be asked")


def test_nothing_is_nobody() -> None:
    assert credentials(None, None, False, [], nobody) is None


def test_user_and_password_are_basic_and_split_at_the_first_colon() -> None:
    auth = credentials("user:pass:word", None, False, [], nobody)
    assert isinstance(auth, BasicAuth)
    assert auth.authorize(REQUEST) == "Basic dXNlcjpwYXNzOndvcmQ="


def test_empty_password_is_one() -> None:
    auth = credentials("user:", None, False, [], nobody)
    assert auth is not None
    assert auth.authorize(REQUEST) == "Basic dXNlcjo="


def test_password_that_is_not_given_is_asked_for() -> None:
    auth = credentials("user", None, False, [], lambda: "password")
    assert auth is not None
    assert auth.authorize(REQUEST) == "Basic dXNlcjpwYXNzd29yZA=="


def test_digest_and_bearer_are_made() -> None:
    assert isinstance(credentials("user:password", None, True, [], nobody), DigestAuth)
    auth = credentials(None, "token", False, [], nobody)
    assert isinstance(auth, BearerAuth)
    assert auth.authorize(REQUEST) == "Bearer token"


@pytest.mark.parametrize(
    ("user", "bearer", "digest", "headers", "said"),
    [
        (None, None, True, [], "--digest without -u"),
        (None, "s3cr3t", True, [], "--digest without -u"),
        ("u:s3cr3t", "s3cr3t", False, [], "-u, --bearer"),
        ("u:s3cr3t", None, False, [("authorization", "x")], "-u, -H"),
        (None, "s3cr3t", False, [("Authorization", "x")], "--bearer, -H"),
        ("u:s3cr3t\n", None, False, [], "-u: .*control"),
        ("u:s3cr3t\udcff", None, False, [], "-u: .*surrogate"),
        ("u:s3cr3t\udcff", None, True, [], "-u: "),
        (None, "s3cr3t two", False, [], "--bearer: "),
        (None, "", False, [], "--bearer: "),
    ],
)
def test_what_cannot_be_sent_is_refused_by_its_options_without_a_value(
    user: str | None, bearer: str | None, digest: bool, headers: list[tuple[str, str]], said: str
) -> None:
    with pytest.raises(InvalidOption, match=said) as raised:
        credentials(user, bearer, digest, headers, nobody)
    assert "s3cr3t" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("error", [EOFError(), OSError(5, "no device")])
def test_password_without_a_terminal_is_refused(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(prompt: str) -> str:
        raise error

    monkeypatch.setattr(getpass, "getpass", fail)
    with pytest.raises(InvalidOption, match="give user:password"):
        credentials("user", None, False, [])


def test_password_that_would_be_seen_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_back(prompt: str) -> str:
        warnings.warn("it would be seen", getpass.GetPassWarning, stacklevel=1)
        return "seen"

    monkeypatch.setattr(getpass, "getpass", fall_back)
    with pytest.raises(InvalidOption, match="no terminal"):
        ask_password()
