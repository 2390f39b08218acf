"""Ways through proxies, step by step on a socket pair: what is said when, what is waited for, and how they end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from turbosock.config import TlsConfig
from turbosock.errors import ConnectError, NetworkError, Origin, Phase, ProxyError, ResolveError
from turbosock.proxy_config import Proxy
from turbosock.reactor.resolver import Address
from turbosock.tls import DONE, WANTS_READ, WANTS_WRITE
from turbosock.tls.carrier import SocketCarrier
from turbosock.transport.proxy_path import ProxyPath, names_on_the_way, no_way_to
from turbosock.transport.secure import TlsDialer

HTTP = Proxy("http", "near.example", 3128)
SOCKS4 = Proxy("socks4", "far.example")
ORIGIN = ("origin.example", 443)
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def path(*hops: Proxy, forwarded: bool = False) -> ProxyPath:
    found = {
        ORIGIN: [Address(socket.AF_INET6, ("::7", 443, 0, 0)), Address(socket.AF_INET, ("192.0.2.7", 443))],
        ("far.example", 1080): [Address(socket.AF_INET, ("192.0.2.8", 1080))],
    }
    return ProxyPath(hops, *ORIGIN, found, forwarded, TlsDialer(TlsConfig(), ("http/1.1",)))


def test_stages_follow_each_other_and_each_asks_for_the_next(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    way = path(HTTP, SOCKS4)
    way.begin(near)
    assert (way.step(), way.stage, way.proxy) == (WANTS_READ, 0, HTTP)
    assert far.recv(999).startswith(b"CONNECT far.example:1080 ")
    far.sendall(OPEN)
    assert (way.step(), way.stage, way.proxy) == (WANTS_READ, 1, SOCKS4)
    # Of the origin's addresses the one that SOCKS4 can be asked for.
    assert far.recv(999) == b"\x04\x01\x01\xbb\xc0\x00\x02\x07\x00"
    far.sendall(b"\0\x5a\0\0\0\0\0\0")
    assert way.step() == DONE
    far.sendall(b"the origin's")
    carrier = way.take()
    assert isinstance(carrier, SocketCarrier)
    assert carrier.socket.recv(99) == b"the origin's"
    way.close()
    assert near.fileno() >= 0


def test_last_hop_that_forwards_is_asked_for_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    way = path(HTTP, forwarded=True)
    way.begin(near)
    assert way.proxy == HTTP
    assert way.step() == DONE
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(1)


def test_proxy_without_room_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    filler = bytes(1 << 16)
    filled = 0
    try:
        while True:
            filled += near.send(filler)
    except BlockingIOError:
        pass
    way = path(HTTP)
    way.begin(near)
    assert way.step() == WANTS_WRITE
    while filled:
        filled -= len(far.recv(filled))
    assert way.step() == WANTS_READ
    assert far.recv(999).startswith(b"CONNECT origin.example:443 ")


def test_bytes_before_anybody_was_spoken_to_are_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    way = path(HTTP)
    way.begin(near)
    way.step()
    far.sendall(OPEN + b"x")
    with pytest.raises(ProxyError) as caught:
        way.step()
    assert (caught.value.code, caught.value.phase) == ("proxy_early_bytes", Phase.PROXY)
    assert caught.value.origin is Origin.PROTOCOL


def test_proxy_that_closes_right_after_it_opened_is_one_that_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    way = path(HTTP)
    way.begin(near)
    way.step()
    far.sendall(OPEN)
    far.close()
    with pytest.raises(ProxyError) as caught:
        way.step()
    assert caught.value.code == "proxy_closed"


def test_broken_connection_names_the_hop_that_was_spoken_with(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    way = path(HTTP)
    way.begin(near)
    far.close()
    with pytest.raises(ProxyError) as caught:
        way.step()
    assert (caught.value.code, caught.value.proxy) == ("proxy_closed", HTTP.url)
    assert caught.value.errno
    way.close()
    assert near.fileno() < 0


def test_names_are_looked_up_for_the_nearest_proxy_and_those_that_take_addresses() -> None:
    assert names_on_the_way((HTTP,), *ORIGIN) == [("near.example", 3128)]
    assert names_on_the_way((SOCKS4,), *ORIGIN) == [("far.example", 1080), ORIGIN]
    assert names_on_the_way((Proxy("socks5", "a"), SOCKS4, HTTP), *ORIGIN) == [
        ("a", 1080),
        ("far.example", 1080),
        ("near.example", 3128),
    ]


def test_no_way_to_a_proxy_keeps_what_was_wrong() -> None:
    error = no_way_to(HTTP, ConnectError("could not connect: refused", errno=111))
    assert (error.code, error.errno, error.phase) == ("proxy_connect", 111, Phase.PROXY)
    assert str(error).startswith("the proxy http://near.example:3128 cannot be connected to: refused")
    assert no_way_to(HTTP, ResolveError("no such name")).code == "proxy_resolve"


def test_fault_of_this_machine_is_not_the_proxys() -> None:
    local = NetworkError("no descriptors left", origin=Origin.LOCAL)
    assert path(HTTP).unreachable(local) is local
    assert isinstance(path(HTTP).unreachable(ConnectError("refused")), ProxyError)
