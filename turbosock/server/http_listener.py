"""HttpListener: answers the HTTP requests of the connections that it accepts through one handler.

    listener = loop.listen(("127.0.0.1", 8080), protocol="http", handler=answer)

    def answer(exchange):
        exchange.respond(200, {"Content-Type": "text/plain"}, b"hello")

The handler may also keep the exchange and answer ticks later; `HttpExchange` tells how.

A connection speaks HTTP/2 where that was agreed on in its TLS handshake (ALPN), or where its first bytes are HTTP/2's
preface (RFC 9113 §3.3), unless something else was agreed on; otherwise HTTP/1.1. Handlers need not know.

Left to others: accepting and TLS (`stream_listener.py`), what one connection does (`http_session.py`,
`http2_session.py`), what an answer is (`http_exchange.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from turbosock import limits
from turbosock.config import (
    HTTP_VERSIONS,
    Http2Config,
    TlsServerConfig,
    alpn_of,
    check_count,
    checked_http_versions,
)
from turbosock.errors import InvalidOption
from turbosock.reactor.sockets import ListenAddress
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_session import HttpSession
from turbosock.server.request import PeerAddress, RequestTls
from turbosock.server.response_heads import ResponseHeads
from turbosock.server.stream_listener import StreamListener, whole_ns

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.receive_ring import ReceiveRing, RingPool
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.reactor.reactor import Reactor
    from turbosock.server.http2_session import Http2ServerSession
    from turbosock.server.stream_listener import Session
    from turbosock.transport.transport import SaeaTransport

HttpHandler = Callable[[HttpExchange], object]

_HTTP2: Final = Http2Config()


class ListenerStats(NamedTuple):
    """Counts since the listener began, and `open`, the connections that it has now.

    `requests` counts heads that were whole and well-formed. `refused` were answered by the listener itself: malformed,
    too large, too slow. `timeouts` are connections that were given up. `exhausted` says how often the process had no
    descriptors for a client, the system no room to watch one, or a bound of the reactor was reached.
    `failed_handshakes` are clients that did not get through TLS: without a certificate that they owed, with nothing in
    common, too slow (they are in `timeouts`, too), or speaking something else. Of HTTP/2: `http2` are connections that
    spoke it, and `floods` those that were ended with ENHANCE_YOUR_CALM; `refused` are also streams and connections that
    were ended for a client's mistake, and `timeouts` also streams. `crowded` says how often clients were left in the
    backlog because `max_connections` were open.
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
    http2: int
    floods: int
    crowded: int


