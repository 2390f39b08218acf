"""Routes and dial plans: the way of a connection is part of its key, and what the key says is what is dialled."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest

from turbosock.client.dial_plan import DialPlan
from turbosock.client.request import Preparer
from turbosock.client.routes import Routes
from turbosock.client.url import Url
from turbosock.config import Config, PoolConfig, Timeouts, TlsConfig
from turbosock.errors import ConnectError, InvalidHeader, InvalidOption, Origin, Phase, ProxyError, ResolveError
from turbosock.host_map import HostMap
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.pool.origin_pool import OriginKey
from turbosock.proxy_config import Proxy, proxy_hops
from turbosock.reactor.address import Address
from turbosock.reactor.clock import ManualClock
from turbosock.transport.dial import Dial
from turbosock.transport.secure import TlsDialer

V4, V6 = Address(socket.AF_INET, ("192.0.2.1", 80)), Address(socket.AF_INET6, ("2001:db8::1", 80, 0, 0))


def key(url: str, **options: Any) -> OriginKey:
    return Routes.of(Config(**options)).key(Url(url).key)


def test_key_of_a_url_is_its_own_without_a_way_to_choose() -> None:
    assert key("http://example.com/", host_map={"other.example": "127.0.0.1"}) == Url("http://example.com/").key


def test_every_choice_of_a_way_is_a_key_of_its_own() -> None:
    url = "https://example.com/"
    choices: list[dict[str, Any]] = [
        {},
        {"host_map": {"example.com": "127.0.0.1"}},
        {"host_map": {"example.com": "127.0.0.2"}},
        {"host_map": {"example.com": "127.0.0.1:444"}},
        {"host_map": {"example.com": "/run/app.sock"}},
        {"local_address": "127.0.0.1"},
        {"local_address": ("127.0.0.1", 4000)},
        {"local_address": "127.0.0.2"},
        {"local_address": ["127.0.0.1", "::1"]},
        {"local_address": "127.0.0.1", "host_map": {"*": "127.0.0.1"}},
        {"proxy": "http://a"},
        {"proxy": "http://b"},
        {"proxy": "http://u@a"},
        {"proxy": "http://u:p@a"},
        {"proxy": "http://u:q@a"},
        {"proxy": Proxy("http", "a", tunnel=True)},
        {"proxy": "https://a:80"},
        {"proxy": Proxy("https", "a", 80, tls=TlsConfig(strict=False))},
        {"proxy": ("http://a", "http://b")},
        {"proxy": ("http://b", "http://a")},
        {"proxy": "http://a", "local_address": "127.0.0.1"},
    ]
    keys = [key(url, **choice) for choice in choices]
    assert len(set(keys)) == len(keys)
    for one in keys:
        assert (one.scheme, one.host, one.port) == ("https", "example.com", 443)


def test_unix_url_goes_its_own_way() -> None:
    url = "http+unix://%2Frun%2Fapp.sock/"
    assert key(url, host_map={"*": "127.0.0.1"}, local_address="127.0.0.1") == Url(url).key


def test_way_to_a_unix_socket_leaves_no_address_of_this_machine_to_choose() -> None:
    found = key("http://app.example/", host_map={"app.example": "/run/app.sock"}, local_address="127.0.0.1")
    assert found.connect_to == "/run/app.sock" and found.local_addresses == ()


def test_requests_of_other_ways_take_no_connection_of_each_other() -> None:
    pool = ConnectionPool(PoolConfig())
    usual = Routes.of(Config(host_map={"a.example": "127.0.0.1"}))
    preparer = Preparer(pool, (), None, usual)
    ways = [
        None,
        usual.changed(host_map={}),
        usual.changed(host_map={"a.example": "127.0.0.2"}),
        usual.changed(local_address="127.0.0.1"),
        usual.changed(host_map={}, local_address="127.0.0.1"),
    ]
    prepared = [preparer.prepare("GET", "http://a.example/", routes=way) for way in ways]
    assert len({id(one.origin) for one in prepared}) == len(ways)
    # The request itself is the same one, and only the usual way is remembered by its URL.
    assert len({(one.head, one.url.authority) for one in prepared}) == 1
    assert preparer.prepare("GET", "http://a.example/") is prepared[0]
    assert preparer.prepare("GET", "http://a.example/", routes=ways[2]).origin is prepared[2].origin


def test_way_of_one_request_that_is_wrong_is_refused_by_name() -> None:
    usual = Routes.of(Config())
    with pytest.raises(InvalidOption, match=r"^host_map: "):
        usual.changed(host_map={"a": "b:x"})
    with pytest.raises(InvalidOption, match=r"^local_address: "):
        usual.changed(local_address="eth0")


def plan(**fields: Any) -> DialPlan:
    return DialPlan(OriginKey("http", "example.com", 80)._replace(**fields))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, [("example.com", 80)]),
        ({"connect_to": ("192.0.2.1", 81)}, [("192.0.2.1", 81)]),
        ({"connect_to": "/run/app.sock"}, []),
        ({"path": "/run/own.sock"}, []),
        ({"hops": (Proxy("http", "a"),)}, [("a", 80)]),
        ({"hops": (Proxy("socks5h", "a"), Proxy("http", "b"))}, [("a", 1080)]),
        ({"hops": (Proxy("socks5", "a"),)}, [("a", 1080), ("example.com", 80)]),
        ({"hops": (Proxy("socks4", "a"), Proxy("socks5", "b"))}, [("a", 1080), ("b", 1080), ("example.com", 80)]),
        ({"hops": (Proxy("socks5", "a"),), "connect_to": ("c", 81)}, [("a", 1080), ("c", 81)]),
    ],
)
def test_plan_looks_up_what_the_key_leads_to(fields: dict[str, Any], wanted: object) -> None:
    found, names = plan(**fields), []
    while not found.known:
        names.append((found.host, found.port))
        found.learn([V4])
    assert names == wanted


def test_name_of_a_proxy_that_is_not_found_is_its_error() -> None:
    error = ResolveError("no address")
    found = plan(hops=(Proxy("socks5", "a", None, "alice", "hunter2"),))
    proxied = found.not_found(error)
    assert isinstance(proxied, ProxyError)
    assert (proxied.code, proxied.proxy, proxied.phase) == ("proxy_resolve", "socks5://a:1080", Phase.PROXY)
    # The origin's own name is another matter.
    found.learn([V4])
    assert found.not_found(error) is error
    assert plan().not_found(error) is error


@pytest.mark.parametrize(
    ("url", "proxy", "forwarded"),
    [
        ("http://example.com/", "http://a", True),
        ("http://example.com/", "https://a", True),
        ("http://example.com/", ("socks5://b", "http://a"), True),
        ("http://example.com/", ("http://a", "socks5://b"), False),
        ("http://example.com/", Proxy("http", "a", tunnel=True), False),
        ("http://example.com/", "socks5h://a", False),
        ("https://example.com/", "http://a", False),
        ("http://example.com/", False, False),
        ("http://mapped.example/", "http://a", False),
    ],
)
def test_plain_requests_are_forwarded_by_a_last_hop_that_speaks_http(url: str, proxy: Any, forwarded: bool) -> None:
    # A forwarded request is looked up by the proxy: what is mapped here goes through a tunnel.
    assert key(url, proxy=proxy, host_map={"mapped.example": "192.0.2.1"}).forwarded is forwarded


def test_unix_socket_is_reached_without_a_proxy() -> None:
    assert key("http+unix://%2Frun%2Fapp.sock/", proxy="http://a").hops == ()
    assert key("http://example.com/", proxy="http://a", host_map={"example.com": "/run/app.sock"}).hops == ()


def test_hops_of_one_request_replace_the_usual_ones_and_their_exceptions() -> None:
    usual = Routes.of(Config(proxy="http://a", no_proxy="example.com"))
    own = Url("http://example.com/").key
    assert usual.key(own).hops == ()
    assert usual.changed(proxy="http://b").key(own).hops == (Proxy("http", "b"),)
    assert usual.changed(proxy=False).key(Url("http://other.example/").key).hops == ()
    assert usual.changed(host_map={}).key(Url("http://other.example/").key).hops == (Proxy("http", "a"),)
    with pytest.raises(InvalidOption, match=r"^proxy: "):
        usual.changed(proxy=5)  # type: ignore[arg-type]  # what is refused


def prepared_head(url: str, proxy: Any, headers: Any = None, defaults: Any = ()) -> bytes:
    pool = ConnectionPool(PoolConfig())
    return Preparer(pool, defaults, None, Routes.of(Config(proxy=proxy))).prepare("GET", url, headers=headers).head


def test_forwarded_request_has_the_whole_url_and_the_credentials_of_its_proxy() -> None:
    head = prepared_head("http://u:p@example.com:81/path?q=1", ("socks5h://x:y@b", "http://alice:pw@a"))
    assert head.startswith(b"GET http://example.com:81/path?q=1 HTTP/1.1\r\nHost: example.com:81\r\n")
    assert b"\r\nProxy-Authorization: Basic YWxpY2U6cHc=\r\n" in head
    assert head.count(b"Basic") == 2


def test_credentials_for_a_proxy_are_in_no_request_that_reaches_an_origin() -> None:
    for url, proxy in (
        ("https://example.com/", "http://alice:pw@a"),
        ("http://example.com/", "socks5h://alice:pw@a"),
        ("http://example.com/", ("http://alice:pw@a", "socks5h://b")),
        ("http://example.com/", Proxy("http", "a", None, "alice", "pw", tunnel=True)),
        ("http://example.com/", False),
    ):
        head = prepared_head(url, proxy)
        assert head.startswith(b"GET / HTTP/1.1\r\n")
        assert b"Proxy-" not in head
        for options in ({"headers": {"proxy-AUTHORIZATION": "x"}}, {"defaults": [("Proxy-Authorization", "x")]}):
            with pytest.raises(InvalidHeader, match="would go to the origin"):
                prepared_head(url, proxy, **options)


def test_own_proxy_authorization_of_a_forwarded_request_replaces_basic() -> None:
    head = prepared_head("http://example.com/", "http://alice:pw@a", {"Proxy-Authorization": "Bearer x"})
    assert head.count(b"roxy-Authorization") == 1
    assert b"Bearer x" in head


def begun(plan: DialPlan, addresses: Sequence[Address], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What a dial by this plan connects to, and from where."""
    tried: list[tuple[Any, Any]] = []

    def start_connect(sock: socket.socket, sockaddr: Any) -> int:
        tried.append((sockaddr, sock.getsockname()))
        return 111

    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", start_connect)
    clock = ManualClock()
    plan.learn(addresses)
    dial: Dial = plan.dial(clock, 1, Timeouts(), TlsDialer(TlsConfig(), ("http/1.1",)))
    dial.start()
    assert dial.error is not None
    return tried


