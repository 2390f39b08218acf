"""SOCKS4 (Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls") and its extension 4a for names.

One request of nine bytes, the user name and, for 4a, the name of the target; one reply of eight bytes. There is no
IPv6 and no password.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from turbosock.protocol.proxy.tunnel import Tunnel, TunnelTarget

if TYPE_CHECKING:
    from turbosock.proxy_config import Proxy

_VERSION: Final = 4
_CONNECT: Final = 1
_REPLY_BYTES: Final = 8

_GRANTED: Final = 90
# What the last two say is of identd (RFC 1413), which asks the client's machine who he is.
_REFUSALS: Final = {
    91: ("proxy_refused", "refuses us or got no connection to there (SOCKS4 reply 91)"),
    92: ("proxy_auth", "cannot ask our machine who we are (SOCKS4 reply 92)"),
    93: ("proxy_auth", "was told another user name by our machine (SOCKS4 reply 93)"),
}
# SOCKS4a: an address that is none says that a name follows.
_NAME_FOLLOWS: Final = b"\0\0\0\x01"


class Socks4Tunnel(Tunnel):
    """SOCKS4 or SOCKS4a, as the proxy's scheme says."""

    __slots__ = ("_reply",)

    def __init__(self, proxy: Proxy, target: TunnelTarget) -> None:
        super().__init__(proxy, target)
        self._reply = bytearray()

    def start(self) -> bytes:
        self.wanted = _REPLY_BYTES
        user = (self.proxy.username or "").encode()
        head = bytes((_VERSION, _CONNECT)) + self.target.port.to_bytes(2, "big")
        address = self.target.address
        if isinstance(address, ipaddress.IPv4Address):
            return head + address.packed + user + b"\0"
        if self.proxy.scheme == "socks4":
            raise self.error("proxy_unsupported", "speaks SOCKS4, which has no IPv6: use 'socks5'")
        # An address of IPv6 goes as a name, which a proxy may or may not take.
        host = self.target.host.partition("%")[0]
        return head + _NAME_FOLLOWS + user + b"\0" + host.encode("ascii") + b"\0"

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        assert 0 < len(data) <= self.wanted, "a tunnel is fed what it wants"
        reply = self._reply
        reply += data
        if reply[0] != 0:
            raise self.nonsense(f"answered SOCKS4 with a reply that begins with the byte {reply[0]} and not with 0")
        self.wanted = _REPLY_BYTES - len(reply)
        if len(reply) < 2:
            return b""
        code = reply[1]
        if code != _GRANTED:
            refusal = _REFUSALS.get(code)
            if refusal is None:
                raise self.nonsense(f"answered with the SOCKS4 reply {code}, which there is not")
            raise self.error(*refusal, code)
        return self._finish() if not self.wanted else b""
