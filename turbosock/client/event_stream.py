"""EventStream: one stream of server-sent events over as many connections as it takes (WHATWG HTML §9.2).

What both faces do alike is here, without waiting: what each request says, whether its answer is an event stream, and
after each end whether and when the next request follows. The blocking face iterates (`blocking_event_stream.py`), the
ticking one delivers through `loop.events` (`loop_event_stream.py`).

The order of calls: `begin()`, a request with `request_options()` and `timeouts_now()`, `accept()` its head, feed the
parser; then `after()`, however it ended, says whether `begin()` follows at `due_ns`, or nothing.

Left for good by: 204, an answer that is no event stream, any status but 200 and the temporary ones, a redirect that is
not followed, a certificate that is refused, an event above its limit, a body that is not in its coding, `cancel()` and
misuse, and an expired total deadline. All else is the network's: the stream waits and is connected to again, as
`reconnect.py` says. A request that is not a GET is not repeated unless its caller asks for that.

Invariants: `state` is CLOSED for good; the id that is sent is that of the last event that the parser told or passed; an
event is told in order and once as far as the server's ids allow it.
Left to others: the request itself, with redirects, cookies, credentials and middleware (`flow.py`).
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from turbosock.client.event_tally import EventTally, EventTotals
from turbosock.client.past_answer import PastAnswer
from turbosock.client.reconnect import TEMPORARY_STATUSES, Reconnection, ReconnectPolicy
from turbosock.client.request import request_body
from turbosock.client.request_options import RequestOptions, check_options
from turbosock.client.retry_after import retry_after_ns
from turbosock.client.timeout_argument import DEFAULT, TimeoutArgument
from turbosock.config import Timeouts, check_seconds
from turbosock.connection.kept_source import KeptSource
from turbosock.errors import (
    ConnectionClosed,
    DeadlineError,
    DecodingError,
    InvalidHeader,
    InvalidOption,
    NetworkError,
    Origin,
    Phase,
    PoolExhausted,
    ProtocolError,
    ProxyError,
    ResolveError,
    StatusError,
    TlsError,
    TlsVerificationError,
    TotalTimeout,
    TurbosockError,
    WriteError,
)
from turbosock.limits import MAX_SSE_FIELD_BYTES, MAX_SSE_RETRY_MS
from turbosock.logs import area
from turbosock.protocol.http1.grammar import checked_value
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.sse.parser import EventParser
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.time_histogram import TimeCounts, TimeHistogram

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool
    from turbosock.client.request import PreparedRequest
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.serializer import Serializer

_log = area("sse")

MEDIA_TYPE: Final = "text/event-stream"
_NS_PER_MS: Final = 1_000_000
# What comes back by itself; see the module for the exceptions.
_PASSING_ERRORS: Final = (NetworkError, ProtocolError, DeadlineError, TlsError, PoolExhausted)
_FINAL_PROXY_CODES: Final = frozenset(("proxy_auth", "proxy_refused", "proxy_unsupported"))
_TOKEN_VERSION: Final = "1"
# What stands around a field's value and is no part of it (RFC 9110 section 5.5).
_FIELD_SPACES: Final = " \t"
# What no id of an event has: the ends of its line, NUL, which makes it none, and halves of characters.
_NEVER_TOLD: Final = re.compile("[\0\r\n\ud800-\udfff]")

# `reconnect=` of a stream: a policy, True for the default one, False for none, None for what suits the method.
ReconnectArgument = ReconnectPolicy | bool | None


class StreamState(enum.Enum):
    """What an event stream is doing.

    CONNECTING: a request is under way. OPEN: events may come. WAITING: another request follows when its time has come.
    CLOSED: no more events will come.
    """

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


class EventStreamStats(NamedTuple):
    """An event stream at one moment; counts are over all of its connections.

    Attributes:
        state: what it is doing.
        attempts: requests begun; reconnections: times that it was open again.
        events, comments, bytes_in: events told, comments met, bytes of event streams received.
        parse: for each receive with an event, the time to read the first one.
        delivery: for each receive with an event, the time from its bytes to their first event in its user's hands.
        buffer_allocations, buffer_reuses: buffers that were made for it, and that had been used before.
        compactions: times that an unfinished event was moved to make room.
        buffer_bytes: of the buffer that is held now.
    """

    state: StreamState
    attempts: int
    reconnections: int
    events: int
    comments: int
    bytes_in: int
    parse: TimeCounts
    delivery: TimeCounts
    buffer_allocations: int
    buffer_reuses: int
    compactions: int
    buffer_bytes: int


class EventStreamSettings(NamedTuple):
    """What a stream may be told beside its request; `Client.events` says what each means."""

    last_event_id: str | None = None
    resume: str | None = None
    reconnect: ReconnectArgument = None
    heartbeat_s: float | None = None
    max_event_bytes: int | None = None


class EventStream:
    """One stream of events; see the module. Made by `Client.events` and `Loop.events_from`.

    Attributes:
        state: what it is doing.
        error: why its last connection ended, or why it is closed; None where it ended by itself, or has not.
        url, method: of its requests; the URL as it was given.
        attempts: requests begun so far.
        reconnections: times that it was open again.
        tally: what all streams of its Client or Loop have counted; tallied: its own part of that, so far.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_deadline_ns",
        "_delivery",
        "_events_before",
        "_fields",
        "_opened_ns",
        "_options",
        "_parse",
        "_reconnection",
        "_retry_after_ns",
        "_timeouts",
        "_total_ns",
        "attempts",
        "body_timeouts",
        "due_ns",
        "error",
        "method",
        "parser",
        "reconnections",
        "state",
        "tallied",
        "tally",
        "url",
    )

    def __init__(
        self,
        method: str,
        url: str,
        timeout: TimeoutArgument,
        defaults: Timeouts,
        settings: EventStreamSettings,
        options: RequestOptions,
        parser: EventParser,
        buffers: BufferPool,
        serializer: Serializer | None,
        tally: EventTally,
    ) -> None:
        check_options(options)
        if not isinstance(method, str):
            raise InvalidOption(f"method={method!r}: give a str, as in 'GET'")
        reconnect = settings.reconnect
        if reconnect is None:
            reconnect = method.upper() == "GET"
        if isinstance(reconnect, bool):
            self._reconnection = Reconnection(ReconnectPolicy()) if reconnect else None
        elif isinstance(reconnect, ReconnectPolicy):
            self._reconnection = Reconnection(reconnect)
        else:
            raise InvalidOption(f"reconnect={reconnect!r}: give a ReconnectPolicy, True, False or None")
        check_seconds("heartbeat_s", settings.heartbeat_s, optional=True)
        last_id, retry_ms = _beginning(settings)
        # The default of the total deadline is one for answers that end.
        timeouts = dataclasses.replace(defaults, total_s=None) if timeout is DEFAULT else Timeouts.of(timeout)
        self._total_ns = 0 if timeouts.total_s is None else timeouts.total_ns
        self._timeouts = timeouts
        heartbeat_s = settings.heartbeat_s
        # What bounds a silence once the stream is open; what is left of a total deadline is counted by its exchange.
        self.body_timeouts = timeouts if heartbeat_s is None else _with_read(timeouts, heartbeat_s)
        self._fields = _fields(options)
        self.method = method
        self.url = url
        self.state = StreamState.CONNECTING
        self.error: TurbosockError | None = None
        self.attempts = 0
        self.reconnections = 0
        self.due_ns = 0
        self._deadline_ns = 0
        # Since when the present connection is open; 0: it is not.
        self._opened_ns = 0
        self._events_before = 0.0
        self._retry_after_ns = 0
        self._parse = TimeHistogram()
        self._delivery = TimeHistogram()
        self.parser = parser
        parser.reset(last_id)
        parser.retry_ms = retry_ms
        # Last, because it may hold memory.
        self._body = self._kept_body(options, buffers, serializer)
        self._options = options
        self.tallied = EventTotals()
        self.tally = tally
        tally.begin(self)

    def _kept_body(
        self, options: RequestOptions, buffers: BufferPool, serializer: Serializer | None
    ) -> KeptSource | None:
        """The body of every request, which stays; None without one. Takes it out of the options."""
        given = cast("dict[str, Any]", options)
        source, content_type = request_body(
            given.pop("content", None),
            given.pop("data", None),
            given.pop("json", None),
            given.pop("files", None),
            given.pop("progress", None),
            buffers=buffers,
            serializer=serializer,
        )
        if source is None:
            return None
        if self._reconnection is not None and not source.replayable:
            source.release()
            raise InvalidOption(
                "content: it can be sent once only, and a stream that reconnects sends it again; give bytes, a file "
                "that can be rewound, or reconnect=False"
            )
        names = {name.lower() for name, _ in self._fields}
        if content_type is not None and "content-type" not in names:
            self._fields.append(("Content-Type", content_type))
        return KeptSource(source)

    # The next connection

    def begin(self, now_ns: int) -> None:
        """A connection is tried; with `now_ns` the total deadline begins, if there is one."""
        self.state = StreamState.CONNECTING
        self.attempts += 1
        self._events_before = self.parser.events
        self._opened_ns = 0
        self._retry_after_ns = 0
        if self._total_ns and not self._deadline_ns:
            self._deadline_ns = now_ns + self._total_ns

    def request_options(self) -> dict[str, Any]:
        """The options of the next request.

        Raises:
            WriteError: its body cannot be sent again.
        """
        options: dict[str, Any] = dict(self._options)
        value = self.last_event_id.strip(_FIELD_SPACES).encode()
        fields = self._fields
        if value and _is_sendable(value):
            fields = [*fields, ("Last-Event-ID", value.decode("latin-1"))]
        options["headers"] = fields
        if self._body is not None:
            self._body.begin()
            options["content"] = self._body
        return options

    def timeouts_now(self, now_ns: int) -> Timeouts:
        """The time limits of the next request."""
        if not self._deadline_ns:
            return self._timeouts
        left_ns = max(self._deadline_ns - now_ns, 1)
        return dataclasses.replace(self._timeouts, total_s=left_ns / NS_PER_S)

    def accept(self, prepared: PreparedRequest, head: ResponseHead) -> bool:
        """Look at an answer; False: it ends the stream for good, and is no error (204).

        Raises:
            StatusError: it has another status; ProtocolError: it has another content type; DecodingError: it is in a
                coding that cannot be undone here.
        """
        status_code = head.status_code
        if status_code == 204:
            return False
        error: TurbosockError | None = None
        if status_code != 200:
            if status_code in TEMPORARY_STATUSES:
                value = head.headers.joined(b"retry-after")
                cap_ns = MAX_SSE_RETRY_MS * _NS_PER_MS
                self._retry_after_ns = 0 if value is None else retry_after_ns(value, cap_ns) or 0
            error = StatusError(
                f"status {status_code} {head.reason} instead of an event stream", response=PastAnswer(prepared, head)
            )
        else:
            content_type = head.headers.get("content-type") or ""
            if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
                given = repr(content_type[:64]) if content_type else "of no type"
                error = ProtocolError(
                    f"the answer is {given}, and {MEDIA_TYPE} was expected; check the path, or which Accept it wants",
                    code="not_an_event_stream",
                )
            elif head.coded:
                error = _unreadable_coding(head)
        if error is not None:
            raise error.during(Phase.HEAD, prepared.method, prepared.url.safe)
        reconnection = self._reconnection
        if self.state is not StreamState.OPEN:
            self.state = StreamState.OPEN
            self._opened_ns = self._now_ns()
            self.error = None
            if reconnection is not None:
                if reconnection.was_open:
                    self.reconnections += 1
                reconnection.was_open = True
        return True

    def after(self, error: TurbosockError | None, now_ns: int) -> bool:
        """A connection ended, with an error or by itself.

        Returns:
            Whether another one follows at `due_ns`; else the stream is closed, and `error` says why.
        """
        reconnection = self._reconnection
        if self._deadline_ns and isinstance(error, TotalTimeout):
            error = self._expired(error)
        self.error = error
        cause: BaseException | None = error
        while cause is not None:
            # Their frames are ours, and would keep memory for as long as the error is.
            cause.__traceback__ = None
            cause = cause.__cause__ or cause.__context__
        if self.state is StreamState.CLOSED:
            return False
        parser = self.parser
        succeeded = parser.events != self._events_before
        if not isinstance(error, StatusError):
            self._retry_after_ns = 0
        if reconnection is None or (error is not None and self._is_final(error)):
            self._end(error)
            return False
        parser.reset()
        if not succeeded and self._opened_ns and not isinstance(error, DeadlineError):
            succeeded = reconnection.has_lasted(now_ns - self._opened_ns)
        if succeeded:
            reconnection.failures = 0
        else:
            reconnection.failures += 1
            if reconnection.is_over:
                if error is None:
                    error = ConnectionClosed(
                        f"the server ended the stream {reconnection.failures} times in a row before an event"
                    ).during(Phase.BODY, self.method, None)
                self._end(error)
                return False
        asked_ns = max((parser.retry_ms or 0) * _NS_PER_MS, self._retry_after_ns)
        self.due_ns = now_ns + reconnection.pause_ns(asked_ns, now_ns)
        if self._deadline_ns and self.due_ns >= self._deadline_ns:
            self._end(TotalTimeout(f"the total deadline of {self._timeouts.total_s} s would pass before a new attempt"))
            return False
        self.state = StreamState.WAITING
        reason = "" if error is None else error.code
        pause_s = (self.due_ns - now_ns) / NS_PER_S
        _log.info(
            "event stream ended (%s), connected to again in %.3f s",
            reason or "by itself",
            pause_s,
            extra={"error": reason, "pause_s": pause_s, "failures": reconnection.failures, "attempts": self.attempts},
        )
        return True

    def _is_final(self, error: TurbosockError) -> bool:
        """Whether no other attempt is made after this."""
        if isinstance(error, StatusError):
            return error.status_code not in TEMPORARY_STATUSES
        if not isinstance(error, _PASSING_ERRORS) or isinstance(error, (TotalTimeout, TlsVerificationError)):
            return True
        if isinstance(error, DecodingError):
            # A coding that ends with its connection was cut like any other body.
            return error.code != "truncated"
        if isinstance(error, WriteError):
            # The caller's own body.
            return error.origin is Origin.LOCAL
        if isinstance(error, ProxyError):
            return error.code in _FINAL_PROXY_CODES
        if isinstance(error, ResolveError):
            assert self._reconnection is not None, "asked for where another attempt may follow"
            return not self._reconnection.was_open
        return error.code == "not_an_event_stream"

    def _expired(self, error: TotalTimeout) -> TurbosockError:
        """The error of a request that had what was left of the deadline, told by the whole of it."""
        told = TotalTimeout(f"the total deadline of {self._timeouts.total_s} s passed; raise it or ask for less")
        return told.during(error.phase, error.method, error.url, error.bytes_done)

    def _end(self, error: TurbosockError | None) -> None:
        """Close for good: no more connections, nothing held."""
        self.state = StreamState.CLOSED
        self.error = error
        self.tally.add(self)
        self.parser.close()
        if self._body is not None:
            self._body.drop()
            self._body = None

    # What the user calls

    def cancel(self) -> None:
        """End the stream from any thread."""
        raise AssertionError("each face ends in its own way")

    def close(self) -> None:
        """End the stream; a second call does nothing."""
        raise AssertionError("as above")

    @property
    def retry_in_s(self) -> float | None:
        """Seconds until the next attempt, or None where none is waited for."""
        if self.state is not StreamState.WAITING:
            return None
        return max(0, self.due_ns - self._now_ns()) / NS_PER_S

    def _now_ns(self) -> int:
        raise AssertionError("each face has its own clock")

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        return self.state is StreamState.CLOSED

    @property
    def last_event_id(self) -> str:
        """The id to go on from: of the last event that was told, or ""."""
        return self.parser.last_event_id

    @property
    def retry_ms(self) -> int | None:
        """The last reconnection time that the stream named, or None."""
        return self.parser.retry_ms

    @property
    def resume_token(self) -> str:
        """What to store and give as `resume=`, to go on after the last event that was told: its id and the retry."""
        retry_ms = self.parser.retry_ms
        return f"{_TOKEN_VERSION};{'' if retry_ms is None else retry_ms};{self.last_event_id}"

    def stats(self) -> EventStreamStats:
        """One snapshot; of a closed stream, too."""
        parser = self.parser
        return EventStreamStats(
            state=self.state,
            attempts=self.attempts,
            reconnections=self.reconnections,
            events=int(parser.events),
            comments=int(parser.comments),
            bytes_in=int(parser.bytes_in),
            parse=self._parse.counts(),
            delivery=self._delivery.counts(),
            buffer_allocations=int(parser.buffer_allocations),
            buffer_reuses=int(parser.buffer_reuses),
            compactions=int(parser.compactions),
            buffer_bytes=parser.buffer_bytes,
        )

    def __del__(self) -> None:
        # One that was dropped without close(); an interrupt in its making leaves it without a tally.
        tally: EventTally | None = getattr(self, "tally", None)
        if tally is not None and self.state is not StreamState.CLOSED:
            tally.add(self)

    def __repr__(self) -> str:
        # Without the URL, whose query may be a secret.
        return f"<{type(self).__name__} {self.method} {self.state.value} events={int(self.parser.events)}>"


