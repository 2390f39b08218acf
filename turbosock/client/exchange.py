"""ClientExchange: one request and its answer, the state that both drivers step.

A `Response` (blocking) and an `Exchange` (ticking) are this state with a way of waiting. What is decided here is
decided once: what an answer's metadata is, when a broken exchange may be sent again, what its errors say, and what
becomes of its connection.

Invariants: `connection` is held from the first byte sent to the last byte read, and by nobody else meanwhile; a
connection whose exchange failed, was cancelled or was left half read is closed, never pooled; an exchange is sent
again only when no byte of an answer came, and only if the method is idempotent and the body can be replayed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from turbosock import limits
from turbosock.client.charset import MAX_MARK_BYTES, codec_for, named_charset, usable_codec
from turbosock.client.links import parse_links
from turbosock.client.redirects import REDIRECT_STATUSES
from turbosock.connection.http1 import NEVER_IDLE
from turbosock.connection.http2_stream import Http2Stream
from turbosock.errors import (
    Cancelled,
    ConnectionClosed,
    Http2Error,
    InvalidOption,
    Origin,
    Phase,
    ReadError,
    StateError,
    StatusError,
    TurbosockError,
    WriteError,
)
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.http2.stream import UNPROCESSED
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.flow import Flow
    from turbosock.client.past_answer import PastAnswer
    from turbosock.client.request import PreparedRequest
    from turbosock.client.request_options import Informational
    from turbosock.config import Timeouts
    from turbosock.connection.receive_ring import ReceiveRing
    from turbosock.connection.source import BodySource
    from turbosock.pool.origin_pool import PooledConnection
    from turbosock.pool.request_meter import RequestMeter, RequestSeries
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.tls.provider import TlsInfo
    from turbosock.transport.transport import Transport

_VERSIONS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}

# How often an exchange is sent again because its idle connection turned out to be stale.
MAX_STALE_RETRIES: Final = 1
CONTINUE_WAIT_NS: Final = int(limits.CONTINUE_WAIT_S * NS_PER_S)


class ClientExchange:
    """One request and its answer; what a user may ask of either face.

    Attributes:
        nbytes: payload bytes delivered so far.
        sent_since_ns: when the present request asked for a connection, for the pool's meter; 0 before, and once it was
            counted ahead of its end.
        series: what the answer is counted in, if that is known already.
        tls: what was agreed on, for https: version, cipher, ALPN, resumption, provider.
        trailers: the fields after a chunked body, once it was read, or None.
        ring: the receive ring, where the whole body came with the head and the connection was let go.
        error: what ended the exchange, or None.
        cancelled: whether `cancel()` was called.
        on_informational: called with status code and fields of each 1xx answer before the final one, or None.
        flow: what decides on further requests, once there is need of it, or None.
    """

    __slots__ = (
        "_content",
        "_encoding",
        "_guard",
        "_now_ns",
        "cancelled",
        "connection",
        "deadline_ns",
        "error",
        "finished_ns",
        "flow",
        "head",
        "nbytes",
        "on_informational",
        "phase",
        "prepared",
        "retries",
        "ring",
        "sent_since_ns",
        "series",
        "source",
        "started_ns",
        "timeouts",
        "tls",
        "trailers",
    )

    prepared: PreparedRequest
    timeouts: Timeouts

    # Each face sets every slot in its own `forget()`: one assignment a slot is all that a new exchange costs.
    _content: bytes | None
    # As it was set, or None.
    _encoding: str | None
    # Held while a connection leaves an exchange that another thread may cancel, so that cancel() never shuts down one
    # that is another's already. None: nobody else can reach the exchange.
    _guard: threading.Lock | None
    # Tells the time; each face sets it once and for all.
    _now_ns: Callable[[], int]
    cancelled: bool
    connection: PooledConnection | None
    deadline_ns: int
    error: TurbosockError | None
    finished_ns: int
    flow: Flow | None
    head: ResponseHead | None
    nbytes: int
    on_informational: Informational | None
    phase: Phase
    retries: int
    ring: ReceiveRing | None
    sent_since_ns: int
    series: RequestSeries | None
    source: BodySource | None
    started_ns: int
    tls: TlsInfo | None
    trailers: HeaderList | None

    # What the answer says

    def _answer(self) -> ResponseHead:
        head = self.head
        if head is None:
            raise StateError("there is no response yet: wait until the exchange is done, and look at its error")
        return head

    @property
    def status_code(self) -> int:
        """The status code of the answer."""
        return self._answer().status_code

    @property
    def reason(self) -> str:
        """The reason phrase, possibly empty."""
        return self._answer().reason

    @property
    def http_version(self) -> str:
        """ "HTTP/2", "HTTP/1.1" or "HTTP/1.0"."""
        return _VERSIONS[self._answer().version]

    @property
    def headers(self) -> HeaderList:
        """The fields of the answer; yours to keep."""
        return self._answer().headers

    @property
    def ok(self) -> bool:
        """Whether an answer came, with a status below 400, and nothing failed since."""
        return self.error is None and self.head is not None and self.head.status_code < 400

    @property
    def url(self) -> str:
        """The URL that was requested, the last one where redirects were followed; without credentials."""
        return self.prepared.url.shown

    @property
    def history(self) -> tuple[PastAnswer, ...]:
        """The answers that were followed on the way to this one, redirects and challenges, the first one first."""
        return () if self.flow is None else self.flow.history

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.prepared.method

    @property
    def elapsed(self) -> timedelta:
        """From the start of the request to the end of the answer, or to now."""
        end_ns = self.finished_ns or self._now_ns()
        return timedelta(microseconds=(end_ns - self.started_ns) / 1000)

    def raise_for_status(self) -> Self:
        """Raise StatusError for a 4xx or 5xx answer; the exchange itself for any other."""
        head = self._answer()
        if head.status_code < 400:
            return self
        whose = "the request" if head.status_code < 500 else "the server"
        raise status_error(self, f"status {head.status_code} {head.reason} ({whose} is at fault)")

    @property
    def is_redirect(self) -> bool:
        """Whether the answer is one that redirects, and says where to."""
        head = self._answer()
        return head.status_code in REDIRECT_STATUSES and head.headers.count(b"location") > 0

    @property
    def cookies(self) -> dict[str, str]:
        """Names and values of the cookies that this answer sets, whether the jar takes them or not."""
        from turbosock.client.set_cookie import parse_set_cookie

        fields = self.headers.get_all("set-cookie")
        parsed = [parse_set_cookie(field, 0) for field in fields if len(field) <= limits.MAX_SET_COOKIE_BYTES]
        return {cookie.name: cookie.value for cookie in parsed if cookie is not None}

    @property
    def links(self) -> dict[str, dict[str, str]]:
        """The Link fields (RFC 8288) by relation: each link's parameters, and its absolute target as "url"."""
        return parse_links(self.headers.get_all("link"), self.url)

    @property
    def encoding(self) -> str:
        """The charset of the text: what was set, the Content-Type's, that of a byte order mark once the content is
        here, or "utf-8". Set it to read `text` and lines by another one; None: back to what the answer says.
        """
        charset = self._charset()
        if charset is not None:
            return charset
        return codec_for(None, (self._content or b"")[:MAX_MARK_BYTES])

    @encoding.setter
    def encoding(self, charset: str | None) -> None:
        if charset is not None and (not isinstance(charset, str) or usable_codec(charset) != charset):
            raise InvalidOption(f"encoding={charset!r}: give the name of a charset that Python knows, or None")
        self._encoding = charset

    def _charset(self) -> str | None:
        return self._encoding or named_charset(self.headers.get("content-type"))

    # Cancelling

    def cancel(self) -> None:
        """End the exchange from any thread: a blocked call wakes up at once and raises Cancelled."""
        guard = self._guard
        if guard is None:
            self.cancelled = True
            return
        with guard:
            self.cancelled = True
            connection = self.connection
            if connection is not None:
                connection.transport.abort()

    # The connection

    def release_connection(self, now_ns: int) -> None:
        """The answer was read: the connection goes back to its origin if it may serve another exchange."""
        connection = self.connection
        assert connection is not None, "released once"
        if self._guard is None:
            self.connection = None
        else:
            with self._guard:
                self.connection = None
        self.finished_ns = now_ns
        if not connection.whole:
            self.trailers = connection.body.trailers
        prepared = self.prepared
        origin = prepared.origin
        series = self.series
        if series is not None:
            # As series.note(), written out: every request that is measured pays for it.
            time_ns = now_ns - self.sent_since_ns
            series.buckets[time_ns.bit_length()] += 1.0
            series.total_ns += time_ns
        elif origin.meter is not None and self.sent_since_ns:
            self._count(origin.meter, now_ns)
        if connection.finish() and not self.cancelled:
            origin.give_back(connection, now_ns)
        else:
            origin.discard(connection)

    def take_over(self, now_ns: int) -> tuple[Transport | Http2Stream, bytes]:
        """The answer changed the protocol: what was a connection of HTTP, and the bytes that came behind the head.

        Of HTTP/2 it is the stream, which has what came.

        It is the caller's to close; the exchange is over.
        """
        connection = self.connection
        assert connection is not None, "taken once"
        if self._guard is None:
            self.connection = None
        else:
            with self._guard:
                self.connection = None
        self._count_left()
        self.finished_ns = now_ns
        if isinstance(connection, Http2Stream):
            return connection, b""
        self.prepared.origin.hand_out(connection)
        return connection.take_over()

    def drop_connection(self) -> None:
        """Close the connection: the exchange failed, or was left before its end."""
        connection = self.connection
        if self._guard is None:
            self.connection = None
        else:
            with self._guard:
                self.connection = None
        if connection is not None:
            self.prepared.origin.discard(connection)

    def _count_left(self) -> None:
        """The answer is left where it is, or has changed its protocol: the request is over."""
        meter = self.prepared.origin.meter
        if meter is None or not self.sent_since_ns:
            return
        if self.head is not None and self.error is None and not self.finished_ns:
            self._count(meter, self._now_ns())

    def count_head(self) -> None:
        """Count the request as over now: the body of its answer goes on for as long as both sides like."""
        self._count_left()
        self.series = None
        self.sent_since_ns = 0

    def _count(self, meter: RequestMeter, now_ns: int) -> None:
        assert self.head is not None, "it was answered"
        meter.count_answer(self.prepared, self.head, now_ns - self.sent_since_ns)

    def forget_answer(self) -> None:
        """Another request follows, of which nothing is known yet; the connection and its memory are let go already."""
        self.head = None
        self.error = None
        self.trailers = None
        self.tls = None
        self.nbytes = 0
        self.retries = 0
        self.finished_ns = 0

    def may_send_again(self, error: BaseException) -> bool:
        """Whether an idle connection, kept or prewarmed, was stale: closed by its peer before our request reached it.

        A connection that was made for the exchange never is: whoever closes that has seen the request, or would again.
        Over HTTP/2 the peer may also say that it has not looked at the request (RFC 9113 §8.7): then any may.
        """
        connection = self.connection
        if isinstance(error, Http2Error) and error.code == UNPROCESSED and not self.cancelled:
            return self.retries < limits.MAX_REFUSED_ATTEMPTS and (self.source is None or self.source.replayable)
        if (
            connection is None
            or connection.idle_since_ns == NEVER_IDLE
            or connection.answered
            or self.cancelled
            or self.retries >= MAX_STALE_RETRIES
            or not self.prepared.idempotent
            or not isinstance(error, (ConnectionClosed, ReadError, WriteError))
            # Not the connection's fault: the body itself could not be read.
            or error.origin is Origin.LOCAL
        ):
            return False
        return self.source is None or self.source.replayable

    def explained(self, error: TurbosockError) -> TurbosockError:
        """The error with what was being done; a failure that cancel() caused becomes Cancelled."""
        if self.cancelled and not isinstance(error, Cancelled):
            error = Cancelled("the exchange was cancelled")
        if error.phase is Phase.NONE or error.method is None:
            error.during(
                error.phase if error.phase is not Phase.NONE else self.phase,
                self.prepared.method,
                self.prepared.shown_url,
                self.nbytes,
            )
        meter = self.prepared.origin.meter
        if meter is not None and self.sent_since_ns and not self.finished_ns:
            status_code = 0 if self.head is None else self.head.status_code
            meter.count_failure(self.prepared, status_code, error.code, self._now_ns() - self.sent_since_ns)
            # Once: an error may be explained again on its way out.
            self.sent_since_ns = 0
        self.error = error
        return error


def status_error(exchange: ClientExchange, what: str) -> StatusError:
    """The error of an answer whose status is the failure."""
    method, url = exchange.method, exchange.prepared.shown_url
    error = StatusError(f"{method} {url}: {what}", response=exchange)
    error.method = method
    error.url = url
    error.bytes_done = exchange.nbytes
    return error


def writable_bytes(buffer: object, argument: str) -> memoryview:
    """`buffer` as a writable view of bytes.

    Raises:
        InvalidOption: it is read-only, not contiguous, or no buffer; naming `argument`.
    """
    try:
        view = memoryview(buffer)  # type: ignore[arg-type]  # the except clause answers for it
        if view.format != "B" or view.ndim != 1 or not view.c_contiguous:
            view = view.cast("B")
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"{argument}: give a contiguous buffer of bytes, such as a bytearray") from error
    if view.readonly:
        raise InvalidOption(f"{argument}: the buffer is read-only; give a bytearray or a writable memoryview")
    return view
