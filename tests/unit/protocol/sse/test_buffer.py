from __future__ import annotations

import random
import warnings

import pytest

from support.seeds import seeds
from support.sse import Told, give, read, standard, summary
from turbosock.buffers import BufferPool
from turbosock.errors import InvalidOption, PoolExhausted, StateError
from turbosock.limits import KIB, MAX_SSE_EVENT_BYTES, MIB, SSE_BUFFER_BYTES, SSE_SHRINK_FILLS
from turbosock.protocol.sse.parser import EventParser

EVENT = b"data: x\n\n"


def arrive(parser: EventParser, piece: bytes) -> None:
    """Let `piece` arrive at once."""
    view = parser.writable()
    view[: len(piece)] = piece
    parser.advance(len(piece))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_event_bytes", 0),
        ("max_event_bytes", MAX_SSE_EVENT_BYTES + 1),
        ("max_event_bytes", 1.5),
        ("buffer_bytes", 1023),
        ("buffer_bytes", 8 * MIB),
        ("buffer_bytes", True),
    ],
)
def test_parser_with_a_wrong_option_is_refused_by_its_name(name: str, value: int) -> None:
    with pytest.raises(InvalidOption, match=name):
        EventParser(BufferPool(), **{name: value})


def test_parser_that_has_read_nothing_holds_nothing() -> None:
    pool = BufferPool()
    parser = EventParser(pool)
    assert not parser.next_event()
    parser.shrink()
    assert pool.stats().rented == 0
    assert (parser.buffer_bytes, parser.kept_bytes) == (0, 0)


def test_parser_between_events_shrinks_to_nothing_and_reuses_its_buffer() -> None:
    pool = BufferPool()
    parser = EventParser(pool)
    for turn in range(3):
        assert list(give(parser, EVENT)) == [Told("message", b"x", "", None)]
        assert parser.buffer_bytes == SSE_BUFFER_BYTES
        parser.shrink()
        assert pool.stats().outstanding == 0
        assert (parser.buffer_allocations, parser.buffer_reuses) == (1, turn)


def test_shrink_inside_an_event_keeps_what_came_of_it_and_no_more() -> None:
    pool = BufferPool()
    parser = EventParser(pool)
    assert list(give(parser, b"id: 1\nevent: e\ndata: one\ndata:tw")) == []
    parser.shrink()
    assert pool.stats().outstanding_bytes == KIB
    parser.shrink()
    assert list(give(parser, b"o\ndata")) == []
    parser.shrink()
    assert list(give(parser, b"\n\n")) == [Told("e", b"one\ntwo\n", "1", None)]


def test_shrink_after_an_empty_line_of_data_keeps_that_there_was_one() -> None:
    parser = EventParser(BufferPool())
    assert list(give(parser, b"data\n")) == []
    parser.shrink()
    assert list(give(parser, b"data: b\n\n")) == [Told("message", b"\nb", "", None)]


def test_steps_out_of_order_are_refused() -> None:
    parser = EventParser(BufferPool())
    room = len(parser.writable())
    for count in (-1, room + 1):
        with pytest.raises(StateError):
            parser.advance(count)
    arrive(parser, EVENT * 2)
    assert parser.next_event()
    for step in (parser.writable, parser.shrink, lambda: parser.advance(1)):
        with pytest.raises(StateError):
            step()
    assert parser.next_event()
    assert not parser.next_event()
    parser.writable()
    parser.advance(0)
    assert not parser.next_event()


