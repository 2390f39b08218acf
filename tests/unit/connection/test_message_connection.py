"""MessageConnection, over a real socket and in steps that the test takes: events, quotas, order, ends, sends."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.loop_peer import MODE_NAMES, MODES
from support.message_stage import MessageStage, RawClient
from turbosock import EventKind, MessageConnection, Send, limits
from turbosock.connection import receiving_half
from turbosock.errors import (
    ClientClosed,
    ConnectionClosed,
    InvalidOption,
    LeaseError,
    LimitError,
    NetworkError,
    ReadTimeout,
    StateError,
    WriteTimeout,
)
from turbosock.poll_result import Stop
from turbosock.protocol.framing import framing
from turbosock.protocol.framing.delimiter import Delimited
from turbosock.protocol.framing.length import LengthPrefixed
from turbosock.protocol.websocket import outcomes

TWO = LengthPrefixed(2)
FOUR = LengthPrefixed(4)
OPEN, MESSAGE, WRITABLE, CLOSED = EventKind.OPEN, EventKind.MESSAGE, EventKind.WRITABLE, EventKind.CLOSED


def framed(*messages: bytes, size: int = 2) -> bytes:
    return b"".join(len(message).to_bytes(size, "big") + message for message in messages)


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MessageStage]:
    poller, zero_alloc = request.param
    with MessageStage(tmp_path / "s", poller=poller, zero_alloc=zero_alloc, framing=TWO) as stage:
        yield stage


def make(tmp_path: Path, **options: Any) -> MessageStage:
    options.setdefault("framing", TWO)
    return MessageStage(tmp_path / "s", **options)


def test_readers_of_every_kind_mean_the_same_by_their_codes() -> None:
    for name in ("NEED_BYTES", "MESSAGE", "NEED_MEMORY", "FAILED"):
        assert getattr(framing, name) == getattr(outcomes, name)
    assert receiving_half.AGAIN == outcomes.AGAIN


# Events


def test_events_are_open_then_messages_then_one_closed(stage: MessageStage) -> None:
    client = RawClient(stage.listener.address)
    stage.clients.append(client)
    client.send(framed(b"one", b"", b"three"))
    client.socket.shutdown(socket.SHUT_WR)
    seen = stage.turn(4)
    assert [event.kind for event in seen] == [OPEN, MESSAGE, MESSAGE, MESSAGE, CLOSED]
    assert [event.data for event in seen[1:4]] == [b"one", b"", b"three"]
    assert len({event.connection for event in seen}) == 1
    assert seen[-1].error is None and seen[0].connection.error is None
    assert stage.turn(3) == []


def test_message_in_pieces_arrives_whole(stage: MessageStage) -> None:
    client, _ = stage.client()
    data = framed(b"hello", b"x" * 3000)
    for at in range(0, len(data), 7):
        client.send(data[at : at + 7])
        stage.turn()
    assert [event.data for event in stage.seen if event.kind is MESSAGE] == [b"hello", b"x" * 3000]


def test_message_is_intact_until_the_next_poll_though_more_came(stage: MessageStage) -> None:
    client, _ = stage.client()
    client.send(framed(b"first") + b"\0\5se")
    stage.loop.poll()
    client.send(b"con")
    event = next(stage.loop.events)
    assert bytes(event.data) == b"first"
    data = event.data
    del event
    stage.loop.poll()
    with pytest.raises(ValueError, match="released"):
        len(data)
    assert [each.data for each in stage.take()] == [b"secon"]


def test_messages_left_in_the_queue_stay_intact_over_many_turns(stage: MessageStage) -> None:
    client, _ = stage.client()
    expected = [b"%d" % number * 20 for number in range(40)]
    for message in expected:
        client.send(framed(message))
        stage.loop.poll()
    assert [event.data for event in stage.take()] == expected


def test_messages_longer_than_any_ring_arrive(tmp_path: Path) -> None:
    with MessageStage(tmp_path / "t", framing=FOUR) as stage:
        client, _ = stage.client()
        message = bytes(range(256)) * 2500
        data = framed(message, b"after", message, size=4)
        while data:
            data = data[client.fill(data) :]
            stage.turn()
        stage.turn(3)
        assert [event.data for event in stage.seen if event.kind is MESSAGE] == [message, b"after", message]


# Memory


def test_idle_connection_holds_no_ring(stage: MessageStage) -> None:
    client, connection = stage.client()
    assert stage.loop.stats().messages.lent_bytes == 0
    client.send(framed(b"hello"))
    stage.loop.poll()
    assert stage.loop.stats().messages.lent_bytes == limits.MESSAGE_RING_BYTES
    stage.turn()
    stage.loop.poll()
    assert stage.loop.stats().messages.lent_bytes == 0
    assert connection.ring_bytes == 0 and connection.untaken == 0


def test_retained_message_outlives_its_event_and_its_connection(stage: MessageStage) -> None:
    client, connection = stage.client()
    client.send(framed(b"keep", b"not"))
    stage.loop.poll()
    kept = next(stage.loop.events).retain()  # type: ignore[attr-defined]  # a ConnectionEvent
    stage.turn()
    for _ in range(5):
        client.send(framed(b"other"))
        stage.turn(2)
    connection.abort()
    stage.turn()
    assert bytes(kept.data) == b"keep"
    assert stage.loop.stats().messages.lent_bytes == limits.MESSAGE_RING_BYTES
    kept.release()
    assert stage.loop.stats().messages.lent_bytes == 0
    with pytest.raises(LeaseError, match="release it once"):
        kept.release()


def test_retain_of_an_event_without_data_or_over_raises(stage: MessageStage) -> None:
    client = RawClient(stage.listener.address)
    stage.clients.append(client)
    stage.loop.poll()
    event = next(stage.loop.events)
    with pytest.raises(StateError, match="without data"):
        event.retain()  # type: ignore[attr-defined]  # a ConnectionEvent
    stage.loop.poll()
    with pytest.raises(StateError, match="without data"):
        event.retain()  # type: ignore[attr-defined]  # as above


def test_event_that_is_held_is_not_used_for_another(stage: MessageStage) -> None:
    client, _ = stage.client()
    client.send(framed(b"held"))
    stage.loop.poll()
    held = next(stage.loop.events)
    for number in range(3):
        client.send(framed(b"%d" % number))
        stage.turn(2)
    assert held.data is None and held.connection is None


def test_event_of_diagnostics_says_that_it_is_over(tmp_path: Path) -> None:
    with make(tmp_path, diagnostics=True) as stage:
        client, _ = stage.client()
        client.send(framed(b"hello"))
        stage.loop.poll()
        event = next(stage.loop.events)
        view = event.data
        stage.loop.poll()
        with pytest.raises(LeaseError, match="retain"):
            event.data  # noqa: B018  # the look is the test
        with pytest.raises(ValueError, match="released"):
            view[0]
        assert "over" in repr(event)


def test_quota_of_memory_leaves_a_connection_unread_until_messages_are_taken(tmp_path: Path) -> None:
    with make(tmp_path, max_message=1000, quota=4096) as stage:
        client, connection = stage.client()
        quota = 2 * limits.RECEIVE_RING_BYTES
        sent = 0
        for _ in range(400):
            sent += client.fill(framed(b"x" * 900) * 20)
            stage.loop.poll()
        assert connection.held and connection.ring_bytes <= quota + limits.RECEIVE_RING_BYTES
        stats = stage.loop.stats().messages
        assert stats.held == 1 and stats.quota_hits >= 1
        assert client.fill(framed(b"x") * 100_000) == 0
        total = 0
        while messages := stage.messages(4):
            total += len(messages)
        assert total == sent // 902 and not connection.held


def test_retained_messages_count_against_the_quota(tmp_path: Path) -> None:
    with make(tmp_path, max_message=1000, quota=4096) as stage:
        client, connection = stage.client()
        kept = []
        for _ in range(60):
            client.fill(framed(b"x" * 900))
            stage.loop.poll()
            kept += [event.retain() for event in stage.loop.events]  # type: ignore[attr-defined]  # ConnectionEvents
        assert connection.held and len(kept) == 2 * limits.RECEIVE_RING_BYTES // limits.MESSAGE_RING_BYTES
        for each in kept:
            each.release()
        assert len(stage.messages(80)) == 60 - len(kept)


def test_count_of_messages_that_nobody_takes_is_bounded(tmp_path: Path) -> None:
    with make(tmp_path, framing=LengthPrefixed(1)) as stage:
        client, connection = stage.client()
        client.fill(b"\0" * 10_000)
        for _ in range(100):
            stage.loop.poll()
        assert connection.held
        assert (
            limits.MAX_QUEUED_MESSAGES
            <= len(stage.loop.events)
            <= (limits.MAX_QUEUED_MESSAGES + limits.MESSAGES_PER_STEP)
        )
        assert len(stage.messages(400)) == 10_000


def test_full_pool_stops_reading_and_goes_on_when_memory_is_back(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        pairs = [stage.client() for _ in range(4)]
        stage.loop.messages.rings._max_lent_bytes = 2 * limits.MESSAGE_RING_BYTES
        for client, _ in pairs:
            client.send(framed(b"hello"))
        result = stage.loop.poll()
        assert result.stop is Stop.POOL and len(stage.loop.events) == 2
        assert stage.loop.poll().stop is Stop.POOL
        stats = stage.loop.stats().messages
        assert stats.starving == 2 and stats.pool_hits >= 2
        assert stage.loop.next_deadline() == 0.0
        assert [event.data for event in stage.turn()] == [b"hello"] * 2
        assert stage.messages() == [b"hello"] * 2
        assert stage.loop.stats().messages.starving == 0


def test_starving_for_the_rest_of_a_message_goes_on_with_it(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        client, connection = stage.client()
        rings = stage.loop.messages.rings
        rings._max_lent_bytes = limits.RECEIVE_RING_BYTES + 2 * limits.MESSAGE_RING_BYTES
        message = b"m" * 20_000
        client.send(framed(message)[:4000])
        stage.loop.poll()
        held = rings.rent(limits.RECEIVE_RING_BYTES, connection, None)
        assert held is not None
        client.send(framed(message)[4000:])
        assert stage.messages() == []
        assert stage.loop.stats().messages.starving == 1
        held.let_go()
        assert stage.messages() == [message]


def test_connection_that_closes_while_it_starves_is_forgotten(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        client, connection = stage.client()
        stage.loop.messages.rings._max_lent_bytes = 1
        client.send(framed(b"hello"))
        stage.loop.poll()
        connection.abort()
        assert [event.kind for event in stage.turn(3)] == [CLOSED]
        assert stage.loop.stats().messages.starving == 0


# Fairness


def test_flood_of_one_does_not_hold_up_another(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        flooder, _ = stage.client()
        player, quiet = stage.client()
        flooder.fill(framed(b"x") * 20_000)
        player.send(framed(b"me too"))
        seen = stage.turn()
        assert [event.data for event in seen if event.connection is quiet] == [b"me too"]
        assert len(seen) <= 1 + limits.MESSAGES_PER_STEP


def test_budget_of_time_is_overrun_by_one_step_at_most(tmp_path: Path) -> None:
    from support.loop_peer import SteppingClock

    clock = SteppingClock()
    with make(tmp_path, stepping=clock) as stage:
        pairs = [stage.client() for _ in range(5)]
        for client, _ in pairs:
            client.send(framed(b"hello"))
        # Each look at the clock is a millisecond.
        clock.step_ns = 1_000_000
        result = stage.loop.poll(max_time=0.0005)
        assert result.stop is Stop.TIME and result.delivered == 1 and result.backlog == 4
        clock.step_ns = 0
        assert len(stage.messages()) == 5
        assert stage.loop.stats().overruns >= 1 and stage.loop.stats().longest_overrun_s > 0


def test_sending_takes_half_of_a_turns_time_and_leaves_the_rest_for_receiving(tmp_path: Path) -> None:
    from support.loop_peer import SteppingClock

    clock = SteppingClock()
    with make(tmp_path, stepping=clock) as stage:
        pairs = [stage.client() for _ in range(40)]
        for client, connection in pairs:
            client.send(framed(b"hello"))
            connection.send(b"a snapshot")
        clock.step_ns = 1_000_000
        result = stage.loop.poll(max_time=0.030)
        assert result.stop is Stop.TIME and result.delivered >= 10
        clock.step_ns = 0


def test_paused_connection_delivers_nothing_and_then_everything(stage: MessageStage) -> None:
    client, connection = stage.client()
    connection.pause()
    client.send(framed(b"one", b"two"))
    assert stage.messages() == [] and stage.loop.stats().messages.paused == 1
    connection.resume()
    connection.resume()
    assert stage.messages() == [b"one", b"two"]


def test_pause_holds_back_what_was_received_already(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        client, connection = stage.client()
        count = 3 * limits.MESSAGES_PER_STEP
        client.send(framed(*[b"x"] * count))
        first = len(stage.messages(1))
        connection.pause()
        assert first == limits.MESSAGES_PER_STEP and stage.messages() == []
        connection.resume()
        assert len(stage.messages(6)) == count - first


# Sending


def test_messages_of_a_tick_leave_together_at_the_next_poll_or_flush(stage: MessageStage) -> None:
    client, connection = stage.client()
    assert [connection.send(data) for data in (b"a", b"b" * 500, bytearray(b"c"), memoryview(b"dd"))] == [Send.OK] * 4
    assert client.take() == b"" and connection.unsent == 512
    assert stage.loop.next_deadline() == 0.0
    assert stage.loop.flush() == 512
    assert client.take() == framed(b"a", b"b" * 500, b"c", b"dd") and connection.unsent == 0
    connection.send(b"next")
    stage.loop.poll()
    assert client.take() == framed(b"next")
    assert connection.messages_out == 5 and connection.bytes_out == 518


def test_many_small_messages_leave_whole_and_in_order(stage: MessageStage) -> None:
    client, connection = stage.client()
    expected = [b"%d" % number for number in range(3000)]
    for message in expected:
        assert connection.send(message) is Send.OK
    stage.loop.flush()
    assert client.take() == framed(*expected)


def test_memory_that_was_sent_may_change_at_once(stage: MessageStage) -> None:
    client, connection = stage.client()
    for size in (10, 10_000):
        data = bytearray(b"x" * size)
        connection.send(data)
        data[:] = b"y" * size
        stage.loop.flush()
        assert client.take() == framed(b"x" * size)


def test_slow_reader_gets_everything_in_order(stage: MessageStage) -> None:
    client, connection = stage.client()
    expected = b""
    got = b""
    for number in range(300):
        message = b"%d" % number * 1000
        if connection.send(message) is Send.OK:
            expected += framed(message)
        stage.loop.flush()
        if number % 10 == 0:
            got += client.socket.recv(30_000)
    while connection.unsent:
        got += client.take()
        stage.turn()
    got += client.take()
    assert got == expected and len(got) > 500_000


def test_full_is_said_once_too_much_waits_and_writable_follows_once(tmp_path: Path) -> None:
    with make(tmp_path, max_unsent=10_000) as stage:
        client, connection = stage.client()
        while connection.send(b"x" * 1000) is Send.OK:
            stage.loop.flush()
        assert connection.unsent <= 10_000
        assert connection.send(b"x" * 1000) is Send.FULL and connection.reserve(1000) is None
        assert stage.turn(3) == [] and stage.loop.stats().messages.full == 3
        got = b""
        while not (seen := stage.turn()):
            got += client.take()
        assert [event.kind for event in seen] == [WRITABLE] and connection.unsent <= 5000
        assert connection.send(b"x") is Send.OK
        assert stage.turn(3) == []


def test_message_above_the_mark_goes_where_nothing_waits(tmp_path: Path) -> None:
    with make(tmp_path, max_unsent=100) as stage:
        client, connection = stage.client()
        assert connection.send(b"x" * 5000) is Send.OK
        assert connection.send(b"x") is Send.FULL
        stage.loop.flush()
        assert client.take() == framed(b"x" * 5000)


def test_key_replaces_what_waits_and_nothing_that_left(stage: MessageStage) -> None:
    client, connection = stage.client()
    connection.send(b"old", key="snapshot")
    connection.send(b"chat")
    connection.send(b"n" * 2000, key="snapshot")
    connection.send(b"newest", key="snapshot")
    stage.loop.flush()
    assert client.take() == framed(b"newest", b"chat")
    connection.send(b"again", key="snapshot")
    stage.loop.flush()
    assert client.take() == framed(b"again")
    assert connection.replaced == 2 and stage.loop.stats().messages.replaced == 2


def test_key_finds_room_where_its_successor_is_not_longer(tmp_path: Path) -> None:
    with make(tmp_path, max_unsent=100) as stage:
        _, connection = stage.client()
        connection.send(b"x" * 60, key="k")
        connection.send(b"y" * 30)
        assert connection.send(b"z" * 30) is Send.FULL
        assert connection.send(b"z" * 60, key="k") is Send.OK
        assert connection.send(b"z" * 90, key="k") is Send.FULL
        assert connection.send(b"z" * 20, key="other") is Send.FULL


def test_reserved_message_is_built_in_place(stage: MessageStage) -> None:
    client, connection = stage.client()
    view = connection.reserve(1000)
    assert view is not None and len(view) == 1000
    view[:5] = b"hello"
    del view
    assert connection.commit(5) is Send.OK
    view = connection.reserve(3)
    assert view is not None
    view[:] = b"one"
    del view
    view = connection.reserve(3)
    assert view is not None
    view[:] = b"two"
    del view
    assert connection.commit(key="k") is Send.OK
    stage.loop.flush()
    assert client.take() == framed(b"hello", b"two")
    assert stage.loop.stats().messages.outgoing_bytes == 0


def test_commit_without_reserve_and_beyond_it_raises(stage: MessageStage) -> None:
    _, connection = stage.client()
    with pytest.raises(StateError, match="reserve"):
        connection.commit()
    connection.reserve(10)
    with pytest.raises(InvalidOption, match="size="):
        connection.commit(11)
    with pytest.raises(InvalidOption, match="size="):
        connection.reserve(-1)


@pytest.mark.parametrize("end", ["peer", "abort", "close"])
def test_reserved_memory_stays_the_users_where_the_connection_ends(stage: MessageStage, end: str) -> None:
    client, connection = stage.client()
    other, others = stage.client()
    view = connection.reserve(2000)
    assert view is not None
    if end == "peer":
        client.close()
        stage.turn(2)
    else:
        getattr(connection, end)()
    built = others.reserve(2000)
    assert built is not None
    built[:] = b"b" * 2000
    view[:] = b"a" * 2000
    del built
    assert others.commit() is Send.OK
    assert connection.commit() is Send.CLOSED
    stage.turn()
    assert other.take().count(b"b") == 2000
    assert stage.loop.stats().messages.outgoing_bytes == 0


def test_memory_of_messages_to_send_is_bounded(stage: MessageStage) -> None:
    _, connection = stage.client()
    stage.loop.messages.buffers._max_outstanding_bytes = 4096
    assert connection.send(bytearray(2000)) is Send.OK
    assert connection.send(bytearray(4000)) is Send.FULL
    assert [event.kind for event in stage.turn(2)] == [WRITABLE]
    assert connection.send(bytearray(2000)) is Send.OK


def test_connection_that_is_refused_memory_again_and_again_stands_in_line_once(stage: MessageStage) -> None:
    _, connection = stage.client()
    stage.loop.messages.buffers._max_outstanding_bytes = 1
    for _ in range(100):
        assert connection.reserve(4000) is None
    assert len(stage.loop.messages.dirty) == 1
    assert [event.kind for event in stage.turn(2)] == [WRITABLE]


@pytest.mark.parametrize("data", ["text", 5, None, memoryview(b"abcd")[::2]])
def test_what_is_no_message_is_refused(stage: MessageStage, data: Any) -> None:
    _, connection = stage.client()
    with pytest.raises(InvalidOption, match="data:"):
        connection.send(data)


@pytest.mark.parametrize("size", [1001, 70_000])
def test_message_that_is_too_long_is_refused(tmp_path: Path, size: int) -> None:
    with make(tmp_path, max_message=1000) as stage:
        _, connection = stage.client()
        with pytest.raises(InvalidOption, match="max_message=1000"):
            connection.send(b"x" * size)
        with pytest.raises(InvalidOption, match="max_message=1000"):
            connection.reserve(size)


def test_message_that_its_framing_cannot_say_is_refused_and_nothing_changes(stage: MessageStage) -> None:
    client, connection = stage.client()
    for data in (b"x" * 70_000, bytearray(70_000)):
        with pytest.raises(InvalidOption, match="do not fit"):
            connection.send(data)
    assert connection.unsent == 0 and stage.loop.stats().messages.outgoing_bytes == 0
    connection.send(b"fine")
    stage.loop.flush()
    assert client.take() == framed(b"fine")


def test_broadcast_frame_is_shared(stage: MessageStage) -> None:
    pairs = [stage.client() for _ in range(3)]
    frame = pairs[0][1].writer.frame(b"to all")
    assert [connection.share(frame, 6) for _, connection in pairs] == [Send.OK] * 3
    assert pairs[0][1].share(frame, 6, "k") is Send.OK
    stage.loop.flush()
    assert [client.take() for client, _ in pairs] == [
        framed(b"to all", b"to all"),
        framed(b"to all"),
        framed(b"to all"),
    ]


def test_nothing_without_framing_is_nothing_however_it_is_sent(tmp_path: Path) -> None:
    with make(tmp_path, framing=None) as stage:
        client, connection = stage.client()
        assert connection.send(b"") is Send.OK
        assert stage.loop.broadcast([connection], b"").ok == 1
        assert stage.loop.broadcast([connection], b"", key="k").ok == 1
        assert connection._outbox.frames == [] and connection.messages_out == 0
        connection.send(b"something")
        stage.loop.flush()
        assert client.take() == b"something"


# Ends


def test_peer_that_closes_inside_a_message_is_told_of(stage: MessageStage) -> None:
    client, _ = stage.client()
    client.send(b"\0\5hel")
    stage.turn()
    client.close()
    (closed,) = stage.turn(2)
    assert closed.kind is CLOSED and isinstance(closed.error, ConnectionClosed)


def test_reset_is_an_error_of_the_network(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        client, connection = stage.client()
        connection.send(b"never read")
        stage.loop.flush()
        # A Unix socket that is closed with unread bytes resets its peer.
        client.close()
        (closed,) = stage.turn(3)
        assert closed.kind is CLOSED and isinstance(closed.error, NetworkError)


def test_close_sends_what_waits_and_says_closed_when_the_peer_has_gone(stage: MessageStage) -> None:
    client, connection = stage.client()
    connection.send(b"last words")
    connection.close()
    connection.close()
    assert connection.send(b"too late") is Send.CLOSED and connection.reserve(5) is None
    client.send(framed(b"not read any more"))
    assert stage.turn(3) == []
    assert client.take() == framed(b"last words") and client.at_end()
    client.close()
    assert [event.kind for event in stage.turn(2)] == [CLOSED]
    assert stage.listener.stats().open == 0


def test_close_does_not_wait_for_ever_for_the_peer_to_go(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        _, connection = stage.client()
        connection.close()
        assert stage.turn(2) == []
        stage.clock.advance(limits.SERVER_LINGER_S + 0.1)
        assert [event.kind for event in stage.turn()] == [CLOSED]


def test_close_of_one_that_never_reads_ends_in_time(tmp_path: Path) -> None:
    with make(tmp_path, write_timeout_s=5) as stage:
        _, connection = stage.client()
        while connection.send(b"x" * 1000) is Send.OK:
            stage.loop.flush()
        connection.close()
        assert stage.turn(2) == []
        stage.clock.advance(5.1)
        (closed,) = stage.turn()
        assert closed.kind is CLOSED and isinstance(closed.error, WriteTimeout)


def test_abort_ends_at_once(stage: MessageStage) -> None:
    client, connection = stage.client()
    connection.send(b"never sent")
    connection.abort()
    assert [event.kind for event in stage.turn()] == [CLOSED]
    assert client.at_end() and client.take() == b""
    assert connection.unsent == 0 and repr(connection).find("closed") > 0


def test_breach_of_the_framing_ends_after_what_waits(tmp_path: Path) -> None:
    with make(tmp_path, max_message=100) as stage:
        client, connection = stage.client()
        connection.send(b"answer")
        client.send(framed(b"fine") + b"\xff\xff" + b"x" * 200)
        seen = stage.turn()
        assert [event.data for event in seen] == [b"fine"]
        assert client.take() == framed(b"answer")
        client.close()
        (closed,) = stage.turn(2)
        assert closed.kind is CLOSED and isinstance(closed.error, LimitError)


@pytest.mark.parametrize("end", ["abort", "close"])
def test_framing_that_ends_its_connection_delivers_nothing_more_and_gives_all_back(tmp_path: Path, end: str) -> None:
    connections: list[MessageConnection] = []

    def find(data: memoryview, examined: int) -> int:
        getattr(connections[0], end)()
        return 5

    with MessageStage(tmp_path / "s", framing=find) as stage:
        client, connection = stage.client()
        connections.append(connection)
        client.send(b"hello" * 3)
        stage.turn()
        client.close()
        stage.turn(2)
        assert [each.kind for each in stage.seen] == [EventKind.CLOSED]
        stats = stage.loop.stats().messages
        assert stats.open == 0 and stats.lent_bytes == 0


def test_listener_that_closes_ends_its_connections(stage: MessageStage) -> None:
    client, connection = stage.client()
    connection.send(b"goodbye")
    stage.listener.close()
    stage.turn(2)
    assert client.take() == framed(b"goodbye")
    client.close()
    assert [event.kind for event in stage.turn(2)] == [CLOSED]


# Time


def test_silence_ends_a_connection_and_speech_keeps_it(tmp_path: Path) -> None:
    with make(tmp_path, idle_timeout_s=10) as stage:
        client, connection = stage.client()
        for _ in range(3):
            stage.clock.advance(6)
            client.send(framed(b"ping"))
            assert len(stage.turn()) == 1
        stage.clock.advance(6)
        connection.send(b"also counts")
        stage.loop.poll()
        stage.clock.advance(6)
        assert stage.turn() == []
        stage.clock.advance(5)
        (closed,) = stage.turn()
        assert isinstance(closed.error, ReadTimeout) and "idle_timeout_s=10" in str(closed.error)
        assert stage.listener.stats().timeouts == 1


def test_connection_without_idle_timeout_is_silent_for_ever(tmp_path: Path) -> None:
    with make(tmp_path, idle_timeout_s=None) as stage:
        client, _ = stage.client()
        stage.clock.advance(2 * limits.MAX_TIMEOUT_S)
        assert stage.turn() == []
        client.send(framed(b"still here"))
        assert stage.messages() == [b"still here"]


def test_paused_connection_is_not_taken_for_a_silent_one(tmp_path: Path) -> None:
    with make(tmp_path, idle_timeout_s=10) as stage:
        _, connection = stage.client()
        connection.pause()
        stage.clock.advance(100)
        assert stage.turn() == []
        connection.resume()
        stage.clock.advance(9)
        assert stage.turn() == []
        stage.clock.advance(2)
        assert [event.kind for event in stage.turn()] == [CLOSED]


def test_message_that_drips_has_its_time_from_its_first_byte_on(tmp_path: Path) -> None:
    with make(tmp_path, message_timeout_s=10) as stage:
        client, _ = stage.client()
        data = framed(b"x" * 100)
        for at in range(10):
            client.send(data[at : at + 1])
            seen = stage.turn()
            stage.clock.advance(1)
        assert seen == []
        (closed,) = stage.turn()
        assert isinstance(closed.error, ReadTimeout) and "message_timeout_s=10" in str(closed.error)
        assert stage.loop.stats().messages.lent_bytes == 0


@pytest.mark.parametrize("why", ["pause", "memory"])
def test_message_that_was_left_unread_has_its_time_anew(tmp_path: Path, why: str) -> None:
    with make(tmp_path, message_timeout_s=10) as stage:
        client, connection = stage.client()
        rings = stage.loop.messages.rings
        bound = rings._max_lent_bytes
        if why == "pause":
            client.send(framed(b"x" * 100)[:50])
            stage.turn()
            connection.pause()
        else:
            client.send(framed(b"x" * 8000)[:50])
            stage.turn()
            rings._max_lent_bytes = limits.MESSAGE_RING_BYTES
            client.send(bytes(5000))
            stage.turn(2)
            assert stage.loop.stats().messages.starving == 1
        stage.clock.advance(100)
        assert stage.turn() == []
        connection.resume()
        rings._max_lent_bytes = bound
        stage.clock.advance(0 if why == "pause" else 1)
        assert stage.turn(2) == []
        stage.clock.advance(9)
        assert stage.turn() == []
        stage.clock.advance(2)
        (closed,) = stage.turn()
        assert isinstance(closed.error, ReadTimeout) and "message_timeout_s=10" in str(closed.error)


def test_peer_that_takes_nothing_is_given_up_and_one_that_drips_is_not(tmp_path: Path) -> None:
    with make(tmp_path, write_timeout_s=10) as stage:
        client, connection = stage.client()
        while connection.send(b"x" * 10_000) is Send.OK:
            stage.loop.flush()
        for _ in range(5):
            stage.clock.advance(8)
            client.socket.recv(300_000)
            assert [event.kind for event in stage.turn(2)] in ([], [WRITABLE])
        connection.send(b"x" * 60_000)
        while connection.send(b"x" * 10_000) is Send.OK:
            stage.loop.flush()
        stage.clock.advance(11)
        closed = stage.turn()[-1]
        assert isinstance(closed.error, WriteTimeout) and "write_timeout_s=10" in str(closed.error)


# The listener


def test_listener_takes_as_many_as_it_may_and_the_next_when_one_goes(tmp_path: Path) -> None:
    with make(tmp_path, max_connections=2) as stage:
        clients = [RawClient(stage.listener.address) for _ in range(3)]
        stage.clients += clients
        for client in clients:
            client.send(framed(b"hello"))
        assert len([event for event in stage.turn(3) if event.kind is OPEN]) == 2
        assert stage.listener.stats().open == 2 and len(stage.listener.connections) == 2
        clients[0].close()
        assert [event.kind for event in stage.turn(4)] == [CLOSED, OPEN, MESSAGE]
        assert stage.listener.stats().accepted == 3 and stage.listener.stats().messages_in == 3


def test_counts_of_connections_that_went_stay(stage: MessageStage) -> None:
    client, connection = stage.client()
    client.send(framed(b"hello"))
    connection.send(b"you")
    stage.turn()
    client.close()
    stage.turn(3)
    stats = stage.listener.stats()
    assert (stats.messages_in, stats.messages_out, stats.bytes_in, stats.bytes_out) == (1, 1, 7, 5)
    totals = stage.loop.stats().messages
    assert (totals.open, totals.messages_in, totals.messages_out) == (0, 1, 1)


def test_lines_over_tcp(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        listener = stage.loop.listen(("127.0.0.1", 0), protocol="tcp", framing=Delimited(b"\n"))
        client = RawClient(listener.address)
        client.send(b"hello\nwor")
        client.send(b"ld\n")
        while not stage.seen or stage.seen[-1].data != b"world":
            stage.turn(timeout=1.0)
        connection = stage.seen[-1].connection
        assert connection.address[0] == "127.0.0.1"
        with pytest.raises(InvalidOption, match="delimiter"):
            connection.send(b"two\nlines")
        connection.send(b"one line")
        stage.loop.flush()
        assert client.socket.recv(100) == b"one line\n"
        client.close()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("framing", "lines"),
        ("max_message", 0),
        ("max_message", limits.MAX_MESSAGE_BYTES_CAP + 1),
        ("quota", 10),
        ("max_unsent", 0),
        ("message_timeout_s", 0),
        ("idle_timeout_s", -1),
        ("write_timeout_s", None),
        ("handshake_timeout_s", 0),
        ("max_connections", 0),
        ("backlog", 0),
        ("handler", print),
        ("tls", "yes"),
    ],
)
def test_wrong_option_is_named(tmp_path: Path, option: str, value: object) -> None:
    with make(tmp_path) as stage, pytest.raises(InvalidOption, match=option):
        stage.loop.listen(str(tmp_path / "other"), protocol="tcp", **{option: value})  # type: ignore[call-overload]  # wrong on purpose


@pytest.mark.parametrize("protocol", ["smtp", ["tcp"], None])
def test_unknown_protocol_is_named(tmp_path: Path, protocol: Any) -> None:
    with make(tmp_path) as stage, pytest.raises(InvalidOption, match="protocol="):
        stage.loop.listen(str(tmp_path / "other"), protocol=protocol)


def test_closed_loop_lets_go_of_everything(tmp_path: Path) -> None:
    stage = make(tmp_path)
    client, connection = stage.client()
    client.send(framed(b"hello") + b"\0\5par")
    stage.loop.poll()
    connection.send(b"goodbye")
    stage.loop.close()
    assert client.take() == framed(b"goodbye") and client.at_end()
    assert not connection.open and connection.send(b"x") is Send.CLOSED
    client.close()
    del stage
    gc.collect()


# What breaks off


def test_interrupt_in_a_step_ends_that_connection_and_no_other(tmp_path: Path) -> None:
    raises: list[BaseException] = []

    def find(data: memoryview, examined: int) -> int:
        if raises and data[0] == ord("!"):
            raise raises.pop()
        return len(data)

    with make(tmp_path, framing=find) as stage:
        pairs = [stage.client() for _ in range(3)]
        raises.append(KeyboardInterrupt())
        for (client, _), data in zip(pairs, (b"one", b"!two", b"three"), strict=True):
            client.send(data)
        with pytest.raises(KeyboardInterrupt):
            stage.loop.poll()
        seen = stage.turn(3)
        assert {event.data for event in seen if event.kind is MESSAGE} == {b"one", b"three"}
        (closed,) = [event for event in seen if event.kind is CLOSED]
        assert closed.connection is pairs[1][1] and isinstance(closed.error, NetworkError)
        pairs[0][0].send(b"still here")
        assert stage.messages() == [b"still here"]


def test_interrupt_while_a_client_is_accepted_costs_that_client_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: MessageConnection, transport: object) -> None:
        raise KeyboardInterrupt

    with make(tmp_path) as stage:
        with monkeypatch.context() as patched:
            patched.setattr(MessageConnection, "begin", interrupted)
            lost = RawClient(stage.listener.address)
            stage.clients.append(lost)
            with pytest.raises(KeyboardInterrupt):
                stage.loop.poll()
        assert lost.at_end()
        client, connection = stage.client()
        client.send(framed(b"abc"))
        assert stage.messages() == [b"abc"]
        # The half of a connection is no obstacle to the end.
        stage.loop.close()
        assert not connection.open


def test_interrupt_while_sending_ends_that_connection_and_the_others_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path) as stage:
        pairs = [stage.client() for _ in range(3)]
        broken = pairs[1][1].transport
        assert broken is not None

        def interrupted(context: object) -> bool:
            raise KeyboardInterrupt

        for _, connection in pairs:
            connection.send(b"hello")
        send = type(broken).send
        with monkeypatch.context() as patch:
            patch.setattr(
                type(broken),
                "send",
                lambda transport, context: interrupted(context) if transport is broken else send(transport, context),
            )
            with pytest.raises(KeyboardInterrupt):
                stage.loop.flush()
        seen = stage.turn(2)
        assert [(event.kind, event.connection) for event in seen] == [(CLOSED, pairs[1][1])]
        assert [client.take() for client, _ in pairs] == [framed(b"hello"), b"", framed(b"hello")]


@NEEDS_FORK
def test_child_of_a_fork_has_closed_connections_and_the_parent_goes_on(tmp_path: Path) -> None:
    with make(tmp_path) as stage:
        client, connection = stage.client()
        connection.send(b"from the parent")

        def look() -> None:
            assert not connection.open and connection.send(b"from the child") is Send.CLOSED
            assert isinstance(connection.error, ClientClosed)
            stage.listener.close()

        in_child(look)
        stage.loop.flush()
        client.send(framed(b"hello"))
        assert stage.messages() == [b"hello"]
        assert client.take() == framed(b"from the parent")
