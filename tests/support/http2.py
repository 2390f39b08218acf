"""Frames of HTTP/2 as bytes, in and out, and one side of a connection in memory to feed them to.

A `Side` is an engine with its two rings. `feed()` gives it bytes as a socket would, poisons what the engine has taken,
and returns the frames that it answers with; what broke the connection is kept as `error`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from support.hpack_wire import literal
from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.buffers.poison import POISON
from turbosock.errors import Http2Error
from turbosock.protocol.http1.head import ResponseHead
from turbosock.protocol.http1.headers import Field
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    kind_name,
)
from turbosock.protocol.http2.stream import Stream

REQUEST: tuple[Field, ...] = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/"))
UPLOAD: tuple[Field, ...] = ((b":method", b"POST"), *REQUEST[1:])
RESPONSE: tuple[Field, ...] = ((b":status", b"200"),)
TRAILERS: tuple[Field, ...] = ((b"x-checksum", b"1"),)


class Frame(NamedTuple):
    """One frame as it was sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes = b""

    def __repr__(self) -> str:
        return f"{kind_name(self.kind)}({self.flags:#x}, {self.stream}, {self.payload[:40].hex()})"

    @property
    def word(self) -> int:
        """The number that the payload begins with."""
        (word,) = struct.unpack_from(">L", self.payload)
        return int(word)

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return self.word if self.kind == RST_STREAM else int(struct.unpack_from(">L", self.payload, 4)[0])


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame, right or wrong."""
    return struct.pack(">L", len(payload))[1:] + struct.pack(">BBL", kind, flags, stream) + payload


def block(fields: Iterable[Field]) -> bytes:
    """A field block that leaves the header table alone."""
    return b"".join([literal(name, value) for name, value in fields])


def headers(stream: int, fields: Iterable[Field] = RESPONSE, end: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(fields))


def split_headers(stream: int, fields: Iterable[Field], cuts: Sequence[int], end: bool = False) -> bytes:
    """A header section in HEADERS and CONTINUATION frames, cut at these places of its block."""
    data = block(fields)
    edges = [0, *cuts, len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(edges)]
    out = [frame(HEADERS, END_STREAM if end else 0, stream, pieces[0])]
    out += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    out.append(frame(CONTINUATION, END_HEADERS, stream, pieces[-1]))
    return b"".join(out)


def padded_headers(
    stream: int, fields: Iterable[Field], padding: int, end: bool = False, priority: bytes = b""
) -> bytes:
    flags = END_HEADERS | PADDED | (END_STREAM if end else 0) | (WITH_PRIORITY if priority else 0)
    return frame(HEADERS, flags, stream, bytes([padding]) + priority + block(fields) + bytes(padding))


def data(stream: int, payload: bytes = b"", end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def padded_data(stream: int, payload: bytes, padding: int, end: bool = False) -> bytes:
    return frame(DATA, PADDED | (END_STREAM if end else 0), stream, bytes([padding]) + payload + bytes(padding))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join([struct.pack(">HL", *pair) for pair in pairs]))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def ping(payload: bytes = b"12345678", ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code) + debug)


def reset(stream: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def priority(stream: int) -> bytes:
    return frame(PRIORITY, 0, stream, struct.pack(">LB", 0, 15))


def push_promise(stream: int, promised: int, fields: Iterable[Field] = REQUEST) -> bytes:
    return frame(PUSH_PROMISE, END_HEADERS, stream, struct.pack(">L", promised) + block(fields))


def frames_in(sent: bytes) -> list[Frame]:
    """The frames of what a side sent; a client's preface is passed over."""
    at = len(PREFACE) if sent.startswith(PREFACE) else 0
    found: list[Frame] = []
    while at < len(sent):
        length = int.from_bytes(sent[at : at + 3], "big")
        kind, flags, stream = struct.unpack_from(">BBL", sent, at + 3)
        end = at + HEADER_BYTES + length
        assert end <= len(sent), "frames leave whole"
        found.append(Frame(kind, flags, stream, sent[at + HEADER_BYTES : end]))
        at = end
    return found


