"""A stream of HTTP/2 as a transport: contexts, credit, ends of either side, and what is given back."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.http2 import Frame, data, frames_in, headers, reset, settings, window_update
from turbosock.connection.http2_session import Http2Session
from turbosock.connection.http2_tunnel import Http2Tunnel
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import Http2Error, WriteError
from turbosock.protocol.http2.error_codes import CANCEL
from turbosock.protocol.http2.frames import DATA, END_STREAM, RST_STREAM, WINDOW_UPDATE
from turbosock.protocol.http2.stream import CONNECT, Stream
from turbosock.reactor.context import COMPLETED, PENDING, IOContext
from turbosock.reactor.sockets import WOULD_BLOCK
from turbosock.transport.transport import SaeaTransport

FRAME = 16_384
ASK = ((b":method", b"CONNECT"), (b":authority", b"here"), (b":scheme", b"http"), (b":path", b"/"))
INITIAL_WINDOW_SIZE = 4


class Eager(Http2Session):
    """Sends at once."""

    def flush_soon(self) -> None:
        self.flush()


class Tunnelled(Stream):
    """Tells its tunnel what the engine tells it."""

    tunnel: Http2Tunnel | None = None

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        assert self.tunnel is not None
        self.tunnel.took(root, start, count)

    def on_news(self) -> None:
        if self.tunnel is not None:
            self.tunnel.news()

    def on_room(self) -> None:
        if self.tunnel is not None:
            self.tunnel.room()


class Ends:
    """A tunnel, and the peer's end of its connection, frame by frame."""

    def __init__(self, window: int = 65_535) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.rings = RingPool(diagnostics=True)
        self.session = Eager(SaeaTransport(ours), self.rings, "http")
        self.session.begin()
        self.stream = Tunnelled()
        self.say(settings((INITIAL_WINDOW_SIZE, window)))
        self.stream.begin(CONNECT)
        engine = self.session.engine
        self.session.lend_output()
        engine.open(self.stream)
        engine.send_headers(self.stream, engine.encoder.encode(ASK), False)
        self.session.flush()
        self.closed = 0
        self.tunnel = self.stream.tunnel = Http2Tunnel(self.session, self.stream, None, self.count)
        self.calls: list[IOContext] = []
        self.tunnel.receive_context.completed = self.calls.append
        self.tunnel.send_context.completed = self.calls.append
        self.say(headers(1))
        self.heard()

    def count(self) -> None:
        self.closed += 1

    def say(self, frames: bytes) -> None:
        while frames:
            sent = self.theirs.send(frames[:60_000])
            frames = frames[sent:]
            self.session.transport.readable = True
            self.session.receive()

    def heard(self) -> list[Frame]:
        found = b""
        while True:
            try:
                more = self.theirs.recv(1 << 20)
            except BlockingIOError:
                break
            if not more:
                break
            found += more
        return frames_in(found)

    def of(self, kind: int, frames: list[Frame]) -> list[Frame]:
        return [frame for frame in frames if frame.kind == kind and frame.stream == 1]

    def receive(self, size: int) -> bytes | None:
        """What a receive of so many bytes got; None: it is pending."""
        memory = bytearray(size)
        context = self.tunnel.receive_context
        if context.state == PENDING:
            context.disarm()
        context.set_buffer(memoryview(memory), 0, size)
        if self.tunnel.receive(context):
            return None
        if context.error is not None:
            raise context.error
        return bytes(memory[: context.bytes_transferred])

    def send(self, payload: bytes) -> int | None:
        context = self.tunnel.send_context
        context.set_buffer(payload, 0, len(payload))
        if self.tunnel.send(context):
            return None
        if context.error is not None:
            raise context.error
        return context.bytes_transferred

    def end(self) -> None:
        self.tunnel.close()
        self.session.fail(None)
        self.theirs.close()
        stats = self.rings.stats()
        assert stats.made == stats.idle
        assert self.closed == 1


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.end()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_bytes_come_in_whatever_pieces_are_asked_for(ends: Ends, size: int) -> None:
    ends.say(data(1, b"one ") + data(1, b"two ") + data(1, b""))
    ends.say(data(1, b"three"))
    found = b""
    while ends.tunnel.readable:
        found += ends.receive(size) or b""
    assert found == b"one two three"
    assert ends.tunnel.bytes_in == len(found)
    assert ends.receive(size) is None


