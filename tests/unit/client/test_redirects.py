"""Redirects: which answers are followed, where to, with which method, and what never leaves for another origin."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.client.redirects import (
    REDIRECT_STATUSES,
    Redirect,
    RedirectPolicy,
    follow,
    location_of,
    same_origin,
)
from turbosock.client.url import Url
from turbosock.connection.source import BodySource, BufferSource, IterableSource
from turbosock.errors import InvalidOption, Origin, RedirectError, TooManyRedirects
from turbosock.protocol.http1.headers import HeaderList

POLICY = RedirectPolicy()
NO_FIELDS = HeaderList()
SECRET = "hunter2"


def followed(
    location: str | bytes,
    url: str = "http://host/a/b?q",
    *,
    policy: RedirectPolicy = POLICY,
    method: str = "GET",
    headers: HeaderList = NO_FIELDS,
    source: BodySource | None = None,
    status_code: int = 302,
    fragment: str | None = None,
) -> Redirect:
    """The redirect of one answer to a first request."""
    if isinstance(location, str):
        location = location.encode()
    redirect = follow(policy, method, Url(url), headers, source, status_code, location, fragment=fragment)
    assert redirect is not None
    return redirect


def after(redirect: Redirect, location: str, *, policy: RedirectPolicy = POLICY, status_code: int = 302) -> Redirect:
    """The redirect of an answer to what a redirect led to."""
    again = follow(
        policy,
        redirect.method,
        redirect.url,
        redirect.headers,
        None,
        status_code,
        location.encode(),
        redirect.seen,
        fragment=redirect.fragment,
    )
    assert again is not None
    return again


# Which answers


@pytest.mark.parametrize("status_code", range(100, 600))
def test_answer_is_followed_only_with_a_redirecting_status(status_code: int) -> None:
    redirect = follow(POLICY, "GET", Url("http://host/"), NO_FIELDS, None, status_code, b"/next")
    assert (redirect is not None) == (status_code in (301, 302, 303, 307, 308))


@pytest.mark.parametrize("status_code", sorted(REDIRECT_STATUSES))
@pytest.mark.parametrize("location", [None, b""])
def test_redirect_without_a_location_is_an_answer_like_any_other(status_code: int, location: bytes | None) -> None:
    assert follow(POLICY, "GET", Url("http://host/"), NO_FIELDS, None, status_code, location) is None


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ([], None),
        ([("Location", "")], None),
        ([("Location", "/a")], b"/a"),
        ([("LOCATION", "/a"), ("location", "/a")], b"/a"),
        ([("Location", ""), ("Location", "/a")], b"/a"),
        ([("Content-Location", "/b"), ("Location", "/a, /b")], b"/a, /b"),
        ([("Location", "/\xc3\xa4")], "/ä".encode()),
    ],
)
def test_location_of_an_answer_is_the_one_that_it_has(fields: list[tuple[str, str]], location: bytes | None) -> None:
    assert location_of(302, HeaderList(fields)) == location


def test_location_of_an_answer_with_two_that_differ_is_an_error() -> None:
    headers = HeaderList([("Location", "/a"), ("location", "/b")])
    with pytest.raises(RedirectError, match="2 Location fields") as caught:
        location_of(302, headers)
    assert caught.value.code == "redirect_location"
    assert location_of(201, headers) is None


# Method and body

METHODS = [
    (301, {"GET": "GET", "HEAD": "HEAD", "POST": "GET", "PUT": "PUT", "DELETE": "DELETE", "PATCH": "PATCH"}),
    (302, {"GET": "GET", "HEAD": "HEAD", "POST": "GET", "PUT": "PUT", "DELETE": "DELETE", "PATCH": "PATCH"}),
    (303, {"GET": "GET", "HEAD": "HEAD", "POST": "GET", "PUT": "GET", "DELETE": "GET", "PATCH": "GET"}),
    (307, {"GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE", "PATCH": "PATCH"}),
    (308, {"GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE", "PATCH": "PATCH"}),
]
METHOD_ROWS = [(status, method, then) for status, row in METHODS for method, then in row.items()]
BODY_FIELDS = [
    ("Content-Type", "text/plain"),
    ("CONTENT-LENGTH", "4"),
    ("content-encoding", "gzip"),
    ("Content-Anything", "x"),
    ("Transfer-Encoding", "chunked"),
    ("Trailer", "x"),
    ("Expect", "100-continue"),
    ("Digest", "x"),
    ("Repr-Digest", "x"),
    ("Last-Modified", "x"),
]


@pytest.mark.parametrize(("status_code", "method", "then"), METHOD_ROWS)
def test_method_and_body_after_each_status_are_those_of_browsers(status_code: int, method: str, then: str) -> None:
    headers = HeaderList([("Accept", "*/*"), *BODY_FIELDS, ("X-Own", "1")])
    kept = then == method and status_code != 303

    redirect = followed("/n", method=method, headers=headers, source=BufferSource(b"body"), status_code=status_code)

    assert (redirect.method, redirect.keep_body) == (then, kept)
    assert redirect.headers == (headers if kept else HeaderList([("Accept", "*/*"), ("X-Own", "1")]))


@pytest.mark.parametrize(("status_code", "method", "then"), METHOD_ROWS)
def test_request_without_a_body_never_gets_one(status_code: int, method: str, then: str) -> None:
    headers = HeaderList([("Content-Type", "text/plain"), ("Accept", "*/*")])
    redirect = followed("/n", method=method, headers=headers, status_code=status_code)
    assert (redirect.method, redirect.keep_body) == (then, False)
    # A field about no body says something of its own, until the method changes.
    assert ("content-type" in redirect.headers) == (then == method)


@pytest.mark.parametrize(("status_code", "method", "then"), METHOD_ROWS)
def test_body_that_cannot_be_replayed_is_an_error_where_it_is_needed(status_code: int, method: str, then: str) -> None:
    source = IterableSource(iter([b"body"]))
    if then == method and status_code != 303:
        with pytest.raises(RedirectError, match="cannot be sent twice") as caught:
            followed("/n", method=method, source=source, status_code=status_code)
        assert (caught.value.code, caught.value.origin) == ("redirect_body", Origin.LOCAL)
    else:
        redirect = followed("/n", method=method, source=source, status_code=status_code)
        assert (redirect.method, redirect.keep_body) == (then, False)


# Where to


@pytest.mark.parametrize(
    ("url", "location", "full"),
    [
        ("http://host/a/b?q", "c", "http://host/a/c"),
        ("http://host/a/b?q", "../../../c", "http://host/c"),
        ("http://host/a/b?q", "?r", "http://host/a/b?r"),
        ("http://host/a/b?q", "#f", "http://host/a/b?q"),
        ("http://host/a/b?q", "//other/c", "http://other/c"),
        ("http://host/a/b?q", "HTTP://Other:80/c/../d", "http://other/d"),
        ("http://host:81/a", "/b", "http://host:81/b"),
        ("http://host", "b", "http://host/b"),
        ("http://host", "http://other", "http://other/"),
        ("http://host", "http://other?x=1", "http://other/?x=1"),
        ("http://[fe80::1%25eth0]:81/a", "b", "http://[fe80::1]:81/b"),
        ("https://host/a", "//host:444/b", "https://host:444/b"),
        ("http://host/", "/a:b", "http://host/a:b"),
        ("http://host/", "1:2", "http://host/1:2"),
        # As browsers send it, or close to it.
        ("http://host/", "/ä €?ö=ü", "http://host/%C3%A4%20%E2%82%AC?%C3%B6=%C3%BC"),
        ("http://host/", b"/\xe4 \xff", "http://host/%E4%20%FF"),
        ("http://host/", '/"<>`{|}^\\', "http://host/%22%3C%3E%60%7B%7C%7D%5E%5C"),
        ("http://host/", "/%41%2f%C3%A4?%20", "http://host/%41%2f%C3%A4?%20"),
        ("http://host/", "/100%?a=5%z&b=%1", "http://host/100%25?a=5%25z&b=%251"),
        ("http://host/", "/%%41%", "http://host/%25%41%25"),
        ("http://host/", "/a?b?c#d#e", "http://host/a?b?c"),
        ("http+unix://%2Frun%2Fapp.sock/a/b", "c", "http+unix://%2Frun%2Fapp.sock/a/c"),
        ("http+unix://%2Frun%2Fapp.sock/a/b", "http://localhost/c", "http://localhost/c"),
    ],
)
def test_location_is_resolved_and_encoded(url: str, location: str | bytes, full: str) -> None:
    assert followed(location, url).url.full == full


def test_location_relative_stays_with_the_zone_of_its_address() -> None:
    url = "http://[fe80::1%25eth0]:81/a"
    assert same_origin(followed("b", url).url, Url(url))


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("ftp://host/", "redirect_scheme"),
        ("file:///etc/passwd", "redirect_scheme"),
        ("javascript:alert(1)", "redirect_scheme"),
        ("data:text/plain,x", "redirect_scheme"),
        ("mailto:a@b", "redirect_scheme"),
        ("http+unix://%2Frun%2Fdocker.sock/", "redirect_scheme"),
        ("httpx://host/", "redirect_scheme"),
        ("ws://host/", "redirect_scheme"),
        ("host:8080/path", "redirect_scheme"),
        ("http://", "redirect_location"),
        ("http:", "redirect_location"),
        ("http:/path", "redirect_location"),
        ("http:path", "redirect_location"),
        ("http:///path", "redirect_location"),
        ("//", "redirect_location"),
        ("///path", "redirect_location"),
        ("http://ho st/", "redirect_location"),
        ("http://host:port/", "redirect_location"),
        ("http://host:0/", "redirect_location"),
        ("http://host:99999/", "redirect_location"),
        ("http://host:80:80/", "redirect_location"),
        ("http://a..b/", "redirect_location"),
        ("http://[::1/", "redirect_location"),
        ("http://hos\\t/", "redirect_location"),
        ("http://%00/", "redirect_location"),
        (b"http://\xff\xfe/", "redirect_location"),
        ("/a\x00b", "redirect_location"),
        ("/a\tb", "redirect_location"),
        ("/a\r\nSet-Cookie: x", "redirect_location"),
        ("/a\x7f", "redirect_location"),
        ("http://host\x00/", "redirect_location"),
        ("/" + "a" * limits.MAX_URL_LENGTH, "redirect_location"),
        # Encoding makes it too long.
        ("/" + " " * (limits.MAX_URL_LENGTH // 2), "redirect_location"),
        ("http://user@host/", "redirect_credentials"),
        ("http://user:password@host/", "redirect_credentials"),
        ("http://host@other/", "redirect_credentials"),
        ("http://host:80\\@other/", "redirect_credentials"),
        ("//@host/", "redirect_credentials"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_location_that_cannot_be_used_is_an_error_with_its_reason(location: str | bytes, code: str) -> None:
    with pytest.raises(RedirectError) as caught:
        followed(location)
    assert (caught.value.code, caught.value.origin) == (code, Origin.REMOTE)


@pytest.mark.parametrize("location", ["//%2Frun%2Fdocker.sock/x", "//localhost/x", "http+unix://%2Frun%2Fapp.sock/x"])
def test_location_from_a_unix_socket_cannot_name_a_socket(location: str) -> None:
    with pytest.raises(RedirectError) as caught:
        followed(location, "http+unix://%2Frun%2Fapp.sock/a")
    assert caught.value.code == "redirect_scheme"


@pytest.mark.parametrize(
    "location",
    [
        f"http://user:{SECRET}@host/",
        f"user:{SECRET}@host/",
        f"{SECRET}:x@host/",
        f"http://user:{SECRET}/@host/",
        f"http://[{SECRET}]/",
        f"http://{SECRET}ä!/",
        f"/path?token={SECRET}\x00",
    ],
)
def test_location_refused_shows_no_secret_of_it(location: str) -> None:
    with pytest.raises(RedirectError) as caught:
        followed(location)
    assert SECRET not in str(caught.value)


def test_location_query_is_in_no_message() -> None:
    with pytest.raises(RedirectError) as caught:
        followed(f"http://host/?token={SECRET}", "https://host/")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("seed", seeds(10))
def test_location_of_random_bytes_is_followed_or_refused_by_name(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [b"http:", b"https:", b"//", b"/", b"@", b":", b"host", b"%", b"%4", b"%41", b"[", b"::1", b"]", b"\\",
              b"?", b"#", b"..", b".", b" ", b"\xc3\xa4", b"\xff", b"8080", b"\x00", b"\xed\xa0\x80"]  # fmt: skip
    for _ in range(500):
        location = b"".join(rng.choices(pieces, k=rng.randrange(1, 9)))
        try:
            redirect = followed(location, rng.choice(["http://host/a", "http://[::1]:81/", "http+unix://%2Fs/a"]))
        except RedirectError:
            continue
        target = redirect.url.target
        assert target.startswith("/"), location
        assert target.isascii(), location
        assert not any(each in target for each in " #\\\x00"), location


@pytest.mark.parametrize(
    ("location", "full"),
    [
        (b"a/../" * 6_000, "http://host/a/"),
        (b"../" * 10_000, "http://host/"),
        (b"./" * 15_000 + b"c", "http://host/a/c"),
        (b"%" * 10_000, "http://host/a/" + "%25" * 10_000),
    ],
    ids=["back and forth", "up", "here", "percent"],
)
def test_location_as_long_as_it_may_be_is_resolved(location: bytes, full: str) -> None:
    assert followed(location).url.full == full


# Fragments


@pytest.mark.parametrize(
    ("before", "location", "fragment"),
    [
        (None, "/b", None),
        ("old", "/b", "old"),
        ("old", "/b#new", "new"),
        ("old", "/b#", ""),
        (None, "#n w%", "n%20w%25"),
        (None, "/b#ä", "%C3%A4"),
        ("old", "http://other/", "old"),
    ],
)
def test_fragment_is_inherited_unless_the_location_has_one(
    before: str | None, location: str, fragment: str | None
) -> None:
    redirect = followed(location, fragment=before)
    assert redirect.fragment == fragment
    assert "#" not in redirect.url.full


def test_fragment_is_kept_over_several_redirects() -> None:
    redirect = after(followed("/b#f"), "/c")
    assert redirect.fragment == "f"
    assert after(redirect, "/d#g").fragment == "g"


# Origins

SAME = [
    ("http://host/", "http://host:80/x"),
    ("http://host:80/", "http://host/x"),
    ("http://host/", "http://host:/x"),
    ("http://host/", "http://HOST/x"),
    ("http://HoSt/", "//hOsT/x"),
    ("http://host/", "/x"),
    ("http://host/", "?x"),
    ("http://host:8080/", "http://host:08080/x"),
    ("https://host/", "https://host:443/x"),
    ("https://host:443/", "//host/x"),
    ("http://host./", "http://HOST.:80/x"),
    ("http://127.0.0.1/", "http://127.0.0.1:80/x"),
    ("http://[::1]/", "http://[::1]:80/x"),
    ("http://[fe80::A]/", "http://[fe80::a]/x"),
    ("http+unix://%2Fs/", "/x"),
]
OTHER = [
    ("http://host/", "http://other/x"),
    ("http://host/", "//other/x"),
    ("http://host/", "http://sub.host/x"),
    ("http://sub.host/", "http://host/x"),
    ("http://host/", "http://host.evil/x"),
    ("http://host/", "http://host./x"),
    ("http://host./", "http://host/x"),
    ("http://host/", "http://host:81/x"),
    ("http://host:81/", "http://host/x"),
    ("http://host:8080/", "http://host:8081/x"),
    ("http://host/", "https://host/x"),
    ("http://host/", "https://host:80/x"),
    ("http://host:443/", "https://host/x"),
    ("https://host/", "http://host/x"),
    ("https://host/", "http://host:443/x"),
    ("https://host/", "https://host:80/x"),
    ("http://localhost/", "http://127.0.0.1/x"),
    ("http://127.0.0.1/", "http://0x7f.0.0.1/x"),
    ("http://127.0.0.1/", "http://127.1/x"),
    ("http://[::1]/", "http://[::2]/x"),
    ("http://[::ffff:127.0.0.1]/", "http://127.0.0.1/x"),
    ("http://[fe80::1%25eth0]/", "http://[fe80::1]/x"),
    ("http+unix://%2Fs/", "http://localhost/x"),
]
SPELLINGS = [str.lower, str.upper, str.title, lambda name: "".join(map(str.swapcase, name.title()))]
CREDENTIALS = ["authorization", "proxy-authorization", "cookie", "host"]
ANYWHERE = RedirectPolicy(allow_downgrade=True)


@pytest.mark.parametrize("status_code", sorted(REDIRECT_STATUSES))
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("url", "location"), OTHER)
def test_credentials_are_dropped_where_the_origin_changes(
    url: str, location: str, spelling: Any, status_code: int
) -> None:
    fields = [("X-First", "1")]
    for name in CREDENTIALS:
        fields += [(spelling(name), SECRET), ("X-Between", "2"), (name, SECRET), (name.title(), SECRET)]
    redirect = followed(location, url, policy=ANYWHERE, headers=HeaderList(fields), status_code=status_code)

    assert [name for name, _ in redirect.headers.raw] == [b"X-First"] + [b"X-Between"] * len(CREDENTIALS)
    assert not redirect.same_origin
    assert redirect.url.credentials is None


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("url", "location"), SAME)
def test_credentials_are_kept_where_the_origin_stays(url: str, location: str, spelling: Any) -> None:
    headers = HeaderList([(spelling(name), SECRET) for name in CREDENTIALS] * 2)
    redirect = followed(location, url, headers=headers)
    assert redirect.headers == headers
    assert redirect.same_origin


@pytest.mark.parametrize(
    ("first", "second"), [("http://b/", "http://a/"), ("http://a:81/", "http://a:80/"), ("https://a/", "http://a/")]
)
def test_credentials_once_dropped_are_not_restored_by_the_way_back(first: str, second: str) -> None:
    headers = HeaderList([(name, SECRET) for name in CREDENTIALS])
    away = followed(first, f"http://user:{SECRET}@a/start", headers=headers, policy=ANYWHERE)
    back = after(away, second, policy=ANYWHERE)
    on = after(back, "/further", policy=ANYWHERE)

    for redirect in (away, back, on):
        assert len(redirect.headers) == 0
        assert not redirect.same_origin
        assert redirect.url.credentials is None


def test_credentials_of_the_url_stay_with_its_origin() -> None:
    here = after(followed("/b", f"http://user:{SECRET}@host/a"), "http://HOST:80/c")
    assert here.url.credentials == ("user", SECRET)
    assert here.same_origin
    assert SECRET not in repr(here)


@pytest.mark.parametrize(
    ("url", "location"), [("https://host/", "http://host/"), ("https://host/", "http://other:443/")]
)
def test_downgrade_is_refused_unless_it_is_allowed(url: str, location: str) -> None:
    with pytest.raises(RedirectError, match="allow_downgrade") as caught:
        followed(location, url)
    assert caught.value.code == "redirect_downgrade"
    assert followed(location, url, policy=ANYWHERE).url.key.scheme == "http"


def test_upgrade_and_staying_on_https_need_no_leave() -> None:
    assert after(followed("https://host/"), "//other/x").url.full == "https://other/x"


# The end


@pytest.mark.parametrize("limit", [0, 1, 5, limits.REDIRECTS])
def test_redirects_without_end_stop_at_the_limit(limit: int) -> None:
    policy = RedirectPolicy(max_redirects=limit)
    seen: tuple[Any, ...] = ()
    url = Url("http://host/0")
    for number in range(1, limit + 1):
        redirect = follow(policy, "GET", url, NO_FIELDS, None, 302, b"/%d" % number, seen)
        assert redirect is not None
        url, seen = redirect.url, redirect.seen
    with pytest.raises(TooManyRedirects, match=f"max_redirects={limit}") as caught:
        follow(policy, "GET", url, NO_FIELDS, None, 302, b"/more", seen)
    assert (caught.value.code, caught.value.origin) == ("too_many_redirects", Origin.LIMIT)
    assert follow(policy, "GET", url, NO_FIELDS, None, 200, b"/more", seen) is None


def visited(paths: str, times: int) -> Redirect:
    """After so many rounds of the same paths, the first one visited once more."""
    redirect = followed(f"/{paths[-1]}", "http://host/" + paths[0]) if len(paths) > 1 else None
    for _ in range(times - 1):
        for path in paths:
            redirect = (
                followed(f"/{path}", "http://host/" + paths[0]) if redirect is None else after(redirect, f"/{path}")
            )
    assert redirect is not None
    return redirect


@pytest.mark.parametrize("paths", ["a", "ab"])
def test_same_request_is_made_again_for_cookies_and_results_but_not_without_end(paths: str) -> None:
    redirect = visited(paths, limits.MAX_REDIRECT_VISITS)
    with pytest.raises(TooManyRedirects, match="loop") as caught:
        after(redirect, "/" + paths[0] + "#other")
    assert caught.value.code == "redirect_loop"


def test_redirect_to_the_same_url_by_another_method_is_no_visit() -> None:
    redirect = followed("/a", "http://host/a", method="POST", status_code=303)
    assert after(redirect, "/a").url.full == "http://host/a"


def test_seen_is_every_request_so_far() -> None:
    redirect = after(followed("/b", "http://host/a", method="POST"), "/c")
    assert [(each.method, each.url.full) for each in redirect.seen] == [
        ("POST", "http://host/a"),
        ("GET", "http://host/b"),
    ]


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_redirects", -1),
        ("max_redirects", limits.MAX_REDIRECTS + 1),
        ("max_redirects", True),
        ("max_redirects", 1.0),
        ("max_redirects", None),
        ("allow_downgrade", 1),
        ("allow_downgrade", None),
    ],
)
def test_policy_option_wrong_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}="):
        RedirectPolicy(**{name: value})


def test_policy_is_frozen_hashable_and_travels() -> None:
    policy = RedirectPolicy(7, allow_downgrade=True)
    assert pickle.loads(pickle.dumps(policy)) == policy == copy.deepcopy(policy)
    assert hash(policy) == hash(RedirectPolicy(7, allow_downgrade=True))
    with pytest.raises(AttributeError):
        policy.max_redirects = 3  # type: ignore[misc]  # that is the test
