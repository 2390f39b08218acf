"""Which proxies an origin is reached through: settings, environment, exceptions."""

from __future__ import annotations

import pytest

from turbosock.client.proxy_settings import ProxySettings
from turbosock.config import Config
from turbosock.errors import InvalidOption
from turbosock.pool.origin_pool import OriginKey
from turbosock.proxy_config import Proxy

HTTP = OriginKey("http", "example.com", 80)
HTTPS = OriginKey("https", "example.com", 443)
UNIX = OriginKey("http+unix", "localhost", 0, "/run/app.sock")


def chosen(config: Config, key: OriginKey = HTTP, **environ: str) -> list[str]:
    """The hosts of the hops."""
    return [hop.host for hop in ProxySettings(config, environ).hops_to(key)]


def test_empty_environment_is_unused() -> None:
    settings = ProxySettings(Config(), {"NO_PROXY": "a", "HTTP_PROXY": "http://a", "http_proxy": " "})
    assert settings.unused
    assert settings.hops_to(HTTP) == ()


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({"http_proxy": "http://a"}, ["a"], []),
        ({"HTTP_PROXY": "http://a"}, [], []),
        ({"https_proxy": "http://a"}, [], ["a"]),
        ({"HTTPS_PROXY": "http://a"}, [], ["a"]),
        ({"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, [], ["b"]),
        ({"HTTPS_PROXY": "http://a", "https_proxy": ""}, [], ["a"]),
        ({"ALL_PROXY": "socks5://a"}, ["a"], ["a"]),
        ({"ALL_PROXY": "socks5://a", "all_proxy": "b"}, ["b"], ["b"]),
        ({"all_proxy": "a", "http_proxy": "b"}, ["b"], ["a"]),
        ({"all_proxy": "a", "http_proxy": "b", "no_proxy": "example.com"}, [], []),
        ({"all_proxy": "a", "NO_PROXY": "example.com:443"}, ["a"], []),
        ({"all_proxy": "a", "NO_PROXY": "example.com", "no_proxy": "x"}, ["a"], ["a"]),
        ({"all_proxy": "a", "NO_PROXY": "*"}, [], []),
    ],
)
def test_environment_is_read_as_curl_reads_it(environ: dict[str, str], http: list[str], https: list[str]) -> None:
    assert chosen(Config(), HTTP, **environ) == http
    assert chosen(Config(), HTTPS, **environ) == https
    assert chosen(Config(), UNIX, **environ) == []
    assert chosen(Config(trust_env=False), HTTP, **environ) == []


def test_process_environment_is_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://a")
    assert [hop.host for hop in ProxySettings(Config()).hops_to(HTTPS)] == ["a"]


def test_config_replaces_the_environment_and_its_exceptions() -> None:
    environ = {"all_proxy": "env", "no_proxy": "*"}
    assert chosen(Config(proxy="a"), HTTP, **environ) == ["a"]
    assert chosen(Config(proxy=False), HTTP, **environ) == []
    assert chosen(Config(proxy={"https": "a"}), HTTP, **environ) == []
    assert chosen(Config(proxy={"https": "a"}), HTTPS, **environ) == ["a"]
    assert chosen(Config(proxy={"https": False, "all": ["a", "b"]}), HTTPS, **environ) == []
    assert chosen(Config(proxy={"https": None, "all": ["a", "b"]}), HTTP, **environ) == ["a", "b"]


def test_config_exceptions_hold_for_both() -> None:
    assert chosen(Config(proxy="a", no_proxy="example.com")) == []
    assert chosen(Config(no_proxy=[".example.com", "x"]), HTTP, all_proxy="a") == []
    assert chosen(Config(no_proxy="x"), HTTP, all_proxy="a", no_proxy="example.com") == []
    assert chosen(Config(no_proxy="x"), HTTP, all_proxy="a", no_proxy="*") == []
    assert chosen(Config(no_proxy="*"), HTTP, all_proxy="a", no_proxy="x") == []
    assert chosen(Config(no_proxy="y"), HTTP, all_proxy="a", no_proxy="x") == ["a"]


def test_variable_that_names_no_proxy_is_an_error_when_it_is_needed() -> None:
    settings = ProxySettings(Config(), {"all_proxy": "socks://user:hunter2@a", "https_proxy": "http://b"})
    assert settings.hops_to(HTTPS) == (Proxy("http", "b"),)
    with pytest.raises(InvalidOption, match=r"^all_proxy of the environment: .*trust_env=False") as caught:
        settings.hops_to(HTTP)
    assert "hunter2" not in str(caught.value)
