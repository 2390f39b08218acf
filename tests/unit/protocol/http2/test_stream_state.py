"""Every state of a stream × every frame, on both sides: RFC 9113 §5.1 and §6 as tables of their own.

The first table is the one of `stream_state.py`, said again in words. The others say what an engine does, on the wire
and to the stream; after every case another stream is seen to go on, or to fail with the connection.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support import http2
from support.http2 import REQUEST, UPLOAD, Recorder, Side
from turbosock.errors import ConnectionClosed, Http2Error
from turbosock.protocol.http2 import error_codes, stream_state
from turbosock.protocol.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from turbosock.protocol.http2.stream_state import CONNECTION_ERROR, INPUT_NAMES, MISUSE, STATE_NAMES, TABLE

# (state, input) -> state, or what is wrong, in RFC 9113's words; rows where everything is alike are said once.
RFC: dict[tuple[str, str], str] = {
    ("IDLE", "SEND_HEADERS"): "OPEN",
    ("IDLE", "SEND_DATA"): "misuse",
    ("IDLE", "SEND_END"): "misuse",
    ("IDLE", "SEND_RESET"): "misuse",
    ("IDLE", "SEND_WINDOW_UPDATE"): "misuse",
    ("IDLE", "RECEIVE_HEADERS"): "OPEN",
    ("IDLE", "RECEIVE_DATA"): "connection PROTOCOL_ERROR",
    ("IDLE", "RECEIVE_END"): "connection PROTOCOL_ERROR",
    ("IDLE", "RECEIVE_RESET"): "connection PROTOCOL_ERROR",
    ("IDLE", "RECEIVE_WINDOW_UPDATE"): "connection PROTOCOL_ERROR",
    ("OPEN", "SEND_HEADERS"): "OPEN",
    ("OPEN", "SEND_DATA"): "OPEN",
    ("OPEN", "SEND_END"): "HALF_CLOSED_LOCAL",
    ("OPEN", "SEND_RESET"): "CLOSED",
    ("OPEN", "SEND_WINDOW_UPDATE"): "OPEN",
    ("OPEN", "RECEIVE_HEADERS"): "OPEN",
    ("OPEN", "RECEIVE_DATA"): "OPEN",
    ("OPEN", "RECEIVE_END"): "HALF_CLOSED_REMOTE",
    ("OPEN", "RECEIVE_RESET"): "CLOSED",
    ("OPEN", "RECEIVE_WINDOW_UPDATE"): "OPEN",
    ("HALF_CLOSED_LOCAL", "SEND_HEADERS"): "misuse",
    ("HALF_CLOSED_LOCAL", "SEND_DATA"): "misuse",
    ("HALF_CLOSED_LOCAL", "SEND_END"): "misuse",
    ("HALF_CLOSED_LOCAL", "SEND_RESET"): "CLOSED",
    ("HALF_CLOSED_LOCAL", "SEND_WINDOW_UPDATE"): "HALF_CLOSED_LOCAL",
    ("HALF_CLOSED_LOCAL", "RECEIVE_HEADERS"): "HALF_CLOSED_LOCAL",
    ("HALF_CLOSED_LOCAL", "RECEIVE_DATA"): "HALF_CLOSED_LOCAL",
    ("HALF_CLOSED_LOCAL", "RECEIVE_END"): "CLOSED",
    ("HALF_CLOSED_LOCAL", "RECEIVE_RESET"): "CLOSED",
    ("HALF_CLOSED_LOCAL", "RECEIVE_WINDOW_UPDATE"): "HALF_CLOSED_LOCAL",
    ("HALF_CLOSED_REMOTE", "SEND_HEADERS"): "HALF_CLOSED_REMOTE",
    ("HALF_CLOSED_REMOTE", "SEND_DATA"): "HALF_CLOSED_REMOTE",
    ("HALF_CLOSED_REMOTE", "SEND_END"): "CLOSED",
    ("HALF_CLOSED_REMOTE", "SEND_RESET"): "CLOSED",
    ("HALF_CLOSED_REMOTE", "SEND_WINDOW_UPDATE"): "HALF_CLOSED_REMOTE",
    ("HALF_CLOSED_REMOTE", "RECEIVE_HEADERS"): "stream STREAM_CLOSED",
    ("HALF_CLOSED_REMOTE", "RECEIVE_DATA"): "stream STREAM_CLOSED",
    ("HALF_CLOSED_REMOTE", "RECEIVE_END"): "stream STREAM_CLOSED",
    ("HALF_CLOSED_REMOTE", "RECEIVE_RESET"): "CLOSED",
    ("HALF_CLOSED_REMOTE", "RECEIVE_WINDOW_UPDATE"): "HALF_CLOSED_REMOTE",
    ("CLOSED", "SEND_HEADERS"): "misuse",
    ("CLOSED", "SEND_DATA"): "misuse",
    ("CLOSED", "SEND_END"): "misuse",
    ("CLOSED", "SEND_RESET"): "CLOSED",
    ("CLOSED", "SEND_WINDOW_UPDATE"): "CLOSED",
    ("CLOSED", "RECEIVE_HEADERS"): "connection STREAM_CLOSED",
    ("CLOSED", "RECEIVE_DATA"): "stream STREAM_CLOSED",
    ("CLOSED", "RECEIVE_END"): "stream STREAM_CLOSED",
    ("CLOSED", "RECEIVE_RESET"): "CLOSED",
    ("CLOSED", "RECEIVE_WINDOW_UPDATE"): "CLOSED",
}


def in_words(outcome: int) -> str:
    """What a number of the table says."""
    if outcome >= 0:
        return STATE_NAMES[outcome]
    if outcome == MISUSE:
        return "misuse"
    if outcome <= CONNECTION_ERROR:
        return f"connection {error_codes.name_of(CONNECTION_ERROR - outcome)}"
    return f"stream {error_codes.name_of(~outcome)}"


def test_table_says_what_the_rfc_says_for_every_state_and_input() -> None:
    table = {
        (STATE_NAMES[state], INPUT_NAMES[given]): in_words(outcome)
        for state, row in enumerate(TABLE)
        for given, outcome in enumerate(row)
    }
    assert table == RFC


def test_column_is_one_input_of_every_state() -> None:
    for given in range(len(INPUT_NAMES)):
        assert stream_state.column(given) == tuple(row[given] for row in TABLE)


# The stream that the frames are about, and one that has nothing to do with them.
SUBJECT = 1
BYSTANDER = 3
# An id that nobody has used.
UNUSED = 99

FRAMES: dict[str, Callable[[int, bool], bytes]] = {
    "DATA": lambda stream, client: http2.data(stream, b"x"),
    "DATA+END": lambda stream, client: http2.data(stream, b"x", end=True),
    "HEADERS": lambda stream, client: http2.headers(stream, head_fields(client)),
    "HEADERS+END": lambda stream, client: http2.headers(stream, head_fields(client), end=True),
    "TRAILERS+END": lambda stream, client: http2.headers(stream, http2.TRAILERS, end=True),
    "PRIORITY": lambda stream, client: http2.priority(stream),
    "RST_STREAM": lambda stream, client: http2.reset(stream, error_codes.CANCEL),
    "SETTINGS": lambda stream, client: http2.frame(SETTINGS, 0, stream),
    "PUSH_PROMISE": lambda stream, client: http2.push_promise(stream, 2),
    "PING": lambda stream, client: http2.frame(PING, 0, stream, bytes(8)),
    "GOAWAY": lambda stream, client: http2.frame(GOAWAY, 0, stream, bytes(8)),
    "WINDOW_UPDATE": lambda stream, client: http2.window_update(stream, 10),
    "WINDOW_UPDATE 0": lambda stream, client: http2.window_update(stream, 0),
    "CONTINUATION": lambda stream, client: http2.frame(CONTINUATION, END_HEADERS, stream),
    "unknown": lambda stream, client: http2.frame(0xFA, 0xFF, stream, b"what?"),
}


def head_fields(client: bool) -> tuple[tuple[bytes, bytes], ...]:
    return http2.RESPONSE if client else UPLOAD


# One letter a frame, in the order of FRAMES. Where it is wrong: p, s = RST_STREAM with PROTOCOL_ERROR, STREAM_CLOSED;
# P, S = GOAWAY with these. Else: "." taken, "-" ignored, "x" the stream is over and has failed, "r" it is over, and
# what is sent on it is not wanted.
CLIENT: dict[str, str] = {
    # §5.1: only HEADERS open a stream, and a server opens none here.
    "IDLE": "PPPPP-PPPPPPPP-",
    # §8.1: DATA and trailers follow a head.
    "OPEN": "pp..p-xPPPP.pP-",
    # §8.1: a second head is one too many, and trailers end the stream; a :status in them is malformed (§8.3).
    "OPEN, head": "..pp.-xPPPP.pP-",
    "HALF_CLOSED_LOCAL": "pp..p-xPPPP.pP-",
    "HALF_CLOSED_LOCAL, head": "..pp.-xPPPP.pP-",
    "HALF_CLOSED_REMOTE": "sssss-rPPPP.pP-",
    "CLOSED by END_STREAM": "ssSSS--PPPP--P-",
    "CLOSED by us": "-------PPPP--P-",
    "CLOSED by the peer": "ssSSS--PPPP--P-",
}
SERVER: dict[str, str] = {
    # Trailers cannot be a head: they open the stream, and are malformed.
    "IDLE": "PP..p-PPPPPPPP-",
    "OPEN, head": "..pp.-xPPPP.pP-",
    "HALF_CLOSED_LOCAL, head": "..pp.-xPPPP.pP-",
    "HALF_CLOSED_REMOTE": "sssss-xPPPP.pP-",
    "CLOSED by END_STREAM": "ssSSS--PPPP--P-",
    "CLOSED by us": "-------PPPP--P-",
    "CLOSED by the peer": "ssSSS--PPPP--P-",
}

CODES = {"P": error_codes.PROTOCOL_ERROR, "S": error_codes.STREAM_CLOSED}

CASES = [
    pytest.param(client, state, name, outcome, id=f"{'client' if client else 'server'}-{state}-{name}")
    for client, table in ((True, CLIENT), (False, SERVER))
    for state, row in table.items()
    for name, outcome in zip(FRAMES, row, strict=True)
]


def staged_client(state: str) -> tuple[Side, int]:
    """A client whose stream of the returned id is in this state."""
    side = Side(client=True)
    whole = state in ("HALF_CLOSED_LOCAL", "HALF_CLOSED_LOCAL, head", "CLOSED by END_STREAM")
    stream = side.request(UPLOAD, end=whole)
    side.request()
    if state.endswith("head"):
        side.feed(http2.headers(SUBJECT))
    elif state in ("HALF_CLOSED_REMOTE", "CLOSED by END_STREAM"):
        side.feed(http2.headers(SUBJECT, end=True))
    elif state == "CLOSED by us":
        side.engine.reset(stream)
    elif state == "CLOSED by the peer":
        side.feed(http2.reset(SUBJECT))
    side.take()
    return side, UNUSED if state == "IDLE" else SUBJECT


def staged_server(state: str) -> tuple[Side, int]:
    side = Side(client=False)
    whole = state in ("HALF_CLOSED_REMOTE", "CLOSED by END_STREAM")
    side.feed(http2.headers(SUBJECT, UPLOAD, end=whole) + http2.headers(BYSTANDER, REQUEST, end=True))
    stream = side.opened[SUBJECT]
    if state in ("HALF_CLOSED_LOCAL, head", "CLOSED by END_STREAM"):
        side.respond(stream)
    elif state == "CLOSED by us":
        side.engine.reset(stream)
    elif state == "CLOSED by the peer":
        side.feed(http2.reset(SUBJECT))
    side.take()
    return side, UNUSED if state == "IDLE" else SUBJECT


def goes_on(side: Side) -> bool:
    """Whether the other stream's exchange comes to its good end."""
    stream = side.opened[BYSTANDER]
    if side.client:
        side.feed(http2.headers(BYSTANDER) + http2.data(BYSTANDER, b"answer", end=True))
        return stream.ended and stream.failure is None and stream.data == b"answer"
    side.respond(stream)
    (frame,) = side.frames()
    return stream.failure is None and stream.closed and frame.stream == BYSTANDER


