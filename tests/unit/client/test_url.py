"""URLs: what is taken and how it is sent, what is refused, and that credentials show nowhere."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from support.steps import count_steps
from turbosock import limits
from turbosock.client.url import Url, encode_params
from turbosock.errors import InvalidUrl


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("http://host", "host", 80, "/", "host"),
        ("http://host/", "host", 80, "/", "host"),
        ("HTTP://HoSt/Path", "host", 80, "/Path", "host"),
        ("http://host:80/", "host", 80, "/", "host"),
        ("http://host:/", "host", 80, "/", "host"),
        ("http://host:8080/a", "host", 8080, "/a", "host:8080"),
        ("http://host:00080/", "host", 80, "/", "host"),
        ("http://host?q=1", "host", 80, "/?q=1", "host"),
        ("http://host#part", "host", 80, "/", "host"),
        ("http://host/a?b#c?d/e", "host", 80, "/a?b", "host"),
        ("http://host/a b?c d", "host", 80, "/a%20b?c%20d", "host"),
        ("http://host/ä", "host", 80, "/%C3%A4", "host"),
        ("http://host/%2Fä%20", "host", 80, "/%2F%C3%A4%20", "host"),
        ('http://host/"<>\\^`{|}', "host", 80, "/%22%3C%3E%5C%5E%60%7B%7C%7D", "host"),
        ("http://host/a:b@c;d=e,f+g!$&'()*[]", "host", 80, "/a:b@c;d=e,f+g!$&'()*[]", "host"),
        ("http://host/../a/./b", "host", 80, "/../a/./b", "host"),
        ("http://127.0.0.1:1/", "127.0.0.1", 1, "/", "127.0.0.1:1"),
        ("http://[::1]/", "::1", 80, "/", "[::1]"),
        ("http://[2001:DB8::1]:8080/", "2001:db8::1", 8080, "/", "[2001:db8::1]:8080"),
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0", 80, "/", "[fe80::1]"),
        ("http://[fe80::1%eth0]:1/", "fe80::1%eth0", 1, "/", "[fe80::1]:1"),
        ("http://host.example./", "host.example.", 80, "/", "host.example."),
        ("http://under_score/", "under_score", 80, "/", "under_score"),
        ("http://user:secret@host:81/a", "host", 81, "/a", "host:81"),
        ("http://host:81@other/", "other", 80, "/", "other"),
        ("http://a@b@host/", "host", 80, "/", "host"),
    ],
)
def test_url_taken_is_split_into_its_parts(url: str, host: str, port: int, target: str, authority: str) -> None:
    parsed = Url(url)
    assert (parsed.key.host, parsed.key.port, parsed.target, parsed.authority) == (host, port, target, authority)
    assert parsed.key.path is None
    assert parsed.full == f"http://{authority}{target}"


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http+unix://%2Frun%2Fapp.sock/a?b", "/run/app.sock", "/a?b"),
        ("http+unix://%2Frun%2Fmy%20app", "/run/my app", "/"),
        ("http+unix://relative.sock/", "relative.sock", "/"),
    ],
)
def test_url_of_a_unix_socket_names_its_path(url: str, path: str, target: str) -> None:
    parsed = Url(url)
    assert (parsed.key.path, parsed.key.host, parsed.target, parsed.authority) == (
        path,
        "localhost",
        target,
        "localhost",
    )


REFUSED: list[tuple[Any, str]] = [
    (None, "NoneType"),
    (b"http://host/", "bytes"),
    ("", "no scheme"),
    ("host/path", "no scheme"),
    ("//host/path", "no scheme"),
    ("http:/host", "no scheme"),
    (" http://host/", "no scheme"),
    ("ftp://host/", "'ftp'"),
    ("wss://host/", r"open it with websocket\(\), or write https://"),
    ("https+x://host/", "'https\\+x'"),
    ("http://", "no host"),
    ("http:///path", "no host"),
    ("http://?q", "no host"),
    ("http://:80/", "no host"),
    ("http://user@/", "no host"),
    ("http://ho st/", "characters"),
    ("http://ho%73t/", "characters"),
    ("http://host\\@evil/", "backslash"),
    ("http://hos\\t/", "backslash"),
    ("http://☃.example/", "xn--"),
    ("http://a..b/", "label"),
    ("http://.a/", "label"),
    ("http://" + "a" * 64 + "/", "label"),
    ("http://" + "a.b" * 90 + "/", "too long"),
    ("http://host:0/", "port"),
    ("http://host:65536/", "port"),
    ("http://host:999999/", "port"),
    ("http://host:-1/", "port"),
    ("http://host:+1/", "port"),
    ("http://host:8_0/", "port"),
    ("http://host:\uff18\uff10/", "port"),
    ("http://host:80:80/", "port"),
    ("http://::1/", "(port|host)"),
    ("http://[::1/", "brackets"),
    ("http://[::1]x/", "brackets"),
    ("http://[::g]/", "IPv6"),
    ("http://[127.0.0.1]/", "IPv6"),
    ("http://[]/", "IPv6"),
    ("http://[::1%]/", "zone"),
    ("http://[fe80::1%25e/0]/", "brackets"),
    ("http://[fe80::1%25e$0]/", "zone"),
    ("http://host/%", "'%'"),
    ("http://host/%zz", "'%'"),
    ("http://host/%a", "'%'"),
    ("http://host/?q=100%", "'%'"),
    ("http://host/\ud800", "surrogate"),
    ("http+unix:///path", "socket"),
    ("http+unix://%00/path", "socket"),
    ("http://host/" + "a" * limits.MAX_URL_LENGTH, "characters"),
]


@pytest.mark.parametrize(("url", "reason"), REFUSED, ids=[repr(url)[:40] for url, _ in REFUSED])
def test_url_that_cannot_be_sent_is_refused_with_its_reason(url: Any, reason: str) -> None:
    with pytest.raises(InvalidUrl, match=f"^url: .*{reason}") as caught:
        Url(url)
    assert caught.value.code == "invalid_url"


CONTROLS = [chr(i) for i in (*range(0x20), 0x7F)]


@pytest.mark.parametrize("control", CONTROLS, ids=[f"{ord(c):02x}" for c in CONTROLS])
@pytest.mark.parametrize("place", ["{}http://host/", "http{}://host/", "http://ho{}st/", "http://host:8{}0/",
                                   "http://us{}er@host/", "http://host/pa{}th", "http://host/?qu{}ery",
                                   "http://host/#frag{}ment", "http://host/{}"])  # fmt: skip
def test_url_with_a_control_character_anywhere_is_refused(control: str, place: str) -> None:
    with pytest.raises(InvalidUrl, match="control character"):
        Url(place.format(control))


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host/path?a={SECRET}#{SECRET}",
        f"http://{SECRET}@host/",
        f"http://user:{SECRET}%40@host/",
        f"http://us@er:{SECRET}@host/",
    ],
)
def test_url_credentials_show_nowhere_but_in_credentials(url: str) -> None:
    parsed = Url(url)
    assert parsed.credentials is not None
    assert SECRET in "".join(parsed.credentials)
    for shown in (repr(parsed), str(parsed), parsed.safe, parsed.authority, parsed.key.host, str(parsed.key)):
        assert SECRET not in shown
    assert SECRET not in parsed.full.partition("?")[0]
    assert "#" not in parsed.full


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}/more@host/",
        f"http://user:{SECRET}?more@host/",
        f"http://user:{SECRET}#more@host/",
        f"http://{SECRET}!/more@host/",
        f"http://{SECRET}☃#@host/",
        f"http://[{SECRET}]/@host",
        f"http://user:{SECRET}\\@host/",
        f"http://user:{SECRET}@host:port/",
        f"user:{SECRET}@host/",
        f"user:{SECRET}@host://x",
        f"http://user:{SECRET}@ho st/",
        f"http://user:{SECRET}@host/%",
        f"http://user:{SECRET}@host/\x00",
    ],
)
def test_url_refused_does_not_show_what_may_be_a_password(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        Url(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("http://host/", None),
        ("http://user@host/", ("user", "")),
        ("http://user:@host/", ("user", "")),
        ("http://us%40er:p%3Aw%2F@host/", ("us@er", "p:w/")),
        ("http://user:a:b@host/", ("user", "a:b")),
    ],
)
def test_url_credentials_are_decoded(url: str, credentials: tuple[str, str] | None) -> None:
    assert Url(url).credentials == credentials


@pytest.mark.parametrize(
    ("url", "params", "target"),
    [
        ("http://h/a", {"b": 1}, "/a?b=1"),
        ("http://h", {"b": "c d&e"}, "/?b=c+d%26e"),
        ("http://h/a?x=y", {"b": 1}, "/a?x=y&b=1"),
        ("http://h/a?", {"b": 1}, "/a?&b=1"),
        ("http://h/a", [("b", 1), ("b", 2)], "/a?b=1&b=2"),
        ("http://h/a", {"b": [1, None, "2"], "c": None, "d": True, "e": False}, "/a?b=1&b=2&d=true&e=false"),
        ("http://h/a", {"b": b"\xff\x00", b"k": "v"}, "/a?b=%FF%00&k=v"),
        ("http://h/a", {"ä": "ö#\r\n"}, "/a?%C3%A4=%C3%B6%23%0D%0A"),
        ("http://h/a", "b=c&d", "/a?b=c&d"),
        ("http://h/a", "?b=c", "/a?b=c"),
        ("http://h/a", "b=ä \r\n", "/a?b=%C3%A4%20%0D%0A"),
        ("http://h/a", {}, "/a"),
        ("http://h/a", "", "/a"),
        ("http://h/a", None, "/a"),
    ],
)
def test_url_params_join_the_query(url: str, params: Any, target: str) -> None:
    assert Url(url, params).target == target


@pytest.mark.parametrize("params", [5, 0, False, b"a=b", ["a"], [("a",)], {"a": "\ud800"}, "\ud800", "100%"])
def test_url_params_that_are_none_are_refused_by_name(params: Any) -> None:
    with pytest.raises(InvalidUrl, match=r"^params: "):
        Url("http://h/", params)


def test_encode_params_leaves_what_is_none_out() -> None:
    assert encode_params({"a": None}) == ""


@pytest.mark.parametrize(
    ("target", "full"),
    [("/other|path", "http://host/other|path"), ("*", "http://host"), ("elsewhere:443", "elsewhere:443")],
)
def test_url_aimed_sends_the_target_as_it_stands(target: str, full: str) -> None:
    url = Url("http://user:secret@host/path?query")

    url.aim(target)

    assert (url.target, url.full, url.safe) == (target, full, "http://host/path")


@pytest.mark.parametrize("start", ["", "http://", "http://[", "http://host/", "http://host/?", "http://host/#"])
@pytest.mark.parametrize("unit", ["a", "%", "%41", "ä", "@", ":", "[", ".", "/", "?", "=&"])
def test_url_of_double_length_takes_double_the_work(start: str, unit: str) -> None:
    def read(count: int) -> None:
        with contextlib.suppress(InvalidUrl):
            Url(start + unit * count)

    once, twice = (count_steps(lambda count=count: read(count)) for count in (500, 1000))  # type: ignore[misc]  # its default
    assert twice <= 2.2 * once + 100
