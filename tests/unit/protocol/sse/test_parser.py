from __future__ import annotations

import base64
import importlib.util
import itertools
import random
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from support.seeds import seeds
from support.sse import CountingPool, Outcome, Told, allocations_within, cuts, give, read, standard, summary
from support.steps import count_steps
from support.vectors import load_cases, require
from turbosock.audit.counting import allocations, usable_memray
from turbosock.buffers import BufferPool
from turbosock.errors import LimitError, Origin, StateError
from turbosock.limits import KIB, MAX_SSE_FIELD_BYTES, MAX_SSE_NAMES, MAX_SSE_RETRY_MS, MAX_SSE_SHAPE_BYTES, MIB
from turbosock.protocol.sse.event import ServerSentEvent
from turbosock.protocol.sse.parser import EventParser

FILE = "sse.json"
CASES = load_cases(FILE)
GUARDED = pytest.mark.parametrize("diagnostics", [False, True], ids=["plain", "guarded"])


def make(*, diagnostics: bool = False, max_event_bytes: int = MIB, buffer_bytes: int = KIB) -> EventParser:
    pool = BufferPool(diagnostics=diagnostics)
    return EventParser(pool, max_event_bytes=max_event_bytes, buffer_bytes=buffer_bytes)


def data_of(body: bytes) -> list[bytes]:
    """The data of the events in `body`, the same in whatever way it comes."""
    parser = make()
    found = [[told.data for told in read(parser, pieces).events] for pieces in cuts(body)]
    assert all(each == found[0] for each in found)
    return found[0]


def refusal(pieces: list[bytes], max_event_bytes: int = MIB) -> LimitError:
    """The error that a stream in `pieces` ends with."""
    parser = make(max_event_bytes=max_event_bytes)
    try:
        for piece in pieces:
            list(give(parser, piece))
    except LimitError as error:
        return error
    pytest.fail("the stream was not refused")


def test_vectors_are_there() -> None:
    require(FILE)
    assert len(CASES) >= 32