@pytest.mark.parametrize(("client", "state", "name", "outcome"), CASES)
def test_frame_in_each_state_has_the_outcome_of_the_rfc(client: bool, state: str, name: str, outcome: str) -> None:
    side, stream_id = staged_client(state) if client else staged_server(state)
    stream = side.opened.get(stream_id)
    before = (stream.state, stream.failure, stream.news, stream.rooms) if stream is not None else None
    sent = side.feed(FRAMES[name](stream_id, client))
    stream = side.opened.get(stream_id)
    if outcome in "PS":
        assert side.error is not None and side.error.error_code == CODES[outcome]
        last = side.engine.last_stream
        assert [(frame.kind, frame.word, frame.code) for frame in sent] == [(GOAWAY, last, CODES[outcome])]
        side.engine.end_of_stream(side.error)
        bystander = side.opened[BYSTANDER]
        assert isinstance(bystander.failure, Http2Error)
        assert (str(bystander.failure), bystander.failure.error_code) == (str(side.error), side.error.error_code)
        # It is the bystander's own: what its exchange was doing is written into it.
        assert bystander.failure is not side.error and bystander.closed and not side.engine.streams
        return
    assert side.error is None
    if outcome in "ps":
        code = CODES[outcome.upper()]
        assert [(frame.kind, frame.stream, frame.word) for frame in sent] == [(RST_STREAM, stream_id, code)]
        if before is None or before[0] != stream_state.CLOSED:
            assert stream is not None and stream.closed and stream_id not in side.engine.streams
            assert isinstance(stream.failure, Http2Error)
            assert (stream.failure.error_code, stream.failure.stream_id) == (code, stream_id)
            assert stream.events[-1].startswith("failed")
    elif outcome == "-":
        assert sent == []
        assert stream is None or (stream.state, stream.failure, stream.news, stream.rooms) == before
    elif outcome == "x":
        assert sent == [] and stream is not None and stream.closed and stream_id not in side.engine.streams
        assert isinstance(stream.failure, Http2Error) and stream.failure.error_code == error_codes.CANCEL
    elif outcome == "r":
        assert sent == [] and stream is not None and stream.closed and stream_id not in side.engine.streams
        assert stream.failure is None and stream.rooms == 1
    else:
        assert all(frame.kind == WINDOW_UPDATE for frame in sent)
        assert stream is not None and stream.failure is None
        if name == "WINDOW_UPDATE":
            assert stream.send_window == 65_535 + 10
        elif name.endswith("END"):
            assert stream.ended
    assert goes_on(side)


