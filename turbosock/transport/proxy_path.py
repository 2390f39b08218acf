"""ProxyPath: from a socket that is connected to the nearest proxy, through all of them, to what leads to the origin.

For each hop: TLS with the proxy where it wants that, then the handshake that asks it for the next hop, or for the
origin; a proxy that forwards plain requests is asked for nothing. Each stage runs over what the stages before it made:
the socket, a TLS session, or one inside another. `step()` never waits.

Invariants: a path ends exactly once, by `take()` or `close()`; nothing that spoke before us is taken for an answer of
the one we speak with next; an error names its proxy, and its phase is PROXY whoever raised it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import AF_INET
from typing import TYPE_CHECKING, Final

from turbosock.errors import (
    NetworkError,
    Origin,
    Phase,
    ProxyError,
    ReadError,
    ResolveError,
    TurbosockError,
    WriteError,
)
from turbosock.protocol.proxy.tunnel import Tunnel, TunnelTarget, proxy_error, tunnel_through
from turbosock.tls.carrier import SocketCarrier
from turbosock.tls.failures import wrong_protocol
from turbosock.tls.provider import DONE, TlsSession

if TYPE_CHECKING:
    from socket import socket

    from turbosock.proxy_config import Proxy
    from turbosock.reactor.resolver import Address
    from turbosock.transport.secure import TlsDialer

# More than any reply wants at a time.
_ROOM_BYTES: Final = 512


def names_on_the_way(hops: Sequence[Proxy], host: str, port: int) -> list[tuple[str, int]]:
    """What is to be looked up here: the nearest proxy, then each target of a proxy that takes addresses only."""
    targets = [(hop.host, hop.port or 0) for hop in hops[1:]] + [(host, port)]
    names = [(hops[0].host, hops[0].port or 0)]
    names += [target for hop, target in zip(hops, targets, strict=True) if not hop.looks_up]
    return names


def _asked(hop: Proxy, target: tuple[str, int], found: Mapping[tuple[str, int], Sequence[Address]]) -> TunnelTarget:
    """What a proxy is asked for: a name, or the address of it that suits the proxy's protocol."""
    if hop.looks_up:
        return TunnelTarget(*target)
    addresses = found[target]
    # SOCKS4 has no IPv6; where there is nothing else, it says so itself.
    suitable = [address for address in addresses if address.family == AF_INET] if hop.scheme == "socks4" else addresses
    return TunnelTarget(str((suitable or addresses)[0].sockaddr[0]), target[1])


def no_way_to(proxy: Proxy, error: TurbosockError) -> ProxyError:
    """The error for a proxy that has no address, or none that accepts."""
    code, what = (
        ("proxy_resolve", "is not found")
        if isinstance(error, ResolveError)
        else ("proxy_connect", "cannot be connected to")
    )
    made = proxy_error(proxy, code, f"{what}: {str(error.args[0]).removeprefix('could not connect: ')}")
    made.errno = error.errno if isinstance(error, NetworkError) else None
    made.origin = error.origin
    made.__cause__ = error
    made.during(Phase.PROXY)
    return made


