"""SOCKS5 (RFC 1928) with no authentication, or user name and password (RFC 1929).

Greeting, perhaps credentials, then the request; each reply is read to its last byte and not beyond, whatever the length
of the address in it. Both methods are offered where there are credentials: which one is used is the proxy's choice, and
the credentials leave us only if it chooses them.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from turbosock.protocol.proxy.tunnel import Tunnel, TunnelTarget

if TYPE_CHECKING:
    from turbosock.errors import ProxyError
    from turbosock.proxy_config import Proxy

_VERSION: Final = 5
_CONNECT: Final = 1
_NO_AUTHENTICATION: Final = 0
_PASSWORD: Final = 2
_NO_METHOD: Final = 0xFF
_PASSWORD_VERSION: Final = 1

_IPV4: Final = 1
_NAME: Final = 3
_IPV6: Final = 4

# RFC 1928 §6.
_REFUSALS: Final = {
    1: ("proxy_failed", "failed (SOCKS5 reply 1)"),
    2: ("proxy_refused", "does not let us go there, by its rules (SOCKS5 reply 2)"),
    3: ("proxy_unreachable", "finds no network that leads there (SOCKS5 reply 3)"),
    4: ("proxy_unreachable", "does not reach the host (SOCKS5 reply 4)"),
    5: ("proxy_unreachable", "was refused by the host (SOCKS5 reply 5)"),
    6: ("proxy_unreachable", "found that the way is too long, or waited for too long (SOCKS5 reply 6)"),
    7: ("proxy_unsupported", "does not connect at all (SOCKS5 reply 7)"),
    8: ("proxy_unsupported", "does not know this kind of address (SOCKS5 reply 8)"),
}

# What is awaited: the choice of a method, the word on the credentials, the reply's first part, and its rest.
_METHOD: Final = 0
_WORD: Final = 1
_REPLY: Final = 2
_ADDRESS: Final = 3


class Socks5Tunnel(Tunnel):
    """SOCKS5; whether names go as they are is decided by who makes the target."""

    __slots__ = ("_awaited", "_read")

    def __init__(self, proxy: Proxy, target: TunnelTarget) -> None:
        super().__init__(proxy, target)
        self._awaited = _METHOD
        self._read = bytearray()

    def start(self) -> bytes:
        self.wanted = 2
        if self.proxy.username:
            return bytes((_VERSION, 2, _NO_AUTHENTICATION, _PASSWORD))
        return bytes((_VERSION, 1, _NO_AUTHENTICATION))

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        assert 0 < len(data) <= self.wanted, "a tunnel is fed what it wants"
        self._read += data
        self.wanted -= len(data)
        if self._awaited != _WORD and self._read[0] != _VERSION:
            raise self.nonsense(f"answered SOCKS5 with a reply of version {self._read[0]}")
        if self._awaited == _REPLY and len(self._read) > 1 and self._read[1]:
            # Some refuse with less than a whole reply.
            raise self._refusal(self._read[1])
        if self.wanted:
            return b""
        if self._awaited == _METHOD:
            return self._on_method(self._read[1])
        if self._awaited == _WORD:
            return self._on_word(self._read[0], self._read[1])
        if self._awaited == _REPLY:
            return self._on_reply()
        return self._finish()

    def _await(self, what: int, count: int) -> None:
        self._awaited = what
        self._read = bytearray()
        self.wanted = count

    def _on_method(self, method: int) -> bytes:
        if method == _NO_AUTHENTICATION:
            return self._request()
        if method == _PASSWORD and self.proxy.username:
            user = self.proxy.username.encode()
            password = (self.proxy.password or "").encode()
            self._await(_WORD, 2)
            return bytes((_PASSWORD_VERSION, len(user))) + user + bytes((len(password),)) + password
        if method == _NO_METHOD:
            if self.proxy.username:
                raise self.error("proxy_auth", "takes neither a user name and password nor nobody (SOCKS5)", method)
            raise self.error("proxy_auth", "wants a user name and password (SOCKS5): give them in its URL", method)
        raise self.nonsense(f"chose the SOCKS5 method {method}, which it was not offered")

    def _on_word(self, version: int, status: int) -> bytes:
        if version != _PASSWORD_VERSION:
            raise self.nonsense(f"answered to user name and password in version {version} and not 1")
        if status:
            raise self.error("proxy_auth", f"does not take our user name and password (status {status})", status)
        return self._request()

    def _request(self) -> bytes:
        address = self.target.address
        if address is None:
            name = self.target.host.encode("ascii")
            kind, packed = _NAME, bytes((len(name),)) + name
        else:
            kind, packed = (_IPV4 if isinstance(address, ipaddress.IPv4Address) else _IPV6), address.packed
        # The shortest reply has two bytes more than these five: an empty name and a port.
        self._await(_REPLY, 5)
        return bytes((_VERSION, _CONNECT, 0, kind)) + packed + self.target.port.to_bytes(2, "big")

    def _refusal(self, code: int) -> ProxyError:
        refusal = _REFUSALS.get(code)
        if refusal is None:
            # RFC 1928 leaves the others open, and Tor uses some of them.
            return self.error("proxy_failed", f"failed (SOCKS5 reply {code}, which is its own)", code)
        return self.error(*refusal, code)

    def _on_reply(self) -> bytes:
        kind, first = self._read[3], self._read[4]
        # Of the address, one byte is read; its port has two.
        left = {_IPV4: 4 - 1, _IPV6: 16 - 1, _NAME: first}.get(kind)
        if left is None:
            raise self.nonsense(f"answered SOCKS5 with an address of the kind {kind}, which there is not")
        self._awaited = _ADDRESS
        self.wanted = left + 2
        return b""
