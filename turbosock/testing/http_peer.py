"""HttpPeer: an HTTP/1.1 server on a connection in memory: splits what comes into requests, and answers each.

Requests are read by the parsers of the real server (RFC 9112 §2 to §7), strictly; what they refuse is answered by 400.
Answers are said as data: status, fields, body, and what goes wrong with them.

Invariants: requests of one connection are answered in order; after an answer that ends its connection nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from turbosock import limits
from turbosock.errors import InvalidOption, LimitError, ProtocolError
from turbosock.pool.queue_handle import check_wait
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.head import RequestHead, parse_request_head
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.protocol.http1.serialize import response_head
from turbosock.server.request import Request
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY: Final = (204, 304)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer.

    Attributes:
        status_code: 200 to 999.
        headers: its fields; Content-Length is added unless the body's framing is given.
        content: its body, as it stands on the wire.
        delay_s: how long after the request it comes; see `memory_socket.py` for whose seconds.
        cut_after: the connection ends after so many bytes of the answer, head included; None: not in the middle.
        reset: where it is cut, the connection is reset instead of closed; without `cut_after` before the first byte.
    """

    status_code: int = 200
    headers: HeaderItems = ()
    content: bytes = b""
    delay_s: float = 0.0
    cut_after: int | None = None
    reset: bool = False

    def __post_init__(self) -> None:
        check_wait("delay_s", self.delay_s)
        cut_after = self.cut_after
        if cut_after is not None and (isinstance(cut_after, bool) or not isinstance(cut_after, int) or cut_after < 0):
            raise InvalidOption(f"cut_after={cut_after!r}: give 0 or more bytes, or None")
        if not isinstance(self.reset, bool):
            raise InvalidOption(f"reset={self.reset!r}: give True or False")
        self.serialized("GET")

    def serialized(self, method: str) -> bytes:
        """Head and body as an answer to `method`.

        Raises:
            InvalidOption, InvalidHeader: an attribute cannot be sent.
        """
        fields = HeaderList(self.headers)
        if not (fields.count(b"content-length") or fields.count(b"transfer-encoding") or self.status_code in _NO_BODY):
            fields = HeaderList([*fields.raw, (b"Content-Length", b"%d" % len(self.content))])
        head = response_head(self.status_code, None, fields)
        return head if method == "HEAD" or self.status_code in _NO_BODY else head + self.content

    @property
    def whole(self) -> bool:
        """Whether it comes at once, and as it should."""
        return not (self.delay_s or self.reset or self.cut_after is not None)


class _Reading:
    """What has come of one connection's present request."""

    __slots__ = ("body", "content", "head", "received")

    def __init__(self) -> None:
        self.received = bytearray()
        self.head: RequestHead | None = None
        self.body = BodyFraming()
        self.content = bytearray()


class HttpPeer(MemoryPeer):
    """Answers HTTP requests.

    Args:
        answer: one for all requests; or a function that makes one of a Request, called on the thread that sent it.
            `Request.peer` is ("memory", 0).

    Attributes:
        request_count: how many were answered.

    Raises:
        InvalidOption: `answer` is neither.
    """

    def __init__(self, answer: HttpAnswer | Callable[[Request], HttpAnswer]) -> None:
        if not isinstance(answer, HttpAnswer) and not callable(answer):
            raise InvalidOption(f"answer={answer!r}: give an HttpAnswer, or a function of a Request")
        self._answer = answer
        self._remembers = isinstance(answer, HttpAnswer) and answer.whole
        self._remembered: dict[bytes, bytes] = {}
        self.request_count = 0

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        if sock.user is None:
            # Nothing of a request is waiting for its rest: the same bytes ask for the same answer.
            known = self._remembered.get(data)
            if known is not None:
                self.request_count += 1
                sock.deliver(known)
                return
            sock.user = _Reading()
        reading = sock.user
        assert isinstance(reading, _Reading), "the user of an HttpPeer's socket is its own"
        reading.received += data
        try:
            while sock.user is reading and (reading.received or reading.head is not None):
                request = self._next_request(sock, reading)
                if request is None:
                    return
                self._respond(sock, request, data if request.head.size == len(data) else None)
        except (ProtocolError, LimitError) as error:
            sock.deliver(HttpAnswer(400, {"Connection": "close"}, str(error).encode()).serialized("GET"))
            sock.leave()
            return
        if sock.user is reading:
            sock.user = None

    def _next_request(self, sock: MemorySocket, reading: _Reading) -> Request | None:
        """The next whole request; None: more is needed."""
        received = reading.received
        head = reading.head
        body = reading.body
        if head is None:
            head = parse_request_head(received, 0, len(received), 0, limits.MAX_HEAD_BYTES, limits.MAX_HEAD_FIELDS)
            if head is None:
                return None
            del received[: head.size]
            reading.head = head
            reading.content = bytearray()
            body.begin(head.framing, head.content_length)
            if head.expect_continue and not body.complete and not received:
                sock.deliver(_CONTINUE)
        start = 0
        while not body.complete:
            start = body.advance(received, start, len(received))
            count = min(body.run, len(received) - start)
            if not count and not body.complete:
                break
            if count:
                reading.content += received[start : start + count]
                body.payload(count)
                start += count
        del received[:start]
        if not body.complete:
            return None
        reading.head = None
        return Request(head, ("memory", 0), bytes(reading.content))

    def _respond(self, sock: MemorySocket, request: Request, sent: bytes | None) -> None:
        """Answer; `sent` is what the client sent where that was this request's head and nothing else."""
        self.request_count += 1
        answer = self._answer if isinstance(self._answer, HttpAnswer) else self._answer(request)
        data = answer.serialized(request.method)
        keep_alive = request.head.keep_alive
        room = limits.MAX_REMEMBERED_ANSWERS - len(self._remembered)
        if self._remembers and keep_alive and sent is not None and room > 0:
            self._remembered[sent] = data
        if answer.reset and answer.cut_after is None:
            data = b""
        elif answer.cut_after is not None:
            data = data[: answer.cut_after]
        sock.deliver(data, answer.delay_s)
        if answer.reset:
            sock.reset(answer.delay_s)
        elif answer.cut_after is not None or not keep_alive or _closes(answer):
            sock.leave(answer.delay_s)
        else:
            return
        # Nothing is read any more.
        sock.user = _Reading()
        sock.hold(limits.SEGMENT_BYTES)


def _closes(answer: HttpAnswer) -> bool:
    """Whether the answer itself says that its connection ends."""
    return b"close" in (HeaderList(answer.headers).joined(b"connection") or b"").lower()