def _unreadable_coding(head: ResponseHead) -> DecodingError | None:
    # Not with the module, for the time that its import takes.
    from turbosock.protocol.content.registry import decoder_for

    value = head.headers.joined(b"content-encoding") or b""
    try:
        decoder = decoder_for(value.decode("latin-1"), max_bytes=1)
    except DecodingError as error:
        return error
    if decoder is not None:
        decoder.close()
    return None


def _with_read(timeouts: Timeouts, read_s: float) -> Timeouts:
    return dataclasses.replace(timeouts, read_s=read_s)


def _fields(options: RequestOptions) -> list[tuple[str, str]]:
    """The fields of every request, but for what changes; takes `headers` out of the options."""
    headers = options.pop("headers", None)
    fields: list[tuple[str, str]] = []
    if headers is not None:
        # Checked here, by name.
        given = HeaderList(headers)
        fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in given.raw]
    names = {name.lower() for name, _ in fields}
    if "last-event-id" in names:
        raise InvalidOption("headers: 'Last-Event-ID' changes with each event; give last_event_id instead")
    for name, value in (("Accept", MEDIA_TYPE), ("Cache-Control", "no-cache")):
        if name.lower() not in names:
            fields.append((name, value))
    return fields


def _is_sendable(value: bytes) -> bool:
    """Whether an id can stand in a field: one with a control byte, which no field can carry, is not sent at all."""
    try:
        checked_value(b"Last-Event-ID", value)
    except InvalidHeader:
        return False
    return True


