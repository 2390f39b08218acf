"""Where the transports of a Client or a Loop come from: the one seam, which both take as `connector=`.

What is given there is one of two kinds, and everything above it (pool, protocol, timeouts, middleware) is what it
always is:

- A `Connector` makes connected transports instead of the network: no name is looked up and no socket dialled; it is
  asked for a transport to a target, and answers at once. Mocks, networks in memory and replayed cassettes are such.
- A `Wrapper` stands around the transports that another one makes, its `inner`: a Connector, another Wrapper, or None,
  the network, which is dialled as always, TLS included. Recorders and faults are such, and can be stacked.

    Client(connector=mock)                          # answers of its own
    Client(connector=Faults())                      # the network, with faults
    Loop(connector=Recorder(inner=Faults(mock)))    # outermost first: what it records is what the faults left

Either may have a `clock`: the time that its connections live in, which is then that of the Client or Loop, too; a Loop
may be given another one where that is not virtual. A Wrapper that has none lives in its inner one's time.

A transport carries the bytes of the application: what is recorded or spoilt is what the protocols say, whether or not
TLS lies below. Its `tls` is what was agreed on there; a connector that wants HTTP/2 to be spoken says so in `tls.alpn`.

Invariant: a transport that was handed over is its taker's to close, and a wrapped one its wrapper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from turbosock.errors import ConnectError, InvalidOption, MisuseError, Origin, TurbosockError
from turbosock.transport.transport import SaeaTransport, Transport

if TYPE_CHECKING:
    from turbosock.reactor.clock import Clock
    from turbosock.reactor.reactor import Reactor


class Target(Protocol):
    """Where a connection leads.

    Attributes:
        scheme: "http" or "https"; whether and how TLS is spoken is the connector's business.
        host, port: as in the URL.
        path: of a Unix socket, or None.
        upgrades: whether a WebSocket is to be opened, or something else that needs HTTP/1.1 to begin with.
    """

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def path(self) -> str | None: ...
    @property
    def upgrades(self) -> bool: ...


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


class Wrapper(Protocol):
    """Stands around the transports that another one makes."""

    @property
    def inner(self) -> Connector | Wrapper | None:
        """Whose transports are wrapped; None: those of the network."""

    def wrap(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        """What stands for a connected transport from here on; it may be the same one.

        Args:
            transport: what `inner` made, a SaeaTransport where there is a reactor; registered with it already.
            target: where it leads.
            reactor: what drives it; None for a caller that blocks. Under a reactor the call must not wait.

        Raises:
            TurbosockError: as Connector.connect; `transport` is closed then, by the caller.
        """


class Source:
    """What was given as `connector`, taken apart once.

    Args:
        given: a Connector, a Wrapper, or None for the network.

    Attributes:
        connector: makes the transports; None: they are dialled.
        clock: the time they live in; None: the system's.

    Raises:
        InvalidOption: something in `given` is neither.
    """

    __slots__ = ("_wrappers", "clock", "connector")

    def __init__(self, given: Connector | Wrapper | None) -> None:
        # The innermost first: the order in which they wrap.
        self._wrappers: list[Wrapper] = []
        self.clock: Clock | None = None
        maker: Any = given
        while maker is not None:
            if self.clock is None:
                self.clock = getattr(maker, "clock", None)
            if callable(getattr(maker, "connect", None)):
                break
            if not callable(getattr(maker, "wrap", None)) or not hasattr(maker, "inner") or maker in self._wrappers:
                raise InvalidOption(
                    f"connector: a {type(maker).__name__} was given; give an object with "
                    "connect(target, reactor, deadline_ns), or one with wrap(transport, target, reactor) and inner"
                )
            self._wrappers.insert(0, maker)
            maker = maker.inner
        self.connector: Connector | None = maker

    def wrapped(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        """What all wrappers make of a connected transport, which is closed where one of them fails.

        Raises:
            TurbosockError, MisuseError: as `connect_with`.
        """
        for wrapper in self._wrappers:
            try:
                transport = _checked(wrapper.wrap(transport, target, reactor), reactor)
            except TurbosockError:
                transport.close()
                raise
            except Exception as error:
                transport.close()
                raise _connect_error(error) from error
            except BaseException:
                transport.close()
                raise
        return transport


def _connect_error(error: Exception) -> ConnectError:
    return ConnectError(f"the connector raised {type(error).__name__}: {error}", errno=getattr(error, "errno", None))


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
        raise _connect_error(error) from error
    return _checked(transport, reactor)


def _checked(transport: Transport, reactor: Reactor | None) -> Transport:
    wanted = Transport if reactor is None else SaeaTransport
    if not isinstance(transport, wanted):
        raise MisuseError(
            f"the connector answered with a {type(transport).__name__}: it has to return a {wanted.__name__}",
            origin=Origin.MISUSE,
        )
    return transport
