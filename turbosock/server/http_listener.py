"""HttpListener: accepts HTTP/1.1 connections for a reactor, and answers their requests through one handler.

    listener = loop.listen(("127.0.0.1", 8080), protocol="http", handler=answer)

    def answer(exchange):
        exchange.respond(200, {"Content-Type": "text/plain"}, b"hello")

With `tls` a client shakes hands before its first request is read (`tls_handshake.py`); what speaks no TLS, or stops in
the middle, is counted and closed.

The handler may also keep the exchange and answer ticks later; `HttpExchange` tells how.

Invariants: at most `max_connections` sessions and handshakes; while that many are open, or while the process has no
descriptors left, the listening socket is not watched and clients wait in its backlog. A step accepts at most
MAX_ACCEPTS_PER_TURN.
Left to others: what one connection does (`http_session.py`), what an answer is (`http_exchange.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from turbosock import limits
from turbosock.config import TlsServerConfig, check_count, check_seconds
from turbosock.errors import InvalidOption, LimitError, NetworkError, TlsError, TurbosockError
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.poller import IN
from turbosock.reactor.sockets import ListenAddress, accept, listen, tune, unix_path
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_session import HttpSession
from turbosock.server.request import PeerAddress, RequestTls
from turbosock.server.response_heads import ResponseHeads
from turbosock.server.tls_handshake import TlsHandshake
from turbosock.transport.tls_acceptor import TlsAcceptor
from turbosock.transport.tls_server_transport import TlsServerTransport
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from socket import socket

    from turbosock.connection.receive_ring import RingPool
    from turbosock.reactor.reactor import Reactor
    from turbosock.tls.provider import TlsSession

logger = logging.getLogger("turbosock.server")

HttpHandler = Callable[[HttpExchange], object]

ACCEPT_RETRY_NS: Final = int(limits.ACCEPT_RETRY_S * NS_PER_S)


class ListenerStats(NamedTuple):
    """Counts since the listener began, and `open`, the connections that it has now.

    `requests` counts heads that were whole and well-formed. `refused` were answered by the listener itself: malformed,
    too large, too slow. `timeouts` are connections that were given up. `exhausted` says how often the process had no
    descriptors for a client, the system no room to watch one, or a bound of the reactor was reached.
    `failed_handshakes` are clients that did not get through TLS: without a certificate that they owed, with nothing in
    common, too slow (they are in `timeouts`, too), or speaking something else.
    """

    accepted: int
    open: int
    requests: int
    refused: int
    timeouts: int
    exhausted: int
    bytes_in: int
    bytes_out: int
    failed_handshakes: int


class HttpListener:
    """Accepts and answers; see the module.

    Args:
        reactor: drives it.
        rings: lends receive rings.
        address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
        handler: called with an HttpExchange for each request, inside the reactor's steps.
        tls: the certificates to show, and what clients must; None for plain HTTP. Its files are read here, once.
        max_connections: connections at once; more wait in the backlog.
        stream_body: call the handler at the head and let it read the body; otherwise the body is gathered first.
        max_body_bytes: bound of a request body, answered by 413; None, for streamed bodies alone, is no bound.
        max_head_bytes, max_head_fields: bounds of a request head, answered by 431.
        max_unsent_bytes: of a streamed answer that may wait for a slow client.
        handshake_timeout_s: for the whole TLS handshake.
        head_timeout_s: for a head to become whole, from its first byte on; answered by 408.
        body_timeout_s: between two arrivals of a body that is waited for; answered by 408.
        idle_timeout_s: between requests, and before the first; and how long it takes at most to notice that the client
            of a kept exchange has left behind bytes that nobody has read.
        write_timeout_s: for a client that takes nothing of its answer.
        backlog, reuse_port, dual_stack, mode: as in `sockets.listen`.

    Attributes:
        address: where it listens: (host, port) with the real port, or the path.
        closed: whether `close()` was called.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        TlsError: there is no TLS engine for `tls`.
        NetworkError: the system refused to listen there; `errno` says why.
    """

    __slots__ = (
        "_accepted",
        "_exhausted",
        "_failed_handshakes",
        "_gone_bytes_in",
        "_gone_bytes_out",
        "_path",
        "_retry",
        "_sessions",
        "_socket",
        "_tls",
        "_watching",
        "address",
        "body_ns",
        "closed",
        "gathered_bytes",
        "handler",
        "handshake_ns",
        "handshakes",
        "head_ns",
        "heads",
        "idle_ns",
        "mask",
        "max_body_bytes",
        "max_connections",
        "max_head_bytes",
        "max_head_fields",
        "max_unsent_bytes",
        "queued",
        "reactor",
        "refused",
        "requests",
        "rings",
        "stream_body",
        "timeouts",
        "write_ns",
    )

    def __init__(
        self,
        reactor: Reactor,
        rings: RingPool,
        address: ListenAddress,
        handler: HttpHandler,
        *,
        tls: TlsServerConfig | None = None,
        max_connections: int = limits.MAX_SERVER_CONNECTIONS,
        stream_body: bool = False,
        max_body_bytes: int | None = limits.MAX_REQUEST_BODY_BYTES,
        max_head_bytes: int = limits.MAX_HEAD_BYTES,
        max_head_fields: int = limits.MAX_HEAD_FIELDS,
        max_unsent_bytes: int = limits.MAX_SERVER_UNSENT_BYTES,
        handshake_timeout_s: float = limits.SERVER_HANDSHAKE_TIMEOUT_S,
        head_timeout_s: float = limits.SERVER_HEAD_TIMEOUT_S,
        body_timeout_s: float = limits.SERVER_BODY_TIMEOUT_S,
        idle_timeout_s: float = limits.SERVER_IDLE_TIMEOUT_S,
        write_timeout_s: float = limits.SERVER_WRITE_TIMEOUT_S,
        backlog: int = limits.LISTEN_BACKLOG,
        reuse_port: bool = False,
        dual_stack: bool = False,
        mode: int | None = None,
    ) -> None:
        if not callable(handler):
            raise InvalidOption(f"handler={handler!r}: give a function that takes an HttpExchange")
        if not isinstance(stream_body, bool):
            raise InvalidOption(f"stream_body={stream_body!r}: give True or False")
        check_count("max_connections", max_connections, 1, limits.MAX_TIMERS // 2)
        if max_body_bytes is None:
            if not stream_body:
                raise InvalidOption("max_body_bytes=None: a body that is gathered needs a bound; or set stream_body")
        else:
            check_count("max_body_bytes", max_body_bytes, 0, 2**48)
        check_count("max_head_bytes", max_head_bytes, 256, limits.MAX_HEAD_BYTES)
        check_count("max_head_fields", max_head_fields, 1, limits.MAX_HEAD_FIELDS)
        check_count("max_unsent_bytes", max_unsent_bytes, 1, 2**32)
        check_count("backlog", backlog, 1, 65_535)
        self.reactor = reactor
        self.rings = rings
        self.handler = handler
        self.max_connections = max_connections
        self.stream_body = stream_body
        self.max_body_bytes = max_body_bytes
        self.gathered_bytes = 0 if max_body_bytes is None else max_body_bytes
        self.max_head_bytes = max_head_bytes
        self.max_head_fields = max_head_fields
        self.max_unsent_bytes = max_unsent_bytes
        self.handshake_ns = _whole_ns("handshake_timeout_s", handshake_timeout_s)
        self.head_ns = _whole_ns("head_timeout_s", head_timeout_s)
        self.body_ns = _whole_ns("body_timeout_s", body_timeout_s)
        self.idle_ns = _whole_ns("idle_timeout_s", idle_timeout_s)
        self.write_ns = _whole_ns("write_timeout_s", write_timeout_s)
        self.heads = ResponseHeads(reactor.clock)
        self.requests = 0
        self.refused = 0
        self.timeouts = 0
        # Those under way.
        self.handshakes: set[TlsHandshake] = set()
        self._accepted = 0
        self._exhausted = 0
        self._failed_handshakes = 0
        self._gone_bytes_in = 0
        self._gone_bytes_out = 0
        self._sessions: set[HttpSession] = set()
        self.mask = 0
        self.queued = False
        self.closed = False
        self._tls = None if tls is None else TlsAcceptor(tls, alpn=("http/1.1",))
        self._socket = listen(address, backlog=backlog, reuse_port=reuse_port, dual_stack=dual_stack, mode=mode)
        self._path = unix_path(address) if isinstance(address, str) else None
        name = self._socket.getsockname()
        self.address: ListenAddress = name[:2] if isinstance(name, tuple) else name
        self._retry = reactor.timers.idle(self)
        self._watching = True
        try:
            reactor.register(self._socket.fileno(), self, read=True, write=False)
        except TurbosockError:
            self._leave_address()
            raise

    # What the reactor calls

    def on_ready(self, mask: int) -> None:
        """Clients wait: accept some of them."""
        for _ in range(limits.MAX_ACCEPTS_PER_TURN):
            if self.closed:
                return
            if len(self._sessions) + len(self.handshakes) >= self.max_connections:
                self._watch(False)
                return
            try:
                sock = accept(self._socket)
            except NetworkError:
                # Their sockets stay in the backlog and would be reported in every turn.
                self._pause()
                self._watch(not self._retry.armed)
                return
            if sock is None:
                return
            self._admit(sock)
        self.reactor.requeue(self, IN)

    def on_timer(self, now_ns: int) -> None:
        """The process may have descriptors again, or the system memory."""
        self._watch(True)

    def _admit(self, sock: socket) -> None:
        tune(sock)
        try:
            peer = sock.getpeername()
        except OSError:
            # Reset while it waited.
            sock.close()
            return
        if self._tls is not None:
            self._begin_handshake(self._tls, sock, peer)
            return
        try:
            transport = SaeaTransport(sock, self.reactor)
        except (LimitError, NetworkError):
            self._exhausted += 1
            sock.close()
            return
        if self._begin(transport, peer, None):
            self._accepted += 1

    def _begin_handshake(self, acceptor: TlsAcceptor, sock: socket, peer: PeerAddress) -> None:
        try:
            session = acceptor.wrap(sock)
        except TlsError:
            # As above.
            sock.close()
            return
        except NetworkError:
            self._exhausted += 1
            sock.close()
            return
        try:
            self.handshakes.add(TlsHandshake(self, session, peer))
        except (LimitError, NetworkError):
            self._exhausted += 1
            session.close()
            return
        self._accepted += 1

    def _begin(self, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None) -> bool:
        """Whether the reactor has room for a session on `transport`, which is closed otherwise."""
        try:
            session = HttpSession(self, transport, peer, tls)
        except LimitError:
            self._exhausted += 1
            transport.close()
            return False
        self._sessions.add(session)
        return True

    def _pause(self) -> None:
        """Something has run out: try again in a while, or with the next turn where there is no timer left either."""
        self._exhausted += 1
        with contextlib.suppress(LimitError):
            self._retry.move(self.reactor.clock.now_ns() + ACCEPT_RETRY_NS)

    def _watch(self, wanted: bool) -> None:
        if self._watching is not wanted and not self.closed:
            try:
                self.reactor.set_interest(self._socket.fileno(), read=wanted, write=False)
            except NetworkError:
                self._pause()
            else:
                self._watching = wanted

    def _leave_address(self) -> None:
        self._socket.close()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def secured(self, session: TlsSession, peer: PeerAddress) -> None:
        """For handshakes: one is done."""
        tls = RequestTls(session.info(), session.peer_certificate_der, session.server_name)
        try:
            transport = TlsServerTransport(session, self.reactor)
        except (LimitError, NetworkError):
            self._exhausted += 1
            session.close()
        else:
            if self._begin(transport, peer, tls):
                return
        self.after_close()

    def refuse_handshake(self, error: TurbosockError | None) -> None:
        """For handshakes: one has failed; None: in time."""
        self._failed_handshakes += 1
        if isinstance(error, TlsError) and error.reason == "sni_callback":
            logger.error("no certificate could be chosen for a client", exc_info=error.__cause__)

    def forget(self, session: HttpSession) -> None:
        """For sessions: one has closed."""
        transport = session.connection.transport
        self._gone_bytes_in += transport.bytes_in
        self._gone_bytes_out += transport.bytes_out
        self._sessions.discard(session)
        self.after_close()

    def after_close(self) -> None:
        """For sessions and handshakes: there is room for another client."""
        if not self._watching and not self._retry.armed:
            self._watch(True)

    # What the user calls

    @property
    def url(self) -> str:
        """Where a client here finds it: http(s)://host:port, or http+unix:// and the path, percent-encoded."""
        address = self.address
        if isinstance(address, str):
            return f"http+unix://{quote(address, safe='')}"
        host, port = address
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def stats(self) -> ListenerStats:
        """What happened so far."""
        transports = [session.connection.transport for session in tuple(self._sessions)]
        return ListenerStats(
            accepted=self._accepted,
            open=len(self._sessions) + len(self.handshakes),
            requests=self.requests,
            refused=self.refused,
            timeouts=self.timeouts,
            exhausted=self._exhausted,
            bytes_in=self._gone_bytes_in + sum(transport.bytes_in for transport in transports),
            bytes_out=self._gone_bytes_out + sum(transport.bytes_out for transport in transports),
            failed_handshakes=self._failed_handshakes,
        )

    def close(self) -> None:
        """Stop listening, remove a Unix path and close every connection; a second call does nothing.

        Exchanges that were not answered are `closed`; their callbacks are not called.
        """
        if self.closed:
            return
        self.closed = True
        self.mask = 0
        self.reactor.timers.cancel(self._retry)
        self.reactor.unregister(self._socket.fileno())
        self._leave_address()
        for handshake in tuple(self.handshakes):
            handshake.close()
        for session in tuple(self._sessions):
            session.close()

    def __repr__(self) -> str:
        count = len(self._sessions) + len(self.handshakes)
        return f"<HttpListener {self.address!r} open={count}{' closed' if self.closed else ''}>"


def _whole_ns(name: str, seconds: float) -> int:
    check_seconds(name, seconds)
    return max(1, int(seconds * NS_PER_S))