class Recorder(Stream):
    """A stream that keeps what it is told.

    Attributes:
        data: payload that came.
        news, rooms: how often `on_news()` and `on_room()` were called.
        interims: status codes of interim heads.
        events: what happened in order, in short.
    """

    __slots__ = ("data", "events", "interims", "news", "rooms")

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.news = 0
        self.rooms = 0
        self.interims: list[int] = []
        self.events: list[str] = []

    def took_interim(self, head: ResponseHead) -> None:
        self.interims.append(head.status_code)
        self.events.append(f"interim {head.status_code}")

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        assert self.failure is None, "nothing is handed on after a failure"
        self.data += root[start : start + count]

    def on_news(self) -> None:
        self.news += 1
        if self.failure is not None:
            self.events.append(f"failed {self.failure.code}")
        elif self.ended:
            self.events.append("ended")

    def on_room(self) -> None:
        self.rooms += 1
        self.events.append("room")

    @property
    def story(self) -> tuple[object, ...]:
        """What came of it, for comparisons between ways of feeding the same bytes."""
        head = self.head.status_code if self.head is not None else None
        request = (self.request.method, self.request.target) if self.request is not None else None
        failure = None if self.failure is None else (type(self.failure).__name__, self.failure.code)
        trailers = None if self.trailers is None else tuple(self.trailers.raw)
        code = self.failure.error_code if isinstance(self.failure, Http2Error) else -1
        return self.id, head, request, bytes(self.data), trailers, self.ended, failure, code, tuple(self.interims)


class Side:
    """One side; see the module.

    Args:
        client: which.
        capacity: of the rings.
        greeted: both sides have said hello already, and what was sent for it is forgotten.
        accepts: for a server: whether it takes requests.
        options: of the engine.

    Attributes:
        engine: of the protocol.
        ring: what came.
        opened: streams that were opened or accepted, by id.
        error: what broke the connection, or None.
    """

    def __init__(
        self,
        client: bool,
        *,
        capacity: int = limits.RECEIVE_RING_BYTES,
        greeted: bool = True,
        accepts: bool = True,
        **options: Any,
    ) -> None:
        self.client = client
        self.accepts = accepts
        self.opened: dict[int, Recorder] = {}
        self.error: Http2Error | None = None
        self.ring = RingBuffer(capacity)
        self.engine = Engine(RingBuffer(capacity), client=client, accept=None if client else self._accept, **options)
        self.engine.begin()
        if greeted:
            self.feed((b"" if client else PREFACE) + settings() + SETTINGS_ACK)
            assert self.error is None

    def _accept(self, stream_id: int) -> Stream | None:
        if not self.accepts:
            return None
        stream = self.opened[stream_id] = Recorder()
        return stream

    def request(self, fields: Iterable[Field] = REQUEST, *, end: bool = True, kind: int = 0) -> Recorder:
        """A client opens a stream; what it sends for it stays in the output."""
        stream = Recorder()
        stream.begin(kind)
        self.engine.open(stream)
        self.engine.send_headers(stream, block(fields), end)
        self.opened[stream.id] = stream
        return stream

    def respond(self, stream: Stream, fields: Iterable[Field] = RESPONSE, *, end: bool = True) -> None:
        """A server answers; what it sends for it stays in the output."""
        self.engine.send_headers(stream, block(fields), end)

    def feed(self, data: bytes) -> list[Frame]:
        """Receive `data`, in as many passes as the ring and the output need, and send what there is to be sent."""
        sent: list[bytes] = []
        ring = self.ring
        rest = memoryview(data)
        while self.error is None:
            count = self._fill(rest)
            rest = rest[count:]
            before = ring.length
            self._pass()
            output = self.take()
            sent.append(output)
            if not count and ring.length == before and not output:
                break
        assert self.error is not None or not rest, "the engine takes what comes"
        return frames_in(b"".join(sent))

    def _fill(self, data: memoryview) -> int:
        ring = self.ring
        if ring.start + ring.length == ring.capacity:
            ring.make_contiguous()
        end = ring.start + ring.length
        count = min(len(data), ring.capacity - end)
        ring.root[end : end + count] = data[:count]
        ring.length += count
        return count

    def _pass(self) -> None:
        ring = self.ring
        try:
            self.engine.receive(ring)
        except Http2Error as error:
            self.error = error
        assert self.error is None or not self.error.stream_id, "what ends one stream is not raised"
        # What was taken is the ring's again, and what lies behind its content was never anybody's.
        start, end = ring.start, ring.start + ring.length
        ring.root[:start] = bytes([POISON]) * start
        ring.root[end:] = bytes([POISON]) * (ring.capacity - end)

    def take(self) -> bytes:
        """Everything that there is to be sent."""
        sent = bytearray()
        engine = self.engine
        while (view := engine.outgoing()) is not None:
            sent += view
            engine.sent(len(view))
        return bytes(sent)

    def frames(self) -> list[Frame]:
        """Everything that there is to be sent, as frames."""
        return frames_in(self.take())
