"""Network: connections in memory, in virtual time, with the latency, bandwidth and loss that you say.

    network = Network(seed=7, latency_s=0.05, loss=0.01)
    network.listen(("game.example", 80), handler=answer)
    with network, Client(connector=network) as client:
        client.get("http://game.example/")        # at once, and network.clock has moved by two round trips

A Network is a connector: a Client and a Loop that are given it live in its time, in which nobody waits. Listeners are
the library's own, stepped by whoever waits; or by you, where you give your Loop. The same seed, and the same calls,
bring the same bytes at the same times.

TLS is not spoken: https is taken for plain bytes that took a round trip more to begin with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

from turbosock.errors import ConnectError, ConnectTimeout, InvalidOption, StateError
from turbosock.loop import Loop
from turbosock.pool.queue_handle import check_wait
from turbosock.reactor.clock import NS_PER_S
from turbosock.testing.line import Line
from turbosock.testing.network_listener import NetworkListening, listen
from turbosock.testing.network_socket import NetworkSocket, join
from turbosock.testing.network_transport import NetworkTransport
from turbosock.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from typing import Self

    from turbosock.client.events import Event
    from turbosock.reactor.reactor import Reactor
    from turbosock.transport.connector import Target
    from turbosock.transport.transport import Transport

# Turns in one moment; what goes on then goes on a millisecond later.
_TURNS_AT_ONCE: Final = 1000
_TURN_NS: Final = 1_000_000


class Network:
    """See the module.

    Args:
        seed: of everything that is left to chance.
        latency_s: for which bytes are under way, in each direction.
        bandwidth_bytes_s: how fast they leave, in each direction of each connection; None: at once.
        loss: how many packets are lost, from 0 to less than 1; they are sent again, and late.
        clock: the time to live in, which several networks may share; None: one of its own.

    Attributes:
        clock: its virtual time.

    Raises:
        InvalidOption: an argument cannot work; it is named.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency_s: float = 0.0,
        bandwidth_bytes_s: float | None = None,
        loss: float = 0.0,
        clock: VirtualClock | None = None,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InvalidOption(f"seed={seed!r}: give an int")
        check_wait("latency_s", latency_s)
        if bandwidth_bytes_s is not None and not _is_positive(bandwidth_bytes_s):
            raise InvalidOption(f"bandwidth_bytes_s={bandwidth_bytes_s!r}: give more than 0 bytes a second, or None")
        if isinstance(loss, bool) or not isinstance(loss, (int, float)) or not 0 <= loss < 1:
            raise InvalidOption(f"loss={loss!r}: give a share from 0 to less than 1")
        if clock is not None and not isinstance(clock, VirtualClock):
            raise InvalidOption(f"clock={clock!r}: give a VirtualClock, or None")
        self.clock = VirtualClock() if clock is None else clock
        self._random = Random(seed)
        self._latency_ns = int(latency_s * NS_PER_S)
        self._bandwidth = bandwidth_bytes_s
        self._loss = float(loss)
        self._listeners: dict[tuple[str, int] | str | None, tuple[NetworkListening, str | None, bool]] = {}
        self._numbers = itertools.count(1)
        self._server: Loop | None = None
        self._turning = False
        # When the next turn of the server is due, and the times that the clock will come back at for one: those that
        # an earlier one has overtaken stay there, and are not asked for again.
        self._due_ns: int | None = None
        self._planned: set[int] = set()
        self._closed = False
        # For who builds on this: told of each connection, by its server's side, and of each event of the own server.
        self.on_connected: Callable[[NetworkSocket, Target, tuple[str, int]], object] | None = None
        self.on_event: Callable[[Event], object] | None = None

    # Servers

    def listen(
        self,
        address: tuple[str, int] | str | None,
        *,
        protocol: str = "http",
        loop: Loop | None = None,
        alpn: str | None = None,
        **options: Any,
    ) -> NetworkListening:
        """Serve the connections to `address`.

        Args:
            address: (host, port) as URLs have them, or a Unix path; None: whatever nobody else serves.
            protocol, options: as for `Loop.listen`; "http", "websocket" or "tcp", without `tls`.
            loop: serves them in its turns, which are yours to give, as its events are; it needs this network's clock.
                None: in the network's own, which happen by themselves.
            alpn: what clients of https find agreed on: "h2" for HTTP/2.

        Returns:
            The listener; it is closed with the network.

        Raises:
            InvalidOption: an argument cannot work, or somebody serves there already.
            StateError: after close().
        """
        self._check_open("listen() needs")
        if address is not None and not isinstance(address, (str, tuple)):
            raise InvalidOption(f"address={address!r}: give (host, port), a path, or None")
        if loop is not None and not isinstance(loop, Loop):
            raise InvalidOption(f"loop: a {type(loop).__name__} was given; give a Loop, or None")
        known = self._listeners.get(address)
        if known is not None and not known[0].closed:
            raise InvalidOption(f"address={address!r}: somebody serves there already")
        if loop is not None and loop.reactor.clock is not self.clock:
            raise InvalidOption("loop: it has another time; make it with clock=network.clock")
        if alpn not in (None, "h2", "http/1.1"):
            raise InvalidOption(f'alpn={alpn!r}: give "h2", "http/1.1" or None')
        owner = self._own_server() if loop is None else loop
        listener = listen(owner, ("", 0) if address is None else address, protocol, options)
        self._listeners[address] = listener, alpn, loop is None
        return listener

    def _own_server(self) -> Loop:
        if self._server is None:
            self._server = Loop(clock=self.clock)
        return self._server

    # As a connector

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        """See Connector.connect.

        Raises:
            ConnectError: nobody serves there.
            ConnectTimeout: a round trip takes longer than there is time.
            StateError: after close().
        """
        self._check_open("a connection needs")
        address = (target.host, target.port) if target.path is None else target.path
        serving = {place: known for place, known in self._listeners.items() if not known[0].closed}
        known = serving.get(address) or serving.get(None)
        if known is None:
            there = ", ".join(str(place) for place in serving) or "nobody at all"
            raise ConnectError(f"nobody serves {address} on this network; it has {there}")
        listener, alpn, own = known
        secure = target.scheme == "https"
        if target.upgrades:
            # Nothing is asked for but HTTP/1.1.
            alpn = None
        now_ns = self.clock.now_ns()
        # A round trip for the connection, and one for TLS.
        open_ns = now_ns + self._latency_ns * (4 if secure else 2)
        if reactor is None and self._latency_ns:
            self.clock.wait(min(open_ns, deadline_ns) - now_ns, lambda: False)
            if open_ns > deadline_ns:
                raise ConnectTimeout("no connection within connect_s: the latency of this network is too long")
        near, far = self._pair(open_ns)
        if own:
            far.attend = self.turn_soon
        peer = ("memory", next(self._numbers))
        transport = NetworkTransport(near, reactor, secure=secure, alpn=alpn)
        if self.on_connected is not None:
            self.on_connected(far, target, peer)
        self.clock.at(now_ns + self._latency_ns, lambda: self._accept(listener, far, peer, secure, alpn))
        return transport

    def _accept(
        self, listener: NetworkListening, far: NetworkSocket, peer: tuple[str, int], secure: bool, alpn: str | None
    ) -> None:
        if listener.reactor.closed:
            far.close()
            return
        listener.admit(far, peer, secure, alpn)
        far.tell()

    def _pair(self, open_ns: int) -> tuple[NetworkSocket, NetworkSocket]:
        near, far = (NetworkSocket(self.clock, self._line(open_ns)) for _ in range(2))
        join(near, far)
        return near, far

    def _line(self, open_ns: int) -> Line:
        return Line(self._random, self._latency_ns, self._bandwidth, self._loss, open_ns)

    def pair(self) -> tuple[NetworkTransport, NetworkTransport]:
        """Two transports that are joined by this network, for who steps them himself."""
        near, far = self._pair(self.clock.now_ns())
        return NetworkTransport(near), NetworkTransport(far)

    # Turns of the network's own server

    def turn_soon(self) -> None:
        """Let the server have a turn in this moment."""
        self._plan(self.clock.now_ns())

    def _plan(self, due_ns: int) -> None:
        if self._turning or self._closed or (self._due_ns is not None and self._due_ns <= due_ns):
            return
        self._due_ns = due_ns
        if due_ns not in self._planned:
            self._planned.add(due_ns)
            self.clock.at(due_ns, lambda: self._turn(due_ns))

    def _turn(self, due_ns: int) -> None:
        self._planned.discard(due_ns)
        server = self._server
        if self._due_ns != due_ns or self._turning or server is None or server.closed:
            # Planned anew for an earlier time, which has been.
            return
        self._due_ns = None
        self._turning = True
        try:
            left_s: float | None = 0.0
            for _ in range(_TURNS_AT_ONCE):
                server.poll()
                for event in server.events:
                    if self.on_event is not None:
                        self.on_event(event)
                server.flush()
                if server.closed:
                    return
                left_s = server.next_deadline()
                if left_s != 0.0:
                    break
        finally:
            self._turning = False
        if left_s is not None:
            self._plan(self.clock.now_ns() + max(int(left_s * NS_PER_S), _TURN_NS))

    # The end

    def close(self) -> None:
        """Close the listeners and their connections; a second call does nothing."""
        if not self._closed:
            self._closed = True
            for listener, _, _ in self._listeners.values():
                listener.close()
            if self._server is not None:
                self._server.close()

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise StateError(f"the network was closed: {what} an open one")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _is_positive(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value > 0
