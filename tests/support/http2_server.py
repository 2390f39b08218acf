"""A scripted server that speaks raw frames of HTTP/2: whatever a broken or merely unusual peer does, frame by frame.

A *play* is a function that gets an `Http2Peer`, one accepted connection, and reads and sends what it likes;
`Http2Peer.serve()` is the play of a well-behaved server, which hands each request to a handler. A `Wire` is how the
connection comes about: in clear text by prior knowledge, or over TLS by ALPN with either of the client's engines.

Header blocks are the package hpack's, windows and frames are counted here: nothing of what is tested judges itself, but
for the layout of a frame.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hpack

from support.https import Pki, secure
from support.scripted_server import Peer, ScriptedServer, Step, Stopped, scripted
from turbosock.config import TlsConfig, TlsProviderMode
from turbosock.protocol.http2 import error_codes
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GOAWAY_PAYLOAD,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY_BYTES,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    WORD,
)
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE

Pairs = Sequence[tuple[str, str]]


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame's bytes, right or wrong."""
    return HEADER.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in pairs))


def goaway(last_stream: int, error_code: int = error_codes.NO_ERROR) -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, GOAWAY_PAYLOAD.pack(last_stream, error_code))


def reset(stream_id: int, error_code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, WORD.pack(error_code))


def update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream_id, WORD.pack(increment))


