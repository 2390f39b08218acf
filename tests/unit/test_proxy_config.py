"""Proxies as settings: what URLs mean, what is refused by its name, and that no credential shows."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from turbosock import limits
from turbosock.config import Config
from turbosock.errors import InvalidOption
from turbosock.proxy_config import Proxy, proxy_hops
from turbosock.tls_config import TlsConfig


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.example:3128", Proxy("http", "proxy.example", 3128)),
        ("HTTP://Proxy.Example", Proxy("http", "proxy.example", 80)),
        ("proxy.example:3128", Proxy("http", "proxy.example", 3128)),
        ("user:pw@proxy.example:3128", Proxy("http", "proxy.example", 3128, "user", "pw")),
        ("https://proxy.example/", Proxy("https", "proxy.example", 443)),
        ("socks4://10.0.0.1", Proxy("socks4", "10.0.0.1", 1080)),
        ("socks4a://fred@proxy", Proxy("socks4a", "proxy", 1080, "fred")),
        ("socks5://[::1]:9050", Proxy("socks5", "::1", 9050)),
        ("socks5h://a%40b:p%3a%2F%25@proxy", Proxy("socks5h", "proxy", 1080, "a@b", "p:/%")),
        ("http://user:@proxy", Proxy("http", "proxy", 80, "user", "")),
        ("http://user@proxy", Proxy("http", "proxy", 80, "user")),
        ("http://u:p@ss@proxy:1", Proxy("http", "proxy", 1, "u", "p@ss")),
    ],
)
def test_parse_reads_scheme_credentials_host_and_port(url: str, expected: Proxy) -> None:
    assert Proxy.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks://proxy", "may be any of them"),
        ("ftp://proxy", "no scheme that is known"),
        ("http://", "host"),
        ("", "host"),
        ("http://proxy:port", "port"),
        ("http://proxy:0", "port"),
        ("http://proxy:65536", "port"),
        ("http://proxy:" + "9" * 5000, "port"),
        ("http://proxy/path", "path"),
        ("http://::1:3128", "host"),
        ("http://[::1", "brackets"),
        ("http://[::g]:1", "IPv6"),
        ("http://pro xy", "space"),
        ("http://ö..b", "host"),
        ("http://a..b", "host"),
        ("http://user:hunter2@pro\nxy", "control"),
        ("hunter2://proxy", "scheme"),
        ("http://user:hunter2", "port"),
        ("http://user:hunter2/3@proxy", "path"),
        ("http://user%00:hunter2@proxy", "control"),
        ("http://us%3Aer:hunter2@proxy", "colon"),
        ("http://user:" + "hunter2" * 40 + "@proxy", "bytes"),
        ("socks4://user:hunter2@proxy", "SOCKS4"),
        ("socks5://:hunter2@proxy", "password"),
        ("http://" + "a" * limits.MAX_URL_LENGTH, "characters"),
    ],
)
def test_parse_refuses_what_names_no_proxy_without_showing_it(url: str, words: str) -> None:
    with pytest.raises(InvalidOption, match=words) as caught:
        Proxy.parse(url)
    assert str(caught.value).startswith("proxy: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"scheme": "gopher"}, "scheme"),
        ({"scheme": None}, "scheme"),
        ({"host": 5}, "host"),
        ({"host": ""}, "host"),
        ({"port": True}, "port"),
        ({"port": "80"}, "port"),
        ({"port": 0}, "port"),
        ({"username": b"x"}, "username"),
        ({"username": "\ud800"}, "username"),
        ({"password": "x"}, "password"),
        ({"username": "a", "password": "\r\n"}, "password"),
        ({"tunnel": 1}, "tunnel"),
        ({"scheme": "socks5", "tunnel": True}, "tunnel"),
        ({"tls": True}, "tls"),
        ({"tls": TlsConfig()}, "tls"),
    ],
)
def test_wrong_fields_are_refused_by_name(options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}"):
        Proxy(**{"scheme": "http", "host": "proxy", **options})


def test_no_credential_in_repr_url_or_a_config() -> None:
    proxy = Proxy.parse("http://alice:hunter2@proxy:3128")
    shown = repr(proxy) + proxy.url + str(proxy) + repr(Config(proxy=proxy)) + repr(Config(proxy={"http": proxy}))
    assert "alice" not in shown
    assert "hunter2" not in shown
    assert proxy.url == "http://proxy:3128"


def test_credentials_are_part_of_what_a_proxy_is() -> None:
    proxy = Proxy("socks5h", "proxy")
    named = proxy.with_credentials("stream-1", "x")
    assert named != proxy
    assert hash(named) != hash(named.with_credentials("stream-2", "x"))
    assert (named.username, named.password, named.url) == ("stream-1", "x", proxy.url)


def test_authorization_is_basic_in_utf_8() -> None:
    assert Proxy("http", "proxy").authorization is None
    assert Proxy("http", "proxy", None, "Aladdin", "open sesame").authorization == b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert Proxy("http", "proxy", None, "a", "é").authorization == b"Basic YTrDqQ=="


def test_hops_are_one_or_several_or_none() -> None:
    one, other = Proxy("socks5h", "a"), Proxy("http", "b")
    assert proxy_hops(one) == (one,)
    assert proxy_hops("socks5h://a") == (one,)
    assert proxy_hops((one, "http://b")) == (one, other)
    assert proxy_hops([]) == ()
    assert proxy_hops(False) == ()


@pytest.mark.parametrize(
    "value", [True, None, 5, b"http://a", {"http": "a"}, ["a", 5], ["a"] * 9, "ftp://a", ("ftp://a",)]
)
def test_hops_of_anything_else_are_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^proxy: [^:]"):
        proxy_hops(value)


def test_config_keeps_proxies_hashable_picklable_and_through_copies() -> None:
    hop = Proxy("http", "a", None, "u", "p")
    for setting in (
        None,
        False,
        "http://a",
        hop,
        (hop, "socks5://b"),
        {"https": hop, "all": ["http://b"], "http": None},
    ):
        config = Config(proxy=setting, no_proxy=("a.example", ".b"), trust_env=False)
        assert pickle.loads(pickle.dumps(config)) == config
        assert dataclasses.replace(config, zero_alloc=False).proxies == config.proxies
        hash(config)
        assert config.no_proxy_text == "a.example,.b"
    assert Config(proxy={"https": hop, "http": None}).proxies == (("https", (hop,)), ("http", ()))
    assert Config(proxy=hop).proxies == (("all", (hop,)),)
    assert Config(proxy=False).proxies == ()
    assert Config().proxies is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"proxy": 5}, "proxy"),
        ({"proxy": True}, "proxy"),
        ({"proxy": {"ftp": "http://a"}}, "proxy"),
        ({"proxy": {"http": 5}}, r"proxy\['http'\]"),
        ({"proxy": {"http": "ftp://hunter2"}}, r"proxy\['http'\]"),
        ({"no_proxy": 5}, "no_proxy"),
        ({"no_proxy": b"a"}, "no_proxy"),
        ({"no_proxy": ["a", 5]}, "no_proxy"),
        ({"no_proxy": "a" * (limits.MAX_NO_PROXY_LENGTH + 1)}, "no_proxy"),
        ({"trust_env": 1}, "trust_env"),
    ],
)
def test_config_refuses_wrong_proxies_by_name(options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}") as caught:
        Config(**options)
    assert "hunter2" not in str(caught.value)
