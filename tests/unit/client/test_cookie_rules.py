"""CookieRules: domains, paths, addresses and public suffixes, by RFC 6265's own words."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import types
from typing import Any, cast
from urllib.request import Request

import pytest

from turbosock.client.cookie_rules import (
    CookieRequest,
    CookieRules,
    default_path,
    domain_matches,
    host_of,
    is_address,
    path_matches,
)
from turbosock.errors import InvalidOption


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("example.com", "example.com", True),
        ("www.example.com", "example.com", True),
        ("a.b.example.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("badexample.com", "example.com", False),
        ("example.com", "com", True),
        ("example.com", "", False),
        ("", "", False),
        ("example.com", ".com", False),
        # A final dot is another name, and never has hosts below.
        ("example.com.", "example.com", False),
        ("example.com", "example.com.", False),
        ("example.com.", "example.com.", False),
        ("www.example.com.", "example.com.", False),
        ("example.com.", "com.", False),
        # Addresses have no domains.
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "0.0.1", False),
        ("127.0.0.1", "1", False),
        ("::1", "::1", False),
        ("::ffff:1.2.3.4", "3.4", False),
    ],
)
def test_domain_match_is_by_whole_labels(host: str, domain: str, expected: bool) -> None:
    assert domain_matches(host, domain) is expected


@pytest.mark.parametrize("host", ["1.2.3.4", "127.1", "1", "0x7f.1", "1.2.3.0x4", "1.2.3.4.", "::1", "fe80::1%eth0"])
def test_address_in_any_spelling_is_one(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["a", "a.1b", "1.2.3.4.example", "x0", ""])
def test_name_is_no_address(host: str) -> None:
    assert not is_address(host)


@pytest.mark.parametrize(
    ("request_path", "cookie_path", "expected"),
    [
        ("/", "/", True),
        ("/a", "/", True),
        ("/a", "/a", True),
        ("/a/", "/a", True),
        ("/a/b", "/a", True),
        ("/a/b", "/a/", True),
        ("/ab", "/a", False),
        ("/a", "/a/", False),
        ("/", "/a", False),
        ("/A", "/a", False),
        ("/%61", "/a", False),
    ],
)
def test_path_match_is_by_whole_segments(request_path: str, cookie_path: str, expected: bool) -> None:
    assert path_matches(request_path, cookie_path) is expected


@pytest.mark.parametrize(
    ("request_path", "expected"),
    [("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b", "/a"), ("/a/b/c", "/a/b"), ("*", "/")],
)
def test_default_path_is_that_of_the_request_to_its_last_slash(request_path: str, expected: str) -> None:
    assert default_path(request_path) == expected


def test_public_suffix_of_one_label_needs_no_list() -> None:
    rules = CookieRules(public_suffixes=False)
    assert rules.is_public_suffix("com") and rules.is_public_suffix("localhost")
    assert not rules.is_public_suffix("co.uk")


class FakeList:
    """A suffix list of two names, which counts its readings."""

    made = 0

    def __init__(self) -> None:
        FakeList.made += 1

    def is_public(self, domain: str) -> bool:
        return domain in ("co.uk", "github.io")


@pytest.fixture
def fake_list(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cast(Any, types.ModuleType("publicsuffixlist"))
    module.PublicSuffixList = FakeList
    FakeList.made = 0
    monkeypatch.setitem(sys.modules, "publicsuffixlist", module)


@pytest.mark.usefixtures("fake_list")
def test_public_suffixes_are_read_once_and_when_needed() -> None:
    rules = CookieRules()
    assert FakeList.made == 0
    assert [rules.is_public_suffix(name) for name in ("co.uk", "a.co.uk", "com")] == [True, False, True]
    assert FakeList.made == 1
    assert pickle.loads(pickle.dumps(CookieRules(blocked_domains=["a"]))).blocked_domains() == ("a",)


@pytest.mark.parametrize("error", [ImportError, OSError, ValueError])
def test_public_suffixes_that_cannot_be_read_are_done_without(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fails(name: str) -> None:
        raise error("no list")

    monkeypatch.setattr("importlib.import_module", fails)
    rules = CookieRules()
    assert not rules.is_public_suffix("co.uk")
    assert rules.is_public_suffix("uk")


def test_public_suffixes_asked_for_and_not_installed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidOption, match="pip install publicsuffixlist"):
        CookieRules(public_suffixes=True)


def test_public_suffixes_of_the_real_list_are_known() -> None:
    if importlib.util.find_spec("publicsuffixlist") is None:
        pytest.skip("the extra is missing: pip install publicsuffixlist")
    rules = CookieRules(public_suffixes=True)
    assert rules.is_public_suffix("co.uk") and rules.is_public_suffix("github.io")
    assert not rules.is_public_suffix("example.co.uk") and not rules.is_public_suffix("example.com")


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("Example.com", 81, "http://example.com:81/a"),
        ("::1", 80, "http://[::1]:80/a"),
        ("fe80::1%eth0", 80, "http://[fe80::1]:80/a"),
    ],
)
def test_cookie_request_answers_as_urllibs_own(host: str, port: int, url: str) -> None:
    request = CookieRequest("http", host, port, "/a?query")
    assert (request.get_full_url(), request.type, request.path) == (url, "http", "/a")
    assert request.get_header("Host", "none") == "none" and not request.has_header("Cookie")
    assert (request.host, request.unverifiable) == (Request(url).host, Request(url).unverifiable)


def test_rules_take_urllibs_requests_too() -> None:
    request = Request("https://Example.com:8443/a/b?c", headers={"Host": "evil.test"})
    assert host_of(request) == "example.com"
    assert CookieRules().domain_return_ok(".example.com", request)
    assert not CookieRules().domain_return_ok("evil.test", request)
    assert CookieRules().path_return_ok("/a", request) and not CookieRules().path_return_ok("/b", request)
