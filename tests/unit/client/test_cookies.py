"""Cookies: which go where, by RFC 6265; bounds, hostile answers, and the face of a mapping."""

from __future__ import annotations

import copy
import http.cookiejar
import os
import pickle
import threading
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from support.steps import count_steps
from turbosock import limits
from turbosock.client.cookie_rules import CookieRules
from turbosock.client.cookie_store import CookieStore
from turbosock.client.cookies import Cookies, cookie_pairs
from turbosock.client.url import Url
from turbosock.errors import InvalidOption, LimitError
from turbosock.protocol.http1.headers import HeaderList

JARS = {
    "plain": http.cookiejar.CookieJar,
    "mozilla": http.cookiejar.MozillaCookieJar,
    "lwp": http.cookiejar.LWPCookieJar,
}
KINDS = ["store", *JARS]


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def make(kind: str = "store", **options: Any) -> Cookies:
    options.setdefault("public_suffixes", False)
    rules = CookieRules(**options)
    if kind == "store":
        return Cookies(rules=rules)
    return Cookies(JARS[kind](), rules=rules)


@pytest.fixture(params=KINDS)
def cookies(request: pytest.FixtureRequest) -> Cookies:
    return make(request.param)


def answer(cookies: Cookies, url: str, *fields: str) -> None:
    key, target = Url(url).key, Url(url).target
    cookies.extract(key.scheme, key.host, key.port, target, HeaderList([("Set-Cookie", field) for field in fields]))


def sent(cookies: Cookies, url: str, **own: str) -> str | None:
    key, target = Url(url).key, Url(url).target
    return cookies.header_for(key.scheme, key.host, key.port, target, cookie_pairs(own))


# Where cookies go


@pytest.mark.parametrize(
    ("origin", "field", "goes", "stays"),
    [
        # Without Domain: the host alone, in every port, under both schemes.
        (
            "http://example.com/",
            "a=b",
            ["http://example.com/", "http://EXAMPLE.com:8080/x", "https://example.com/"],
            ["http://www.example.com/", "http://com/", "http://example.com./", "http://example.com.evil.test/"],
        ),
        # With Domain: that domain and what is below.
        (
            "http://www.example.com/",
            "a=b; Domain=Example.Com",
            ["http://example.com/", "http://x.y.example.com/"],
            ["http://badexample.com/", "http://com/", "http://example.com./", "http://www.example.com./"],
        ),
        ("http://example.com/", "a=b; Domain=.example.com", ["http://www.example.com/"], ["http://example.org/"]),
        ("http://example.com/", "a=b; Domain=", ["http://example.com/"], ["http://www.example.com/"]),
        ("http://example.com/", "a=b; Domain=.", ["http://example.com/"], ["http://www.example.com/"]),
        # Dotless hosts, and addresses: their own.
        ("http://localhost:1/", "a=b", ["http://localhost:2/"], ["http://localhost.local/", "http://x.localhost/"]),
        ("http://localhost/", "a=b; Domain=localhost", ["http://localhost/"], ["http://x.localhost/"]),
        ("http://127.0.0.1/", "a=b", ["http://127.0.0.1:2/"], ["http://1.127.0.0.1/", "http://0.0.1/"]),
        ("http://127.0.0.1/", "a=b; Domain=127.0.0.1", ["http://127.0.0.1/"], ["http://1.127.0.0.1/"]),
        ("http://[::1]:81/", "a=b; Domain=::1", ["http://[::1]/"], ["http://[::2]/"]),
        ("http://[fe80::1%25eth0]/", "a=b", ["http://[fe80::1%25eth0]/"], ["http://[fe80::1%25eth1]/"]),
        # A final dot makes another host.
        ("http://example.com./", "a=b", ["http://example.com./"], ["http://example.com/", "http://www.example.com./"]),
        # Paths.
        ("http://h.test/a/b", "a=b", ["http://h.test/a", "http://h.test/a/c?d"], ["http://h.test/", "http://h.test/ab"]),
        ("http://h.test/a", "a=b; Path=/x", ["http://h.test/x", "http://h.test/x/y"], ["http://h.test/a", "http://h.test/xy"]),
        ("http://h.test/a/b", "a=b; Path=x", ["http://h.test/a"], ["http://h.test/x"]),
        ("http://h.test/a/b?c/d/e", "a=b", ["http://h.test/a"], ["http://h.test/"]),
        # Secure.
        ("https://h.test/", "a=b; Secure", ["https://h.test/", "https://h.test:8443/"], ["http://h.test/"]),
        ("https://h.test/", "a=b; HttpOnly; SameSite=Strict", ["http://h.test/"], []),
        ("https://h.test/", "__Host-a=b; Secure; Path=/", ["https://h.test/"], ["http://h.test/"]),
        ("https://h.test/", "__secure-a=b; Secure", ["https://h.test/"], []),
    ],
)  # fmt: skip
def test_cookie_goes_where_it_belongs(
    cookies: Cookies, origin: str, field: str, goes: list[str], stays: list[str]
) -> None:
    answer(cookies, origin, field)
    pair = field.partition(";")[0]
    assert [sent(cookies, url) for url in goes] == [pair] * len(goes)
    assert [sent(cookies, url) for url in stays] == [None] * len(stays)


