"""Http2Stream: one exchange's share of an HTTP/2 connection, with the face of an `Http1Connection`.

Drivers take the same steps as there: `start()`, `on_writable()` until `sent`, `read_head()` until it returns the final
head, `read_body()` until it returns 0, `finish()` or `close()`. Where they ask a connection for its `transport` or its
`body`, a stream answers for itself: it is its own transport, as far as one exchange is concerned, and its own body.

The object stands for a place among the streams that the connection may have open, and serves one exchange after
another, each under a new number. Idle ones wait in the pool like idle connections.

Invariants: nothing is copied twice on its way to the reader; what comes before it is asked for waits in the backlog,
whose bound is the stream's window; every number that was opened is ended, or reset, before the next one.
Left to others: waiting, and who is told of news (the two kinds of stream in `client/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.connection.backlog import Backlog
from turbosock.connection.decoded_body import DecodedBody
from turbosock.connection.http1 import NEVER_IDLE
from turbosock.connection.http2_connection import NO_RING
from turbosock.connection.send_progress import SendProgress
from turbosock.errors import ConnectionClosed, Http2Error, Origin, StateError
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http2.error_codes import CANCEL
from turbosock.protocol.http2.request_fields import fields_of_head
from turbosock.protocol.http2.stream import ORDINARY, UNPROCESSED, Stream, method_kind
from turbosock.protocol.http2.stream_state import CLOSED
from turbosock.reactor.context import PENDING, IOContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from turbosock.connection.http1 import Expectation
    from turbosock.connection.http2_session import Http2Session
    from turbosock.connection.receive_ring import ReceiveRing, RingPool
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.protocol.http1.headers import HeaderList
    from turbosock.protocol.http2.engine import Engine
    from turbosock.tls.provider import TlsInfo

_LENGTH = Framing.LENGTH
_NONE = Framing.NONE

_EMPTY: Final = memoryview(b"")

# A stream is told of what comes: from the drivers' point of view its receive is always pending.
_ALWAYS_PENDING: Final = IOContext()
_ALWAYS_PENDING.state = PENDING


class Http2Stream(Stream):
    """See the module, and `Http1Connection` for the attributes that are not explained here.

    Args:
        session: whose stream it is.

    Attributes:
        session: the same.
        place: None; the session has it.
        bytes_in, bytes_out: payload that moved, and heads.
        in_use: whether it has an exchange.
        aborted: whether that was given up, maybe before it began.
        backlog: payload that waits for the reader.
        read: payload that the reader has taken.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_head",
        "_interim_heads",
        "_left",
        "_progress",
        "_source",
        "aborted",
        "backlog",
        "bytes_in",
        "bytes_out",
        "continued",
        "decoded",
        "idle_since_ns",
        "in_use",
        "on_interim",
        "owner",
        "read",
        "readable",
        "receive_budget_ns",
        "ring",
        "send_budget_ns",
        "sent",
        "session",
        "whole",
    )

    busy: Final = False
    blocking: Final = False
    burst_bytes: Final = 1
    receive_context: Final = _ALWAYS_PENDING
    # Whether a request without a body ends its half of the stream.
    ends_at_head = True

    def __init__(self, session: Http2Session) -> None:
        self.session = session
        self.backlog = Backlog(session.rings)
        self.decoded: DecodedBody | None = None
        self.on_interim: Callable[[int, HeaderList], object] | None = None
        self.owner: object = None
        self.ring: ReceiveRing | None = None
        self.idle_since_ns: int = NEVER_IDLE
        self.sent = True
        self.in_use = False
        self.aborted = False
        self.whole = False
        self.continued = False
        self.readable = False
        self.receive_budget_ns = -1
        self.send_budget_ns = -1
        self.bytes_in = 0
        self.bytes_out = 0
        self.read = 0
        # The request's head while it waits for its turn, and the block of its body that is being sent.
        self._head: bytes | None = None
        self._block = _EMPTY
        self._source: BodySource | None = None
        self._left = 0
        self._progress: SendProgress | None = None
        self._interim_heads: list[ResponseHead] = []
        super().__init__()

    # What belongs to the session

    place: Final = None

    @property
    def transport(self) -> Http2Stream:
        """What the drivers wait for: the stream itself."""
        return self

    @property
    def body(self) -> Http2Stream:
        """The framing of the body, which the stream knows."""
        return self

    @property
    def rings(self) -> RingPool:
        """Lends receive rings."""
        return self.session.rings

    @property
    def decodes(self) -> bool:
        """Whether content codings are undone."""
        return self.session.decodes

    @property
    def origin(self) -> object:
        """The pool's."""
        return self.session.origin

    @property
    def retire_ns(self) -> int:
        """The pool's."""
        return self.session.retire_ns

    @property
    def served(self) -> int:
        """Exchanges finished on the connection."""
        return self.session.served

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed on, for TLS."""
        return self.session.transport.tls

    @property
    def socket(self) -> socket:
        """The connection's."""
        return self.session.transport.socket

    @property
    def fd(self) -> int:
        """The connection's descriptor; -1 once that is closed, or the stream serves nobody any more."""
        session = self.session
        return session.transport.fd if self in session.streams else -1

    @property
    def answered(self) -> bool:
        """Whether anything of the answer came."""
        return self.head is not None or self._interims > 0

    # The body's framing

    @property
    def framing(self) -> Framing:
        """How the end of the body is known."""
        return _NONE if self.head is None else self.head.framing

    @property
    def run(self) -> int:
        """Bytes that the reader may still expect, where the length was announced; else 0."""
        head = self.head
        return head.content_length - self.read if head is not None and head.framing is _LENGTH else 0

    @property
    def received(self) -> int:
        """Payload that the reader has taken."""
        return self.read

    @property
    def complete(self) -> bool:
        """Whether the whole body has been taken."""
        return self.ended and not self.backlog.length

    # Sending

    def start(
        self,
        method: str,
        head: bytes,
        source: BodySource | None = None,
        expected: Expectation | None = None,
        *,
        wait_for_continue: bool = False,
    ) -> None:
        """Begin an exchange, and send what there is room for. Arguments are Http1Connection's.

        Raises:
            Http2Error: `code` is "unprocessed": the connection takes no more streams.
            WriteError: the source cannot keep its length.
        """
        self.begin(ORDINARY if method == "GET" else method_kind(method))
        self.whole = False
        self.read = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.continued = not wait_for_continue
        self.sent = False
        self.in_use = True
        self._head = head
        if source is None:
            # As on_writable(): a call saved on the path of most requests.
            self._open(head)
            return
        self._source = source
        source.takes_files = False
        # Of a length that is not known nothing is ever the last.
        self._left = source.length if source.length >= 0 else 2**63
        if source.progress is not None:
            self._progress = SendProgress(source, source.progress)
        self.on_writable()

    def send_body(self) -> None:
        """Send the body that waited for a 100 (Continue), which need not come."""
        if not self.continued:
            self.continued = True
            if not self.sent and self._head is None:
                self.on_writable()

    def on_writable(self) -> None:
        """Go on sending; afterwards `sent`, or there is no room, and `on_room()` will tell.

        Raises:
            Http2Error: as `start`, or as the stream failed.
            WriteError: the source cannot keep its length.
        """
        if self._head is not None:
            if not self._open(self._head):
                return
        while self.continued and not self.sent:
            if len(self._block):
                if not self._put_block():
                    return
            elif not self._fetch_block() and not self._put_end():
                return

    def _open(self, head: bytes) -> bool:
        """Open the stream with the request's head; False: there is no room yet."""
        session = self.session
        engine = session.engine
        if self.aborted:
            raise ConnectionClosed("the exchange was given up before its request was sent")
        if not session.places:
            raise self._unprocessed()
        try:
            return self._send_head(session, engine, head)
        except BaseException as error:
            session.break_off(error)
            raise

    def _send_head(self, session: Http2Session, engine: Engine, head: bytes) -> bool:
        if engine.out is NO_RING:
            session.lend_output()
        if not engine.writable:
            engine.wait_for_room(self)
            return False
        cached = engine.encoder.cached
        if head in cached:
            block = cached[head]
        else:
            if engine.exhausted:
                # A block that was encoded has to be sent: it may have changed the table.
                session.retire()
                raise self._unprocessed()
            block = self._encode(engine, head)
        source = self._source
        whole = source.length == 0 if source is not None else self.ends_at_head
        try:
            engine.open(self)
        except StateError as error:
            # A GOAWAY came in this very pass. Whoever tries again is not to be sent here.
            session.retire()
            raise self._unprocessed() from error
        self._head = None
        self.bytes_out += len(block)
        engine.send_headers(self, block, whole)
        if source is None:
            self.sent = True
            session.flush_request()
            return True
        if whole:
            self._end_request()
        session.flush_soon()
        return True

    def _encode(self, engine: Engine, head: bytes) -> bytes:
        return engine.encoder.encode(fields_of_head(head, self.session.scheme), head)

    def _unprocessed(self) -> Http2Error:
        self.unprocessed = True
        return Http2Error(
            "the HTTP/2 connection takes no more requests; try again", code=UNPROCESSED, origin=Origin.REMOTE
        )

    def _fetch_block(self) -> bool:
        """Take the next block of the body from its source, which is the user's code; False at the end."""
        source = self._source
        assert source is not None, "only a request with a body has blocks"
        block = source.next_block()
        if self._progress is not None:
            self._progress.taken(0 if block is None else len(block), 0)
        if block is None:
            return False
        assert isinstance(block, (bytes, bytearray, memoryview)), "files were not asked for"
        self._block = memoryview(block)
        return True

    def _put_block(self) -> bool:
        """Put as much of the block into the output as there is room for; False: there is room for nothing."""
        if self.state == CLOSED:
            self._refuse_rest()
            return True
        engine = self.session.engine
        block = self._block
        last = self._left == len(block)
        try:
            count = engine.send_data(self, block, last)
            if count < 0:
                engine.wait_for_room(self)
        except BaseException as error:
            self.session.break_off(error)
            raise
        if count < 0:
            self.session.flush_soon()
            return False
        self.bytes_out += count
        self._left -= count
        self._block = block[count:] if count < len(block) else _EMPTY
        self.session.flush_soon()
        self._note_sent()
        if not self._left:
            # Nothing looks at the block any more when its memory goes back.
            block = _EMPTY
            self._end_request()
        return True

    def _refuse_rest(self) -> None:
        """The stream is over, by the word of another thread maybe: what there is to be sent is not wanted."""
        if self.failure is not None:
            raise self.failure
        # The peer answered (RFC 9113 §8.1).
        self._end_request()

    def _note_sent(self) -> None:
        if self._progress is not None:
            self._progress.look(len(self._block))

    def _put_end(self) -> bool:
        """End a body whose length was not known; False: there is no room for it."""
        if self.state == CLOSED:
            self._refuse_rest()
            return True
        engine = self.session.engine
        try:
            if engine.send_data(self, _EMPTY, True) < 0:
                engine.wait_for_room(self)
                return False
        except BaseException as error:
            self.session.break_off(error)
            raise
        self._end_request()
        self.session.flush_soon()
        return True

    def _end_request(self) -> None:
        self.sent = True
        self._block = _EMPTY
        self._progress = None
        source = self._source
        if source is not None:
            self._source = None
            self._close_source(source)

    def _close_source(self, source: BodySource) -> None:
        source.close()

    def abandon_request(self) -> None:
        """Stop sending: the final answer came first (RFC 9113 §8.1). Other streams go on."""
        if not self.sent:
            self._end_request()

    # Receiving: what the engine tells

    def took_interim(self, head: ResponseHead) -> None:
        # Whoever reads the head calls back, on its own thread.
        self._interim_heads.append(head)
        self.on_news()

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        self.bytes_in += count
        self.backlog.append(root[start : start + count], self.session.origin)

    # Receiving: what the driver asks

    def read_head(self) -> ResponseHead | None:
        """The final head if it is here; None: wait and call again.

        Raises:
            Http2Error: the peer ended the stream, or broke its rules.
            ConnectionClosed, ReadError, HeadTooLarge.
        """
        if self._interims:
            self._pass_interims_on()
        return self._take_head()

    def _take_head(self) -> ResponseHead | None:
        head = self.head
        if head is None:
            if self.failure is not None:
                raise self.failure
            return None
        self.on_interim = None
        self.bytes_in += 1
        if head.coded and self.session.decodes and not self.complete:
            self.decoded = DecodedBody(self, head)
        return head

    def _pass_interims_on(self) -> None:
        heads = self._interim_heads
        while heads:
            self.bytes_in += 1
            head = heads.pop(0)
            if self.on_interim is not None:
                self.on_interim(head.status_code, head.headers)
            if head.status_code == 100:
                self.send_body()

    def arm(self) -> None:
        """A stream is told without being asked."""

    def read_body(self, view: memoryview) -> int:
        """Move payload into `view`: what has arrived.

        Returns:
            The number of bytes, 0 at the end of the body, or -1: nothing has arrived, wait and call again.

        Raises:
            Http2Error: the stream ended early.
            ConnectionClosed, ReadError: the connection did.
        """
        if self.backlog.length:
            count = self.backlog.take(view)
            self.take_note(count)
            return count
        if self.ended:
            return 0
        if self.failure is not None:
            raise self.failure
        return -1

    def take_note(self, count: int) -> None:
        """The reader has taken so many bytes more."""
        self.read += count
        if not self.ended:
            engine = self.session.engine
            before = self.owed
            try:
                engine.consumed(self, count)
            except BaseException as error:
                self.break_off(error)
                raise
            if self.owed < before + count:
                self.session.flush_soon()

    def break_off(self, error: BaseException) -> None:
        """A step of this stream's reader broke off in the engine, and nobody knows what was said of it."""
        self.session.break_off(error)

    def drain(self) -> bool:
        """Whether the answer is over, with what of it nobody wants; it never waits: the peer is told to stop."""
        self.backlog.clear()
        if self.decoded is not None:
            self.decoded.close()
        if not self.ended:
            self._give_up(CANCEL)
        return self.failure is None and not self.session.closed

    # Ending

    def finish(self) -> bool:
        """End the exchange; whether the stream's place may serve another one."""
        session = self.session
        if self.state != CLOSED:
            # The answer is whole, and the request is not: the rest is not wanted.
            self._give_up(CANCEL)
        if self.whole and self.sent:
            # As _let_go(), of the usual exchange, which holds nothing any more.
            self.owner = None
            self.in_use = False
        else:
            self._let_go()
        session.served += 1
        if not session.engine.streams:
            session.rest()
        return len(session.streams) <= session.places

    def _give_up(self, error_code: int) -> None:
        engine = self.session.engine
        try:
            if self.id and self.state != CLOSED:
                engine.reset(self, error_code)
                self.session.flush_soon()
            elif self.waits:
                engine.leave_line(self)
        except BaseException as error:
            self.session.break_off(error)
            raise
        self.state = CLOSED

    def _let_go(self) -> None:
        """Give back what the exchange held."""
        self.backlog.clear()
        if self.decoded is not None:
            self.decoded.close()
        self._head = None
        self._end_request()
        self.on_interim = None
        self._interim_heads.clear()
        self.owner = None
        self.in_use = False

    def close(self) -> None:
        """End the exchange, and the place that the stream stands for; the connection when it was the last one."""
        self._give_up(CANCEL)
        self._let_go()
        self.session.lost(self)

    def abort(self) -> None:
        """End the exchange, or the one that is about to begin: whoever waits is told. close() is still due."""
        self.aborted = True
        self._give_up(CANCEL)

    def is_quiet(self) -> bool:
        """Whether nothing has come, and the connection is alive."""
        if not self.in_use:
            return self.session.places > 0
        return self.head is None and self.failure is None and not self.session.closed and not self._interim_heads

    def await_readable(self, budget_ns: int) -> None:
        """Let the next step find news, waiting at most so long; where a driver waits."""

    def await_writable(self, budget_ns: int) -> None:
        """As await_readable: room is news, too."""

    def allow_send(self, budget_ns: int) -> None:
        """As Transport's."""
        self.send_budget_ns = budget_ns
