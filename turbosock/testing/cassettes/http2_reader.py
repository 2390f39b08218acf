"""Http2Reader: exchanges from what was said on one connection of HTTP/2 (RFC 9113).

What only moves the connection along (settings, windows, pings) is passed over.

Invariant: nothing is told of a request that was not answered.
"""

from __future__ import annotations

from collections.abc import Callable

from turbosock.protocol.http2.frames import DATA, HEADERS, RST_STREAM
from turbosock.testing.cassettes.entry import Entry, RecordedAnswer, RecordedBody, RecordedRequest, TextField
from turbosock.testing.cassettes.http2_frames import Frame, FrameReader


class _Exchange:
    """An exchange under way: fields and content of both sides."""

    __slots__ = ("answered", "asked", "came", "ended", "place", "sent", "trailers")

    def __init__(self, place: int) -> None:
        self.place = place
        self.asked: list[TextField] | None = None
        self.sent = bytearray()
        self.answered: list[TextField] | None = None
        self.came = bytearray()
        self.trailers: list[TextField] = []
        self.ended = False


class Http2Reader:
    """See `WireReader`, for whom this is.

    Args:
        origin: the beginning of each URL.
        emit: called with each exchange.
    """

    def __init__(self, origin: str, emit: Callable[[tuple[int, int], Entry], object]) -> None:
        self._origin = origin
        self._emit = emit
        self._sent = FrameReader(from_client=True)
        self._came = FrameReader(from_client=False)
        self._streams: dict[int, _Exchange] = {}

    def feed_sent(self, place: int, data: bytes) -> None:
        """Bytes of requests."""
        for frame in self._sent.feed(data):
            exchange = self._exchange(frame, place)
            if exchange is None:
                continue
            if frame.kind == DATA:
                exchange.sent += frame.payload
            elif exchange.asked is None:
                exchange.asked = frame.fields
            if exchange.ended:
                self._tell(frame.stream, cut=False)

    def feed_received(self, place: int, data: bytes) -> None:
        """Bytes of answers."""
        for frame in self._came.feed(data):
            exchange = self._exchange(frame, place)
            if exchange is None:
                continue
            if frame.kind == DATA:
                exchange.came += frame.payload
            elif exchange.answered is not None:
                exchange.trailers = frame.fields
            elif not dict(frame.fields).get(":status", "").startswith("1"):
                exchange.answered = frame.fields
            exchange.ended = frame.ends
            if frame.ends and exchange.asked is not None:
                self._tell(frame.stream, cut=False)

    def _exchange(self, frame: Frame, place: int) -> _Exchange | None:
        """Whose a frame is; None: nobody's, or the last one."""
        stream = frame.stream
        if frame.kind == HEADERS and stream not in self._streams:
            # Of two threads that share the connection, the one that reads may note first what the other one caused.
            self._streams[stream] = _Exchange(place)
        exchange = self._streams.get(stream)
        if frame.kind == RST_STREAM and exchange is not None:
            self._tell(stream, cut=True)
        return exchange if frame.kind in (DATA, HEADERS) else None

    def end_received(self) -> None:
        """The server has ended its stream."""
        self.close()

    def close(self) -> None:
        """There is no more: answers that are not whole were cut."""
        for stream in list(self._streams):
            self._tell(stream, cut=True)

    def _tell(self, stream: int, *, cut: bool) -> None:
        exchange = self._streams.pop(stream)
        if exchange.asked is None or exchange.answered is None:
            return
        asked = dict(exchange.asked)
        if asked.get(":method") == "CONNECT":
            # A tunnel, or a WebSocket (RFC 8441).
            return
        request = RecordedRequest(
            asked.get(":method", ""),
            self._origin + asked.get(":path", ""),
            _ordinary(exchange.asked),
            RecordedBody(bytes(exchange.sent)),
        )
        answer = RecordedAnswer(
            "HTTP/2",
            int(dict(exchange.answered).get(":status", "0")),
            "",
            _ordinary(exchange.answered),
            RecordedBody(bytes(exchange.came)),
            exchange.trailers,
            cut,
        )
        # Of requests that were sent in one piece, the stream tells which came first.
        self._emit((exchange.place, stream), Entry(request, answer))


def _ordinary(fields: list[TextField]) -> list[TextField]:
    return [field for field in fields if not field[0].startswith(":")]
