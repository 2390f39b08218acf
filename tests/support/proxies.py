"""Scripted proxies for tests: what each protocol's proxy reads and says when it opens the way."""

from __future__ import annotations

from support.scripted_server import Peer, Step, send

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


def take_connect(peer: Peer) -> None:
    """Read a CONNECT, and note it in `server.requests`."""
    peer.server.requests.append(peer.take_until(b"\r\n\r\n"))


def accept_connect(peer: Peer) -> None:
    """Read a CONNECT and open the way."""
    take_connect(peer)
    send(OPEN)(peer)


def take_socks5(peer: Peer) -> None:
    """Read greeting, credentials where there are some, and request, and note them in `server.requests`."""
    _, count = peer.take(2)
    methods = peer.take(count)
    if 2 in methods:
        send(b"\5\2")(peer)
        version_and_length = peer.take(2)
        user = peer.take(version_and_length[1])
        length = peer.take(1)
        peer.server.requests.append(user + b":" + peer.take(length[0]))
        send(b"\1\0")(peer)
    else:
        send(b"\5\0")(peer)
    head = peer.take(4)
    if head[3] == 3:
        length = peer.take(1)
        address = peer.take(length[0])
    else:
        address = peer.take(4 if head[3] == 1 else 16)
    peer.server.requests.append(address + b":%d" % int.from_bytes(peer.take(2), "big"))


def accept_socks5(peer: Peer) -> None:
    """The whole of SOCKS5."""
    take_socks5(peer)
    send(b"\5\0\0\1\0\0\0\0\0\0")(peer)


def accept_socks4(peer: Peer) -> None:
    """The whole of SOCKS4 or 4a."""
    head = peer.take(8)
    user = peer.take_until(b"\0")[:-1]
    name = b""
    if head[4:7] == b"\0\0\0":
        name = peer.take_until(b"\0")[:-1]
    where = name or b".".join(b"%d" % byte for byte in head[4:8])
    peer.server.requests.append(user + b"@" + where + b":%d" % int.from_bytes(head[2:4], "big"))
    send(b"\0\x5a\0\0\0\0\0\0")(peer)


ACCEPTING: dict[str, Step] = {
    "http": accept_connect,
    "https": accept_connect,
    "socks4": accept_socks4,
    "socks4a": accept_socks4,
    "socks5": accept_socks5,
    "socks5h": accept_socks5,
}
