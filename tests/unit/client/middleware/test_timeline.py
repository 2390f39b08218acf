"""Timeline and its recorder: moments, durations, resets, and records within records."""

from __future__ import annotations

from typing import Any

import pytest

from support.middleware import FakeExchange
from turbosock import Timeline, TimelineRecorder
from turbosock.errors import ConnectError, InvalidOption, Phase
from turbosock.reactor.clock import NS_PER_S


class Sink:
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[Timeline] = []
        self.recorder = TimelineRecorder(self.records.append)


def slots_of(timeline: Timeline) -> dict[str, Any]:
    return {name: getattr(timeline, name) for name in Timeline.__slots__}


def test_reset_forgets_every_slot() -> None:
    used = Timeline()
    for name in Timeline.__slots__:
        setattr(used, name, object())
    used.reset()
    assert slots_of(used) == slots_of(Timeline())


def test_phases_become_moments() -> None:
    sink, exchange = Sink(), FakeExchange()
    sink.recorder.enter(exchange, 0)
    exchange.begin_attempt()
    phases = (Phase.QUEUE, Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.SEND, Phase.HEAD, Phase.BODY)
    for phase in phases:
        exchange.clock.advance(1)
        exchange.phase = phase
    exchange.clock.advance(1)
    sink.recorder.leave(exchange)
    (record,) = sink.records
    names = ("queued_ns", "resolve_ns", "connect_ns", "tls_ns", "send_ns", "sent_ns", "head_ns", "done_ns")
    assert [getattr(record, name) for name in names] == [(2 + n) * NS_PER_S for n in range(8)]
    assert record.first_byte_ns == record.head_ns and record.started_ns == NS_PER_S
    parts = ("pool", "dns", "connect", "tls", "send", "wait", "body")
    assert record.durations_s() == dict.fromkeys(parts, 1.0) | {"head": 0.0, "total": 8.0}
    assert not record.reused


def test_first_byte_is_noted_once() -> None:
    sink, exchange = Sink(), FakeExchange()
    exchange.note_first_byte()
    sink.recorder.enter(exchange, 0)
    for _ in range(3):
        exchange.clock.advance(1)
        exchange.note_first_byte()
    sink.recorder.leave(exchange)
    assert sink.records[0].first_byte_ns == 2 * NS_PER_S


def test_kept_connection_is_told_by_what_did_not_happen() -> None:
    sink, exchange = Sink(), FakeExchange()
    sink.recorder.enter(exchange, 0)
    exchange.phase = Phase.SEND
    sink.recorder.leave(exchange)
    assert sink.records[0].reused and not Timeline().reused
    assert "connect" not in sink.records[0].durations_s()


def test_attempt_forgets_the_moments_of_the_last_and_keeps_the_wait() -> None:
    sink, exchange = Sink(), FakeExchange()
    sink.recorder.enter(exchange, 0)
    exchange.note_held(5)
    exchange.begin_attempt()
    exchange.phase = Phase.CONNECT
    exchange.phase = Phase.SEND
    exchange.note_held(6)
    exchange.begin_attempt()
    sink.recorder.leave(exchange)
    (record,) = sink.records
    assert (record.connect_ns, record.send_ns, record.attempts, record.held_ns) == (0, 0, 2, 11)


def test_recorders_within_each_other_each_have_a_record() -> None:
    outer, inner, exchange = Sink(), Sink(), FakeExchange()
    outer.recorder.enter(exchange, 0)
    exchange.note_held(1)
    inner.recorder.enter(exchange, 0)
    exchange.note_held(2)
    exchange.begin_attempt()
    exchange.phase = Phase.SEND
    inner.recorder.leave(exchange)
    exchange.begin_attempt()
    outer.recorder.leave(exchange)
    assert exchange.timeline is None
    assert (outer.records[0].held_ns, inner.records[0].held_ns) == (3, 2)
    assert (outer.records[0].attempts, inner.records[0].attempts) == (2, 1)
    assert inner.records[0].send_ns and not outer.records[0].send_ns


def test_recorder_that_was_not_entered_ends_nobody_elses_record() -> None:
    outer, inner, exchange = Sink(), Sink(), FakeExchange()
    outer.recorder.enter(exchange, 0)
    inner.recorder.leave(exchange)
    assert not inner.records and exchange.timeline is not None
    outer.recorder.leave(exchange)
    outer.recorder.leave(exchange)
    assert len(outer.records) == 1


def test_record_is_used_again_once_nobody_holds_it() -> None:
    seen: list[int] = []
    recorder = TimelineRecorder(lambda timeline: seen.append(id(timeline)))
    exchange = FakeExchange()
    for _ in range(3):
        recorder.enter(exchange, 0)
        recorder.leave(exchange)
    assert len(set(seen)) == 1 and recorder._timelines.stats().made == 1


def test_record_does_not_hold_its_exchange() -> None:
    sink, exchange = Sink(), FakeExchange()
    sink.recorder.enter(exchange, 0)
    timeline = exchange.timeline
    assert timeline is not None and exchange not in slots_of(timeline).values()


def test_record_says_what_failed_without_credentials() -> None:
    sink, exchange = Sink(), FakeExchange("http://user:hunter2@example.com/path?key=hunter3")
    sink.recorder.enter(exchange, 0)
    exchange.error = ConnectError("refused")
    sink.recorder.leave(exchange)
    assert repr(sink.records[0]).startswith("<Timeline GET http://example.com/path connect total=0.00ms")
    assert "hunter" not in str(slots_of(sink.records[0]))


def test_record_comes_back_where_its_sink_is_interrupted() -> None:
    def interrupted(timeline: Timeline) -> None:
        raise KeyboardInterrupt

    recorder, exchange = TimelineRecorder(interrupted), FakeExchange()
    recorder.enter(exchange, 0)
    with pytest.raises(KeyboardInterrupt):
        recorder.leave(exchange)
    assert recorder._timelines.stats().returned == 1 and exchange.timeline is None


@pytest.mark.parametrize("sink", [None, 5, "sink"])
def test_sink_that_cannot_be_called_is_refused(sink: Any) -> None:
    with pytest.raises(InvalidOption, match="sink"):
        TimelineRecorder(sink)