def test_end_of_the_connection_fails_what_is_open_and_lets_whole_answers_be() -> None:
    side = Side(client=True)
    whole, open_, done = side.request(UPLOAD, end=False), side.request(), side.request()
    side.feed(http2.headers(1, end=True) + http2.headers(5, end=True))
    side.engine.end_of_stream()
    assert whole.failure is None and whole.rooms == 1 and whole.closed
    assert isinstance(open_.failure, ConnectionClosed) and open_.closed
    assert done.failure is None and done.news == 1
    assert not side.engine.streams


def test_server_whose_client_goes_fails_its_unfinished_answers() -> None:
    side = Side(client=False)
    side.feed(http2.headers(1, REQUEST, end=True))
    side.engine.end_of_stream()
    assert isinstance(side.opened[1].failure, ConnectionClosed)


def test_stream_that_was_never_opened_and_waits_is_told_of_the_end_of_the_connection() -> None:
    side = Side(client=True)
    stream = Recorder()
    side.engine.wait_for_room(stream)
    side.engine.end_of_stream()
    assert stream.rooms == 1 and not stream.waits


def test_reserved_bit_of_a_stream_id_is_ignored() -> None:
    side = Side(client=True)
    stream = side.request()
    side.take()
    assert side.feed(http2.headers(1 | 1 << 31) + http2.data(1 | 1 << 31, b"body", end=True)) == []
    assert stream.ended and stream.data == b"body"