@pytest.mark.parametrize(
    ("origin", "field"),
    [
        ("http://example.com/", "a=b; Domain=other.com"),
        ("http://example.com/", "a=b; Domain=www.example.com"),
        ("http://badexample.com/", "a=b; Domain=example.com"),
        ("http://example.com/", "a=b; Domain=com"),
        ("http://example.com/", "a=b; Domain=.com"),
        ("http://example.com/", "a=b; Domain=..com"),
        ("http://example.com/", "a=b; Domain=com."),
        ("http://example.com./", "a=b; Domain=com."),
        ("http://example.com./", "a=b; Domain=example.com."),
        ("http://example.com./", "a=b; Domain=example.com"),
        ("http://example.com/", "a=b; Domain=example.com."),
        ("http://127.0.0.1/", "a=b; Domain=0.0.1"),
        ("http://127.0.0.1/", "a=b; Domain=.1"),
        ("http://[::1]/", "a=b; Domain=:1"),
        ("http://localhost/", "a=b; Domain=.local"),
        ("http://h.test/", "a=b; Secure"),
        ("http://h.test/", "__Secure-a=b"),
        ("https://h.test/", "__Secure-a=b"),
        ("https://h.test/", "__Host-a=b; Secure"),
        ("https://h.test/", "__HOST-a=b; Secure; Path=/; Domain=h.test"),
        ("http://h.test/", "a"),
        ("http://h.test/", "=b"),
        ("http://h.test/", ""),
    ],
)  # fmt: skip
def test_cookie_that_is_not_permitted_is_refused_and_counted(cookies: Cookies, origin: str, field: str) -> None:
    answer(cookies, origin, field, "fine=1")
    assert (cookies.keys(), cookies.refused, cookies.dropped) == (["fine"], 1, 0)


class FakeSuffixes:
    def is_public(self, domain: str) -> bool:
        return domain in ("co.uk", "github.io", "uk")


@pytest.mark.parametrize("kind", KINDS)
def test_cookie_of_a_public_suffix_is_refused_in_any_case(kind: str) -> None:
    cookies = make(kind)
    cookies._rules._suffixes = FakeSuffixes()
    for field in ("a=b; Domain=co.UK", "a=b; Domain=.Co.Uk", "a=b; Domain=co.uk."):
        answer(cookies, "http://shop.co.uk/", field)
    assert len(cookies) == 0
    answer(cookies, "http://www.shop.co.uk/", "a=b; Domain=shop.co.uk")
    assert sent(cookies, "http://shop.co.uk/") == "a=b"
    # The suffix's own host has cookies of its own (RFC 6265 section 5.3, step 5).
    answer(cookies, "http://github.io/", "c=d; Domain=github.io")
    assert sent(cookies, "http://github.io/") == "c=d"
    assert sent(cookies, "http://user.github.io/") is None


def test_cookie_of_a_plain_connection_does_not_stand_before_a_secure_one(cookies: Cookies) -> None:
    answer(cookies, "https://h.test/", "a=secret; Secure; Domain=h.test", "b=open")
    for url, field in (
        ("http://h.test/", "a=evil"),
        ("http://h.test/", "a=evil; Domain=h.test; Path=/x"),
        ("http://www.h.test/", "a=evil; Domain=h.test"),
        ("http://www.h.test/", "a=evil"),
        ("http://h.test/", "a=evil; Domain=h.test; Max-Age=0"),
    ):
        answer(cookies, url, field)
    answer(cookies, "http://h.test/", "b=changed")
    assert cookies.refused == 5
    assert sent(cookies, "https://h.test/x") == "a=secret; b=changed"


