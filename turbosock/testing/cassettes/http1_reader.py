"""Http1Reader: exchanges from what was said on one connection of HTTP/1.1 (RFC 9112).

Invariants: an answer belongs to the oldest request without one; nothing is told of a request that was not answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from turbosock import limits
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http1.head import RequestHead, ResponseHead, parse_request_head, parse_response_head
from turbosock.testing.cassettes.entry import (
    Entry,
    RecordedAnswer,
    RecordedBody,
    RecordedRequest,
    text_fields,
)


class _Message:
    """What one side says, message by message: its bytes that are not understood yet, and the body under way."""

    __slots__ = ("_framing", "content", "in_body", "received")

    def __init__(self) -> None:
        self.received = bytearray()
        self.in_body = False
        self.content = bytearray()
        self._framing = BodyFraming()

    def begin(self, framing: Framing, content_length: int) -> None:
        """A head was read, and its body follows."""
        self.in_body = True
        self.content = bytearray()
        self._framing.begin(framing, content_length)

    def take(self) -> bool:
        """Move payload from what was received into the content; whether the body is whole."""
        framing, received = self._framing, self.received
        start = 0
        while not framing.complete:
            start = framing.advance(received, start, len(received))
            count = min(framing.run, len(received) - start)
            if not count:
                break
            self.content += received[start : start + count]
            framing.payload(count)
            start += count
        del received[:start]
        self.in_body = not framing.complete
        return framing.complete

    def end(self) -> bool:
        """The stream has ended; whether that was the end of the body."""
        return self._framing.framing is Framing.CLOSE

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """The fields behind the body."""
        return text_fields(self._framing.trailers)


class _Exchange:
    """An exchange under way."""

    __slots__ = ("answer", "body", "place", "request")

    def __init__(self, place: int, head: RequestHead, url: str) -> None:
        self.place = place
        self.body = RecordedBody()
        self.request = RecordedRequest(head.method, url, text_fields(head.headers), self.body)
        self.answer: ResponseHead | None = None


class Http1Reader:
    """See `WireReader`, for whom this is.

    Args:
        origin: the beginning of each URL.
        emit: called with each exchange.
    """

    def __init__(self, origin: str, emit: Callable[[tuple[int, int], Entry], object]) -> None:
        self._origin = origin
        self._emit = emit
        self._sent = _Message()
        self._came = _Message()
        # The one whose request is being sent, and those whose answers are not whole.
        self._sending: _Exchange | None = None
        self._waiting: deque[_Exchange] = deque()
        self._over = False

    def feed_sent(self, place: int, data: bytes) -> None:
        """Bytes of requests."""
        sent = self._sent
        if self._over:
            return
        sent.received += data
        while sent.received:
            if self._sending is None:
                head = parse_request_head(
                    sent.received, 0, len(sent.received), 0, limits.MAX_HEAD_BYTES, limits.MAX_HEAD_FIELDS
                )
                if head is None:
                    return
                del sent.received[: head.size]
                self._sending = _Exchange(place, head, self._url(head))
                self._waiting.append(self._sending)
                sent.begin(head.framing, head.content_length)
            whole = sent.take()
            self._sending.body.content = bytes(sent.content) if whole else b""
            if not whole:
                return
            self._sending = None

    def _url(self, head: RequestHead) -> str:
        target = head.target.decode("ascii")
        # Through a proxy it says all of the URL (RFC 9112 §3.2.2).
        return target if target.startswith("http://") else self._origin + target

    def feed_received(self, place: int, data: bytes) -> None:
        """Bytes of answers."""
        came = self._came
        if self._over:
            return
        came.received += data
        while came.received and self._waiting and not self._over:
            exchange = self._waiting[0]
            if exchange.answer is None:
                head = parse_response_head(
                    came.received,
                    0,
                    len(came.received),
                    exchange.request.method,
                    0,
                    limits.MAX_HEAD_BYTES,
                    limits.MAX_HEAD_FIELDS,
                )
                if head is None:
                    return
                del came.received[: head.size]
                if head.interim:
                    continue
                if head.upgrade:
                    self._over = True
                    return
                exchange.answer = head
                came.begin(head.framing, head.content_length)
            if not came.take():
                return
            self._tell(cut=False)

    def end_received(self) -> None:
        """The server has ended its stream."""
        if self._came.in_body:
            self._tell(cut=not self._came.end())

    def close(self) -> None:
        """There is no more: an answer that is not whole was cut."""
        if self._came.in_body and not self._over:
            self._tell(cut=True)

    def _tell(self, *, cut: bool) -> None:
        exchange = self._waiting.popleft()
        came = self._came
        head = exchange.answer
        assert head is not None, "its body was read"
        came.in_body = False
        if exchange is self._sending:
            # Refused early: what was sent of the body is as much as there was of it.
            exchange.body.content = bytes(self._sent.content)
        answer = RecordedAnswer(
            "HTTP/1.1" if head.version == 11 else "HTTP/1.0",
            head.status_code,
            head.reason,
            text_fields(head.headers),
            RecordedBody(bytes(came.content)),
            came.trailers,
            cut,
        )
        self._emit((exchange.place, 0), Entry(exchange.request, answer))
