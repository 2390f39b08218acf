"""A Loop's streams of HTTP/2: bodies whose frames come many at once, wherever the body goes."""

from __future__ import annotations

import pytest

from support.http2 import SETTINGS_ACK, data, frames_in, headers, settings
from turbosock import Config, EventKind, Exchange, Loop
from turbosock.protocol.http2.frames import HEADERS, SETTINGS
from turbosock.testing.memory import MemoryConnector
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket

URL = "http://h/"


def body_of(size: int) -> bytes:
    """Bytes of which no two stretches are alike."""
    return b"".join([b"%07d " % number for number in range(size // 8 + 1)])[:size]


class FramesPeer(MemoryPeer):
    """Answers each request with a body in frames of one length and a last one, all of them in one delivery."""

    def __init__(self, body: bytes, frame_bytes: int, *, announced: bool) -> None:
        self._frames = [body[at : at + frame_bytes] for at in range(0, len(body), frame_bytes)]
        fields = ((b":status", b"200"), (b"content-length", b"%d" % len(body)))
        self._fields = fields if announced else fields[:1]

    def on_bytes(self, sock: MemorySocket, data_sent: bytes) -> None:
        for frame in frames_in(data_sent):
            if frame.kind == SETTINGS and not frame.flags:
                sock.deliver(settings() + SETTINGS_ACK)
            elif frame.kind == HEADERS:
                last = len(self._frames) - 1
                sock.deliver(
                    headers(frame.stream, self._fields)
                    + b"".join([data(frame.stream, piece, at == last) for at, piece in enumerate(self._frames)])
                )


def loop_to(peer: MemoryPeer) -> Loop:
    return Loop(Config(http_versions=("HTTP/2",), diagnostics=True), connector=MemoryConnector(peer))


def turn_until_done(loop: Loop, exchange: Exchange) -> bytes:
    """What the DATA events brought until the exchange was done."""
    told = b""
    for _ in range(10_000):
        loop.poll()
        for event in loop.events:
            if event.kind is EventKind.DATA:
                assert event.data is not None
                told += bytes(event.data)
        if exchange.done:
            assert exchange.error is None
            return told
    raise AssertionError("the exchange does not end")


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("sink", ["into", "content", "events"])
@pytest.mark.parametrize(("size", "frame_bytes"), [(60_000, 1_000), (60_500, 1_000), (200_000, 8_192), (300, 1)])
def test_body_in_frames_that_came_together_is_whole_wherever_it_goes(
    size: int, frame_bytes: int, sink: str, announced: bool
) -> None:
    body = body_of(size)
    with loop_to(FramesPeer(body, frame_bytes, announced=announced)) as loop:
        for _ in range(2):
            into = bytearray(size) if sink == "into" else None
            exchange = loop.request("GET", URL, into=into, stream=sink == "events")
            told = turn_until_done(loop, exchange)
            assert exchange.nbytes == size
            assert body == (exchange.content if sink == "content" else told if into is None else into)


def test_frames_that_find_no_room_for_events_wait_for_it() -> None:
    body = body_of(250_000)
    with loop_to(FramesPeer(body, 4_096, announced=False)) as loop:
        loop.events.max_queued = 1
        exchange = loop.request("GET", URL, stream=True)
        assert turn_until_done(loop, exchange) == body
        assert loop.events.full_count > 0


def test_frames_behind_a_cancelled_exchange_are_forgotten() -> None:
    body = body_of(100_000)
    with loop_to(FramesPeer(body, 1_000, announced=True)) as loop:
        loop.events.max_queued = 1
        exchange = loop.request("GET", URL, stream=True)
        while not len(loop.events):
            loop.poll()
        exchange.cancel()
        loop.events.max_queued = 100
        loop.poll()
        assert exchange.done
        again = loop.request("GET", URL)
        for _ in loop.events:
            pass
        turn_until_done(loop, again)
        assert again.content == body