@dataclass
class Request:
    """A request as it came; `whole` once nothing of it is to come."""

    stream_id: int
    fields: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    def __getitem__(self, name: str) -> str:
        found = [value for key, value in self.fields if key == name]
        assert len(found) == 1, f"{name} stands {len(found)} times in {self.fields}"
        return found[0]

    def get(self, name: str) -> str | None:
        """The value of a field, or None."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def path(self) -> str:
        return self[":path"]


class Http2Peer:
    """One connection, as a play sees it.

    Attributes:
        peer: the bytes.
        frames: all that came.
        requests: by stream.
        resets, goaways: what the client said so: code by stream, and (last stream, code).
        window, windows: what may still be sent, in all and by stream.
        initial_window: of the client's settings.
        credits: whether DATA of the client is answered by as much credit, at once.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.frames: list[Frame] = []
        self.requests: dict[int, Request] = {}
        self.resets: dict[int, int] = {}
        self.goaways: list[tuple[int, int]] = []
        self.window = DEFAULT_WINDOW
        self.windows: dict[int, int] = {}
        self.initial_window = DEFAULT_WINDOW
        self.credits = True
        self.settings: dict[int, int] = {}
        self.pings: list[bytes] = []
        self.acknowledged = 0
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._decoder.max_header_list_size = 1 << 20
        self._block = b""
        # What is to be sent as DATA, by stream; and what ends the stream after it: trailers, or nothing.
        self._bodies: dict[int, deque[bytes]] = {}
        self._ends: dict[int, Pairs | None] = {}
        self._whole: deque[Request] = deque()

    # Sending

    def send(self, *frames: bytes) -> None:
        """Send these bytes; a client that is gone ends the play."""
        try:
            self.peer.socket.sendall(b"".join(frames))
        except OSError as error:
            raise Stopped from error

    def begin(self, *pairs: tuple[int, int]) -> None:
        """Read the client's preface and settings, and send ours."""
        assert self.peer.take(len(PREFACE)) == PREFACE
        self.send(settings(*pairs))
        self.await_kind(SETTINGS)

    def block(self, fields: Pairs) -> bytes:
        """A header block, encoded next."""
        return bytes(self._encoder.encode(list(fields)))

    def headers(self, stream_id: int, fields: Pairs, *, end: bool = False) -> bytes:
        """A HEADERS frame, encoded next."""
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, self.block(fields))

    def head(self, stream_id: int, status: int = 200, fields: Pairs = (), *, end: bool = False) -> bytes:
        """A HEADERS frame with a response's head, encoded next."""
        return self.headers(stream_id, [(":status", str(status)), *fields], end=end)

    def answer(
        self,
        request: Request | int,
        body: bytes = b"",
        status: int = 200,
        fields: Pairs = (),
        *,
        trailers: Pairs = (),
        ends: bool = True,
        length: bool = True,
    ) -> None:
        """Answer a request, as far as the windows allow; the rest goes as they open.

        Args:
            ends: whether anything ends the stream.
            length: whether Content-Length is said.
        """
        stream_id = request if isinstance(request, int) else request.stream_id
        if length:
            fields = [*fields, ("content-length", str(len(body)))]
        bare = ends and not body and not trailers
        self.send(self.head(stream_id, status, fields, end=bare))
        if bare:
            return
        self.answer_rest(stream_id, body, trailers=trailers, ends=ends)

    def answer_rest(self, request: Request | int, body: bytes, *, trailers: Pairs = (), ends: bool = True) -> None:
        """As `answer`, without a head."""
        stream_id = request if isinstance(request, int) else request.stream_id
        self._bodies[stream_id] = deque(
            body[start : start + DEFAULT_FRAME_BYTES] for start in range(0, len(body), DEFAULT_FRAME_BYTES)
        )
        self._ends[stream_id] = trailers if ends else None
        self.pump()

    def pump(self) -> None:
        """Send what the windows allow, the streams in turns."""
        moved = True
        while moved:
            moved = False
            for stream_id in list(self._bodies):
                if self._push(stream_id):
                    moved = True

    def _push(self, stream_id: int) -> bool:
        pieces = self._bodies[stream_id]
        end = self._ends[stream_id]
        ready = b""
        if pieces:
            room = min(self.window, self.windows[stream_id], len(pieces[0]))
            if room <= 0:
                return False
            piece = pieces.popleft()
            if room < len(piece):
                pieces.appendleft(piece[room:])
                piece = piece[:room]
            self.window -= room
            self.windows[stream_id] -= room
            ready = frame(DATA, END_STREAM if not pieces and end == () else 0, stream_id, piece)
        if not pieces:
            del self._bodies[stream_id]
            if end:
                ready += self.headers(stream_id, end, end=True)
            elif end is not None and not ready:
                ready = frame(DATA, END_STREAM, stream_id)
        self.send(ready)
        return True

    # Receiving

    def take_frame(self) -> Frame:
        """The next frame; what it means was noted."""
        high, low, kind, flags, stream_id = HEADER.unpack(self.peer.take(HEADER_BYTES))
        taken = Frame(kind, flags, stream_id, self.peer.take(high << 16 | low))
        self.frames.append(taken)
        self._note(taken)
        return taken

    def _note(self, taken: Frame) -> None:
        kind, flags, stream_id, payload = taken
        if kind == SETTINGS:
            if flags & ACK:
                self.acknowledged += 1
                return
            for offset in range(0, len(payload), SETTING.size):
                identifier, value = SETTING.unpack_from(payload, offset)
                self.settings[identifier] = value
                if identifier == INITIAL_WINDOW_SIZE:
                    for each in self.windows:
                        self.windows[each] += value - self.initial_window
                    self.initial_window = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            self.pings.append(payload)
        elif kind == WINDOW_UPDATE:
            (increment,) = WORD.unpack(payload)
            if stream_id:
                self.windows[stream_id] = self.windows.get(stream_id, self.initial_window) + increment
            else:
                self.window += increment
            self.pump()
        elif kind == RST_STREAM:
            (self.resets[stream_id],) = WORD.unpack(payload)
            self._bodies.pop(stream_id, None)
        elif kind == GOAWAY:
            last, code = GOAWAY_PAYLOAD.unpack_from(payload)
            self.goaways.append((last, code))
        elif kind == DATA:
            assert stream_id in self.requests, f"DATA on stream {stream_id}, which nobody opened"
            request = self.requests[stream_id]
            assert not request.whole, f"DATA behind the end of stream {stream_id}"
            assert stream_id not in self.resets, f"DATA behind the reset of stream {stream_id}"
            request.body += payload
            if self.credits and payload:
                self.send(update(0, len(payload)), update(stream_id, len(payload)))
            if flags & END_STREAM:
                self._end(request)
        elif kind in (HEADERS, CONTINUATION):
            self._note_headers(taken)

    def _note_headers(self, taken: Frame) -> None:
        kind, flags, stream_id, payload = taken
        if kind == HEADERS:
            assert stream_id & 1 and stream_id > max(self.requests, default=0), "streams are opened in order"
            assert not flags & (PADDED | WITH_PRIORITY)
            self.windows.setdefault(stream_id, self.initial_window)
            self._ended = bool(flags & END_STREAM)
        self._block += payload
        if flags & END_HEADERS:
            pairs = [(str(name), str(value)) for name, value in self._decoder.decode(self._block)]
            self._block = b""
            request = self.requests[stream_id] = Request(stream_id, pairs)
            if self._ended:
                self._end(request)

    def _end(self, request: Request) -> None:
        request.whole = True
        self._whole.append(request)

    def await_kind(self, kind: int, stream_id: int | None = None) -> Frame:
        """Read until a frame of this kind comes, of this stream if it is given."""
        while True:
            taken = self.take_frame()
            if taken.kind == kind and stream_id in (None, taken.stream_id):
                return taken

    def await_request(self) -> Request:
        """The next request that is whole."""
        while not self._whole:
            self.take_frame()
        return self._whole.popleft()

    def await_requests(self, count: int) -> list[Request]:
        """The next requests that are whole."""
        return [self.await_request() for _ in range(count)]

    def await_head(self) -> Request:
        """The next request, of which the body may still come."""
        before = len(self.requests)
        while len(self.requests) == before:
            self.take_frame()
        return self.requests[max(self.requests)]

    def await_goaway(self) -> int:
        """The code of the client's GOAWAY."""
        self.await_kind(GOAWAY)
        return self.goaways[-1][1]

    def await_reset(self, stream_id: int) -> int:
        """The code of the client's RST_STREAM."""
        while stream_id not in self.resets:
            self.take_frame()
        return self.resets[stream_id]

    def synchronise(self) -> None:
        """Return when the client has taken everything that was sent."""
        self.send(frame(PING, 0, 0, b"in sync?"))
        while True:
            taken = self.await_kind(PING)
            if taken.flags & ACK and taken.payload == b"in sync?":
                return

    def await_close(self) -> None:
        """Read until the client closes; noting what it says."""
        with contextlib.suppress(Stopped):
            while True:
                self.take_frame()

    # A whole server

    def serve(self, handle: Handler, *, answers_pings: bool = True) -> None:
        """Hand each request that is whole to `handle`, until the client closes."""
        while True:
            while self._whole:
                handle(self, self._whole.popleft())
            taken = self.take_frame()
            if taken.kind == PING and not taken.flags & ACK and answers_pings:
                self.send(frame(PING, ACK, 0, taken.payload))


