"""Event streams that a thread iterates over: its lending, its waits, and how others end them."""

from __future__ import annotations

import itertools
import threading

import pytest

from support.clients import TIMEOUTS
from support.event_peer import HEAD, RESET, STAY, EventPeer, Part, stream
from support.in_thread import InThread
from support.scripted_server import await_close, read_request, scripted, send, signal
from turbosock import (
    Cancelled,
    CancelToken,
    Client,
    ClientClosed,
    Config,
    LeaseError,
    ReadTimeout,
    ReconnectPolicy,
    StateError,
    StreamState,
    TransportMode,
)
from turbosock.testing.memory import MemoryConnector

SLOW = ReconnectPolicy(backoff_first_s=600, backoff_cap_s=600, max_first_attempts=None)


@pytest.fixture(params=list(TransportMode), ids=lambda mode: str(mode.value))
def mode(request: pytest.FixtureRequest) -> TransportMode:
    assert isinstance(request.param, TransportMode)
    return request.param


def client_of(peer: EventPeer, *, diagnostics: bool = False) -> Client:
    return Client(Config(diagnostics=diagnostics), connector=MemoryConnector(peer))


def test_nothing_is_sent_before_the_first_step() -> None:
    peer = EventPeer(stream(b"a"))
    with client_of(peer) as client, client.events("http://peer/") as events:
        assert peer.requests == []
        states = [events.state]
        assert next(events).text == "a"
        states.append(events.state)
        assert states == [StreamState.CONNECTING, StreamState.OPEN]


def test_event_is_lent_until_the_next_step() -> None:
    peer = EventPeer(stream(b"a", b"b", then=STAY))
    with client_of(peer, diagnostics=True) as client, client.events("http://peer/") as events:
        first = next(events)
        view = first.data
        assert bytes(view) == b"a"
        assert next(events) is first
        with pytest.raises(ValueError, match="released"):
            bytes(view)


def test_retained_event_stays_beyond_its_stream() -> None:
    with client_of(EventPeer(stream(b"a", then=STAY)), diagnostics=True) as client:
        with client.events("http://peer/") as events:
            kept = next(events).retain()
        assert kept.text == "a"
        kept.release()
        assert client.buffers.stats().outstanding == 0


def test_closed_stream_gives_everything_back_and_ends_its_iteration() -> None:
    with client_of(EventPeer(stream(b"a", then=STAY)), diagnostics=True) as client:
        events = client.events("http://peer/")
        next(events)
        assert client.stats().event_streams == 1
        events.close()
        events.close()
        assert list(events) == []
        stats = client.stats()
        assert (stats.event_streams, stats.buffers.outstanding, stats.open) == (0, 0, 0)


def test_stream_that_is_closed_while_it_is_iterated_over_tells_no_more() -> None:
    with client_of(EventPeer(stream(*(b"%c" % each for each in b"abcdefgh"), then=STAY))) as client:
        events = client.events("http://peer/")
        told = []
        for event in events:
            told.append(event.text)
            if len(told) == 3:
                events.close()
        assert told == ["a", "b", "c"]
        assert client.stats().buffers.outstanding == 0


def test_iterations_and_steps_by_turns_go_on_where_the_last_one_was() -> None:
    texts = [str(i) for i in range(20)]
    with (
        client_of(EventPeer(stream(*(text.encode() for text in texts), then=STAY))) as client,
        client.events("http://peer/") as events,
    ):
        told = []
        for event in events:
            told.append(event.text)
            told.append(next(events).text)
            if len(told) > 8:
                break
        told += [event.text for event in itertools.islice(events, 5)]
        assert told == texts[:15]
        assert events.stats().events == 15


def test_stream_that_is_left_is_not_counted_and_costs_its_connection() -> None:
    with client_of(EventPeer(stream(b"a", then=STAY))) as client:
        streams = [client.events("http://peer/")]
        next(streams[0])
        with pytest.warns(ResourceWarning, match="without close"):
            streams.clear()
        assert client.stats().event_streams == 0
        assert client.stats().open == 0