@GUARDED
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vector_in_every_cut_tells_its_events(case: dict[str, object], diagnostics: bool) -> None:
    body = base64.b64decode(str(case["input_b64"]))
    parser = make(diagnostics=diagnostics, max_event_bytes=8 * KIB)
    expected = case["events"]
    assert isinstance(expected, list)
    for pieces in cuts(body):
        outcome = read(parser, pieces)
        texts = [told.data.decode("utf-8", "replace") for told in outcome.events]
        assert [told.event for told in outcome.events] == [each["event"] for each in expected]
        assert texts == [each["data"] for each in expected]
        assert [told.id for told in outcome.events] == [each["last_event_id"] for each in expected]
        assert (outcome.last_event_id, outcome.retry_ms) == (case["final_last_event_id"], case["retry_ms"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vector_by_the_reference_tells_its_events(case: dict[str, object]) -> None:
    outcome = standard(base64.b64decode(str(case["input_b64"])))
    expected = case["events"]
    assert isinstance(expected, list)
    assert [(told.event, told.data.decode("utf-8", "replace"), told.id) for told in outcome.events] == [
        (each["event"], each["data"], each["last_event_id"]) for each in expected
    ]
    assert (outcome.last_event_id, outcome.retry_ms) == (case["final_last_event_id"], case["retry_ms"])


NAMES = (b"data", b"data", b"data", b"event", b"id", b"retry", b"", b"dat", b"datax", b"identity", b"\xef\xbb\xbfdata")
VALUES = (b"", b" ", b"1", b" 23", b"x\0y", b"\xff\xc3", "…".encode(), b":", b" :a", b"a" * 300, b"update", b"\t")


def random_line(chooser: random.Random) -> bytes:
    return chooser.choice(NAMES) + chooser.choice((b":", b": ", b": ", b"")) + chooser.choice(VALUES)


def random_stream(chooser: random.Random) -> bytes:
    """Runs of alike events, as real streams have them, and lines that are anything, with line ends of every kind."""
    parts = [b"\xef\xbb\xbf" * chooser.choice((0, 0, 1, 2))]
    for _ in range(chooser.randrange(1, 8)):
        end = chooser.choice((b"\n", b"\n", b"\r\n", b"\r"))
        if chooser.random() < 0.6:
            space = chooser.choice((b" ", b" ", b""))
            name = chooser.choice((b"", b"event:" + space + chooser.choice(VALUES[:8]) + end))
            count = chooser.choice((1, 1, 1, 2, 9))
            with_id = chooser.random() < 0.5
            for number in range(chooser.randrange(1, 6)):
                ident = b"id:%s%d%s" % (space, chooser.choice((number, 7 * number, 10**number)), end)
                lines = [
                    b"data:" + space + chooser.choice((b"", b"y" * chooser.randrange(400), b" z", b"q"))
                    for _ in range(count)
                ]
                block = [name, ident if with_id else b"", *(line + end for line in lines)]
                if chooser.random() < 0.1:
                    block.append(random_line(chooser) + chooser.choice((b"\n", b"\r\n", b"\r")))
                parts += [*block, end]
        else:
            for _ in range(chooser.randrange(1, 10)):
                line = b"" if chooser.random() < 0.3 else random_line(chooser)
                parts.append(line + chooser.choice((end, end, b"\n", b"\r\n", b"\r")))
    body = b"".join(parts)
    return body[: chooser.randrange(len(body) + 1)] if chooser.random() < 0.3 else body


@pytest.mark.parametrize("seed", seeds(400))
def test_random_stream_in_random_pieces_is_read_as_the_standard_says(seed: int) -> None:
    chooser = random.Random(seed)
    body = random_stream(chooser)
    expected = standard(body)
    parser = make(diagnostics=chooser.random() < 0.2)
    for _ in range(4):
        most = chooser.choice((1, 3, 40, 700, 5000))
        places = sorted(chooser.choices(range(len(body) + 1), k=len(body) // most))
        pieces = [body[start:stop] for start, stop in itertools.pairwise((0, *places, len(body)))]
        assert read(parser, pieces) == expected, body


def test_events_alike_take_turns_with_others_and_none_is_mixed_up() -> None:
    # Each shape comes back after each other one: what is remembered of one must not show in the next.
    blocks = [
        b"data: a\n\n",
        b"data:b\n\n",
        b"data: c\r\n\r\n",
        b"event: x\ndata: d\n\n",
        b"event: x\nid: 1\ndata: e\n\n",
        b"id: 2\nevent: y\ndata: f\n\n",
        b"id:3\ndata:g\n\n",
        b"data: h\ndata: i\n\n",
        b"retry: 5\ndata: j\n\n",
        b": k\n\n",
        b"data: l\nid: 4\n\n",
        b"data: n\nevent: late\n\n",
        b"id: 8\nid: 9\ndata: o\n\n",
        b"event: z\r\nid: 6\r\ndata: m\r\n\r\n",
    ]
    for one, two in itertools.product(blocks, repeat=2):
        body = (one * 3 + two * 2) * 3
        parser = make()
        assert read(parser, [body]) == standard(body), (one, two)
        assert read(parser, [body[i : i + 7] for i in range(0, len(body), 7)]) == standard(body), (one, two)


@pytest.mark.parametrize("event", [b"data: 1\n\n", b"id: 1\ndata: 1\n\n"])
def test_bytes_of_the_past_behind_the_content_are_no_part_of_it(event: bytes) -> None:
    # The second content ends wherever it may inside what the first one left.
    for size in range(1, 8 * len(event)):
        parser = make()
        list(give(parser, event * 8))
        body = (event * 8)[:size]
        view = parser.writable()
        view[:size] = body
        parser.advance(size)
        assert sum(1 for _ in parser) == size // len(event)


@pytest.mark.parametrize("value", [b" x", b"", b"x\0", b"x\ry", b"x\ny", "é".encode(), b"\xff"])
def test_id_that_is_unlike_those_before_is_read_as_the_standard_says(value: bytes) -> None:
    for colon in (b"id: ", b"id:"):
        body = b"".join(b"%s%d\ndata: x\n\n" % (colon, i) for i in range(4)) + colon + value + b"\ndata: y\n\n"
        assert read(make(), [body * 2]) == standard(body * 2)


def test_types_more_than_are_kept_are_all_told() -> None:
    body = b"".join(b"event: type %d\ndata: %d\n\n" % (i, i) for i in range(3 * MAX_SSE_NAMES)) * 2
    assert read(make(), [body]) == standard(body)


def test_fields_longer_than_a_shape_are_read() -> None:
    long = b"n" * (MAX_SSE_SHAPE_BYTES + 1)
    body = b"event: %s\nid: %s\ndata: 1\n\n" % (long, long) * 3 + b"id: %s\ndata: 2\n\n" % long * 3
    assert read(make(), [body]) == standard(body)


def test_data_of_short_lines_is_one_view_without_a_copy_of_the_event() -> None:
    parser = make(buffer_bytes=64 * KIB)
    lines = [b"line %d" % i for i in range(2000)]
    body = b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
    assert [told.data for told in give(parser, body * 3)] == [b"\n".join(lines)] * 3


ODD = (
    b"data: x\nid: 7\n\n",
    b"data: x\n: y\ndata: z\n\n",
    b"data:x\ndata: y\n\n",
    b"data: x\n\n\ndata: y\n\n",
    b"event: other\ndata: x\ndata: y\n\n",
    b"data: x\nretry: 5\ndata: \ndata\n\n",
    b"\n\n: x\n\n",
)


@pytest.mark.parametrize("head", [b"", b"event: update\n"], ids=["data", "type and data"])
@pytest.mark.parametrize("odd", ODD)
def test_event_that_breaks_a_run_is_read_as_the_standard_says_and_those_before_it_stay(head: bytes, odd: bytes) -> None:
    alike = [head + b"data: %d\n" % i + b"data: line\ndata: \n" * (i % 4) + b"\n" for i in range(60)]
    for place in (30, 31, 45, 58):
        body = b"".join([*alike[:place], odd, *alike[place:]])
        parser = EventParser(BufferPool(), buffer_bytes=16 * KIB)
        view = parser.writable()
        view[: len(body)] = body
        parser.advance(len(body))
        told, kept, runs = [], [], 0
        for event in parser:
            told.append(summary(parser))
            # Pinned where it lies: nothing that is joined or put back later may touch it.
            kept.append(event.retain())
            runs += parser._run_stop != 0
        assert runs > 15
        assert told == standard(body).events
        assert [bytes(each) for each in kept] == [each.data for each in told]
        for each in kept:
            each.release()


# Every way that an iteration has: plain events, events with ids, several lines.
ALIKE_OF = {
    "data": lambda i: b"data: %d\n\n" % i,
    "id": lambda i: b"id: %d\ndata: %d\n\n" % (i, i),
    "lines": lambda i: b"data: %d\ndata: x\ndata: y\n\n" % i,
    "CRLF": lambda i: b"data: %d\r\n\r\n" % i,
}


@pytest.mark.parametrize("kind", ALIKE_OF)
def test_events_taken_one_by_one_and_in_iterations_by_turns_are_those_of_the_standard(kind: str) -> None:
    body = b"".join(map(ALIKE_OF[kind], range(40)))
    for pattern in itertools.product((1, 2, 5), repeat=3):
        parser = make(buffer_bytes=16 * KIB)
        parser.writable()[: len(body)] = body
        parser.advance(len(body))
        told = []
        for count in itertools.cycle(pattern):
            for _ in itertools.islice(parser, count):
                told.append(summary(parser))
            if not parser.next_event():
                break
            told.append(summary(parser))
        assert told == standard(body).events, pattern
        assert parser.events == len(told)


@pytest.mark.parametrize("kind", ["data", "id", "lines"])
def test_iteration_is_over_once_another_reads_or_its_memory_is_given_back(kind: str) -> None:
    pool = BufferPool()

    def begun() -> tuple[EventParser, Iterator[ServerSentEvent]]:
        parser = EventParser(pool, buffer_bytes=16 * KIB)
        view = parser.writable()
        body = b"".join(map(ALIKE_OF[kind], range(40)))
        view[: len(body)] = body
        parser.advance(len(body))
        iteration = iter(parser)
        for _ in range(10):
            next(iteration)
        return parser, iteration

    parser, iteration = begun()
    assert bytes(next(iter(parser))).startswith(b"10")
    assert list(iteration) == []
    parser, iteration = begun()
    assert parser.next_event()
    assert list(iteration) == []
    assert len(list(parser)) == 29
    for end in (EventParser.reset, EventParser.close):
        parser, iteration = begun()
        end(parser)
        # What lay there is another's now.
        begun()
        assert list(iteration) == list(parser) == []


def test_short_lines_with_other_lines_between_are_joined() -> None:
    body = b"".join(b"data: %d\n" % i + (b": c\nx: y\n" if i % 50 == 0 else b"") for i in range(600)) + b"\n"
    assert read(make(), [body * 2]) == standard(body * 2)
    assert data_of(b"data: a\ndata: b\ndata\ndata:c\ndata: d\nid: 1\ndata: e\ndata: f\n\n") == [b"a\nb\n\nc\nd\ne\nf"]


def test_retry_is_of_its_event_and_stays_the_streams() -> None:
    parser = make()
    assert [told.retry for told in give(parser, b"data: 1\n\nretry: 70\ndata: 2\n\ndata: 3\n\ndata: 4\n\n")] == [
        None,
        70,
        None,
        None,
    ]
    assert parser.retry_ms == 70


@pytest.mark.parametrize("value", [b"-1", b"+1", b"1.5", b" 1", b"1 ", b"0x1", b"\xd9\xa1", b"1_0", b""])
def test_retry_that_is_not_ascii_digits_is_ignored(value: bytes) -> None:
    parser = make()
    list(give(parser, b"retry: " + value + b"\n\n"))
    assert parser.retry_ms is None


@pytest.mark.parametrize(
    ("digits", "expected"),
    [(b"0", 0), (b"000250", 250), (b"9" * 15, MAX_SSE_RETRY_MS), (b"9" * 5000, MAX_SSE_RETRY_MS), (b"0" * 5000, 0)],
)
def test_retry_of_any_length_counts_as_at_most_the_longest_time(digits: bytes, expected: int) -> None:
    parser = make()
    list(give(parser, b"retry: " + digits + b"\n\n"))
    assert parser.retry_ms == expected


def test_reset_keeps_the_id_or_takes_another_and_forgets_what_is_unfinished() -> None:
    parser = make()
    list(give(parser, b"id: 7\ndata: x\n\nid: 8\nevent: e\ndata: half"))
    parser.reset()
    assert list(give(parser, b"\xef\xbb\xbfdata: y\n\n")) == [Told("message", b"y", "7", None)]
    parser.reset("12")
    assert parser.last_event_id == "12"
    assert list(give(parser, b"data: z\n\nid\n\n")) == [Told("message", b"z", "12", None)]
    assert parser.last_event_id == ""


def test_time_of_receipt_is_that_of_the_events_last_bytes() -> None:
    parser = make()
    for piece, now_ns in ((b"data: a", 5), (b"b\n\ndata: c\n\n", 9)):
        view = parser.writable()
        view[: len(piece)] = piece
        parser.advance(len(piece), now_ns)
        for event in parser:
            assert event.received_ns == 9


def test_counters_tell_events_comments_and_bytes() -> None:
    parser = make()
    body = b": a\n\n" + b"data: x\n\n" * 50 + b":b\ndata:y\n\n" + b"data: z\n" * 20 + b"\n:" + b"c" * 5000
    events = list(give(parser, body))
    assert (parser.events, parser.comments, parser.bytes_in) == (len(events), 3, len(body))
    assert len(events) == 52


# Bounds


def in_pieces(body: bytes) -> list[list[bytes]]:
    return [[body], [body[i : i + 1] for i in range(len(body))], [body[i : i + 977] for i in range(0, len(body), 977)]]


@pytest.mark.parametrize("many", [1, 7], ids=["one line", "lines"])
@pytest.mark.parametrize(
    "start", [b"", b"data: x\n\n" * 3, b"event: e\nid: 1\ndata: x\n\n" * 3, b"data: a\r\n\r\n" * 3]
)
def test_event_of_max_event_bytes_is_read_and_a_larger_one_is_refused(start: bytes, many: int) -> None:
    most = 3000
    shares = [b"y" * (most // many)] * (many - 1)
    shares.append(b"y" * (most - many + 1 - sum(map(len, shares))))
    head = start[: start.find(b"x")] if start.find(b"x") > 0 else b"data: "
    for spacing in (b"data: ", b"data:"):
        body = b"".join((head if i == 0 else spacing) + share + b"\n" for i, share in enumerate(shares))
        for pieces in in_pieces(start + body + b"\n"):
            outcome = read(make(max_event_bytes=most), pieces)
            assert len(outcome.events[-1].data) == most
        for pieces in in_pieces(start + body[:-1] + b"y\n\n" + b"data: z\n\n"):
            error = refusal(pieces, max_event_bytes=most)
            assert (error.code, error.origin) == ("event_too_large", Origin.LIMIT)
            assert "max_event_bytes=3000" in str(error)


def test_event_of_max_event_bytes_may_have_its_longest_id_afterwards() -> None:
    body = b"data: " + b"y" * 3000 + b"\nid: " + b"i" * MAX_SSE_FIELD_BYTES + b"\n\n"
    for pieces in in_pieces(body):
        [told] = read(make(max_event_bytes=3000), pieces).events
        assert (len(told.data), len(told.id)) == (3000, MAX_SSE_FIELD_BYTES)


@pytest.mark.parametrize("field", [b"id", b"event", b"retry"])
def test_field_of_max_sse_field_bytes_is_read_and_a_longer_one_is_refused(field: bytes) -> None:
    longest = b"1" * MAX_SSE_FIELD_BYTES
    for pieces in in_pieces(field + b": " + longest + b"\ndata: x\n\n"):
        assert len(read(make(), pieces).events) == 1
    for pieces in in_pieces(field + b": 1" + longest + b"\ndata: x\n\n"):
        assert str(MAX_SSE_FIELD_BYTES) in str(refusal(pieces))


@pytest.mark.parametrize("start", [b"data: ", b"data:", b"id: ", b"event:", b"retry: "])
def test_endless_line_is_refused_within_its_bound(start: bytes) -> None:
    pool = BufferPool()
    parser = EventParser(pool, max_event_bytes=16 * KIB, buffer_bytes=KIB)
    fed = 0

    def feed() -> None:
        nonlocal fed
        for piece in itertools.chain([start], itertools.repeat(b"9" * 500)):
            fed += len(piece)
            list(give(parser, piece))
            assert pool.stats().outstanding_bytes <= 64 * KIB

    with pytest.raises(LimitError):
        feed()
    assert fed < 20 * KIB
    for call in (parser.next_event, parser.next_event, parser.check):
        with pytest.raises(LimitError):
            call()
    assert list(parser) == []
    with pytest.raises(StateError):
        parser.writable()
    parser.reset()
    assert list(give(parser, b"data: x\n\n")) == [Told("message", b"x", "", None)]


@pytest.mark.parametrize("start", [b":", b"unknown: ", b"datax: ", b"no colon at all "])
def test_endless_line_that_is_ignored_is_not_kept(start: bytes) -> None:
    parser = make(max_event_bytes=100)
    assert list(give(parser, b"data: a\n" + start)) == []
    for _ in range(1000):
        assert list(give(parser, b"c: data: z" * 97)) == []
        assert parser.kept_bytes <= 1
        assert parser.buffer_bytes <= 2 * KIB
    assert list(give(parser, b"\ndata: b\n\n")) == [Told("message", b"a\nb", "", None)]


def test_event_that_never_ends_is_refused() -> None:
    assert refusal([b"data: x\n"] * 4000, max_event_bytes=4096).code == "event_too_large"
    assert refusal([b"data: x\n" * 4000], max_event_bytes=4096).code == "event_too_large"
    assert refusal([b"data\n"] * 5000, max_event_bytes=4096).code == "event_too_large"


# Work


HOSTILE = {
    "one event": lambda n: b"data: " + b"x" * (20 * n) + b"\n\n",
    "short lines": lambda n: b"data: x\n" * (2 * n) + b"\n",
    "lines of CR": lambda n: b"data: x\r" * (2 * n) + b"\r",
    "blank lines": lambda n: b"\n" * (5 * n),
    "blank lines of CR": lambda n: b"\r" * (5 * n),
    "joins that stop": lambda n: b"data: a\ndata: b\nx\n" * n + b"\n",
    "events that join": lambda n: (b"data: a\ndata: b\n\n" + b"data: c\n\n") * n,
    "runs that break": lambda n: (b"data: a\ndata: b\n\n" * 50 + b"data: a\nid: 1\n\n") * (n // 50),
    "runs that break at once": lambda n: (b"data: a\ndata: b\n\n" * 3 + b": x\ndata: a\n\n") * n,
    "stretches and a stop": lambda n: (b"data: a\n" * 100 + b"x\n" + b"data: b\ndata: c\nx\n" * 100) * (n // 100),
    "turns of shapes": lambda n: b"event: a\ndata: 1\n\nid: 1\ndata: 2\n\ndata:3\n\ndata: 4\r\n\r\n" * n,
    "ids without data": lambda n: b"id: 1\ndata: x\n\n" + b"id: 1\nid: 2\n\n" * n,
    "comments": lambda n: b":" * (20 * n),
}


@pytest.mark.parametrize("piece", [1, 100, 1 << 30])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_stream_costs_work_in_proportion_to_its_bytes(name: str, piece: int) -> None:
    make_body: Callable[[int], bytes] = HOSTILE[name]
    found: list[tuple[float, float]] = []
    for count in (400, 1600):
        body = make_body(count if piece > 1 else count // 4)
        pool = CountingPool()
        parser = EventParser(pool, buffer_bytes=16 * KIB)
        pieces = [body[i : i + piece] for i in range(0, len(body), piece)]
        steps = count_steps(partial(read, parser, pieces))
        found.append((steps / len(body), pool.searched / len(body)))
        # A byte of an event is searched a few times, and by no more than a stretch in vain.
        assert pool.searched <= 30 * len(body) + 4096
    few, many = found
    assert many[0] <= 1.3 * few[0] + 0.1
    assert many[1] <= 1.3 * few[1] + 1


ALIKE = pytest.mark.parametrize(
    "event",
    [b"data: " + b"x" * 92 + b"\n\n", b"event: update\ndata: " + b"x" * 78 + b"\n\n"],
    ids=["data", "type and data"],
)


@ALIKE
@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="this interpreter has no _testcapi")
def test_event_of_100_bytes_takes_three_allocations(event: bytes) -> None:
    parser = EventParser(BufferPool())
    count = 100
    assert len(event) == 100
    body = event * (count + 8)

    def fill() -> None:
        parser.reset()
        parser.writable()[: len(body)] = body
        parser.advance(len(body))
        for _ in range(4):
            parser.next_event()

    def work() -> None:
        for _, told in zip(turns, parser, strict=False):
            _ = told.data
            _ = told.event
            _ = told.id
            _ = told.retry

    least: list[int] = []
    # The first one has what an iteration takes once.
    for turn_count in (1, count + 1):
        for allowed in range(4 * count):
            fill()
            turns = itertools.repeat(None, turn_count)
            if allocations_within(work, allowed):
                least.append(allowed)
                break
    assert least[1] - least[0] <= 3 * count


@ALIKE
def test_event_of_100_bytes_takes_nothing_from_the_system(event: bytes) -> None:
    pytest.importorskip("memray")
    memray = usable_memray()
    if memray is None:
        pytest.skip("this run is traced by memray itself")
    parser = EventParser(BufferPool())
    body = memoryview(event * (64 * KIB // len(event) - 1))

    def work(count: int) -> int:
        done = 0
        while done < count:
            parser.writable()[: len(body)] = body
            parser.advance(len(body))
            for told in parser:
                _ = told.data, told.event, told.id, told.retry
                done += 1
        return done

    work(5000)
    assert allocations(memray, work)[0] < 0.005


def test_outcome_of_no_bytes_is_nothing() -> None:
    parser = make()
    assert not parser.next_event()
    assert not parser.next_event()
    assert read(parser, []) == Outcome([], "", None)
    assert summary(parser) == Told("message", b"", "", None)
