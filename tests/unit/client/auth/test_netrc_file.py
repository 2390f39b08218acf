"""NetrcAuth: for exactly the hosts that a file names, and never a word of it in a message."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from turbosock import limits
from turbosock.client.auth import AuthRequest
from turbosock.client.auth.basic import basic_value
from turbosock.client.auth.netrc_file import NetrcAuth
from turbosock.client.url import Url
from turbosock.errors import InvalidOption

FILE = """
machine example.com login user password secret
machine Other.example login other password words
machine nouser.example password lost
machine nopassword.example login lost
machine user@odd.example login odd password odd
machine odd.example:8080 login odd password odd
machine colon.example login us:er password secret
machine ::1 login six password 6
default login everyone password anywhere
"""


@pytest.fixture
def auth(tmp_path: Path) -> NetrcAuth:
    path = tmp_path / "netrc"
    path.write_text(FILE)
    return NetrcAuth(path)


def value_for(auth: NetrcAuth, url: str) -> str | None:
    key = Url(url).key
    return auth.authorize(AuthRequest((key.scheme, key.host, key.port), "GET", "/"))


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("http://example.com/", ("user", "secret")),
        ("https://EXAMPLE.com:8443/", ("user", "secret")),
        ("http://other.example/", ("other", "words")),
        ("http://[::1]/", ("six", "6")),
        # Not the host itself.
        ("http://example.com./", None),
        ("http://www.example.com/", None),
        ("http://example.com.evil.test/", None),
        ("http://evil-example.com/", None),
        # What stands before the last @ is user information, whatever it looks like.
        ("http://example.com@evil.test/", None),
        ("http://example.com:@evil.test/", None),
        ("http://example.com:80@evil.test/", None),
        ("http://user@odd.example/", None),
        ("http://odd.example:8080/", None),
        # Entries that are not whole are not completed from others, nor from the default, which nobody gets.
        ("http://nouser.example/", None),
        ("http://nopassword.example/", None),
        ("http://elsewhere.test/", None),
        ("http://default/", None),
    ],
)
def test_netrc_gives_credentials_to_named_hosts_alone(
    auth: NetrcAuth, url: str, credentials: tuple[str, str] | None
) -> None:
    assert value_for(auth, url) == (basic_value(*credentials) if credentials else None)


def test_netrc_looks_up_each_request_alone(auth: NetrcAuth) -> None:
    # As after a redirect from a host with an entry to one whose entry has no password.
    assert value_for(auth, "http://example.com/") is not None
    assert value_for(auth, "http://nopassword.example/") is None


def test_netrc_entry_that_cannot_be_sent_concerns_its_host_alone(auth: NetrcAuth) -> None:
    with pytest.raises(InvalidOption, match="colon") as caught:
        value_for(auth, "http://colon.example/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"machine a login b password c secret d",
        b"secret",
        b"machine",
        b"macdef x\nsecret",
        b"machine a login b password \xff\xfe\x00secret\xff unknown",
    ],
)
def test_netrc_file_that_is_none_is_refused_unseen(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "netrc"
    path.write_bytes(content)
    with pytest.raises(InvalidOption, match=r"^file: .*netrc") as caught:
        NetrcAuth(path)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_netrc_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfit: list[Any] = [tmp_path / "none", tmp_path, str(tmp_path / "nul\0"), 5, b"\0"]
    for file in unfit:
        with pytest.raises(InvalidOption, match="file: "):
            NetrcAuth(file)
    long = tmp_path / "long"
    long.write_text(" " * (limits.MAX_NETRC_BYTES + 1))
    with pytest.raises(InvalidOption, match="at most"):
        NetrcAuth(long)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InvalidOption, match=r"\.netrc"):
        NetrcAuth()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
def test_netrc_of_the_home_directory_must_be_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".netrc"
    path.write_text(FILE)
    path.chmod(0o600)
    assert value_for(NetrcAuth(), "http://example.com/") == basic_value("user", "secret")
    path.chmod(0o644)
    with pytest.raises(InvalidOption, match="others") as caught:
        NetrcAuth()
    assert "secret" not in str(caught.value)


def test_netrc_stands_in_no_repr(auth: NetrcAuth) -> None:
    assert repr(auth) == "<NetrcAuth>"