# Order, replacement, time


def test_cookies_are_sent_longest_path_first_then_oldest() -> None:
    cookies = make()
    answer(
        cookies, "http://www.h.test/a/b", "1=x; Path=/", "2=x; Path=/a", "3=x; Path=/; Domain=h.test", "4=x; Path=/a/b"
    )
    answer(cookies, "http://www.h.test/a/b", "5=x; Path=/", "1=y; Path=/")
    # What is replaced keeps its place (section 5.3, step 11).
    assert sent(cookies, "http://www.h.test/a/b") == "4=x; 2=x; 1=y; 3=x; 5=x"


def test_cookie_replaces_that_of_its_name_domain_and_path_alone(cookies: Cookies) -> None:
    answer(cookies, "http://h.test/", "a=1", "a=2; Path=/x", "a=3; Domain=h.test", "A=4", "a=5")
    assert len(cookies) == 4
    assert sorted(str(sent(cookies, "http://h.test/")).split("; ")) == ["A=4", "a=3", "a=5"]


@pytest.mark.parametrize("gone", ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"])
def test_cookie_whose_end_is_past_is_taken_out(cookies: Cookies, gone: str) -> None:
    answer(cookies, "http://h.test/", "a=1", "b=2", f"a=; {gone}", f"never=; {gone}")
    assert sent(cookies, "http://h.test/") == "b=2"
    # Only by who may set it.
    answer(cookies, "http://other.test/", f"b=; {gone}", f"b=; Domain=h.test; {gone}")
    assert sent(cookies, "http://h.test/") == "b=2"


def test_cookie_is_sent_until_its_end() -> None:
    clock = Clock()
    cookies = make(wall_clock=clock)
    answer(cookies, "http://h.test/", "a=1; Max-Age=10", "b=2; Expires=Wed, 15 Nov 2023 00:00:00 GMT", "c=3")
    assert sent(cookies, "http://h.test/") == "a=1; b=2; c=3"
    clock.now += 9
    assert sent(cookies, "http://h.test/") == "a=1; b=2; c=3"
    clock.now += 1
    assert sent(cookies, "http://h.test/") == "b=2; c=3"
    clock.now += 1e6
    assert sent(cookies, "http://h.test/") == "c=3"
    cookies.jar.clear_expired_cookies()
    assert cookies.keys() == ["c"]


def test_cookie_of_a_host_field_of_the_users_own_is_none(cookies: Cookies) -> None:
    # Neither face takes a Host field: the URL's host decides, in and out.
    answer(cookies, "http://real.test/", "a=b; Domain=claimed.test")
    answer(cookies, "http://real.test/", "c=d")
    assert sent(cookies, "http://claimed.test/") is None
    assert sent(cookies, "http://real.test/") == "c=d"


# A request's own


def test_cookies_of_one_request_replace_those_of_their_name_and_stay_out() -> None:
    for kind in KINDS:
        cookies = make(kind)
        assert sent(cookies, "http://h.test/", x="own") == "x=own"
        answer(cookies, "http://h.test/", "a=1", "b=2", "a=3; Domain=h.test")
        assert sent(cookies, "http://h.test/", a="own", c="d e") == "b=2; a=own; c=d e"
        assert sent(cookies, "http://other.test/", a="own") == "a=own"
        assert sorted(cookies.keys()) == ["a", "b"]


@pytest.mark.parametrize(
    "unfit",
    ["secret", ["secret"], {"a": "secret;"}, {"a": "secret\r\n"}, {"a": "secret\0"}, {"a": "secret\xe9"},
     {"a": " secret"}, {"a": "secret "}, {"a": b"secret"}, {"a": None}, {"": "secret"}, {"a=": "secret"},
     {"a b": "secret"}, {5: "secret"}, {"\xe9": "secret"}, {"a": "secret" * limits.MAX_COOKIE_HEADER_BYTES}],
)  # fmt: skip
def test_cookies_of_a_request_that_cannot_be_sent_are_refused_unseen(unfit: Any) -> None:
    with pytest.raises(InvalidOption, match="cookies") as caught:
        cookie_pairs(unfit)
    assert "secret" not in str(caught.value)


# Bounds and hostile answers


@pytest.mark.parametrize("kind", KINDS)
def test_cookies_over_a_limit_are_dropped_and_counted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_COOKIES", 10)
    monkeypatch.setattr(limits, "MAX_COOKIES_PER_DOMAIN", 4)
    cookies = make(kind)
    answer(cookies, "http://a.test/", *[f"n{number}=1" for number in range(6)])
    assert (len(cookies), cookies.dropped) == (4, 2)
    # Those that are there may change and go, and make room.
    answer(cookies, "http://a.test/", "n0=2", "n1=; Max-Age=0", "new=1", "over=1")
    assert (len(cookies), cookies.dropped, cookies["n0"], cookies["new"]) == (4, 3, "2", "1")
    answer(cookies, "http://b.test/", *[f"n{number}=1" for number in range(4)])
    answer(cookies, "http://c.test/", *[f"n{number}=1" for number in range(4)])
    assert (len(cookies), cookies.dropped) == (10, 5)
    with pytest.raises(LimitError, match="clear"):
        cookies.set("x", "y", domain="c.test")


def test_cookies_that_expired_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_COOKIES", 2)
    clock = Clock()
    cookies = make(wall_clock=clock)
    answer(cookies, "http://a.test/", "a=1; Max-Age=5", "b=1")
    answer(cookies, "http://b.test/", "c=1")
    assert cookies.dropped == 1
    clock.now += 6
    answer(cookies, "http://b.test/", "c=1")
    assert sorted(cookies.keys()) == ["b", "c"]


@pytest.mark.parametrize("kind", KINDS)
def test_cookies_too_long_are_dropped_and_the_header_is_bounded(kind: str) -> None:
    cookies = make(kind)
    long = "v" * (limits.MAX_COOKIE_BYTES - 2)
    answer(cookies, "http://h.test/", f"no={long}x", "no=" + "v" * 1_000_000, "no=1;" + " " * 1_000_000 + ";")
    assert (len(cookies), cookies.dropped) == (0, 3)
    answer(cookies, "http://h.test/", *[f"{number:02}={long}" for number in range(10)])
    header = sent(cookies, "http://h.test/")
    assert header is not None and len(header) > limits.MAX_COOKIE_HEADER_BYTES - limits.MAX_COOKIE_BYTES
    assert len(header) <= limits.MAX_COOKIE_HEADER_BYTES
    assert cookies.dropped == 3 + 10 - header.count("=")
    with_own = sent(cookies, "http://h.test/", own="x" * 30_000)
    assert with_own is not None and len(with_own) <= limits.MAX_COOKIE_HEADER_BYTES and "own=x" in with_own


def test_cookies_by_the_hundred_thousand_stay_within_bounds() -> None:
    cookies = make()
    for start in range(0, 100_000, 250):
        answer(cookies, f"http://h{start % 50}.evil.test/", *[f"n{start + number}=1" for number in range(250)])
    assert len(cookies) <= limits.MAX_COOKIES
    assert len(cookies) + cookies.dropped == 100_000


def test_cookies_set_and_taken_out_for_ever_leave_nothing() -> None:
    cookies = make()
    for number in range(200):
        answer(cookies, f"http://h{number}.test/", f"a=1; Path=/{number}", f"a=1; Path=/{number}; Max-Age=0")
    assert isinstance(cookies.jar, CookieStore)
    assert (len(cookies), cookies.jar._domains) == (0, {})


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cookies_of_double_number_take_double_the_work(scheme: str) -> None:
    def work(count: int) -> int:
        cookies = make()
        fields = [f"n{number}=1; Path=/{number}; Domain=h.test; Max-Age=9; junk" for number in range(count)]
        return count_steps(partial(answer, cookies, f"{scheme}://www.h.test/", *fields))

    assert work(1000) <= 2.2 * work(500)


def test_cookies_of_other_domains_cost_a_request_nothing() -> None:
    few, many = make(), make()
    for cookies, count in ((few, 10), (many, 500)):
        for number in range(count):
            answer(cookies, f"http://h{number}.test/", "a=b")
    assert count_steps(partial(sent, few, "http://h1.test/")) == count_steps(partial(sent, many, "http://h1.test/"))


def test_cookies_empty_make_nothing_for_a_request() -> None:
    cookies = make()
    header_for = cookies.header_for
    header_for("http", "h.test", 80, "/")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        header_for("http", "h.test", 80, "/")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One frame may be counted; a CookieRequest, a list or a lock's context would come on top.
    assert peak - before < 200
    assert count_steps(partial(header_for, "http", "h.test", 80, "/")) <= 3


@pytest.mark.parametrize(
    "field", ["a=b; Max-Age=1e999", "a=b; Version=x", "a=b; Expires=" + "9" * 900, "a=b; Port", "\xff=\xff"]
)
def test_cookie_odd_in_every_way_raises_and_warns_of_nothing(cookies: Cookies, field: str) -> None:
    answer(cookies, "http://h.test/", field)
    assert sent(cookies, "http://h.test/") == field.partition(";")[0]


# The face of a mapping


def test_cookies_read_as_a_mapping() -> None:
    cookies = make()
    cookies.set("a", "1", domain="H.test")
    cookies.set("b", "2", domain=".h.test", path="/x", secure=True)
    assert (len(cookies), list(cookies), cookies["a"], cookies.get("b")) == (2, ["a", "b"], "1", "2")
    assert dict(cookies) == cookies.dict() == {"a": "1", "b": "2"}
    assert "a" in cookies and "c" not in cookies and 5 not in cookies
    assert cookies.get("c") is None and cookies.get("c", "d") == "d"
    with pytest.raises(KeyError):
        cookies["c"]
    assert sent(cookies, "https://www.h.test/x") == "b=2"
    assert sent(cookies, "http://h.test/x") == "a=1"


def test_cookies_of_one_name_want_to_be_told_apart(cookies: Cookies) -> None:
    cookies.set("a", "1", domain="h.test")
    cookies.set("a", "2", domain="other.test", path="/x")
    with pytest.raises(InvalidOption, match="domain="):
        cookies.get("a")
    assert cookies.get("a", domain="h.test") == "1" and cookies.get("a", path="/x") == "2"
    assert cookies.dict(domain="other.test") == {"a": "2"}
    cookies.delete("a", domain="h.test")
    assert cookies["a"] == "2"
    cookies.delete("a")
    with pytest.raises(KeyError):
        cookies.delete("a")


def test_cookies_are_cleared_as_asked(cookies: Cookies) -> None:
    for domain, path in (("a.test", "/"), ("a.test", "/x"), ("b.test", "/")):
        cookies.set("n", "1", domain=domain, path=path)
    cookies.clear(domain="a.test", path="/x")
    assert len(cookies) == 2
    cookies.clear(domain="a.test")
    assert len(cookies) == 1
    cookies.clear()
    assert len(cookies) == 0
    cookies.clear()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"domain": ""}, "domain"),
        ({"domain": "."}, "domain"),
        ({"domain": None}, "domain"),
        ({"domain": ".com"}, "domain"),
        ({"domain": ".127.0.0.1"}, "domain"),
        ({"domain": "h.test", "path": "x"}, "path"),
        ({"domain": "h.test", "value": "secret\n"}, "cookies"),
        ({"domain": "h.test", "name": "a;"}, "cookies"),
    ],
)
def test_cookies_set_by_the_user_that_cannot_work_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named) as caught:
        make().set(**{"name": "a", "value": "secret", **arguments})
    assert "secret" not in str(caught.value)


