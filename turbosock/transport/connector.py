"""Connector: who makes connected transports for a Client or a Loop, instead of the real network.

With one, no name is looked up and no socket dialled: the connector is asked for a transport to a target, and answers at
once. Everything above (pool, protocol, timeouts, middleware) is what it always is.

Invariant: a transport that was handed over is its taker's to close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from turbosock.errors import ConnectError, InvalidOption, MisuseError, Origin, TurbosockError
from turbosock.transport.transport import SaeaTransport, Transport

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor


class Target(Protocol):
    """Where a connection leads.

    Attributes:
        scheme: "http" or "https"; whether and how TLS is spoken is the connector's business.
        host, port: as in the URL.
        path: of a Unix socket, or None.
    """

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def path(self) -> str | None: ...


class Connector(Protocol):
    """Makes connected transports."""

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        """A connected transport.

        Args:
            target: where to.
            reactor: what drives it, which asks for a SaeaTransport; None for a caller that blocks. Under a reactor the
                call must not wait.
            deadline_ns: when the connection has to stand, on the clock of the asking side.

        Raises:
            TurbosockError: there is no connection; the exchange ends with this. Any other exception is taken for a
                ConnectError.
        """


def checked_connector(connector: Connector | None) -> Connector | None:
    """`connector`, which a Client or a Loop was given.

    Raises:
        InvalidOption: it has no `connect`.
    """
    if connector is not None and not callable(getattr(connector, "connect", None)):
        what = type(connector).__name__
        raise InvalidOption(f"connector: a {what} was given; give an object with connect(target, reactor, deadline_ns)")
    return connector


def connect_with(connector: Connector, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
    """Ask the connector for a transport that suits the one who asks.

    Raises:
        TurbosockError: as the connector raises it; a ConnectError for any other exception of it.
        MisuseError: it answered with something that cannot be used here.
    """
    try:
        transport = connector.connect(target, reactor, deadline_ns)
    except TurbosockError:
        raise
    except Exception as error:
        raise ConnectError(
            f"the connector raised {type(error).__name__}: {error}", errno=getattr(error, "errno", None)
        ) from error
    wanted = Transport if reactor is None else SaeaTransport
    if not isinstance(transport, wanted):
        raise MisuseError(
            f"the connector answered with a {type(transport).__name__}: it has to return a {wanted.__name__}",
            origin=Origin.MISUSE,
        )
    return transport
