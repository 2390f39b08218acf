"""Event streams in a Loop: how they are taken, what holds them back, and how they end."""

from __future__ import annotations

import os
from typing import Any

import pytest

from support.event_peer import HEAD, RESET, STAY, EventPeer, Part, status, stream
from turbosock import (
    Cancelled,
    ClientClosed,
    Config,
    EventKind,
    InvalidOption,
    LimitError,
    Loop,
    Middleware,
    ReadTimeout,
    ServerSentEvent,
    StreamState,
    Timeouts,
    limits,
)
from turbosock.client.loop_event_stream import LoopEventStream
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.testing.memory import MemoryConnector


class Stage:
    """A loop on a clock that stands still, and its peer in memory."""

    def __init__(self, *parts: Part, config: Config | None = None, middleware: tuple[Middleware, ...] = ()) -> None:
        self.peer = EventPeer(*parts)
        self.clock = ManualClock(NS_PER_S)
        self.loop = Loop(config, connector=MemoryConnector(self.peer), clock=self.clock, middleware=middleware)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.loop.close()

    def events(self, **options: Any) -> LoopEventStream:
        return self.loop.events_from("http://peer/", **options)

    def turn(self, seconds: float = 0.0) -> list[tuple[EventKind, bytes | None]]:
        """One turn, after so much time; what it tells."""
        if seconds:
            self.clock.advance(ns=int(seconds * NS_PER_S))
        self.loop.poll()
        return self.take()

    def take(self) -> list[tuple[EventKind, bytes | None]]:
        return [(event.kind, None if event.data is None else bytes(event.data)) for event in self.loop.events]


OPEN = (EventKind.OPEN, None)
CLOSED = (EventKind.CLOSED, None)


def message(data: bytes) -> tuple[EventKind, bytes]:
    return (EventKind.MESSAGE, data)


def test_events_of_one_receive_come_in_one_turn() -> None:
    with Stage(stream(b"a", b"b", b"c", then=STAY)) as stage:
        stage.events()
        assert stage.turn() == [OPEN, message(b"a"), message(b"b"), message(b"c")]
        assert stage.turn() == []


def test_stream_is_the_connection_of_its_events_and_remembers_its_user() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events(user="mine")
        stage.loop.poll()
        told = list(stage.loop.events)
        assert [event.connection for event in told] == [events, events]
        assert [event.exchange for event in told] == [None, None]
        assert events.user == "mine"


def test_events_that_were_left_wait_for_the_next_time() -> None:
    with Stage(stream(b"a", b"b", b"c", then=STAY)) as stage:
        stage.events()
        result = stage.loop.poll()
        assert result.delivered == 2
        for event in stage.loop.events:
            if event.kind is EventKind.MESSAGE:
                break
        assert len(stage.loop.events) == 1
        assert stage.loop.next_deadline() == 0
        stage.loop.poll()
        assert stage.take() == [message(b"b"), message(b"c")]
        assert len(stage.loop.events) == 0


def test_stream_whose_events_are_not_taken_is_not_read() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events()
        stage.loop.poll()
        sock = stage.peer.sockets[0]
        for _ in range(50):
            sock.deliver(b"data: more\n\n")
            stage.loop.poll()
        assert events.stats().bytes_in == len(b"data: a\n\n")
        assert stage.take() == [OPEN, message(b"a")]
        told = []
        for _ in range(60):
            told += stage.turn()
        assert told == [message(b"more")] * 50


def test_burst_ten_times_as_large_is_taken_in_order_and_forgotten() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events()
        stage.turn()
        sock = stage.peer.sockets[0]
        before = stage.loop.buffers.stats().outstanding_bytes
        expected, told = [], []
        for turn in range(200):
            for i in range(100 if 50 <= turn < 60 else 10):
                data = b"%d/%d " % (turn, i) + b"x" * 80
                expected.append(message(data))
                sock.deliver(b"data: " + data + b"\n\n")
            told += stage.turn()
        for _ in range(50):
            told += stage.turn()
        assert told == expected
        # A receive that finds nothing gives the buffer back.
        assert stage.loop.buffers.stats().outstanding_bytes == before == 0
        assert events.stats().buffer_bytes == 0


def test_buffer_grows_with_full_receives_and_shrinks_after_them() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events()
        stage.turn()
        sock = stage.peer.sockets[0]
        sock.deliver(b"data: x\n\n" * 40_000)
        sizes = set()
        while stage.turn():
            sizes.add(events.parser._floor)
        assert max(sizes) == limits.SSE_BUFFER_BYTES
        for _ in range(10):
            sock.deliver(b"data: x\n\n")
            stage.turn()
        assert events.parser._floor == limits.SSE_LOOP_BUFFER_BYTES