def test_cookies_show_no_value(cookies: Cookies) -> None:
    answer(cookies, "http://h.test/", "a=secret")
    assert "secret" not in repr(cookies)
    if isinstance(cookies.jar, CookieStore):
        assert "secret" not in repr(cookies.jar) + str(cookies.jar)


def test_cookies_travel_and_keep_their_order() -> None:
    cookies = make(blocked_domains=["no.test"])
    answer(cookies, "http://h.test/", "a=1", "b=2; Path=/x; HttpOnly", "")
    for other in (pickle.loads(pickle.dumps(cookies)), copy.deepcopy(cookies)):
        assert sent(other, "http://h.test/x") == "b=2; a=1"
        assert (other.refused, list(other)) == (1, ["a", "b"])
        answer(other, "http://no.test/", "c=3")
        answer(other, "http://h.test/", "d=4")
        assert list(other) == ["a", "b", "d"]
    assert list(cookies) == ["a", "b"]


# Jars


@pytest.mark.parametrize("kind", ["mozilla", "lwp"])
def test_cookies_in_a_jar_of_files_are_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "jar")
    cookies = make(kind)
    answer(
        cookies, "https://www.h.test/", "a=1; Max-Age=1000; Domain=h.test", "b=2; Secure", f"c=3; Max-Age={'9' * 30}"
    )
    jar: Any = cookies.jar
    jar.save(path, ignore_discard=True)
    other = make(kind)
    loading: Any = other.jar
    loading.load(path, ignore_discard=True)
    assert sorted(str(sent(other, "https://www.h.test/")).split("; ")) == ["a=1", "b=2", "c=3"]
    assert sent(other, "http://x.h.test/") == "a=1"
    assert sent(other, "https://x.www.h.test/") == "a=1"