def test_local_address_of_one_family_leaves_out_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = begun(plan(local_addresses=(("127.0.0.9", 0),)), [V6, V4], monkeypatch)
    assert [sockaddr for sockaddr, _ in tried] == [V4.sockaddr]
    # The port is chosen when it connects.
    assert tried[0][1][0] == "127.0.0.9"


def test_family_alone_is_chosen_by_the_address_of_no_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = begun(plan(local_addresses=(("0.0.0.0", 0),)), [V6, V4], monkeypatch)
    assert [sockaddr for sockaddr, _ in tried] == [V4.sockaddr]


def test_no_address_of_the_family_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectError, match="local_address") as caught:
        begun(plan(local_addresses=(("127.0.0.9", 0),)), [V6], monkeypatch)
    assert (caught.value.origin, caught.value.phase) == (Origin.LOCAL, Phase.CONNECT)


def test_zone_of_a_local_address_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResolveError, match="nosuch0"):
        begun(plan(local_addresses=(("fe80::1%nosuch0", 0),)), [V6], monkeypatch)


def test_ways_of_upgrades_are_keys_of_their_own_and_no_proxy_forwards_them() -> None:
    proxied = Routes(HostMap(()), hops=proxy_hops("http://proxy:1"))
    plain = Url("http://host/").key
    assert proxied.key(plain).forwarded
    upgrading = proxied.of_upgrades()
    key = upgrading.key(plain)
    assert key.upgrades and key.hops and not key.forwarded and key != proxied.key(plain)
    assert upgrading.changed(host_map={"host": "127.0.0.1"}).key(plain).upgrades
    assert Routes(HostMap(())).of_upgrades().key(Url("http+unix://%2Fx/").key).upgrades