def test_end_behind_events_is_told_after_them() -> None:
    with Stage(Part(HEAD + b"data: a\n\ndata: b\n\n", RESET), status("204 No")) as stage:
        events = stage.events()
        stage.loop.poll()
        # Nothing of the end is known to the user before it has the events.
        assert events.state is StreamState.OPEN
        told = stage.take()
        for _ in range(5):
            told += stage.turn(0.1)
        assert told == [OPEN, message(b"a"), message(b"b"), CLOSED]


def test_whole_answer_longer_than_a_buffer_is_told_whole() -> None:
    body = b"".join(b"data: %d\n\n" % i for i in range(2000))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Stage(Part(head + body, STAY), status("204 No")) as stage:
        stage.events()
        told = []
        for _ in range(100):
            told += stage.turn(0.1)
        assert told == [OPEN, *(message(b"%d" % i) for i in range(2000)), CLOSED]


def test_event_is_poison_after_the_next_with_diagnostics() -> None:
    with Stage(stream(b"a", b"b", then=STAY), config=Config(diagnostics=True)) as stage:
        stage.events()
        stage.loop.poll()
        views = [event.data for event in stage.loop.events if event.kind is EventKind.MESSAGE]
        assert views[0] is not None
        with pytest.raises(ValueError, match="released"):
            bytes(views[0])


def test_stream_without_memory_starves_until_there_is_some() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        pool = stage.loop.buffers
        held = []
        while True:
            try:
                held.append(pool.rent(limits.MAX_BUCKET_BYTES))
            except LimitError:
                break
        stage.events()
        assert stage.turn() == [OPEN]
        assert stage.loop.stats().exhausted > 0
        for lease in held:
            lease.release()
        assert stage.turn() == [message(b"a")]


def test_event_above_its_limit_behind_others_closes_the_stream_in_its_place() -> None:
    large = HEAD + b"data: a\n\ndata: " + b"x" * 2000 + b"\n\ndata: c\n\n"
    with Stage(Part(large, STAY)) as stage:
        events = stage.events(max_event_bytes=1000)
        assert stage.turn() == [OPEN, message(b"a"), CLOSED]
        assert events.error is not None and events.error.code == "event_too_large"
        assert stage.loop.stats().open == 0


# Ends


def test_closed_stream_drops_what_waits_and_tells_so() -> None:
    with Stage(stream(b"a", b"b", then=STAY)) as stage:
        events = stage.events()
        stage.loop.poll()
        events.close()
        events.close()
        assert stage.take() == [OPEN, CLOSED]
        assert stage.turn() == []
        assert stage.loop.stats().event_streams == 0
        assert stage.loop.stats().open == 0
        assert stage.loop.buffers.stats().outstanding == 0


def test_stream_can_be_closed_while_its_events_are_taken() -> None:
    with Stage(stream(b"a", b"b", then=STAY)) as stage:
        events = stage.events()
        stage.loop.poll()
        told = []
        for event in stage.loop.events:
            told.append(event.kind)
            if event.kind is EventKind.MESSAGE:
                events.close()
        assert told == [EventKind.OPEN, EventKind.MESSAGE, EventKind.CLOSED]


def test_stream_that_waits_can_be_closed() -> None:
    with Stage(Part(b"", RESET)) as stage:
        events = stage.events()
        stage.turn()
        assert events.state is StreamState.WAITING
        events.close()
        assert stage.turn(1000) == [CLOSED]
        assert len(stage.peer.requests) == 1


@pytest.mark.parametrize("part", [stream(b"a", then=STAY), Part(b"", RESET), Part(b"", STAY)])
def test_cancelled_stream_ends_in_the_next_turn(part: Part) -> None:
    with Stage(part) as stage:
        events = stage.events()
        stage.turn()
        events.cancel()
        assert not events.closed
        stage.loop.poll()
        (closed,) = list(stage.loop.events)
        assert closed.kind is EventKind.CLOSED
        assert isinstance(closed.error, Cancelled)
        assert isinstance(events.error, Cancelled)
        events.cancel()
        assert stage.turn() == []


@pytest.mark.parametrize("part", [stream(b"a", then=STAY), Part(b"", RESET), Part(b"", STAY)])
def test_closed_loop_ends_its_streams(part: Part) -> None:
    with Stage(part) as stage:
        events = stage.events()
        stage.loop.poll()
        stage.loop.close()
        assert events.closed
        assert isinstance(events.error, ClientClosed)
        assert stage.loop.stats().event_streams == 0
        with pytest.raises(ClientClosed):
            stage.events()