class ProxyPath:
    """The stages of one dial through proxies.

    Args:
        hops: the proxies, the nearest first; at least one.
        host, port: of the origin.
        found: what was looked up for targets of proxies that take addresses only, by (host, port).
        forwarded: whether the last proxy forwards plain requests, and makes no tunnel.
        tls: gives the sessions with proxies over TLS.

    Attributes:
        stage: the number of the one that is under way; it only grows.
    """

    __slots__ = ("_carrier", "_hops", "_out", "_room", "_session", "_stages", "_tls", "_tunnel", "stage")

    def __init__(
        self,
        hops: tuple[Proxy, ...],
        host: str,
        port: int,
        found: Mapping[tuple[str, int], Sequence[Address]],
        forwarded: bool,
        tls: TlsDialer,
    ) -> None:
        self._hops = hops
        self._tls = tls
        self._carrier: SocketCarrier | TlsSession | None = None
        # Which hop, and what it is asked for; None: TLS with it.
        self._stages: list[tuple[int, TunnelTarget | None]] = []
        targets = [(hop.host, hop.port or 0) for hop in hops[1:]] + [(host, port)]
        for index, (hop, target) in enumerate(zip(hops, targets, strict=True)):
            if hop.scheme == "https":
                self._stages.append((index, None))
            if not forwarded or index + 1 < len(hops):
                self._stages.append((index, _asked(hop, target, found)))
        self.stage = 0
        self._session: TlsSession | None = None
        self._tunnel: Tunnel | None = None
        self._out = memoryview(b"")
        self._room = memoryview(bytearray(_ROOM_BYTES))

    @property
    def proxy(self) -> Proxy:
        """The one that is spoken with."""
        return self._hops[self._stages[min(self.stage, len(self._stages) - 1)][0] if self._stages else 0]

    def unreachable(self, error: TurbosockError) -> TurbosockError:
        """The error where no address of the nearest proxy accepts."""
        return error if error.origin is Origin.LOCAL else no_way_to(self._hops[0], error)

    def begin(self, sock: socket) -> None:
        """Take over the socket that is connected to the nearest proxy."""
        self._carrier = SocketCarrier(sock)

    def step(self) -> int:
        """Go on: DONE, or what is waited for.

        Raises:
            ProxyError: a proxy refused, failed, or answered nonsense.
            TlsError: the handshake with a proxy failed, or its certificate was refused.
            NetworkError: the system refused to set the socket up.
        """
        try:
            while self.stage < len(self._stages):
                code = self._take_stage()
                if code != DONE:
                    return code
                self.stage += 1
        except (ReadError, WriteError) as error:
            broken = proxy_error(self.proxy, "proxy_closed", f"broke off: {error.args[0]}")
            broken.errno = error.errno
            raise broken.during(Phase.PROXY) from error
        except TurbosockError as error:
            error.during(Phase.PROXY)
            raise
        return DONE

    def _take_stage(self) -> int:
        index, target = self._stages[self.stage]
        hop = self._hops[index]
        if target is None:
            return self._shake_hands(index, hop)
        if self._tunnel is None:
            self._tunnel = tunnel_through(hop, target)
            self._out = memoryview(self._tunnel.start())
        code = self._converse(self._tunnel)
        if code == DONE:
            self._expect_silence(self._tunnel)
            self._tunnel = None
        return code

    def _shake_hands(self, index: int, hop: Proxy) -> int:
        """TLS with a proxy."""
        dialer = self._tls.of_proxy(hop)
        session = self._session
        if session is None:
            assert self._carrier is not None, "a path begins with a socket"
            session = dialer.wrap(self._carrier, hop.host, hop.port or 0, self._hops[:index] or None)
            self._carrier = self._session = session
        code = session.handshake()
        if code == DONE:
            if session.alpn is not None and session.alpn not in dialer.alpn:
                raise wrong_protocol(session.alpn, session.host)
            self._session = None
        return code

    def _expect_silence(self, tunnel: Tunnel) -> None:
        """Whoever is next at the other end waits for us: what comes before we spoke is not his answer."""
        assert self._carrier is not None, "a tunnel goes over something"
        count = self._carrier.recv_into(self._room, 1)
        if count > 0:
            error = tunnel.nonsense("opened the way and sent bytes before anybody there was spoken to")
            error.code = "proxy_early_bytes"
            raise error
        if count == 0:
            raise tunnel.error("proxy_closed", "opened the way and closed it at once")

    def _converse(self, tunnel: Tunnel) -> int:
        """Send and read until the proxy has opened the way, or the carrier waits."""
        carrier = self._carrier
        assert carrier is not None, "a path begins with a socket"
        room = self._room
        while True:
            while self._out:
                sent = carrier.send(self._out)
                if sent < 0:
                    return sent
                self._out = self._out[sent:]
            if tunnel.done:
                return DONE
            count = carrier.recv_into(room, min(tunnel.wanted, _ROOM_BYTES))
            if count < 0:
                return count
            if count == 0:
                raise tunnel.ended()
            self._out = memoryview(tunnel.feed(room[:count]))

    def take(self) -> SocketCarrier | TlsSession:
        """What leads to the origin; it is the caller's from here on."""
        carrier = self._carrier
        assert carrier is not None, "taken once, when the path is whole"
        self._carrier = None
        return carrier

    def close(self) -> None:
        """Give up."""
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None
