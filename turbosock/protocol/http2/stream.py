"""Stream: one stream of an HTTP/2 connection, as far as frames concern it (RFC 9113 §5, §8.1).

An `Engine` steps it: what arrives for a stream is judged here, and handed on by the hooks at the end, which a subclass
fills. The object may serve one stream after another: `begin()` makes it as new.

Invariants: `receive_window <= window`, and `window - receive_window - owed` bytes are in the hands of the subclass,
which calls `engine.consumed()` for them (the first is negative only after our own SETTINGS made windows smaller);
`remaining` is what Content-Length still announces, or -1; nothing is handed on after `failure` is set, or after
`ended`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import Http2Error
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http2.error_codes import ENHANCE_YOUR_CALM, PROTOCOL_ERROR
from turbosock.protocol.http2.frames import HEADER_BYTES
from turbosock.protocol.http2.stream_state import CLOSED, IDLE

if TYPE_CHECKING:
    from turbosock.errors import TurbosockError
    from turbosock.protocol.http1.head import RequestHead, ResponseHead
    from turbosock.protocol.http1.headers import HeaderList
    from turbosock.protocol.http2.field_block import FieldBlock

# What decides on a response's body besides its own fields, as FieldBlock.heads counts them: the method's kind, doubled.
ORDINARY: Final = 0
HEAD: Final = 2
CONNECT: Final = 4

# The code of a failure whose request the peer says it has not looked at: it may be sent again, whatever its method
# (RFC 9113 §8.7).
UNPROCESSED: Final = "unprocessed"

_LENGTH = Framing.LENGTH
_NONE = Framing.NONE


def method_kind(method: str) -> int:
    """ORDINARY, HEAD or CONNECT."""
    if method == "HEAD":
        return HEAD
    return CONNECT if method == "CONNECT" else ORDINARY


class Stream:
    """One stream; see the module.

    Attributes:
        id: its number, or 0 before it is open.
        state: of `stream_state.py`.
        kind: of the request's method.
        head: of the response, on the client's side, or None before it came. Interim heads pass by.
        request: the request's head, on the server's side.
        trailers: the fields behind the body, or None.
        ended: whether the peer has sent all.
        remaining: body bytes that Content-Length announces and that have not come; -1 without one.
        send_window, receive_window: what may still be sent, and received, without a further update. The first may be
            negative (RFC 9113 §6.9.2).
        window: what `receive_window` is filled up to.
        measured: whether what its path holds was measured, or is being.
        owed: bytes that were consumed, and not given back to the peer's window yet.
        failure: why it ended early, or None.
        unprocessed: whether the peer has said that it did nothing about the request (RFC 9113 §8.7).
        waits: whether it stands in the engine's line for room to send.
    """

    __slots__ = (
        "_interims",
        "ended",
        "failure",
        "head",
        "id",
        "kind",
        "measured",
        "owed",
        "receive_window",
        "remaining",
        "request",
        "send_window",
        "state",
        "trailers",
        "unprocessed",
        "waits",
        "window",
    )

    # Whether frames of payload that lie one behind the other may be told of together, by on_run() and one on_news().
    takes_runs = False

    def __init__(self) -> None:
        self.begin(ORDINARY)

    def begin(self, kind: int) -> None:
        """As a new one, for a request of this kind of method."""
        self.id = 0
        self.state = IDLE
        self.kind = kind
        self.head: ResponseHead | None = None
        self.request: RequestHead | None = None
        self.trailers: HeaderList | None = None
        self.ended = False
        self.remaining = -1
        self.send_window = 0
        self.receive_window = 0
        self.window = 0
        self.measured = False
        self.owed = 0
        self.failure: TurbosockError | None = None
        self.unprocessed = False
        self.waits = False
        self._interims = 0

    # What the engine tells

    def take_response_fields(self, block: FieldBlock, end: bool) -> bool:
        """A client's stream got the fields of one header section; False: an interim head, and more will follow.

        Raises:
            Http2Error: malformed (RFC 9113 §8.1.1).
            HeadTooLarge: more than the limits allow.
        """
        if self.head is not None:
            return self._take_trailers(block, end)
        kind = self.kind | end
        head = block.heads[kind] or block.response_head(kind)
        if head.interim:
            if end:
                raise Http2Error("an interim response ended the stream", PROTOCOL_ERROR, code="malformed")
            self._interims += 1
            if self._interims > limits.MAX_INTERIM_RESPONSES:
                raise Http2Error(
                    f"more than {limits.MAX_INTERIM_RESPONSES} interim responses before the final one",
                    ENHANCE_YOUR_CALM,
                    code="too_many_interim",
                )
            self.took_interim(head)
            return False
        self.head = head
        if head.framing is _LENGTH:
            self.remaining = head.content_length
        elif head.framing is _NONE and not end and not head.upgrade:
            # It has no body, whatever is announced: DATA may come, empty, with the end. A tunnel has DATA of its own.
            self.remaining = 0
        if end:
            self.ended = True
        return True

    def take_request_fields(self, block: FieldBlock, end: bool) -> bool:
        """A server's stream got the fields of one header section. Raises as `take_response_fields`."""
        if self.request is not None:
            return self._take_trailers(block, end)
        self.request = request = block.request_head(end)
        if request.framing is _LENGTH:
            self.remaining = request.content_length
        if end:
            self.ended = True
        return True

    def _take_trailers(self, block: FieldBlock, end: bool) -> bool:
        if not end:
            raise Http2Error("trailers did not end the stream", PROTOCOL_ERROR, code="malformed")
        if self.remaining > 0:
            raise self.cut_short()
        self.trailers = block.trailers()
        self.ended = True
        return True

    def cut_short(self) -> Http2Error:
        """The error of a body that ended before its announced length."""
        return Http2Error(
            f"the body ended {self.remaining} bytes before its announced length", PROTOCOL_ERROR, code="body_cut_short"
        )

    @property
    def closed(self) -> bool:
        """Whether neither side has anything to send on it any more."""
        return self.state == CLOSED

    # Hooks

    def took_interim(self, head: ResponseHead) -> None:
        """An interim head came."""

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        """Payload lies at `root[start : start + count]`, for the time of this call; it is the subclass's to keep."""

    def on_run(self, root: memoryview, start: int, count: int, times: int) -> None:
        """As `on_data()`, for so many frames of `count` bytes, between which lies one header each."""
        for _ in range(times):
            self.on_data(root, start, count)
            start += count + HEADER_BYTES

    def on_news(self) -> None:
        """Something changed: there is a head, there was payload, the peer has sent all, or `failure` is set."""

    def on_room(self) -> None:
        """It may send again, for which it waited; or nothing that it would send is wanted, because it is CLOSED."""