Play = Callable[[Http2Peer], None]
Handler = Callable[[Http2Peer, Request], None]


def serving(handle: Handler, *pairs: tuple[int, int]) -> Play:
    """The play of a well-behaved server with these settings."""

    def play(http2: Http2Peer) -> None:
        http2.begin(*pairs)
        http2.serve(handle)

    return play


def say_path(http2: Http2Peer, request: Request) -> None:
    """Answer with the path."""
    http2.answer(request, request.path.encode())


# A frame header is read as such only where the reserved bit is clear; the priority field is here for malformed frames.
PRIORITY_FIELD = bytes(PRIORITY_BYTES)


class Wire:
    """How a connection comes about.

    Attributes:
        options: of a Config for it.
    """

    def __init__(self, kind: str, pki: Pki) -> None:
        self.kind = kind
        self.pki = pki
        self.secured = kind != "clear"
        self.options: dict[str, Any] = {"http_versions": ("HTTP/2",)}
        if self.secured:
            provider = TlsProviderMode.SYSTEM_ONLY if kind == "ssl" else TlsProviderMode.PYOPENSSL_ONLY
            self.options = {"tls": TlsConfig(ca_file=pki.trusting.ca_file, provider=provider)}

    def secure(self) -> list[Step]:
        """The steps before the first frame."""
        return [secure(self.pki.server(alpn=("h2",)))] if self.secured else []


WIRES = ("clear", "ssl", "pyopenssl")


class Http2Site:
    """A running scripted server.

    Attributes:
        server: of the bytes.
        connections: so far.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.server: ScriptedServer
        self.connections: list[Http2Peer] = []
        self.stood = threading.Semaphore(0)

    def script(self, play: Play) -> list[Step]:
        """The steps of one connection."""

        def step(peer: Peer) -> None:
            http2 = Http2Peer(peer)
            self.connections.append(http2)
            self.stood.release()
            play(http2)

        return [*self.wire.secure(), step]

    def url(self, path: str = "/") -> str:
        scheme = "https" if self.wire.secured else "http"
        return f"{scheme}://127.0.0.1:{self.server.port}{path}"


@contextlib.contextmanager
def http2_site(wire: Wire, *plays: Play) -> Iterator[Http2Site]:
    """Run a server that plays these, one for each connection, the last one for all that follow."""
    site = Http2Site(wire)
    with scripted(*[site.script(play) for play in plays]) as site.server:
        yield site
