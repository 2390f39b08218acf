"""Random frames, right and wrong, played to the engine and to the package h2: what each makes of them is compared.

Both take the same side of a connection, open and end the same streams, and get the same frames one at a time. After
each frame the replies, every stream's message so far and every window to send by must be the same, and what one of them
refuses is refused by the other with the same code. Where they differ on purpose the difference is named in DIFFERENCES
with its reason, and a sequence ends where one of them ends the connection.

A failure prints its seed and the frames; TURBOSOCK_SEEDS=... runs that one again.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest

from support import http2
from support.hpack_wire import indexed
from support.http2 import REQUEST, RESPONSE, SETTINGS_ACK, TRAILERS, UPLOAD, Frame, Recorder, Side, frames_in
from support.seeds import seeds
from turbosock.errors import Http2Error
from turbosock.protocol.http1.headers import Field
from turbosock.protocol.http2.error_codes import (
    COMPRESSION_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    name_of,
)
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    kind_name,
)
from turbosock.protocol.http2.settings import (
    ENABLE_PUSH,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
)

# Small, so that random DATA may go beyond it.
WINDOW = 1_200
FRAMES_PER_SEED = 60
SEEDS = 1_200

# What a side does about a frame: nothing to complain of, one stream, or the connection; and the code.
FINE = ("fine", 0)


class Given(NamedTuple):
    """A frame that was played, and its stream as the engine had it: whether we had reset it, whether it was over, and
    the code of what it failed with in the end.
    """

    frame: Frame
    reset_by_us: bool
    over: bool
    failure: str


Verdict = tuple[str, int]


class Difference(NamedTuple):
    """Why the two may differ: the verdicts that each may then have."""

    reason: str
    ours: tuple[Verdict, ...]
    theirs: tuple[Verdict, ...]
    holds: Callable[[Given], bool]


def stream(code: int) -> Verdict:
    return "stream", code


def connection(code: int) -> Verdict:
    return "connection", code


def is_kind(*kinds: int) -> Callable[[Given], bool]:
    return lambda given: given.frame.kind in kinds


def is_malformed(given: Given) -> bool:
    return given.failure in ("malformed", "body_too_long", "body_cut_short")


DIFFERENCES = [
    Difference(
        "a malformed message is an error of its stream (RFC 9113 §8.1.1), as are HEADERS behind its end (§5.1); h2 ends"
        " the connection",
        (stream(PROTOCOL_ERROR), stream(STREAM_CLOSED)),
        (connection(PROTOCOL_ERROR),),
        lambda given: is_malformed(given) or (given.failure == "bad_state" and given.frame.kind == HEADERS),
    ),
    Difference(
        "a message is malformed whose DATA does not add up to its Content-Length, also where it ends with HEADERS, or"
        " which has content and cannot, by its status (§8.1.1); h2 adds up where DATA comes",
        (stream(PROTOCOL_ERROR),),
        (FINE,),
        is_malformed,
    ),
    Difference(
        "what comes for a stream that we reset is ignored (§5.1), whatever it is; h2 resets the stream once more, and"
        " judges interim heads and what comes after a late RST_STREAM of the peer's",
        (FINE,),
        (stream(STREAM_CLOSED), connection(STREAM_CLOSED), connection(PROTOCOL_ERROR)),
        lambda given: given.reset_by_us and given.frame.kind in (DATA, HEADERS),
    ),
    Difference(
        "HEADERS on a closed stream that we did not reset are an error of the connection (§5.1 permits it: the sender"
        " has ended or reset it); h2 resets the stream where a reset had closed it",
        (connection(STREAM_CLOSED),),
        (stream(STREAM_CLOSED),),
        lambda given: given.over and not given.reset_by_us and given.frame.kind == HEADERS,
    ),
    Difference(
        "an id that was passed over is that of a closed stream (§5.1.1, §5.1); h2 answers with PROTOCOL_ERROR",
        (connection(STREAM_CLOSED),),
        (connection(PROTOCOL_ERROR),),
        is_kind(HEADERS),
    ),
    Difference(
        "DATA beyond a stream's window is an error of the stream (§6.9.1 leaves the choice); h2 ends the connection",
        (stream(FLOW_CONTROL_ERROR),),
        (connection(FLOW_CONTROL_ERROR),),
        is_kind(DATA),
    ),
    Difference(
        "WINDOW_UPDATE by nothing is an error of the stream (§6.9, a MUST); h2 ends the connection",
        (stream(PROTOCOL_ERROR),),
        (connection(PROTOCOL_ERROR),),
        is_kind(WINDOW_UPDATE),
    ),
    Difference(
        "WINDOW_UPDATE on a closed stream is ignored (§5.1), whatever it says; h2 judges it",
        (FINE,),
        (connection(PROTOCOL_ERROR),),
        lambda given: given.frame.kind == WINDOW_UPDATE and (given.over or given.reset_by_us),
    ),
    Difference(
        "PRIORITY of a wrong length is an error of the stream (§6.3, a MUST); h2 ends the connection",
        (stream(FRAME_SIZE_ERROR),),
        (connection(FRAME_SIZE_ERROR),),
        is_kind(PRIORITY),
    ),
    Difference(
        "RST_STREAM on an idle stream is an error of the connection (§6.4, a MUST); h2 lets those of ids pass that a"
        " server might have promised",
        (connection(PROTOCOL_ERROR),),
        (FINE,),
        is_kind(RST_STREAM),
    ),
    Difference(
        "a block that refers to nothing cannot be decoded: COMPRESSION_ERROR (§4.3, a MUST); h2 says PROTOCOL_ERROR",
        (connection(COMPRESSION_ERROR),),
        (connection(PROTOCOL_ERROR),),
        is_kind(HEADERS),
    ),
    Difference(
        "CONTINUATION without a header section is an error of the connection (§6.10, a MUST); h2 looks at its stream"
        " first",
        (connection(PROTOCOL_ERROR),),
        (stream(STREAM_CLOSED), connection(STREAM_CLOSED)),
        is_kind(CONTINUATION),
    ),
]


def verdict(replies: list[Frame]) -> Verdict:
    """What a side's replies say of the frame."""
    for frame in replies:
        if frame.kind == GOAWAY:
            return "connection", frame.code
    for frame in replies:
        if frame.kind == RST_STREAM:
            return "stream", frame.code
    return FINE


