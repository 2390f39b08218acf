"""Outgoing message connections: `loop.connect()`: an address is dialled, and what stands is a MessageConnection.

The connection is the caller's at once, and can be closed before it stands. If it never does, its one event is CLOSED,
with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

from turbosock.client.dial_steps import DialSteps
from turbosock.config import TlsConfig
from turbosock.connection.frame_writer import FrameWriter
from turbosock.connection.message_connection import MessageConnection
from turbosock.connection.message_limits import MessageLimits
from turbosock.errors import InvalidOption, NetworkError, Origin, Phase, TurbosockError
from turbosock.pool.origin_pool import OriginKey
from turbosock.reactor.address import literal_addresses
from turbosock.reactor.sockets import tune, unix_path
from turbosock.reactor.timers import NEVER
from turbosock.transport.secure import TlsDialer

if TYPE_CHECKING:
    from turbosock.client.loop_services import LoopServices
    from turbosock.client.routes import Routes
    from turbosock.config import Timeouts
    from turbosock.host_map import HostMapArgument
    from turbosock.local_address import LocalAddressArgument
    from turbosock.protocol.framing.framing import Framing
    from turbosock.proxy_config import ProxyHops
    from turbosock.reactor.sockets import ListenAddress
    from turbosock.transport.transport import SaeaTransport


class Outgoing:
    """Owns a connection that is dialled, or was, and is the target of its dial.

    Args:
        loop: gives the dial its turns.
        timeouts: of connecting.

    Attributes:
        connection: set before `begin()`.
    """

    __slots__ = ("_loop", "connection", "deadline_ns", "dial", "phase", "timeouts")

    connection: MessageConnection

    def __init__(self, loop: LoopServices, timeouts: Timeouts) -> None:
        self._loop = loop
        self.timeouts = timeouts
        self.phase = Phase.NONE
        # That of an exchange; a connection has that of connecting alone.
        self.deadline_ns = NEVER
        self.dial: DialSteps | None = None

    def begin(self, key: OriginKey, secure: TlsDialer) -> None:
        """Dial, in this turn or a later one."""
        self.dial = dial = _MessageDial(self, self._loop, key, secure)
        self._loop.dials.add(dial)

    # What the dial calls

    def on_connected(self, transport: SaeaTransport) -> None:
        """The connection stands."""
        tune(transport.socket, keep_alive=True)
        try:
            self.connection.begin(transport)
        except TurbosockError as error:
            transport.close()
            self.connection.finish(error)

    def fail(self, error: TurbosockError) -> None:
        """It will not stand."""
        self.connection.finish(error.during(self.phase))

    def break_off(self, error: BaseException) -> None:
        """A turn of the loop broke off in a step of the dial."""
        self.connection.finish(
            NetworkError(f"connecting broke off by {type(error).__name__}", origin=Origin.LOCAL).during(self.phase)
        )

    # What the connection calls

    def forget(self, session: MessageConnection, transport: SaeaTransport | None) -> None:
        """The connection has ended; perhaps before it stood."""
        if self.dial is not None:
            self.dial.orphan()

    def count_timeout(self) -> None:
        """It was given up; its error says so."""


class _MessageDial(DialSteps):
    """A dial whose connection belongs to nobody's pool."""

    __slots__ = ()

    def _stand(self, transport: SaeaTransport) -> None:
        target = self._target
        assert target is not None, "a dial ends with its connection"
        try:
            self._end()
        finally:
            target.on_connected(transport)


class MessageBounds(TypedDict, total=False):
    """The bounds and times of a connection that `Loop.connect()` makes; see MessageLimits."""

    max_message: int
    quota: int
    max_unsent: int
    message_timeout_s: float
    idle_timeout_s: float | None
    write_timeout_s: float


class MessageOptions(MessageBounds, total=False):
    """What `Loop.connect()` may be told beside what it names itself: bounds, and the way there, as of requests."""

    proxy: ProxyHops | bool | None
    host_map: HostMapArgument | None
    local_address: LocalAddressArgument | None


_WAYS: Final = ("host_map", "local_address", "proxy")


def connect(
    loop: LoopServices,
    address: ListenAddress,
    framing: Framing,
    tls: TlsConfig | bool | None,
    timeouts: Timeouts,
    options: dict[str, Any],
) -> MessageConnection:
    """A connection to `address`, which is being dialled; arguments and errors are those of `Loop.connect()`."""
    unknown = options.keys() - MessageOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(sorted(MessageOptions.__annotations__))
        raise InvalidOption(f"{min(unknown)}: connect() has no such option; it has {known}")
    ways = {name: options.pop(name) for name in _WAYS if name in options}
    bounds = MessageLimits(**options)
    routes = loop.session.preparer.routes
    key, secure = target_of(loop, address, tls, routes.changed(**ways) if ways else routes)
    services = loop.messages
    services.rings.make_room_for(bounds.quota)
    outgoing = Outgoing(loop, timeouts)
    connection = outgoing.connection = MessageConnection(
        services, outgoing, bounds, framing.reader(bounds.max_message), FrameWriter(framing), address
    )
    try:
        services.connections.add(connection)
        outgoing.begin(key, secure)
    except BaseException:
        services.connections.discard(connection)
        raise
    return connection


def target_of(
    loop: LoopServices, address: ListenAddress, tls: TlsConfig | bool | None, routes: Routes
) -> tuple[OriginKey, TlsDialer]:
    """Where a `connect()` leads, and what puts TLS on it.

    Args:
        address: (host, port), or a Unix path.
        tls: True for the Loop's configuration, or one's own; None or False for plaintext.
        routes: which way it goes. Of proxies, those for everything are meant: what is spoken is not known here.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        TlsError: there is no engine for `tls`.
    """
    if tls is not None and not isinstance(tls, (bool, TlsConfig)):
        raise InvalidOption(f"tls={tls!r}: give a TlsConfig, True for the loop's own, or None for plaintext")
    scheme = "https" if tls else "http"
    if isinstance(address, str):
        path = unix_path(address)
        if path is None:
            raise InvalidOption(f'address is {address!r}: give (host, port), "/path" or "unix:path"')
        if tls:
            raise InvalidOption("tls: a Unix path has no host whose certificate could be verified")
        return OriginKey(scheme, "localhost", 0, path), loop.secure
    if not isinstance(address, tuple) or len(address) != 2:
        raise InvalidOption(f'address is {address!r}: give (host, port), "/path" or "unix:path"')
    host, port = address
    if not isinstance(host, str) or not host:
        raise InvalidOption(f"address has the host {host!r}: give a name or an IP address as a str")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= 65_535:
        raise InvalidOption(f"address has the port {port!r}: give an int from 1 to 65535")
    # What is neither a name nor an address is the caller's mistake, and no event.
    literal_addresses(host, port)
    secure = loop.secure
    # Here, and not inside a tick: what TLS wants to be made, and what the environment says of proxies.
    if tls:
        secure = TlsDialer(tls if isinstance(tls, TlsConfig) else loop.config.tls, alpn=())
        secure.prepare()
    key = routes.key(OriginKey("tcp", host.lower(), port))
    for hop in key.hops:
        if hop.scheme == "https":
            secure.of_proxy(hop).prepare()
    # No proxy forwards bytes that it does not understand: it makes a tunnel for them.
    return key._replace(scheme=scheme, upgrades=not tls), secure
