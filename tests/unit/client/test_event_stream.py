"""Event streams over their connections: what is asked for, what follows each end, and what ends a stream for good."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from support.event_peer import (
    CHUNKED_HEAD,
    FACES,
    HEAD,
    RESET,
    STAY,
    EventPeer,
    Part,
    read_all,
    status,
    stream,
)
from turbosock import (
    Cancelled,
    Client,
    Config,
    ConnectionClosed,
    DecodingError,
    InvalidOption,
    LimitError,
    NetworkError,
    ProtocolError,
    ReconnectPolicy,
    StatusError,
    StreamState,
    Timeouts,
    TotalTimeout,
)
from turbosock.client.event_stream import EventStreamSettings, _beginning

STOP = status("204 No Content")


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> str:
    """Each face, and each way in which a Client waits."""
    assert isinstance(request.param, str)
    return request.param


# What is asked for


def test_request_of_a_stream_asks_for_one(face: str) -> None:
    peer = EventPeer(STOP)
    read_all(face, peer, headers={"X-Mine": "1"})
    assert peer.field(0, "accept") == "text/event-stream"
    assert peer.field(0, "cache-control") == "no-cache"
    assert peer.field(0, "x-mine") == "1"
    assert peer.field(0, "last-event-id") is None


def test_fields_of_the_caller_replace_those_of_the_stream(face: str) -> None:
    peer = EventPeer(STOP)
    read_all(face, peer, headers=[("accept", "*/*"), ("Cache-Control", "no-store")])
    assert peer.requests[0].lower().count(b"accept: ") == 1
    assert peer.field(0, "accept") == "*/*"
    assert peer.field(0, "cache-control") == "no-store"


def test_last_event_id_is_that_of_the_last_event_told(face: str) -> None:
    peer = EventPeer(
        Part(HEAD + b"id: 1\ndata: a\n\nid: 2\ndata: cut"), stream(b"b"), Part(HEAD + b"id\ndata: c\n\n"), STOP
    )
    reading = read_all(face, peer)
    assert [tuple(told) for told in reading.told] == [
        ("message", b"a", "1"),
        ("message", b"b", "1"),
        ("message", b"c", ""),
    ]
    assert [peer.field(i, "last-event-id") for i in range(4)] == [None, "1", "1", None]


def test_last_event_id_beyond_ascii_is_sent_as_utf_8(face: str) -> None:
    peer = EventPeer(Part(HEAD + "id: é\xa0\ndata: a\n\n".encode()), STOP)
    read_all(face, peer)
    assert peer.field(1, "last-event-id") == "é\xa0".encode().decode("latin-1")


def test_last_event_id_that_no_field_can_carry_is_left_out(face: str) -> None:
    peer = EventPeer(Part(HEAD + b"id: a\x01b\ndata: a\n\n"), STOP)
    reading = read_all(face, peer)
    assert reading.told[0].id == "a\x01b"
    assert peer.field(1, "last-event-id") is None


def test_last_event_id_given_goes_into_the_first_request(face: str) -> None:
    peer = EventPeer(STOP)
    read_all(face, peer, last_event_id="from here")
    assert peer.field(0, "last-event-id") == "from here"


def test_resume_token_goes_on_where_its_stream_was(face: str) -> None:
    first = read_all(face, EventPeer(Part(HEAD + b"retry: 2000\nid: 7;8\ndata: a\n\n", STAY)), most=1)
    peer = EventPeer(Part(HEAD), STOP)
    second = read_all(face, peer, resume=first.stream.resume_token)
    assert peer.field(0, "last-event-id") == "7;8"
    assert second.stream.retry_ms == 2000
    assert second.pauses_s[0] >= 2


@pytest.mark.parametrize("name", [b"a\x01b", b"\xff" * 8000, b"\xa0", b"\x0b"])
def test_resume_token_of_any_id_is_taken_back(face: str, name: bytes) -> None:
    first = read_all(face, EventPeer(Part(HEAD + b"id: " + name + b"\ndata: a\n\n", STAY)), most=1)
    token = first.stream.resume_token
    second = read_all(face, EventPeer(STOP), resume=token)
    assert second.stream.resume_token == token
    assert second.stream.last_event_id == name.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "token",
    ["", "7", "2;;7", "1;x;7", "1;9999999999999;7", 7, "1;²;7", "1;;a\nb", "1;;\0", "1;;\ud800", "1;;" + "x" * 8193],
)
def test_resume_token_that_is_none_is_refused(token: Any) -> None:
    with Client() as client, pytest.raises(InvalidOption, match="resume"):
        client.events("http://peer/", resume=token)


def test_resume_token_beside_an_id_is_refused() -> None:
    with pytest.raises(InvalidOption, match="last_event_id, resume"):
        _beginning(EventStreamSettings("1", "1;;1"))


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\ud800", "x" * 8193, 7])
def test_last_event_id_that_cannot_be_sent_is_refused(name: Any) -> None:
    with Client() as client, pytest.raises(InvalidOption, match="last_event_id"):
        client.events("http://peer/", last_event_id=name)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"reconnect": 3}, "reconnect"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"max_event_bytes": 0}, "max_event_bytes"),
        ({"headers": {"last-event-id": "1"}}, "Last-Event-ID"),
        ({"timeout": None}, "timeout"),
        ({"verify": False}, "verify"),
        ({"method": 1}, "method"),
        ({"content": iter([b"x"]), "reconnect": True}, "content"),
        ({"cancel": 1}, "cancel"),
    ],
)
def test_option_that_cannot_work_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with Client() as client, pytest.raises(InvalidOption, match=named):
        client.events("http://peer/", **options)


# What follows an end


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda: stream(b"a"), id="close"),
        pytest.param(lambda: stream(b"a", then=RESET), id="reset"),
        pytest.param(lambda: Part(CHUNKED_HEAD + b"9\r\ndata: a\n\n\r\n0\r\n\r\n", STAY), id="chunked"),
        pytest.param(lambda: Part(CHUNKED_HEAD + b"9\r\ndata: a\n\n\r\n"), id="chunked and cut"),
    ],
)
def test_stream_that_ended_is_connected_to_again_at_once(face: str, end: Any) -> None:
    reading = read_all(face, EventPeer(end(), stream(b"b"), STOP))
    assert reading.data == [b"a", b"b"]
    assert reading.error is None
    assert reading.pauses_s[0] < 0.001
    assert reading.stream.reconnections == 1
    assert reading.stream.attempts == 3


def test_stream_reset_at_every_byte_is_told_once_and_whole(face: str) -> None:
    events = [b"id: %d\ndata: event %d\n\n" % (i, i) for i in range(4)]
    whole = b"".join(events)
    for cut in range(len(HEAD) + len(whole) + 1):
        data = (HEAD + whole)[:cut]
        # What the server sends the second time depends on what it is asked for.
        seen = 0
        position = len(HEAD)
        for event in events:
            position += len(event)
            seen += position <= cut
        peer = EventPeer(Part(data, RESET), Part(HEAD + b"".join(events[seen:])), STOP)
        reading = read_all(face, peer)
        assert reading.data == [b"event 0", b"event 1", b"event 2", b"event 3"], cut
        assert peer.field(1, "last-event-id") == (str(seen - 1) if seen else None), cut


def test_second_end_within_half_a_second_waits(face: str) -> None:
    reading = read_all(face, EventPeer(stream(b"a"), stream(b"b"), stream(b"c"), STOP))
    assert reading.data == [b"a", b"b", b"c"]
    assert [round(pause_s, 2) for pause_s in reading.pauses_s] == [0, 0.5, 0]


def test_failures_in_a_row_wait_longer_and_longer_up_to_the_cap(face: str) -> None:
    policy = ReconnectPolicy(max_attempts=9, backoff_cap_s=10)
    reading = read_all(face, EventPeer(stream(b"a"), Part(b"", RESET)), reconnect=policy)
    assert [round(pause_s, 1) for pause_s in reading.pauses_s] == [0, 0.5, 1, 2, 4, 8, 10, 10, 10]
    assert isinstance(reading.error, NetworkError)


def test_pause_is_jittered(face: str) -> None:
    reading = read_all(face, EventPeer(Part(b"", RESET)), chance=0.25)
    assert [round(pause_s, 3) for pause_s in reading.pauses_s] == [0.125, 0.25, 0.5, 1]


def test_event_ends_a_row_of_failures(face: str) -> None:
    refused = Part(b"", RESET)
    reading = read_all(face, EventPeer(refused, refused, refused, refused, stream(b"a"), refused, STOP))
    assert reading.data == [b"a"]
    assert round(reading.pauses_s[5], 2) == 0.5


def test_stream_that_was_never_open_is_given_up(face: str) -> None:
    peer = EventPeer(Part(b"", RESET))
    reading = read_all(face, peer)
    assert len(peer.requests) == 5
    assert isinstance(reading.error, NetworkError)


def test_streams_without_events_are_given_up_where_that_is_asked_for(face: str) -> None:
    peer = EventPeer(Part(HEAD))
    reading = read_all(face, peer, reconnect=ReconnectPolicy(max_attempts=3))
    assert len(peer.requests) == 3
    assert isinstance(reading.error, ConnectionClosed)
    assert "3 times" in str(reading.error)


@pytest.mark.parametrize(
    ("retry", "pause_s"),
    [("100", 0.1), ("7000", 7), ("0", 0), ("99999999999999999999", 3600), ("x", 0), ("-5", 0), ("1.5", 0), ("", 0)],
)
def test_retry_sets_the_least_pause_where_it_is_a_number(face: str, retry: str, pause_s: float) -> None:
    reading = read_all(face, EventPeer(Part(HEAD + f"retry: {retry}\ndata: a\n\n".encode()), STOP), chance=0)
    assert abs(reading.pauses_s[0] - pause_s) < 0.001


@pytest.mark.parametrize("line", ["500 Oh", "502 Bad", "503 No", "504 Slow", "429 Less"])
def test_status_that_passes_is_tried_again(face: str, line: str) -> None:
    reading = read_all(face, EventPeer(status(line), stream(b"a"), STOP))
    assert reading.data == [b"a"]
    assert round(reading.pauses_s[0], 2) == 0.5


def test_retry_after_is_kept_to(face: str) -> None:
    reading = read_all(face, EventPeer(status("503 No", "Retry-After: 20"), stream(b"a"), STOP), chance=0)
    assert round(reading.pauses_s[0], 3) == 20
    # And is over with its answer.
    assert reading.pauses_s[1] < 0.001


def test_redirect_is_followed_and_the_next_request_begins_anew(face: str) -> None:
    moved = status("307 There", "Location: /other")
    peer = EventPeer(moved, stream(b"a"), moved, stream(b"b"), STOP)
    reading = read_all(face, peer)
    assert reading.data == [b"a", b"b"]
    assert [request.split(b" ")[1] for request in peer.requests] == [
        b"/events",
        b"/other",
        b"/events",
        b"/other",
        b"/events",
    ]


# What ends a stream for good


def test_204_ends_the_stream_without_an_error(face: str) -> None:
    peer = EventPeer(stream(b"a"), STOP)
    reading = read_all(face, peer)
    assert reading.error is None
    assert reading.stream.state is StreamState.CLOSED
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    "line", ["200 OK", "201 Made", "206 Part", "304 Same", "400 Bad", "401 Who", "404 No", "501 ?"]
)
def test_status_or_type_that_is_not_an_event_stream_ends_it(face: str, line: str) -> None:
    peer = EventPeer(status(line, "Content-Type: text/plain"))
    reading = read_all(face, peer)
    assert len(peer.requests) == 1
    assert isinstance(reading.error, ProtocolError if line == "200 OK" else StatusError)
    if isinstance(reading.error, StatusError):
        assert reading.error.status_code == int(line[:3])
    else:
        assert reading.error is not None and reading.error.code == "not_an_event_stream"
        assert "'text/plain'" in str(reading.error)


@pytest.mark.parametrize(
    "content_type", ["text/event-stream", "text/event-stream;charset=utf-8", "TEXT/Event-Stream ; x=y"]
)
def test_parameters_and_case_of_the_type_do_not_matter(face: str, content_type: str) -> None:
    head = HEAD.replace(b"text/event-stream", content_type.encode())
    assert read_all(face, EventPeer(Part(head + b"data: a\n\n"), STOP)).data == [b"a"]


@pytest.mark.parametrize("content_type", ["", "text/html", "text/event-stream+x", "text/event-streams"])
def test_wrong_type_ends_the_stream(face: str, content_type: str) -> None:
    head = HEAD.replace(b"text/event-stream", content_type.encode())
    reading = read_all(face, EventPeer(Part(head + b"data: a\n\n", STAY)))
    assert reading.told == []
    assert isinstance(reading.error, ProtocolError)


def test_coding_that_cannot_be_undone_ends_the_stream(face: str) -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: made-up\r\n\r\n")
    reading = read_all(face, EventPeer(Part(head + b"data: a\n\n", STAY)))
    assert reading.told == []
    assert isinstance(reading.error, DecodingError) and reading.error.code == "unknown_coding"


def test_redirect_that_is_not_followed_ends_the_stream(face: str) -> None:
    peer = EventPeer(status("302 There", "Location: /other"))
    reading = read_all(face, peer, follow_redirects=False)
    assert isinstance(reading.error, StatusError)


@pytest.mark.parametrize("line", [b"data: " + b"x" * 5000, b"data: x\n" * 2000, b"id: " + b"x" * 9000])
def test_endless_event_ends_the_stream_at_its_limit(face: str, line: bytes) -> None:
    peer = EventPeer(Part(HEAD + b"data: a\n\n" + line, STAY))
    reading = read_all(face, peer, max_event_bytes=1024)
    assert reading.data == [b"a"]
    assert isinstance(reading.error, LimitError)
    assert reading.error.code == "event_too_large"
    assert reading.stream.stats().buffer_bytes == 0


def test_endless_comment_costs_nothing_and_ends_nothing(face: str) -> None:
    peer = EventPeer(Part(HEAD + b":" + b"x" * 300_000 + b"\ndata: a\n\n"), STOP)
    assert read_all(face, peer, max_event_bytes=64).data == [b"a"]


@pytest.mark.parametrize("garbage", [b"\x00" * 5000, bytes(range(256)) * 20, b"\xff" * 5000])
def test_garbage_tells_nothing_and_the_next_connection_goes_on(face: str, garbage: bytes) -> None:
    assert read_all(face, EventPeer(Part(HEAD + garbage), stream(b"a"), STOP)).data == [b"a"]


def test_garbage_for_a_chunk_is_a_failure_like_any_other(face: str) -> None:
    assert read_all(face, EventPeer(Part(CHUNKED_HEAD + b"no size\r\n"), stream(b"a"), STOP)).data == [b"a"]


def test_garbage_for_a_head_is_a_failure_like_any_other(face: str) -> None:
    assert read_all(face, EventPeer(Part(b"\x00\x01\x02\r\n\r\n"), stream(b"a"), STOP)).data == [b"a"]


def coded(data: bytes, *, lie: bool = False) -> Part:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    return Part(head + (data if lie else gzip.compress(data)))


def test_coded_stream_is_decoded(face: str) -> None:
    assert read_all(face, EventPeer(coded(b"data: a\n\ndata: b\n\n"), STOP)).data == [b"a", b"b"]


def test_lying_content_coding_ends_the_stream(face: str) -> None:
    peer = EventPeer(coded(b"data: a\n\n", lie=True))
    reading = read_all(face, peer)
    assert isinstance(reading.error, DecodingError)
    assert len(peer.requests) == 1


def test_coded_stream_that_is_cut_goes_on(face: str) -> None:
    part = coded(b"data: a\n\n")
    assert read_all(face, EventPeer(Part(part.data[:-4]), STOP)).data == [b"a"]


def test_total_deadline_that_is_given_ends_the_stream(face: str) -> None:
    peer = EventPeer(Part(HEAD + b"retry: 2000\ndata: a\n\n"))
    reading = read_all(face, peer, timeout=5.0, chance=0)
    assert reading.data == [b"a"] * 3
    assert isinstance(reading.error, TotalTimeout)


def test_default_total_deadline_does_not_cut_a_stream(face: str) -> None:
    # Each pause is ten minutes, and the default deadline is five.
    peer = EventPeer(*[Part(HEAD + b"retry: 600000\ndata: a\n\n")] * 3, STOP)
    assert read_all(face, peer, chance=0).data == [b"a"] * 3


# Methods with bodies


def test_body_is_sent_with_each_request(face: str) -> None:
    peer = EventPeer(stream(b"a"), stream(b"b"), STOP)
    reading = read_all(face, peer, method="POST", json={"ask": 1}, reconnect=True)
    assert reading.data == [b"a", b"b"]
    assert [request.partition(b"\r\n\r\n")[2] for request in peer.requests] == [b'{"ask":1}'] * 3
    assert peer.field(2, "content-type") == "application/json"


def test_post_is_not_repeated_unless_that_is_asked_for(face: str) -> None:
    peer = EventPeer(stream(b"a"))
    reading = read_all(face, peer, method="POST", content=b"x")
    assert reading.data == [b"a"]
    assert reading.error is None
    assert len(peer.requests) == 1


def test_post_that_is_cut_fails(face: str) -> None:
    peer = EventPeer(Part(CHUNKED_HEAD + b"9\r\ndata: a\n\n\r\n"))
    reading = read_all(face, peer, method="POST", content=b"x")
    assert reading.data == [b"a"]
    assert reading.error is not None
    assert len(peer.requests) == 1


def test_iterator_can_be_the_body_of_a_single_request(face: str) -> None:
    peer = EventPeer(Part(HEAD + b"data: a\n\n"))
    assert read_all(face, peer, method="POST", content=iter([b"once"])).error is None


# Memory


@pytest.mark.parametrize("options", [{"zero_alloc": False}, {"diagnostics": True}], ids=["plain", "guarded"])
def test_stream_is_the_same_on_plain_and_on_guarded_memory(face: str, options: dict[str, Any]) -> None:
    long = Part(HEAD + b"".join(b"id: %d\ndata: %b\ndata: end\n\n" % (i, b"x" * i) for i in range(0, 9000, 500)))
    reading = read_all(face, EventPeer(long, stream(b"a"), coded(b"data: b\n\n"), STOP), config=Config(**options))
    assert reading.data == [b"x" * i + b"\nend" for i in range(0, 9000, 500)] + [b"a", b"b"]


# What the state says


def test_state_says_what_comes_next() -> None:
    peer = EventPeer(stream(b"a"), STOP)
    with_timeouts = Timeouts(read_s=3)
    reading = read_all("loop", peer, timeout=with_timeouts)
    assert reading.stream.state is StreamState.CLOSED
    assert reading.stream.retry_in_s is None
    assert not isinstance(reading.error, Cancelled)
    stats = reading.stream.stats()
    assert (stats.events, stats.comments, stats.bytes_in, stats.attempts) == (1, 0, 9, 2)
    assert stats.parse.times == stats.delivery.times == 1