def test_child_of_a_fork_has_closed_streams_and_the_parent_goes_on() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events()
        stage.turn()
        child = os.fork()
        if not child:
            os._exit(0 if events.closed and isinstance(events.error, ClientClosed) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stage.peer.sockets[0].deliver(b"data: b\n\n")
        assert stage.turn() == [message(b"b")]


def test_silence_ends_a_connection_and_comments_do_not() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events(heartbeat_s=10)
        stage.turn()
        for _ in range(5):
            stage.peer.sockets[0].deliver(b":\n\n")
            assert stage.turn(8) == []
        assert events.attempts == 1
        assert stage.turn(11) == []
        assert isinstance(events.error, ReadTimeout)
        # At once, because it told events before.
        assert events.attempts == 2


@pytest.mark.parametrize("end", ["leave", "reset", "silence"])
@pytest.mark.parametrize("rounds", [3, 5])
def test_quiet_stream_that_was_open_for_long_is_connected_to_again_at_once(end: str, rounds: int) -> None:
    with Stage(stream(then=STAY)) as stage:
        events = stage.events(heartbeat_s=10)
        stage.turn()
        sock = stage.peer.sockets[0]
        for _ in range(rounds):
            sock.deliver(b":\n\n")
            assert stage.turn(8) == []
        if end == "silence":
            stage.turn(11)
        else:
            getattr(sock, end)()
            stage.turn()
        # Three times eight seconds are less than the longest pause.
        failed = rounds == 3 or end == "silence"
        assert (events.state is StreamState.WAITING) == failed


def test_silence_counts_from_when_the_events_were_taken() -> None:
    with Stage(stream(b"a", then=STAY)) as stage:
        events = stage.events(heartbeat_s=10)
        stage.loop.poll()
        for _ in range(4):
            stage.clock.advance(ns=8 * NS_PER_S)
            stage.loop.poll()
        assert stage.take() == [OPEN, message(b"a")]
        stage.turn(8)
        assert events.state is StreamState.OPEN


def test_head_that_does_not_come_is_bounded_by_the_read_limit_and_not_by_the_heartbeat() -> None:
    with Stage(Part(b"", STAY)) as stage:
        events = stage.events(heartbeat_s=100, timeout=Timeouts(read_s=5, total_s=None))
        stage.turn()
        states = [events.state]
        for _ in range(2):
            stage.turn(3)
            states.append(events.state)
        assert states == [StreamState.CONNECTING, StreamState.CONNECTING, StreamState.WAITING]


def test_url_that_cannot_work_is_refused_at_once() -> None:
    with Stage(stream(b"a")) as stage:
        with pytest.raises(InvalidOption):
            stage.loop.events_from("no url")
        assert stage.loop.stats().event_streams == 0
        assert stage.turn() == []


# Among others


def test_other_streams_do_not_notice_one_that_fails() -> None:
    good = stream(b"a", then=STAY)
    with Stage(good, Part(HEAD + b"data: " + b"x" * 5000, STAY), Part(b"\0\0\r\n\r\n"), good) as stage:
        streams = [stage.events(max_event_bytes=1000) for _ in range(4)]
        stage.turn()
        for sock in (stage.peer.sockets[0], stage.peer.sockets[3]):
            sock.deliver(b"data: b\n\n")
        told = stage.turn()
        assert told.count(message(b"b")) == 2
        assert [each.closed for each in streams] == [False, True, False, False]


def test_many_streams_come_and_go_and_leave_nothing() -> None:
    with Stage(stream(b"a", b"b", then=STAY), config=Config(zero_alloc=True)) as stage:
        told = 0
        for _ in range(1000):
            streams = [stage.events() for _ in range(10)]
            for _, data in stage.turn():
                told += data is not None
            for each in streams:
                each.close()
            stage.take()
        assert told == 20_000
        stats = stage.loop.stats()
        assert (stats.event_streams, stats.exchanges, stats.open, stats.buffers.outstanding) == (0, 0, 0, 0)
        assert stats.buffers.missed < 20


class _Noting(Middleware):
    def __init__(self) -> None:
        self.noted: list[str] = []

    def enter(self, exchange: Any, now_ns: int) -> int:
        self.noted.append("enter")
        return super().enter(exchange, now_ns)

    def answered(self, exchange: Any) -> None:
        self.noted.append(f"answered {exchange.status_code}")

    def leave(self, exchange: Any) -> None:
        self.noted.append("leave")


def test_middleware_is_around_each_connection() -> None:
    link = _Noting()
    with Stage(stream(b"a"), status("204 No"), middleware=(link,)) as stage:
        stage.events()
        told = []
        for _ in range(4):
            told += stage.turn(0.1)
        assert told == [OPEN, message(b"a"), CLOSED]
        assert link.noted == ["enter", "answered 200", "leave", "enter", "answered 204", "leave"]


def test_message_is_an_event_of_both_kinds() -> None:
    with Stage(Part(HEAD + b"event: tick\nid: 4\ndata: 1\ndata: 2\n\n", STAY)) as stage:
        stage.events()
        stage.loop.poll()
        for event in stage.loop.events:
            if isinstance(event, ServerSentEvent):
                assert (event.event, event.id, event.text, event.retry) == ("tick", "4", "1\n2", None)
                assert event.received_ns == stage.clock.now_ns()
                kept = event.retain()
        assert kept.text == "1\n2"
        kept.release()
