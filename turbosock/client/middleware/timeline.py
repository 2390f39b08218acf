"""Timeline: the moments of one exchange, and the link that records them.

A record is pooled: it is the sink's to read while the sink runs, and is reset and used again afterwards, unless
somebody still holds it. Exchanges of a client without this link record nothing and pay nothing.

Invariants: moments are monotonic ns on the clock of the exchange's driver, and 0 where a moment was not reached; they
are those of the last attempt, but for `started_ns`, `held_ns` and `done_ns`, which are of all. A record knows no
exchange: as a cycle, one that is dropped would not end before the collector comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turbosock.buffers import ObjectPool
from turbosock.client.middleware.base import GO, Middleware
from turbosock.errors import InvalidOption, Phase
from turbosock.logs import area

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained

_log = area("middleware")

_QUEUE: Final = Phase.QUEUE
_RESOLVE: Final = Phase.RESOLVE
_CONNECT: Final = Phase.CONNECT
_PROXY: Final = Phase.PROXY
_TLS: Final = Phase.TLS
_SEND: Final = Phase.SEND
_HEAD: Final = Phase.HEAD
_BODY: Final = Phase.BODY


class Timeline:
    """When an exchange did what.

    Attributes:
        method, url: of the request; the URL is without credentials, query and fragment.
        started_ns: the call.
        held_ns: how long links made it wait (a duration).
        queued_ns: it stood in the pool's line.
        resolve_ns, connect_ns, proxy_ns, tls_ns: the look-up, the connect, the way through proxies (the connect to the
            nearest one included) and the handshake began; 0 on a kept connection.
        send_ns: the request began to be sent; sent_ns: it was sent whole.
        first_byte_ns, head_ns: of the answer: its first byte, and its whole head, were seen.
        done_ns: the end, well or not.
        attempts: how often it was sent, at the wish of a link.
        status_code: of the answer, or 0; nbytes: of its body; error: the code of what failed, or "".
        recorder, outer: while it is recorded: for whom, and the record of a recorder further out in the chain.
    """

    __slots__ = (
        "attempts",
        "connect_ns",
        "done_ns",
        "error",
        "first_byte_ns",
        "head_ns",
        "held_ns",
        "method",
        "nbytes",
        "outer",
        "proxy_ns",
        "queued_ns",
        "recorder",
        "resolve_ns",
        "send_ns",
        "sent_ns",
        "started_ns",
        "status_code",
        "tls_ns",
        "url",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.recorder: Middleware | None = None
        self.outer: Timeline | None = None
        self.error = self.url = self.method = ""
        self.nbytes = self.status_code = self.attempts = 0
        self.done_ns = self.held_ns = self.started_ns = 0
        self._forget_attempt()

    def _forget_attempt(self) -> None:
        self.tls_ns = self.proxy_ns = self.connect_ns = self.resolve_ns = self.queued_ns = 0
        self.head_ns = self.first_byte_ns = self.sent_ns = self.send_ns = 0

    def begin(self, exchange: Chained, recorder: Middleware) -> None:
        """Record this exchange from now on."""
        # Here and not when it comes back: whoever kept it may still read it.
        self.reset()
        self.recorder = recorder
        self.outer = exchange.timeline
        self.method = exchange.method
        self.url = exchange.prepared.url.safe
        self.started_ns = exchange.started_ns

    def begin_attempt(self) -> None:
        """The request is sent, for the first time or again."""
        if self.attempts:
            self._forget_attempt()
        self.attempts += 1

    def reach(self, phase: Phase, now_ns: int) -> None:
        """The exchange begins a phase."""
        if phase is _SEND:
            self.send_ns = now_ns
        elif phase is _HEAD:
            self.sent_ns = now_ns
        elif phase is _BODY:
            self.head_ns = now_ns
            if not self.first_byte_ns:
                self.first_byte_ns = now_ns
        elif phase is _QUEUE:
            self.queued_ns = now_ns
        elif phase is _RESOLVE:
            self.resolve_ns = now_ns
        elif phase is _CONNECT:
            self.connect_ns = now_ns
        elif phase is _PROXY:
            self.proxy_ns = now_ns
        elif phase is _TLS:
            self.tls_ns = now_ns

    def end(self, exchange: Chained) -> None:
        """The exchange is over."""
        self.recorder = None
        self.outer = None
        self.done_ns = exchange.now_ns()
        self.status_code = exchange.head.status_code if exchange.head is not None else 0
        self.nbytes = exchange.received
        self.error = exchange.error.code if exchange.error is not None else ""

    @property
    def reused(self) -> bool:
        """Whether the last attempt was sent on a kept connection."""
        return self.send_ns != 0 and not (self.resolve_ns or self.connect_ns)

    def durations_s(self) -> dict[str, float]:
        """The parts in seconds; those that did not take place are left out."""
        parts = (
            ("pool", self.queued_ns, self.resolve_ns or self.connect_ns or self.send_ns),
            ("dns", self.resolve_ns, self.connect_ns),
            ("connect", self.connect_ns, self.proxy_ns or self.tls_ns or self.send_ns),
            ("proxy", self.proxy_ns, self.tls_ns or self.send_ns),
            ("tls", self.tls_ns, self.send_ns),
            ("send", self.send_ns, self.sent_ns),
            ("wait", self.sent_ns, self.first_byte_ns),
            ("head", self.first_byte_ns, self.head_ns),
            ("body", self.head_ns, self.done_ns),
            ("total", self.started_ns, self.done_ns),
        )
        durations = {name: (end - begin) / 1e9 for name, begin, end in parts if begin and end}
        if self.held_ns:
            durations["held"] = self.held_ns / 1e9
        return durations

    def __repr__(self) -> str:
        parts = " ".join(f"{name}={seconds * 1e3:.2f}ms" for name, seconds in self.durations_s().items())
        return f"<Timeline {self.method} {self.url} {self.error or self.status_code} {parts}>"


class TimelineRecorder(Middleware):
    """Records the timeline of each exchange; put it first, so that it sees what other links do.

    Args:
        sink: called with the Timeline when the exchange is over, on the thread that ended it; the record is lent for
            the call. What it raises is logged.

    Raises:
        InvalidOption: `sink` cannot be called.
    """

    def __init__(self, sink: Callable[[Timeline], object]) -> None:
        if not callable(sink):
            raise InvalidOption(f"sink={sink!r}: give a function that takes a Timeline")
        self._sink = sink
        self._timelines: ObjectPool[Timeline] = ObjectPool(Timeline, None)

    def enter(self, exchange: Chained, now_ns: int) -> int:
        timeline = self._timelines.rent()
        timeline.begin(exchange, self)
        exchange.timeline = timeline
        return GO

    def leave(self, exchange: Chained) -> None:
        timeline = exchange.timeline
        if timeline is None or timeline.recorder is not self:
            # Interrupted before it was attached.
            return
        try:
            exchange.timeline = timeline.outer
            timeline.end(exchange)
            self._sink(timeline)
        except Exception:
            _log.exception("the sink of a TimelineRecorder failed")
        finally:
            self._timelines.give_back(timeline)