@pytest.mark.parametrize("size", [70 * KIB, 300 * KIB, 5 * MIB])
def test_buffer_in_a_large_event_is_at_most_twice_what_is_kept_and_shrinks_again(size: int) -> None:
    pool = BufferPool(max_idle_per_bucket=0)
    parser = EventParser(pool)
    parts = [b"data: " + b"y" * (size // 4) + b"\n"] * 4
    body = b"".join(parts) + b"\n"
    told = []
    for start in range(0, len(body), 8 * KIB):
        told += list(give(parser, body[start : start + 8 * KIB]))
        assert pool.stats().outstanding_bytes == parser.buffer_bytes
        if not told:
            assert parser.buffer_bytes <= max(SSE_BUFFER_BYTES, 2 * parser.kept_bytes)
    assert [each.data for each in told] == [b"\n".join([b"y" * (size // 4)] * 4)]
    del told
    for _ in range(SSE_SHRINK_FILLS):
        list(give(parser, EVENT))
    assert pool.stats().outstanding_bytes == SSE_BUFFER_BYTES


def test_buffer_that_large_events_need_now_and_then_stays() -> None:
    parser = EventParser(BufferPool())
    large = b"data: " + b"y" * 100 * KIB + b"\n\n"
    for _ in range(5):
        list(give(parser, large + EVENT * 10))
    assert parser.buffer_allocations == 2


def test_buffer_never_outgrows_the_largest_event() -> None:
    pool = BufferPool()
    parser = EventParser(pool, max_event_bytes=100, buffer_bytes=KIB)
    body = (b"id: " + b"1" * 5000 + b"\ndata: " + b"y" * 100 + b"\n\n") * 20
    assert len(list(give(parser, body))) == 20
    assert parser.buffer_bytes <= 9 * KIB


@pytest.mark.parametrize("diagnostics", [False, True])
def test_retained_event_stays_while_others_come_and_its_memory_goes_back(diagnostics: bool) -> None:
    pool = BufferPool(diagnostics=diagnostics)
    parser = EventParser(pool, buffer_bytes=KIB)
    arrive(parser, b"id: 1\nevent: kept\nretry: 3\ndata: one\ndata: two\n\n" + EVENT + b"data: ha")
    assert parser.next_event()
    with parser.event.retain() as kept:
        assert parser.next_event()
        assert summary(parser) == Told("message", b"x", "1", None)
        assert not parser.next_event()
        body = b"lf\n\n" + (b"data: " + b"z" * 300 + b"\n\n") * 100
        assert [told.data for told in give(parser, body)] == [b"half", *[b"z" * 300] * 100]
        assert (bytes(kept), kept.text, kept.event, kept.id, kept.retry) == (b"one\ntwo", "one\ntwo", "kept", "1", 3)
        parser.close()
        assert pool.stats().outstanding == 1
        assert bytes(kept.data) == b"one\ntwo"
    assert pool.stats().outstanding == 0
    assert bytes(kept) == b""
    kept.release()


def test_retained_event_can_be_retained_and_each_is_released() -> None:
    pool = BufferPool()
    parser = EventParser(pool)
    arrive(parser, EVENT)
    assert parser.next_event()
    first = parser.event.retain()
    second = first.retain()
    parser.close()
    first.release()
    assert bytes(second) == b"x"
    second.release()
    assert pool.stats().outstanding == 0


def test_retain_without_an_event_is_refused() -> None:
    parser = EventParser(BufferPool())
    with pytest.raises(StateError):
        parser.event.retain()
    arrive(parser, EVENT)
    with pytest.raises(StateError):
        parser.event.retain()
    assert parser.next_event()
    kept = parser.event.retain()
    kept.release()
    with pytest.raises(StateError):
        kept.retain()
    parser.close()
    with pytest.raises(StateError):
        parser.event.retain()


def test_pool_that_is_exhausted_loses_no_byte() -> None:
    pool = BufferPool(max_outstanding_bytes=3 * KIB)
    parser = EventParser(pool, buffer_bytes=KIB)
    other = pool.rent(KIB)
    value = b"y" * 1500
    events = []
    body = b"data: " + value + b"\n\n"
    at = 0
    while at < len(body):
        try:
            view = parser.writable()
        except PoolExhausted:
            other.release()
            continue
        count = min(len(view), len(body) - at)
        view[:count] = body[at : at + count]
        parser.advance(count)
        at += count
        while parser.next_event():
            events.append(bytes(parser.event))
    assert events == [value]
    assert other.holders == 0


def test_view_kept_beyond_its_event_is_found_by_diagnostics() -> None:
    parser = EventParser(BufferPool(diagnostics=True))
    arrive(parser, EVENT * 2)
    assert parser.next_event()
    view = parser.event.data
    part = view[:]
    assert parser.next_event()
    with pytest.raises(ValueError, match="released"):
        bytes(view)
    assert bytes(part) == b"\xdb"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parser.close()
    assert any("view" in str(each.message) for each in caught)


def test_data_that_is_lent_is_read_only() -> None:
    parser = EventParser(BufferPool())
    arrive(parser, EVENT)
    assert parser.next_event()
    assert parser.event.data.readonly


def test_parser_that_is_dropped_is_freed_at_once() -> None:
    pool = BufferPool(diagnostics=True)
    parser = EventParser(pool)
    arrive(parser, EVENT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del parser
    assert "never returned" in str(caught[0].message)


@pytest.mark.parametrize("seed", seeds(60))
def test_random_shrinks_and_retains_change_nothing_of_what_is_told(seed: int) -> None:
    chooser = random.Random(seed)
    blocks = [
        b"data: " + b"a" * chooser.randrange(3000) + b"\n\n",
        b"id: 5\nevent: e\ndata: b\n\n",
        b"data: c\ndata\n: d\r\ndata: e\n\n",
        b"data: f\r\n\r\n",
    ]
    body = b"".join(chooser.choices(blocks, k=40))
    pool = BufferPool(diagnostics=chooser.random() < 0.3)
    parser = EventParser(pool, buffer_bytes=KIB)
    told, kept = [], []
    at = 0
    while at < len(body):
        view = parser.writable()
        count = min(len(view), chooser.choice((1, 10, 600)), len(body) - at)
        view[:count] = body[at : at + count]
        del view
        at += count
        parser.advance(count)
        while parser.next_event():
            told.append(summary(parser))
            if chooser.random() < 0.2:
                kept.append((parser.event.retain(), told[-1]))
        if chooser.random() < 0.3:
            parser.shrink()
        if kept and chooser.random() < 0.3:
            event, expected = kept.pop(chooser.randrange(len(kept)))
            assert (event.event, bytes(event), event.id, event.retry) == expected
            event.release()
    assert told == standard(body).events
    for event, expected in kept:
        assert bytes(event) == expected.data
        event.release()
    del event, kept
    parser.close()
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


def test_pool_without_reuse_gives_the_same_events() -> None:
    body = (b"data: " + b"y" * 3000 + b"\n\n" + EVENT * 5) * 10
    assert read(EventParser(BufferPool(pooling=False), buffer_bytes=KIB), [body]) == standard(body)
