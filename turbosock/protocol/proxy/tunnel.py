"""Tunnel: the handshake with one proxy as a state machine: bytes to send, then bytes fed, until the way is open.

Calling order::

    1. start()            what to send first
    2. feed(data)         at most `wanted` bytes at a time, as they come; what it returns is to be sent
    3. done               whatever is read from here on is the target's

Invariants: `wanted` never reaches beyond the proxy's reply, so that not a byte of the target is taken with it; each
tunnel reads a bounded number of bytes; a tunnel that raised is good for nothing more.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from turbosock.errors import Origin, ProxyError

if TYPE_CHECKING:
    from turbosock.proxy_config import Proxy


class TunnelTarget(NamedTuple):
    """Where a tunnel leads.

    Attributes:
        host: a name, or an address without brackets.
        port: of it.
    """

    host: str
    port: int

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address that `host` is, without its zone, which means nothing elsewhere; None for a name."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and port, an IPv6 address in brackets and without its zone."""
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


class Tunnel(ABC):
    """One handshake with one proxy.

    Attributes:
        proxy, target: who is asked, and for what.
        wanted: how many bytes may be read next, at most; 0 when `done`.
        done: the proxy has opened the way.
    """

    __slots__ = ("done", "proxy", "target", "wanted")

    def __init__(self, proxy: Proxy, target: TunnelTarget) -> None:
        self.proxy = proxy
        self.target = target
        self.wanted = 0
        self.done = False

    @abstractmethod
    def start(self) -> bytes:
        """Return what is sent first.

        Raises:
            ProxyError: the protocol cannot ask for this target.
        """

    @abstractmethod
    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take 1 to `wanted` bytes of the proxy; what is to be sent next, often nothing.

        Raises:
            ProxyError: the proxy refused or failed, or this is no answer.
        """

    def _finish(self) -> bytes:
        """The way is open."""
        self.done = True
        self.wanted = 0
        return b""

    def error(self, code: str, what: str, reply: int | None = None) -> ProxyError:
        """The error for `what` the proxy did, as "refuses us"."""
        return proxy_error(self.proxy, code, f"{what} (asked for {self.target.authority})", reply)

    def nonsense(self, what: str) -> ProxyError:
        """The error for an answer that is none."""
        error = self.error("proxy_protocol", f"{what}; is it a proxy of scheme {self.proxy.scheme!r}?")
        error.origin = Origin.PROTOCOL
        return error

    def ended(self) -> ProxyError:
        """The error for a proxy that closed before its answer was whole."""
        return self.error("proxy_closed", "closed the connection before its answer was whole")


def proxy_error(proxy: Proxy, code: str, what: str, reply: int | None = None) -> ProxyError:
    """A ProxyError that says which proxy did `what`."""
    return ProxyError(f"the proxy {proxy.url} {what}", proxy=proxy.url, reply=reply, code=code)


def tunnel_through(proxy: Proxy, target: TunnelTarget) -> Tunnel:
    """The handshake that asks `proxy` for `target`."""
    # Each protocol is imported when it is first used: most programs use one, and many none.
    if proxy.speaks_http:
        from turbosock.protocol.proxy.connect import ConnectTunnel

        return ConnectTunnel(proxy, target)
    if proxy.scheme in ("socks4", "socks4a"):
        from turbosock.protocol.proxy.socks4 import Socks4Tunnel

        return Socks4Tunnel(proxy, target)
    from turbosock.protocol.proxy.socks5 import Socks5Tunnel

    return Socks5Tunnel(proxy, target)
