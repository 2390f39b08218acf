"""UdpListener: datagrams as events of a Loop, and back.

    listener = loop.listen(("0.0.0.0", 9000), protocol="udp")
    ...
    for event in loop.events:
        if event.kind is EventKind.MESSAGE:
            listener.send_to(event.data, event.address)

Without sessions the listener is the `connection` of its MESSAGE events, and `event.address` the sender. With
`session_timeout_s` each sender has a DatagramSession, which is the `connection`: OPEN, MESSAGE ..., CLOSED.

Datagrams are received in batches, until none is left or a step has done its share, into pooled slots that are lent
until the next `poll()`. What is sent leaves at once: each datagram is a system call of its own, whenever it is made.

What is dropped, and counted: datagrams longer than `max_datagram`, of hosts above their rate, of new addresses while
`max_sessions` are known, and of sessions with MAX_QUEUED_DATAGRAMS that nobody took. While the memory of `quota` is
lent, nothing is received: the system's buffer fills, and what it drops then only the system knows.

Invariant: a step receives at most DATAGRAMS_PER_STEP.
"""

from __future__ import annotations

from socket import gaierror
from typing import TYPE_CHECKING, Final, NamedTuple

from turbosock import limits
from turbosock.config import check_count, check_seconds
from turbosock.connection.datagram_block import DatagramBlock, DatagramBlocks
from turbosock.connection.send import Send
from turbosock.errors import InvalidOption, LimitError, NetworkError, TurbosockError
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.poller import IN, READABLE, WRITABLE, SingleWaiter
from turbosock.reactor.sockets import TOO_LONG, ListenAddress, bind_udp
from turbosock.server.address_limiter import AddressLimiter
from turbosock.server.datagram_session import DatagramSession

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.reactor.address import SocketAddress

_DIGITS: Final = frozenset("0123456789")


class UdpStats(NamedTuple):
    """Counts since the listener began, and `sessions`, those that it has now.

    `too_long`, `limited`, `unknown` and `overflowed` datagrams were dropped: above `max_datagram`, above their host's
    rate, from a new address while there was no room for a session, and of a session that nobody serves. `held` says how
    often nothing was received because all memory was lent. `full` sends found no room in the system's buffer; `lost`
    ones the system refused, for want of a route, say, as the network may lose any other.
    """

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    sessions: int
    too_long: int
    limited: int
    unknown: int
    overflowed: int
    held: int
    full: int
    lost: int