def test_failed_stream_fails_at_each_step() -> None:
    with client_of(EventPeer(Part(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", STAY))) as client:
        events = client.events("http://peer/")
        for _ in range(2):
            with pytest.raises(Exception, match="404"):
                next(events)


def test_interrupt_drops_the_connection_and_the_next_step_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = EventPeer(stream(b"a", then=STAY), stream(b"b", then=STAY))
    with client_of(peer) as client, client.events("http://peer/") as events:
        next(events)
        response = events._response
        assert response is not None

        def interrupted(view: memoryview) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(type(response), "readinto", lambda self, view: interrupted(view))
        with pytest.raises(KeyboardInterrupt):
            next(events)
        monkeypatch.undo()
        assert client.stats().open == 0
        assert next(events).text == "b"


def test_client_that_is_closed_makes_no_streams() -> None:
    client = client_of(EventPeer(stream(b"a")))
    client.close()
    with pytest.raises(ClientClosed, match="events"):
        client.events("http://peer/")


def test_silence_longer_than_the_heartbeat_is_an_end(mode: TransportMode) -> None:
    quiet = (read_request, send(HEAD + b"data: a\n\n"), await_close)
    with scripted(quiet) as server, Client(Config(transport=mode, timeouts=TIMEOUTS)) as client:
        with client.events(server.url(), heartbeat_s=0.05, reconnect=SLOW) as events:
            assert next(events).text == "a"
            assert next(events).text == "a"
            assert isinstance(events.error, ReadTimeout) or events.error is None
        assert server.accepted == 2


def test_silence_without_another_connection_is_told(mode: TransportMode) -> None:
    quiet = (read_request, send(HEAD + b"data: a\n\n"), await_close)
    with scripted(quiet) as server, Client(Config(transport=mode, timeouts=TIMEOUTS)) as client:
        events = client.events(server.url(), heartbeat_s=0.05, reconnect=False)
        next(events)
        with pytest.raises(ReadTimeout, match=r"0\.05"):
            next(events)


# Ends from other threads


@pytest.fixture(params=["cancel", "token", "client"])
def way(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


def ended(way: str, events: object, token: CancelToken, client: Client) -> type[Exception]:
    """End it from this thread; what its own is told."""
    if way == "cancel":
        events.cancel()  # type: ignore[attr-defined]  # a stream
    elif way == "token":
        token.cancel()
    else:
        client.close()
        return ClientClosed
    return Cancelled


def test_wait_for_an_event_is_ended_from_another_thread(mode: TransportMode, way: str) -> None:
    waiting = threading.Event()
    script = (read_request, send(HEAD + b"data: a\n\n"), signal(waiting), await_close)
    with scripted(script) as server, Client(Config(transport=mode, timeouts=TIMEOUTS)) as client:
        token = CancelToken()
        events = client.events(server.url(), cancel=token)
        assert next(events).text == "a"
        thread = InThread(lambda: next(events))
        assert waiting.wait(10)
        expected = ended(way, events, token, client)
        assert isinstance(thread.outcome(), expected)
        assert events.closed


def test_pause_is_ended_from_another_thread(way: str) -> None:
    peer = EventPeer(Part(b"", RESET))
    with client_of(peer) as client:
        token = CancelToken()
        events = client.events("http://peer/", cancel=token, reconnect=SLOW)
        thread = InThread(lambda: next(events))
        while not client.held:
            assert thread._thread.is_alive()
        assert events.state is StreamState.WAITING
        retry_in_s = events.retry_in_s
        assert retry_in_s is not None and 0 <= retry_in_s <= 600
        expected = ended(way, events, token, client)
        assert isinstance(thread.outcome(), expected)
        assert events.closed


def test_token_that_was_used_before_ends_a_stream_at_once() -> None:
    token = CancelToken()
    token.cancel()
    peer = EventPeer(stream(b"a"))
    with client_of(peer) as client, pytest.raises(Cancelled):
        next(client.events("http://peer/", cancel=token))
    assert peer.requests == []


def test_event_of_a_closed_stream_cannot_be_retained() -> None:
    with client_of(EventPeer(stream(b"a", then=STAY))) as client:
        events = client.events("http://peer/")
        event = next(events)
        events.close()
        with pytest.raises((StateError, LeaseError)):
            event.retain()