class Oracle:
    """h2's side of it, with every stream's message so far as `stories`."""

    def __init__(self, client: bool) -> None:
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=client, header_encoding=None)
        )
        self.stories: dict[int, dict[str, Any]] = {}
        self.connection.local_settings = h2.settings.Settings(
            client=client,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 128,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
                **({h2.settings.SettingCodes.ENABLE_PUSH: 0} if client else {}),
            },
        )
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(2**30)
        self.take()

    def take(self) -> list[Frame]:
        return frames_in(self.connection.data_to_send())

    def story(self, stream_id: int) -> dict[str, Any]:
        return self.stories.setdefault(
            stream_id,
            {"head": None, "interims": [], "data": b"", "trailers": False, "ended": False, "reset": None},
        )

    def feed(self, data: bytes) -> list[Frame]:
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            return self.take()
        for event in events:
            self._note(event)
        return self.take()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.story(event.stream_id)["head"] = dict(event.headers)[b":method"]
        elif isinstance(event, h2.events.ResponseReceived):
            self.story(event.stream_id)["head"] = dict(event.headers)[b":status"]
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self.story(event.stream_id)["interims"].append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.DataReceived):
            self.story(event.stream_id)["data"] += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            self.story(event.stream_id)["trailers"] = True
        elif isinstance(event, h2.events.StreamEnded):
            self.story(event.stream_id)["ended"] = True
        elif isinstance(event, h2.events.StreamReset) and event.remote_reset:
            self.story(event.stream_id)["reset"] = int(event.error_code)