class UdpListener:
    """Receives and sends datagrams; see the module.

    Args:
        services: the Loop's.
        address: (host, port), with port 0 for any free one.
        max_datagram: bytes of a datagram.
        quota: memory of datagrams that were delivered and are not over.
        session_timeout_s: keep a session for each address, until it was silent for so long; None keeps none.
        max_sessions: addresses that are known at once.
        rate_per_s, burst: datagrams of one host (any port): in the long run, and at once; a rate of None sets no bound.
        max_hosts: hosts whose rate is remembered.
        buffer_bytes: the system's buffers of the socket, each way (SO_RCVBUF, SO_SNDBUF); None leaves them to it.
        reuse_port, dual_stack: as in `sockets.listen`.

    Attributes:
        address: where it listens, with the real port.
        sessions: by address.
        closed: whether `close()` was called.
        untaken, held: the events': datagrams that are not over; whether it waits for memory.
        mask, queued: the reactor's.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        NetworkError: the system refused to listen there; `errno` says why.
    """

    __slots__ = (
        "_block",
        "_blocks",
        "_bytes_in",
        "_bytes_out",
        "_full",
        "_held",
        "_in",
        "_limited",
        "_limiter",
        "_lost",
        "_max_datagram",
        "_max_sessions",
        "_out",
        "_overflowed",
        "_recvfrom_into",
        "_sendto",
        "_services",
        "_slot",
        "_socket",
        "_too_long",
        "_unknown",
        "_usual",
        "_waiter",
        "_writing",
        "address",
        "closed",
        "held",
        "mask",
        "queued",
        "reactor",
        "session_ns",
        "sessions",
        "untaken",
    )

    def __init__(
        self,
        services: MessageServices,
        address: ListenAddress,
        *,
        max_datagram: int = limits.MAX_DATAGRAM_BYTES,
        quota: int = limits.DATAGRAM_QUOTA_BYTES,
        session_timeout_s: float | None = None,
        max_sessions: int = limits.MAX_DATAGRAM_SESSIONS,
        rate_per_s: float | None = None,
        burst: int = limits.DATAGRAM_BURST,
        max_hosts: int = limits.MAX_LIMITED_ADDRESSES,
        buffer_bytes: int | None = None,
        reuse_port: bool = False,
        dual_stack: bool = False,
    ) -> None:
        check_count("max_datagram", max_datagram, 1, limits.MAX_UDP_PAYLOAD_BYTES)
        check_count("quota", quota, 1, limits.MAX_QUOTA_BYTES)
        check_seconds("session_timeout_s", session_timeout_s, optional=True)
        check_count("max_sessions", max_sessions, 1, limits.MAX_TIMERS // 2)
        if rate_per_s is not None and (
            isinstance(rate_per_s, bool)
            or not isinstance(rate_per_s, (int, float))
            or not 0 < rate_per_s <= limits.MAX_TOKEN_RATE
        ):
            raise InvalidOption(f"rate_per_s={rate_per_s!r}: give a number above 0, or None for no bound")
        check_count("burst", burst, 1, limits.MAX_LIMITER_COUNT)
        check_count("max_hosts", max_hosts, 1, limits.MAX_LIMITED_ADDRESSES_CAP)
        if buffer_bytes is not None:
            check_count("buffer_bytes", buffer_bytes, 1, limits.MAX_SOCKET_BUFFER_BYTES)
        self._services = services
        self.reactor = services.reactor
        self._max_datagram = max_datagram
        self.session_ns = 0 if session_timeout_s is None else max(1, int(session_timeout_s * NS_PER_S))
        self._max_sessions = max_sessions
        self._limiter = None if rate_per_s is None else AddressLimiter(rate_per_s, burst, max_hosts)
        self.sessions: dict[SocketAddress, DatagramSession] = {}
        # One byte more than may come, which shows what is longer.
        self._blocks = DatagramBlocks(
            max_datagram + 1, quota, self.on_room, pooling=services.pooling, diagnostics=services.diagnostics
        )
        self._block: DatagramBlock | None = None
        self._slot = 0
        self.untaken = 0
        self.held = False
        self.mask = 0
        self.queued = False
        self.closed = False
        self._writing = False
        # Floats, whose freed ones CPython keeps for the next.
        self._in = self._out = self._bytes_in = self._bytes_out = 0.0
        self._too_long = self._limited = self._unknown = self._overflowed = self._held = self._full = self._lost = 0
        self._socket = sock = bind_udp(address, reuse_port=reuse_port, dual_stack=dual_stack, buffer_bytes=buffer_bytes)
        self._recvfrom_into = sock.recvfrom_into
        self._waiter = SingleWaiter(sock.fileno())
        # How many datagrams a step has found of late.
        self._usual = 1
        self._sendto = sock.sendto
        self.address: tuple[str, int] = sock.getsockname()[:2]
        try:
            self.reactor.register(sock.fileno(), self, read=True, write=False)
        except TurbosockError:
            sock.close()
            raise

    # What the user calls

    def send_to(self, data: bytes | bytearray | memoryview, address: SocketAddress) -> Send:
        """Send one datagram now.

        Args:
            data: its payload.
            address: of an event, or (host, port) with a numeric host: a name would be looked up, and block.

        Returns:
            OK: the system took it, or lost it as the network may (see `UdpStats.lost`). FULL: there is no room in its
            buffer; a WRITABLE event follows. CLOSED: the listener is.

        Raises:
            InvalidOption: the datagram is longer than any may be, or the address is none.
        """
        if self.closed:
            return Send.CLOSED
        try:
            host = address[0]
            # A name may begin with a digit; the last label of one that the Internet knows does not end with one.
            if (host[:1] in _DIGITS and host[-1:] in _DIGITS) or ":" in host:
                sent = self._sendto(data, address)
            else:
                sent = -1
        except BlockingIOError:
            self._full += 1
            self._watch_for_room()
            return Send.FULL
        except OSError as error:
            if isinstance(error, gaierror):
                raise InvalidOption(f"address has the host {host!r}, which is none: give a numeric one") from error
            if error.errno in TOO_LONG:
                raise InvalidOption(f"data: {len(data)} bytes are more than a datagram to there holds") from error
            self._lost += 1
            return Send.OK
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise InvalidOption(f"data, address: {error}; give bytes, and (host, port)") from error
        if sent < 0:
            raise InvalidOption(f"address has the host {host!r}: give a numeric one, as events have")
        self._out += 1.0
        self._bytes_out += sent
        self.reactor.bytes_out += sent
        return Send.OK

    def stats(self) -> UdpStats:
        """What happened so far."""
        return UdpStats(
            messages_in=int(self._in),
            messages_out=int(self._out),
            bytes_in=int(self._bytes_in),
            bytes_out=int(self._bytes_out),
            sessions=len(self.sessions),
            too_long=self._too_long,
            limited=self._limited,
            unknown=self._unknown,
            overflowed=self._overflowed,
            held=self._held,
            full=self._full,
            lost=self._lost,
        )

    def close(self) -> None:
        """Stop receiving and forget every address, each with its CLOSED; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self.mask = 0
        self.reactor.unregister(self._socket.fileno())
        self._socket.close()
        for session in tuple(self.sessions.values()):
            session.close()
        if self._block is not None:
            self._block.let_go()
            self._block = None
        self._blocks.clear()

    # What the reactor and the events call

    def on_ready(self, mask: int) -> None:
        """Datagrams wait, or there is room to send."""
        if mask & WRITABLE and self._writing:
            self._writing = False
            self._set_interest()
            self._services.events.put_writable(self)
        if mask & READABLE and not self.held and not self.closed:
            self._receive()

    def on_room(self) -> None:
        """For blocks and events: memory is back."""
        if self.held and self._blocks.has_room and not self.closed:
            self.held = False
            self._set_interest()
            self.reactor.requeue(self, IN)

    def forget_session(self, session: DatagramSession) -> None:
        """For sessions: one has ended."""
        if self.sessions.pop(session.address, None) is not None:
            self._services.events.put_closed(session, None)

    def _receive(self) -> None:
        """Receive and deliver, until nothing more is there or this step has done its share."""
        # Long, because a datagram's whole cost is a few of these microseconds.
        reactor = self.reactor
        receive = self._recvfrom_into
        put_message = self._services.events.put_message
        now_ns = self._services.now_ns
        limiter = self._limiter
        max_datagram = self._max_datagram
        block = self._block
        slot = self._slot
        if block is not None and block.holders == 1:
            slot = 0
        # No call says how many datagrams wait, and a receive that finds none raises, at a microsecond and a malloc. So
        # when as many have come as in the last step, the system is asked first.
        more = self._waiter.wait
        usual = self._usual
        received = 0
        try:
            for received in range(limits.DATAGRAMS_PER_STEP):
                if received >= usual and received and not more(0):
                    self._usual = received
                    return
                if block is None or slot == len(block.slots):
                    if block is not None:
                        block.let_go()
                    block = self._block = self._blocks.rent()
                    slot = 0
                    if block is None:
                        self._hold()
                        return
                view = block.slots[slot]
                count, address = receive(view)
                self._in += 1.0
                self._bytes_in += count
                reactor.bytes_in += count
                if count > max_datagram:
                    self._too_long += 1
                    continue
                if limiter is not None and not limiter.passes(address[0], now_ns):
                    self._limited += 1
                    continue
                if not self.session_ns:
                    put_message(self, view[:count], block, address)
                    self.untaken += 1
                elif not self._deliver(view[:count], block, address, now_ns):
                    continue
                slot += 1
            reactor.requeue(self, IN)
        except BlockingIOError:
            self._usual = received >> 1
        except OSError:
            # The report of an earlier datagram that came nowhere, on systems that give such reports here.
            self._lost += 1
            reactor.requeue(self, IN)
        finally:
            self._slot = slot

    def _deliver(self, data: memoryview, block: DatagramBlock, address: SocketAddress, now_ns: int) -> bool:
        """Give a datagram to its address's session; whether there is one with room for it."""
        session = self.sessions.get(address)
        if session is None:
            if len(self.sessions) >= self._max_sessions:
                self._unknown += 1
                return False
            try:
                session = self.sessions[address] = DatagramSession(self, address, now_ns)
            except LimitError:
                self._unknown += 1
                return False
            self._services.events.put_open(session)
        else:
            session.note(now_ns)
            if session.untaken >= limits.MAX_QUEUED_DATAGRAMS:
                self._overflowed += 1
                return False
        session.untaken += 1
        self._services.events.put_message(session, data, block, address)
        return True

    def _hold(self) -> None:
        """All memory is lent: what was delivered has to be taken first."""
        self.held = True
        self._held += 1
        self._set_interest()

    def _watch_for_room(self) -> None:
        if not self._writing:
            self._writing = True
            self._set_interest()

    def _set_interest(self) -> None:
        if self.closed:
            return
        try:
            self.reactor.set_interest(self._socket.fileno(), read=not self.held, write=self._writing)
        except NetworkError:
            # It is reported as before, and this tried again.
            self.reactor.requeue(self, IN)

    def _drop_inherited(self) -> None:
        """In the child of a fork: close its copy."""
        self.sessions.clear()
        self.close()

    def __repr__(self) -> str:
        return f"<UdpListener {self.address!r} sessions={len(self.sessions)}{' closed' if self.closed else ''}>"