def test_pending_receive_completes_with_what_lies_in_the_ring(ends: Ends) -> None:
    assert ends.receive(3) is None
    ends.say(data(1, b"abcdef"))
    (context,) = ends.calls
    assert (context.state, context.bytes_transferred) == (COMPLETED, 3)
    assert ends.receive(10) == b"def"


def test_armed_context_is_told_of_bytes_and_takes_none(ends: Ends) -> None:
    ends.tunnel.arm()
    ends.say(data(1, b"abc"))
    assert [(context.state, context.bytes_transferred) for context in ends.calls] == [(COMPLETED, 0)]
    assert ends.receive(10) == b"abc"
    ends.tunnel.arm()
    assert ends.tunnel.receive_context.state == PENDING


def test_credit_is_given_for_what_was_received_alone(ends: Ends) -> None:
    window = ends.session.engine.local.initial_window_size
    ends.say(b"".join(data(1, bytes(FRAME)) for _ in range(window // FRAME)))
    assert ends.of(WINDOW_UPDATE, ends.heard()) == []
    received = 0
    while ends.tunnel.readable:
        received += len(ends.receive(50_000) or b"")
    updates = ends.of(WINDOW_UPDATE, ends.heard())
    given = sum(int.from_bytes(frame.payload, "big") for frame in updates)
    assert window // 2 <= given <= received == window // FRAME * FRAME


def test_send_goes_as_far_as_the_window_and_the_rest_waits_for_more() -> None:
    ends = Ends(window=20_000)
    assert ends.send(bytes(50_000)) == 20_000
    assert ends.send(b"more") is None
    assert sum(len(frame.payload) for frame in ends.of(DATA, ends.heard())) == 20_000
    ends.say(window_update(1, 3))
    (context,) = ends.calls
    assert context.bytes_transferred == 3
    assert [frame.payload for frame in ends.of(DATA, ends.heard())] == [b"mor"]
    ends.end()


def test_tunnel_that_is_held_sends_nothing_until_its_head_has_left(ends: Ends) -> None:
    ends.tunnel.held = True
    assert ends.send(b"early") is None
    ends.tunnel.room()
    assert ends.of(DATA, ends.heard()) == []
    ends.tunnel.held = False
    ends.tunnel.room()
    assert [frame.payload for frame in ends.of(DATA, ends.heard())] == [b"early"]
    assert len(ends.calls) == 1


def test_goodbye_ends_our_half_and_what_comes_after_it_can_be_discarded(ends: Ends) -> None:
    assert ends.tunnel.say_goodbye()
    assert ends.tunnel.end_output()
    (frame,) = ends.of(DATA, ends.heard())
    assert (frame.flags, frame.payload) == (END_STREAM, b"")
    with pytest.raises(WriteError):
        ends.send(b"too late")
    assert ends.tunnel.discard(bytearray(10)) == WOULD_BLOCK
    ends.say(data(1, b"unread"))
    assert ends.tunnel.discard(bytearray(10)) == 6
    ends.say(data(1, b"", end=True))
    assert ends.tunnel.discard(bytearray(10)) == 0
    assert ends.tunnel.say_goodbye()


def test_end_of_the_peer_comes_behind_its_bytes(ends: Ends) -> None:
    ends.say(data(1, b"last", end=True))
    assert ends.receive(10) == b"last"
    assert ends.receive(10) == b""
    assert ends.tunnel.end_error() is None


def test_reset_of_the_peer_comes_behind_its_bytes_and_ends_a_send(ends: Ends) -> None:
    ends.say(data(1, b"last"))
    # As much as there is a window for, and one more, which waits.
    while ends.send(bytes(FRAME)) is not None:
        pass
    ends.say(reset(1))
    assert isinstance(ends.tunnel.send_context.error, Http2Error)
    assert ends.receive(10) == b"last"
    with pytest.raises(Http2Error):
        ends.receive(10)


def test_close_resets_the_stream_once_and_gives_everything_back(ends: Ends) -> None:
    ends.say(data(1, b"nobody reads this"))
    ends.tunnel.close()
    ends.tunnel.close()
    (frame,) = ends.of(RST_STREAM, ends.heard())
    assert frame.payload == CANCEL.to_bytes(4, "big")
    assert not ends.session.closed
    ends.say(data(1, b"nor this"))


def test_close_after_both_have_ended_resets_nothing(ends: Ends) -> None:
    ends.say(data(1, b"", end=True))
    assert ends.tunnel.say_goodbye()
    ends.tunnel.close()
    assert ends.of(RST_STREAM, ends.heard()) == []