def test_cookies_keep_what_a_jars_policy_blocked() -> None:
    policy = http.cookiejar.DefaultCookiePolicy(blocked_domains=["no.test", ".below.test"], allowed_domains=None)
    cookies = Cookies(http.cookiejar.CookieJar(policy))
    for host in ("no.test", "x.below.test", "yes.test"):
        answer(cookies, f"http://{host}/", "a=b")
    assert [cookie.domain for cookie in cookies.jar] == ["yes.test"]
    allowing = make(allowed_domains=["yes.test"])
    answer(allowing, "http://yes.test/", "a=b")
    answer(allowing, "http://no.test/", "a=b")
    assert [cookie.domain for cookie in allowing.jar] == ["yes.test"]


def test_cookies_take_no_jar_that_would_lose_its_policy() -> None:
    class Own(http.cookiejar.DefaultCookiePolicy):
        pass

    unfit: list[Any] = [{}, "jar", http.cookiejar.CookieJar(Own())]
    for jar in unfit:
        with pytest.raises(InvalidOption, match="jar"):
            Cookies(jar)
    assert len(Cookies(http.cookiejar.CookieJar(Own()), rules=CookieRules())) == 0
    not_rules: Any = Own()
    with pytest.raises(InvalidOption, match="rules"):
        Cookies(rules=not_rules)
    with pytest.raises(InvalidOption, match="policy"):
        CookieStore().set_policy(not_rules)


