"""Clients of HTTP/2 on a stage (`support.http_stage`): raw frames in, frames out, with the windows counted.

A `Http2StagePeer` says and understands what a test tells it to, frame by frame. On an `Http2Stage` it also takes the
bytes of HTTP/1 requests and sends each as a stream of its own, so that tests about exchanges need not know the version.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import hpack

from support.http2 import SETTINGS_ACK, Frame, data, frames_in, headers, settings, window_update
from support.http_stage import Answer, Peer, Stage
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http1.head import RequestHead, parse_request_head
from turbosock.protocol.http1.headers import Field
from turbosock.protocol.http2.field_block import CONNECT, HEAD, ORDINARY, FieldBlock
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
)
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE

MAX_TURNS = 10_000
_DROPPED = (b"host", b"connection", b"transfer-encoding", b"keep-alive")


@dataclass
class Exchanged:
    """One stream as the client sees it.

    Attributes:
        interims, answer: the heads, and what follows the last of them.
        ended: the answer is whole.
        reset: the code of a RST_STREAM that came, or None.
        window: what may still be sent.
        unsent: body that waits for the window; `closing`: its end follows.
    """

    method: str
    window: int
    interims: list[Answer] = field(default_factory=list)
    answer: Answer | None = None
    ended: bool = False
    reset: int | None = None
    unsent: bytearray = field(default_factory=bytearray)
    closing: bool = False
    closed: bool = False


class Http2StagePeer(Peer):
    """A client; see the module.

    Attributes:
        frames: all that came.
        streams: by id.
        goaways: (last stream, code) of each that came.
        window: what may still be sent on the connection.
        credits: whether what comes is credited at once.
        settings: of the listener.
    """

    def __init__(self, stage: Stage, *pairs: tuple[int, int], greets: bool = True) -> None:
        super().__init__(stage)
        stage.peers.append(self)
        self.frames: list[Frame] = []
        self.streams: dict[int, Exchanged] = {}
        self.goaways: list[tuple[int, int]] = []
        self.window = DEFAULT_WINDOW
        self.credits = True
        self.settings: dict[int, int] = {}
        self.initial_window = DEFAULT_WINDOW
        self._decoder = hpack.Decoder()
        self._decoder.max_header_list_size = 1 << 20
        self._parsed = 0
        self._block = b""
        self._block_flags = 0
        self._next_id = 1
        self._untranslated = bytearray()
        self._body: BodyFraming | None = None
        stage.turn()
        if greets:
            self.say(PREFACE, settings(*pairs))
            self.look()

    # Frame by frame

    def say(self, *frames: bytes) -> None:
        """Send these bytes, with turns."""
        super().send(b"".join(frames))

    def open(self, *fields: Field, end: bool = True, method: str = "GET", path: str = "/") -> int:
        """Begin a request; its number."""
        number = self._next_id
        self._next_id += 2
        self.streams[number] = Exchanged(method, self.initial_window)
        self.say(self.head(number, *fields, end=end, method=method, path=path))
        return number

    def head(self, number: int, *fields: Field, end: bool = True, method: str = "GET", path: str = "/") -> bytes:
        """A request's HEADERS."""
        self.streams.setdefault(number, Exchanged(method, self.initial_window))
        pseudo = (
            (b":method", method.encode()),
            (b":scheme", b"http"),
            (b":authority", b"h"),
            (b":path", path.encode()),
        )
        return headers(number, (*pseudo, *fields), end)

    def body(self, number: int, content: bytes, *, end: bool = True) -> None:
        """Send as much of a body as the windows take now, and the rest as they open."""
        stream = self.streams[number]
        stream.unsent += content
        stream.closing = end
        self.pump()

    def news(self) -> list[Frame]:
        """Take what has come since the last call, with turns."""
        before = len(self.frames)
        self.stage.settle(self)
        return self.frames[before:]

    def kinds(self, kind: int) -> list[Frame]:
        """All frames of this kind that came, acknowledgements left out."""
        self.stage.settle(self)
        return [
            each for each in self.frames if each.kind == kind and not (kind in (SETTINGS, PING) and each.flags & ACK)
        ]

    def answer_of(self, number: int) -> Answer:
        """The whole answer on a stream."""
        self.stage.settle(self)
        stream = self.streams[number]
        assert stream.ended and stream.answer is not None, (number, stream)
        return stream.answer

    # As a Peer

    def send(self, data: bytes) -> None:
        """Send requests of HTTP/1 as streams; what is no such request goes as it is."""
        self._untranslated += data
        while self._translate():
            pass
        for _ in range(MAX_TURNS):
            self.pump()
            if not any(stream.unsent for stream in self.streams.values()):
                return
            before = self.stage.reactor.bytes_in, len(self.frames)
            self.stage.turn()
            self.look()
            if before == (self.stage.reactor.bytes_in, len(self.frames)):
                break
        raise AssertionError("the listener takes no more")

    def _translate(self) -> bool:
        """Take one step; whether there may be more."""
        buffer = self._untranslated
        number = self._next_id - 2
        body = self._body
        if body is None:
            head = parse_request_head(buffer, 0, len(buffer))
            if head is None:
                return False
            self._body = self._begin(head)
            del buffer[: head.size]
            return True
        if body.run:
            count = min(body.run, len(buffer))
            self.streams[number].unsent += buffer[:count]
            del buffer[:count]
            body.payload(count)
            self._finish_if(body, number)
            return count > 0
        taken = body.advance(buffer, 0, len(buffer))
        del buffer[:taken]
        self._finish_if(body, number)
        return taken > 0

    def _begin(self, head: RequestHead) -> BodyFraming | None:
        fields = [(name.lower(), value) for name, value in head.headers.raw if name.lower() not in _DROPPED]
        whole = head.framing is Framing.NONE
        self.open(*fields, end=whole, method=head.method, path=head.target.decode())
        if whole:
            return None
        body = BodyFraming()
        body.begin(head.framing, head.content_length)
        return body

    def _finish_if(self, body: BodyFraming, number: int) -> None:
        if body.complete:
            self._body = None
            self.streams[number].closing = True

    def pump(self) -> None:
        """Send of the bodies what the windows allow."""
        out = []
        for number, stream in self.streams.items():
            while stream.unsent or (stream.closing and not stream.closed):
                if stream.reset is not None:
                    stream.unsent.clear()
                    stream.closed = True
                    break
                count = min(len(stream.unsent), stream.window, self.window, DEFAULT_FRAME_BYTES)
                if count <= 0 and stream.unsent:
                    break
                last = stream.closing and count == len(stream.unsent)
                out.append(data(number, bytes(stream.unsent[:count]), last))
                del stream.unsent[:count]
                stream.window -= count
                self.window -= count
                stream.closed = last
        if out:
            self.say(*out)

    def look(self, max_bytes: int = 1 << 20) -> bytes:
        received = super().look(max_bytes)
        replies: list[bytes] = []
        at = self._parsed
        while at + HEADER_BYTES <= len(received):
            size = HEADER_BYTES + int.from_bytes(received[at : at + 3], "big")
            if at + size > len(received):
                break
            (each,) = frames_in(received[at : at + size])
            at += size
            self.frames.append(each)
            self._note(each, replies)
        self._parsed = at
        if replies and not self.ended:
            try:
                self.socket.send(b"".join(replies))
            except (BlockingIOError, BrokenPipeError):
                pass
        return received

    def _note(self, each: Frame, replies: list[bytes]) -> None:
        kind, flags, number, payload = each
        if kind == SETTINGS and not flags & ACK:
            for offset in range(0, len(payload), SETTING.size):
                identifier, value = SETTING.unpack_from(payload, offset)
                self.settings[identifier] = value
                if identifier == INITIAL_WINDOW_SIZE:
                    for stream in self.streams.values():
                        stream.window += value - self.initial_window
                    self.initial_window = value
            replies.append(SETTINGS_ACK)
        elif kind == WINDOW_UPDATE:
            if number:
                self.streams[number].window += each.word
            else:
                self.window += each.word
        elif kind == GOAWAY:
            self.goaways.append((each.word, each.code))
        elif kind == RST_STREAM:
            self.streams[number].reset = each.word
        elif kind in (HEADERS, CONTINUATION):
            self._note_head(each)
        elif kind == DATA:
            stream = self.streams[number]
            assert stream.answer is not None and not stream.ended, "DATA between a head and the end"
            stream.answer.body += payload
            stream.ended = bool(flags & END_STREAM)
            if self.credits and payload:
                replies.append(window_update(0, len(payload)))
                if not stream.ended:
                    replies.append(window_update(number, len(payload)))

    def _note_head(self, each: Frame) -> None:
        kind, flags, number, payload = each
        self._block += payload
        if kind == HEADERS:
            self._block_flags = flags
        if not flags & END_HEADERS:
            return
        fields = [(name, value) for name, value in self._decoder.decode(self._block, raw=True)]
        self._block = b""
        ends = bool(self._block_flags & END_STREAM)
        stream = self.streams[number]
        assert not stream.ended, "nothing follows the end"
        if stream.answer is not None:
            assert ends, "trailers end the stream"
            stream.answer.trailers = fields
            stream.ended = True
            return
        method = {"HEAD": HEAD, "CONNECT": CONNECT}.get(stream.method, ORDINARY)
        head = FieldBlock(fields, 0).response_head(method | ends)
        if head.interim:
            stream.interims.append(Answer(head))
        else:
            stream.answer = Answer(head)
            stream.ended = ends

    def answers(self, *methods: str) -> list[Answer]:
        self.stage.settle(self)
        found: list[Answer] = []
        for stream in self.streams.values():
            found += stream.interims
            if stream.answer is not None:
                assert stream.ended or stream.reset is not None or self.ended, "an answer breaks off in its body"
                found.append(stream.answer)
        return found


class Http2Stage(Stage):
    """A stage whose clients speak HTTP/2."""

    def connect(self) -> Http2StagePeer:
        return Http2StagePeer(self)

    def connect_raw(self) -> Peer:
        """A new client that speaks what it likes."""
        return super().connect()

    def raw(self, *pairs: tuple[int, int], greets: bool = True) -> Http2StagePeer:
        """A new client with settings of its own, or one that has said nothing yet."""
        return Http2StagePeer(self, *pairs, greets=greets)