def _beginning(settings: EventStreamSettings) -> tuple[str, int | None]:
    """The id and the reconnection time that a stream begins with."""
    last_id = settings.last_event_id
    if settings.resume is not None:
        if last_id is not None:
            raise InvalidOption("last_event_id, resume: give one of them")
        return _read_token(settings.resume)
    if last_id is None:
        return "", None
    if not isinstance(last_id, str):
        raise InvalidOption(f"last_event_id: a {type(last_id).__name__} was given; give a str")
    try:
        value = last_id.strip(_FIELD_SPACES).encode()
    except UnicodeEncodeError as error:
        raise InvalidOption("last_event_id: it holds a lone surrogate, which is half a character") from error
    if len(value) > MAX_SSE_FIELD_BYTES or not _is_sendable(value):
        raise InvalidOption(f"last_event_id: give at most {MAX_SSE_FIELD_BYTES} bytes without control characters")
    return last_id, None


def _read_token(token: object) -> tuple[str, int | None]:
    if isinstance(token, str):
        version, _, rest = token.partition(";")
        retry, separator, last_id = rest.partition(";")
        digits = retry.isascii() and retry.isdigit() and len(retry) <= len(str(MAX_SSE_RETRY_MS))
        # An id that an event may have had, whether or not a field can carry it.
        told = len(last_id) <= MAX_SSE_FIELD_BYTES and not _NEVER_TOLD.search(last_id)
        if version == _TOKEN_VERSION and separator and (digits or not retry) and told:
            return last_id, min(int(retry), MAX_SSE_RETRY_MS) if retry else None
    raise InvalidOption("resume: it is no resume token; give what `resume_token` of a stream was")