class HttpListener(StreamListener):
    """Accepts and answers; see the module.

    Args:
        reactor: drives it.
        rings: lends receive rings.
        address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
        handler: called with an HttpExchange for each request, inside the reactor's steps.
        tls: the certificates to show, and what clients must; None for plain HTTP. Its files are read here, once.
        http_versions: what is spoken: "HTTP/2" and "HTTP/1.1", or one of them.
        http2: memory and streams of HTTP/2 connections: what a client may send of each body before any of it was read,
            and how many requests it may have open at once.
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
        messages: what the WebSockets share that its handler opens; None where it opens none.

    Attributes:
        address: where it listens: (host, port) with the real port, or the path.
        closed: whether `close()` was called.
        websockets: what its handler opened over HTTP/1.1, and has not ended.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        TlsError: there is no TLS engine for `tls`.
        NetworkError: the system refused to listen there; `errno` says why.
    """

    __slots__ = (
        "_http2_connections",
        "body_ns",
        "floods",
        "gathered_bytes",
        "handler",
        "head_ns",
        "heads",
        "http2",
        "http_versions",
        "idle_ns",
        "max_body_bytes",
        "max_head_bytes",
        "max_head_fields",
        "max_unsent_bytes",
        "messages",
        "refused",
        "requests",
        "rings",
        "sniffs",
        "stream_body",
        "websockets",
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
        http_versions: tuple[str, ...] = HTTP_VERSIONS,
        http2: Http2Config = _HTTP2,
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
        messages: MessageServices | None = None,
    ) -> None:
        if not callable(handler):
            raise InvalidOption(f"handler={handler!r}: give a function that takes an HttpExchange")
        if not isinstance(stream_body, bool):
            raise InvalidOption(f"stream_body={stream_body!r}: give True or False")
        if not isinstance(http2, Http2Config):
            raise InvalidOption(f"http2={http2!r}: give an Http2Config")
        if max_body_bytes is None:
            if not stream_body:
                raise InvalidOption("max_body_bytes=None: a body that is gathered needs a bound; or set stream_body")
        else:
            check_count("max_body_bytes", max_body_bytes, 0, 2**48)
        check_count("max_head_bytes", max_head_bytes, 256, limits.MAX_HEAD_BYTES)
        check_count("max_head_fields", max_head_fields, 1, limits.MAX_HEAD_FIELDS)
        check_count("max_unsent_bytes", max_unsent_bytes, 1, 2**32)
        self.rings = rings
        self.messages = messages
        self.handler = handler
        self.http_versions = checked_http_versions(http_versions)
        self.http2 = http2
        # Whether a client that has agreed on nothing may begin with HTTP/2's preface.
        spoken = tls.alpn if isinstance(tls, TlsServerConfig) and tls.alpn else alpn_of(self.http_versions)
        self.sniffs = len(self.http_versions) == 2 and "h2" in spoken
        self.stream_body = stream_body
        self.max_body_bytes = max_body_bytes
        self.gathered_bytes = 0 if max_body_bytes is None else max_body_bytes
        self.max_head_bytes = max_head_bytes
        self.max_head_fields = max_head_fields
        self.max_unsent_bytes = max_unsent_bytes
        self.head_ns = whole_ns("head_timeout_s", head_timeout_s)
        self.body_ns = whole_ns("body_timeout_s", body_timeout_s)
        self.idle_ns = whole_ns("idle_timeout_s", idle_timeout_s)
        self.write_ns = whole_ns("write_timeout_s", write_timeout_s)
        self.heads = ResponseHeads(reactor.clock)
        self.requests = 0
        self.refused = 0
        self.floods = 0
        self._http2_connections = 0
        self.websockets: set[WebSocketConnection] = set()
        # Last, because nobody would close it if something failed after it.
        super().__init__(
            reactor,
            address,
            tls=tls,
            alpn=alpn_of(self.http_versions),
            max_connections=max_connections,
            handshake_timeout_s=handshake_timeout_s,
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            mode=mode,
        )

    def _make_session(
        self, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None
    ) -> HttpSession | Http2ServerSession:
        if (tls is not None and tls.info.alpn == "h2") or self.http_versions == ("HTTP/2",):
            return self._make_http2(transport, peer, tls, None)
        return HttpSession(self, transport, peer, tls)

    def _make_http2(
        self, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None, ring: ReceiveRing | None
    ) -> Http2ServerSession:
        # Not before somebody speaks it: importing it costs 10 ms.
        from turbosock.server.http2_session import Http2ServerSession

        session = Http2ServerSession(self, transport, peer, tls, ring)
        self._http2_connections += 1
        return session

    def change_to_http2(self, session: HttpSession, ring: ReceiveRing) -> None:
        """For sessions: its client begins with HTTP/2's preface, which is in `ring`."""
        self._sessions.discard(session)
        self._sessions.add(self._make_http2(session.transport, session.peer, session.tls, ring))

    def change_to_websocket(self, session: HttpSession, connection: WebSocketConnection) -> None:
        """For sessions: its client opened a WebSocket, which goes on with its transport."""
        stands = connection.close_code is None
        if stands:
            self._sessions.add(connection)
            self.websockets.add(connection)
        self._sessions.discard(session)
        if not stands:
            # The system refused to watch it.
            self.after_close()

    def forget(self, session: Session, transport: SaeaTransport | None) -> None:
        """For sessions and WebSockets: one has closed."""
        self.websockets.discard(session)
        super().forget(session, transport)

    # What the user calls

    def close(self) -> None:
        """Stop listening, and close every connection: WebSockets with 1001, going away; a second call does nothing."""
        if not self.closed:
            for websocket in tuple(self.websockets):
                websocket.drain()
        super().close()

    @property
    def url(self) -> str:
        """Where a client here finds it: http(s)://host:port, or http+unix:// and the path, percent-encoded."""
        address = self.address
        if isinstance(address, str):
            return f"http+unix://{quote(address, safe='')}"
        host, port = address
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def drain(self) -> None:
        """Accept nobody any more, and end each connection as soon as the requests that it has are answered.

        Clients are told: answers say `Connection: close`, HTTP/2 gets a GOAWAY. `stats().open` becomes 0; what has not
        ended when time is up is for `close()`. A second call does nothing.
        """
        if not self.closed:
            self._stop_listening()
            for session in tuple(self._sessions):
                session.drain()

    def stats(self) -> ListenerStats:
        """What happened so far."""
        transports = [session.transport for session in tuple(self._sessions)]
        return ListenerStats(
            accepted=self._accepted,
            open=len(self._sessions) + len(self.handshakes),
            requests=self.requests,
            refused=self.refused,
            timeouts=self.timeouts,
            exhausted=self._exhausted,
            bytes_in=self._gone_bytes_in + sum(int(transport.bytes_in) for transport in transports),
            bytes_out=self._gone_bytes_out + sum(int(transport.bytes_out) for transport in transports),
            failed_handshakes=self._failed_handshakes,
            http2=self._http2_connections,
            floods=self.floods,
            crowded=self._crowded,
        )