def test_cookie_store_serves_urllib_too() -> None:
    cookies = make()
    answer(cookies, "http://h.test/", "a=1", "b=2; Path=/x")
    request = Request("http://h.test/x")
    cookies.jar.add_cookie_header(request)
    assert request.get_header("Cookie") == "b=2; a=1"


def test_cookie_store_keeps_the_jars_methods() -> None:
    cookies = make()
    jar = cookies.jar
    answer(cookies, "http://h.test/", "a=1", "b=2; Path=/x", "c=3; Max-Age=100")
    jar.clear("h.test", "/x", "b")
    for arguments in (("h.test", "/x", "b"), ("h.test", "/x"), ("none.test",)):
        with pytest.raises(KeyError):
            jar.clear(*arguments)
    with pytest.raises(ValueError, match="domain"):
        jar.clear(None, "/x")
    jar.clear_session_cookies()
    assert [cookie.name for cookie in jar] == ["c"]
    jar.clear()
    assert len(jar) == 0 and not list(jar)


# Threads and forks


def test_cookies_shared_by_threads_lose_nothing() -> None:
    cookies = make()
    start = threading.Barrier(4)

    def work(own: int) -> None:
        start.wait()
        for number in range(100):
            answer(cookies, f"http://h{own}.test/", f"n{number}=1", f"gone{number}=1")
            answer(cookies, f"http://h{own}.test/", f"gone{number}=; Max-Age=0")
            assert sent(cookies, f"http://h{own}.test/") is not None
            list(cookies)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cookies) == len(list(cookies.jar)) == 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_cookies_child_of_a_fork_works_whoever_held_the_lock() -> None:
    cookies = make()
    answer(cookies, "http://h.test/", "a=1")
    store: Any = cookies.jar
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with cookies._lock, store._lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        answer(cookies, "http://h.test/", "b=2")
        os._exit(0 if sent(cookies, "http://h.test/") == "a=1; b=2" else 1)
    release.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