class Play:
    """One sequence; see the module."""

    def __init__(self, client: bool, seed: int) -> None:
        self.random = random.Random(seed)
        self.client = client
        self.side = Side(client=client, initial_window=WINDOW)
        self.oracle = Oracle(client)
        self.oracle.feed((b"" if client else PREFACE) + http2.settings() + SETTINGS_ACK)
        self.next_id = 1
        self.log: list[str] = []
        self.met: Counter[str] = Counter()

    # What both sides do of themselves

    def act(self) -> None:
        """Open, answer, end or reset a stream on both."""
        choice = self.random.random()
        streams = self.side.engine.streams
        if self.client and choice < 0.6 and len(streams) < 20:
            end = self.random.random() < 0.5
            stream = self.side.request(UPLOAD, end=end)
            self.oracle.connection.send_headers(stream.id, list(UPLOAD), end_stream=end)
            self.log.append(f"request {stream.id} {end=}")
        elif streams:
            stream_id = self.random.choice(list(streams))
            recorder = self.side.opened[stream_id]
            if choice < 0.8:
                self.side.engine.reset(recorder, 8)
                self.oracle.connection.reset_stream(stream_id, 8)
                self.log.append(f"reset {stream_id}")
            elif not self.client and "answered" not in recorder.events:
                recorder.events.append("answered")
                self.side.respond(recorder)
                self.oracle.connection.send_headers(stream_id, list(RESPONSE), end_stream=True)
                self.log.append(f"respond {stream_id}")
        self.side.take()
        self.oracle.take()

    # What they get

    def some_stream(self) -> int:
        """A stream that is open, over, idle, or nobody's."""
        opened = list(self.side.opened)
        live = list(self.side.engine.streams)
        pick = self.random.random()
        if live and pick < 0.93:
            return self.random.choice(live)
        if opened and pick < 0.97:
            return self.random.choice(opened)
        return self.random.choice([0, 1, 2, 3, self.next_id, self.next_id + 2, 101, 102])

    def head_fields(self) -> tuple[Field, ...]:
        choose = self.random.choice
        if self.random.random() < 0.03:
            # Malformed, or in the wrong direction.
            return choose([RESPONSE, REQUEST, TRAILERS, (*RESPONSE, (b"Upper", b"x")), (*REQUEST, (b"te", b"gzip"))])
        if self.client:
            status = choose([b"200", b"200", b"404", b"404", b"103", b"204"])
            length = ((b"content-length", b"5"),) if status == b"200" and self.random.random() < 0.1 else ()
            return ((b":status", status), *length)
        return choose([UPLOAD, REQUEST, UPLOAD, REQUEST, UPLOAD, (*UPLOAD, (b"content-length", b"5"))])

    def header_section(self, stream_id: int) -> bytes:
        recorder = self.side.opened.get(stream_id)
        begun = recorder is not None and (recorder.head or recorder.request) is not None
        fields = TRAILERS if begun and self.random.random() < 0.98 else self.head_fields()
        end = self.random.random() < (0.98 if begun else 0.2)
        if fields[0] == (b":status", b"103"):
            end = False
        form = self.random.random()
        if form < 0.7:
            return http2.headers(stream_id, fields, end)
        if form < 0.85:
            return http2.padded_headers(stream_id, fields, self.random.randrange(20), end)
        size = len(http2.block(fields))
        return http2.split_headers(stream_id, fields, sorted(self.random.choices(range(1, size), k=2)), end)

    def fitting(self, kind: int, recorder: Recorder | None) -> int:
        """The kind of frame that the stream can have, rather than this one."""
        if recorder is None or recorder.failure is not None:
            return kind
        if recorder.ended:
            return WINDOW_UPDATE
        return kind if recorder.head is not None or recorder.request is not None else HEADERS

    def frame(self) -> bytes:
        """The next frame, or header section, mostly right."""
        choose = self.random.choice
        stream_id = self.some_stream()
        kind = self.random.choices(
            [HEADERS, DATA, WINDOW_UPDATE, RST_STREAM, PRIORITY, SETTINGS, PING, PUSH_PROMISE, CONTINUATION, 0xFA, -1],
            [30, 40, 10, 3, 3, 6, 4, 0.3, 0.5, 2, 1.5],
        )[0]
        if kind in (HEADERS, DATA) and self.random.random() < 0.97:
            kind = self.fitting(kind, self.side.opened.get(stream_id))
        if kind == HEADERS:
            # h2 takes HEADERS of ids that it might have promised, which are even.
            stream_id |= 1
            if not self.client and self.random.random() < 0.6:
                stream_id = self.next_id
                self.next_id += choose([2, 2, 2, 4])
            return self.header_section(stream_id)
        if kind == DATA:
            payload = self.random.randbytes(choose([0, 1, 3, 5, 5, 200, 700]))
            end = self.random.random() < 0.15
            if self.random.random() < 0.2:
                return http2.padded_data(stream_id, payload, self.random.randrange(30), end)
            return http2.data(stream_id, payload, end)
        if kind == WINDOW_UPDATE:
            rare = self.random.random() < 0.15
            return http2.window_update(choose([0, stream_id]), choose([MAX_WINDOW, 0] if rare else [1, 100, 5_000]))
        if kind == RST_STREAM:
            return http2.reset(stream_id, choose([0, 2, 8, 77]))
        if kind == PRIORITY:
            return http2.priority(stream_id)
        if kind == SETTINGS:
            pairs = [
                (INITIAL_WINDOW_SIZE, choose([0, 10, 65_535, 100_000])),
                (MAX_FRAME_SIZE, choose([16_384, 50_000])),
                (HEADER_TABLE_SIZE, choose([0, 4_096])),
                (0x99, 5),
            ]
            wrong = [(ENABLE_PUSH, 2), (MAX_FRAME_SIZE, 5), (INITIAL_WINDOW_SIZE, 2**31), (MAX_CONCURRENT_STREAMS, 70)]
            return http2.settings(*self.random.sample(pairs, 2), *([choose(wrong)] if choose(range(20)) == 0 else []))
        if kind == PING:
            return http2.ping(self.random.randbytes(8))
        if kind == PUSH_PROMISE:
            return http2.push_promise(stream_id or 1, 2)
        if kind == CONTINUATION:
            return http2.frame(CONTINUATION, END_HEADERS, stream_id)
        if kind == 0xFA:
            return http2.frame(0xFA, self.random.randrange(256), stream_id, b"unknown")
        return choose(
            [
                http2.frame(PING, 0, 0, bytes(7)),
                http2.frame(PING, 0, 1, bytes(8)),
                http2.frame(SETTINGS, 0, 0, bytes(5)),
                http2.frame(SETTINGS, 0, 1),
                http2.frame(RST_STREAM, 0, stream_id, bytes(3)),
                http2.frame(WINDOW_UPDATE, 0, 0, bytes(5)),
                http2.frame(PRIORITY, 0, stream_id, bytes(4)),
                http2.frame(GOAWAY, 0, 0, bytes(7)),
                http2.frame(DATA, PADDED, stream_id, b"\x09abc"),
                http2.frame(HEADERS, END_HEADERS | PADDED, stream_id, b"\x09abc"),
                http2.frame(HEADERS, END_HEADERS | WITH_PRIORITY, stream_id or 1, bytes(3)),
                http2.frame(HEADERS, END_HEADERS, stream_id, indexed(99)),
                http2.data(stream_id or 1, bytes(16_385)),
            ]
        )

    def step(self) -> bool:
        """Play one frame to both and compare; False: the sequence is over."""
        wire = self.frame()
        (first, *_) = frames_in(wire)
        recorder = self.side.opened.get(first.stream)
        reset_by_us = first.stream in self.side.engine._reset_by_us
        over = recorder is not None and recorder.closed
        self.log.append(f"{kind_name(first.kind)} {first.flags:#x} {first.stream} {first.payload[:30]!r}")
        ours, theirs = self.side.feed(wire), self.oracle.feed(wire)
        our_verdict, their_verdict = verdict(ours), verdict(theirs)
        self.log.append(f"    ours {our_verdict} theirs {their_verdict}")
        if our_verdict != their_verdict:
            recorder = self.side.opened.get(first.stream)
            failure = "" if recorder is None or recorder.failure is None else recorder.failure.code
            self.explain(Given(first, reset_by_us, over, failure), our_verdict, their_verdict)
        elif our_verdict == FINE:
            assert self.replies(ours) == self.replies(theirs)
        if "connection" in (our_verdict[0], their_verdict[0]) or our_verdict == stream(FLOW_CONTROL_ERROR):
            # h2 goes on counting the window of a stream that it has reset for it.
            return False
        for frame in ours:
            if frame.kind == WINDOW_UPDATE and frame.stream in self.side.engine.streams:
                self.oracle.connection.increment_flow_control_window(frame.word, frame.stream)
        self.oracle.take()
        self.compare()
        return True

    def replies(self, frames: list[Frame]) -> list[Frame]:
        """Acknowledgements; how credit is given, and what is asked for that, is each one's own affair."""
        return [frame for frame in frames if frame.kind in (SETTINGS, PING) and frame.flags & ACK]

    def explain(self, given: Given, ours: Verdict, theirs: Verdict) -> None:
        for difference in DIFFERENCES:
            if ours in difference.ours and theirs in difference.theirs and difference.holds(given):
                self.met[difference.reason] += 1
                if (ours[0], theirs) == ("stream", FINE):
                    # From here on it is over for both.
                    with contextlib.suppress(h2.exceptions.StreamClosedError):
                        self.oracle.connection.reset_stream(given.frame.stream)
                return
        raise AssertionError(f"{given}: we say {ours[0]} {name_of(ours[1])}, h2 {theirs[0]} {name_of(theirs[1])}")

    def compare(self) -> None:
        """Every message so far, and every window to send by."""
        connection = self.oracle.connection
        engine = self.side.engine
        for stream_id, recorder in self.side.opened.items():
            if isinstance(recorder.failure, Http2Error) and recorder.failure.code != "stream_reset":
                continue
            theirs = self.oracle.story(stream_id)
            if self.client:
                head = None if recorder.head is None else b"%d" % recorder.head.status_code
            else:
                head = None if recorder.request is None else recorder.request.method.encode()
            reset = None
            if isinstance(recorder.failure, Http2Error):
                reset = recorder.failure.error_code
            assert theirs["head"] == head
            assert theirs["interims"] == recorder.interims
            assert theirs["data"] == recorder.data
            assert theirs["trailers"] == (recorder.trailers is not None)
            assert theirs["ended"] == recorder.ended
            # Where an answer had come whole, a reset says only that the rest of the request is not wanted.
            assert theirs["reset"] == reset or recorder.ended
            if stream_id in engine.streams:
                window = min(engine.send_window, recorder.send_window)
                assert connection.local_flow_control_window(stream_id) == window


def played(client: bool, seed: int) -> Play:
    """A sequence from its seed, played to its end."""
    play = Play(client, seed)
    try:
        for _ in range(3):
            play.act()
        for _ in range(FRAMES_PER_SEED):
            if not play.step():
                break
            if play.random.random() < 0.25:
                play.act()
    except Exception as error:
        raise AssertionError("\n".join([f"seed {seed}: {error!r}", *play.log])) from error
    return play


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_random_frames_have_the_same_outcome_as_in_h2(client: bool) -> None:
    for seed in seeds(SEEDS):
        played(client, seed)


def test_every_difference_is_met() -> None:
    """A reason that no sequence needs is to be taken away."""
    met: Counter[str] = Counter()
    for client in (True, False):
        for seed in range(SEEDS):
            met += played(client, seed).met
    assert [difference.reason for difference in DIFFERENCES if difference.reason not in met] == []
