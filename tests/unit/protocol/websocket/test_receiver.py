"""Both receivers of plain messages: the one with the short way and the one without it, which must come to the same."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from support.websocket import KEY, Seen, WebSocketReader, frame, masked, read_every_way
from turbosock.buffers.ring import RingBuffer
from turbosock.errors import InvalidOption, StateError
from turbosock.limits import MAX_UNANSWERED_PINGS, UTF8_STEP_BYTES, WEBSOCKET_STEP_FRAMES
from turbosock.protocol.websocket import outcomes
from turbosock.protocol.websocket.frame import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from turbosock.protocol.websocket.joining_receiver import MIN_RING_BYTES, JoiningReceiver
from turbosock.protocol.websocket.masking import SMALL_BYTES
from turbosock.protocol.websocket.receiver import MessageReceiver

KINDS = (JoiningReceiver, MessageReceiver)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[JoiningReceiver]:
    found: type[JoiningReceiver] = request.param
    return found


def read(data: bytes, *, is_client: bool = False, capacity: int = 512, **options: int) -> list[Seen]:
    """What both kinds see in `data`, in whatever way it comes."""
    joined = read_every_way(lambda: JoiningReceiver(is_client, **options), data, capacity=capacity)
    assert read_every_way(lambda: MessageReceiver(is_client, **options), data, capacity=capacity) == joined
    return joined


def failure(data: bytes, *, is_client: bool = False, capacity: int = 512, **options: int) -> tuple[object, str]:
    """Code and reason with which `data`, and whatever comes behind it, fails."""
    *before, last = read(data + frame(BINARY, b"more"), is_client=is_client, capacity=capacity, **options)
    assert not [seen for seen in before if seen[0] == "failed"]
    assert last[0] == "failed"
    return last[1], str(last[2])


# RFC 6455 §5.7, as it writes them.
EXAMPLES: list[tuple[str, bool, list[Seen]]] = [
    ("81 05 48 65 6c 6c 6f", True, [("text", "Hello")]),
    ("81 85 37 fa 21 3d 7f 9f 4d 51 58", False, [("text", "Hello")]),
    ("01 03 48 65 6c 80 02 6c 6f", True, [("text", "Hello")]),
    ("89 05 48 65 6c 6c 6f", True, [("ping", b"Hello")]),
    ("8a 85 37 fa 21 3d 7f 9f 4d 51 58", False, [("pong", b"Hello")]),
    ("82 7E 01 00" + "5a" * 256, True, [("binary", b"Z" * 256)]),
]


@pytest.mark.parametrize(("example", "is_client", "expected"), EXAMPLES)
def test_example_of_the_rfc_is_read(example: str, is_client: bool, expected: list[Seen]) -> None:
    assert read(bytes.fromhex(example), is_client=is_client) == expected


def test_example_of_the_rfc_with_64_kib_is_read(kind: type[JoiningReceiver]) -> None:
    data = bytes.fromhex("82 7F 00 00 00 00 00 01 00 00") + b"Z" * 65536
    reader = WebSocketReader(kind(True), capacity=8192)
    reader.feed(data)
    assert reader.seen == [("binary", b"Z" * 65536)]


@pytest.mark.parametrize("is_client", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 125, 126, 127, SMALL_BYTES, SMALL_BYTES + 1, 1000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_of_any_size_between_others_is_read(opcode: int, size: int, is_client: bool) -> None:
    key = None if is_client else KEY
    payload = bytes(97 + i % 26 for i in range(size))
    expected: Seen = ("text", payload.decode()) if opcode == TEXT else ("binary", payload)
    data = frame(BINARY, b"before", key=key) + frame(opcode, payload, key=key) + frame(TEXT, b"after", key=key)
    for kind in KINDS:
        for pieces in ([data], [data[i : i + 1] for i in range(len(data))], [data[:3], data[3:]]):
            reader = WebSocketReader(kind(is_client), capacity=2048)
            for piece in pieces:
                reader.feed(piece)
            assert reader.seen == [("binary", b"before"), expected, ("text", "after")]
            assert reader.ring.length == reader.ring.start == 0


def test_fragments_with_control_frames_between_them_are_one_message() -> None:
    data = (
        frame(TEXT, "größ".encode()[:3], fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, b"", fin=False)
        + frame(PONG)
        + frame(CONTINUATION, "größ".encode()[3:], fin=False)
        + frame(PING, b"2" * 125)
        + frame(CONTINUATION, b"")
        + frame(BINARY, b"next")
    )
    assert read(data) == [("ping", b"1"), ("pong", b""), ("ping", b"2" * 125), ("text", "größ"), ("binary", b"next")]


def test_fragments_are_joined_in_the_rings_own_memory(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False), capacity=512)
    pieces = [bytes([i]) * 20 for i in range(15)]
    reader.feed(frame(BINARY, b"", fin=False))
    for piece in pieces:
        reader.feed(frame(CONTINUATION, piece, fin=False) + frame(PING))
    reader.feed(frame(CONTINUATION))
    assert reader.seen[-1] == ("binary", b"".join(pieces))
    assert reader.wanted == []
    assert reader.receiver.view().obj is reader.ring.storage


def test_messages_that_came_together_can_be_looked_at_together(kind: type[JoiningReceiver]) -> None:
    receiver = kind(False)
    ring = RingBuffer(4096)
    payloads = [bytes([i]) * size for i, size in enumerate((10, 500, 127, 600, 3, 800))]
    data = b"".join(frame(BINARY, payload) for payload in payloads) + frame(BINARY, b"unfinished")[:9]
    room = receiver.room(ring)
    room[: len(data)] = data
    ring.advance(len(data))
    views = []
    while receiver.next(ring) == outcomes.MESSAGE:
        views.append(receiver.view())
    assert [bytes(view) for view in views] == payloads


def test_large_message_lies_in_the_ring_and_is_not_copied(kind: type[JoiningReceiver]) -> None:
    receiver = kind(False)
    ring = RingBuffer(4096)
    ring.write(frame(BINARY, b"x" * 2000))
    assert receiver.next(ring) == outcomes.MESSAGE
    assert receiver.data is None
    assert receiver.view().obj is ring.storage


# What lent memory is for.


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("size", [370, 480, 512, 5000, 70_000])
def test_message_larger_than_the_ring_goes_into_lent_memory(
    kind: type[JoiningReceiver], size: int, direct: bool
) -> None:
    payload = random.Random(size).randbytes(size)
    data = frame(BINARY, b"before") + frame(BINARY, payload) + frame(BINARY, b"after")
    for cut in (len(data), 1 if size < 10_000 else 7, 100, 511):
        reader = WebSocketReader(kind(False), capacity=512, direct=direct)
        for i in range(0, len(data), cut):
            reader.feed(data[i : i + cut])
        assert reader.seen == [("binary", b"before"), ("binary", payload), ("binary", b"after")]
        if size > 600:
            assert reader.wanted
            assert bool(reader.directly) is direct
        assert reader.receiver.lent is None


def test_text_received_directly_is_checked(kind: type[JoiningReceiver]) -> None:
    for payload, expected in (
        (b"x" * 3000, ("text", "x" * 3000)),
        (b"x" * 2000 + b"\xff" + b"x" * 999, ("failed", 1007, "a text message is not UTF-8")),
        (b"x" * 2999 + b"\xc3", ("failed", 1007, "a text message is not UTF-8")),
    ):
        reader = WebSocketReader(kind(False), capacity=512, direct=True)
        reader.feed(frame(TEXT, payload))
        assert reader.seen == [expected]
        assert reader.directly > 1000


def test_fragments_beyond_the_ring_go_on_in_lent_memory(kind: type[JoiningReceiver]) -> None:
    pieces = [bytes([i]) * 90 for i in range(50)]
    data = frame(BINARY, pieces[0], fin=False)
    for piece in pieces[1:]:
        data += frame(PING, b"p" * 100) + frame(CONTINUATION, piece, fin=False)
    data += frame(CONTINUATION)
    for step in (1, 13, 512, len(data)):
        reader = WebSocketReader(kind(False), capacity=512)
        for i in range(0, len(data), step):
            reader.feed(data[i : i + step])
        assert reader.seen[-1] == ("binary", b"".join(pieces))
        assert reader.seen[:-1] == [("ping", b"p" * 100)] * 49
        assert reader.wanted


def test_what_a_peer_announces_makes_no_memory_and_what_it_sends_twice_as_much(kind: type[JoiningReceiver]) -> None:
    payload = bytes(1_000_000)
    data = frame(BINARY, payload)
    reader = WebSocketReader(kind(False), capacity=1024)
    reader.feed(data[:14])
    assert reader.wanted == []
    arrived = 0
    for i in range(14, len(data), 1000):
        reader.feed(data[i : i + 1000])
        arrived += 1000
        assert reader.wanted[-1] <= max(2 * arrived, 32 * 1024)
    assert reader.seen == [("binary", payload)]
    assert len(reader.wanted) < 10
    assert reader.wanted[-1] == len(payload)


@pytest.mark.parametrize("more", [0, 1, 100])
def test_memory_may_be_lent_in_any_size_that_goes_on(kind: type[JoiningReceiver], more: int) -> None:
    payload = random.Random(more).randbytes(3000)
    receiver = kind(False)
    least = 0

    def lends(wanted: int) -> int:
        nonlocal least
        with pytest.raises(StateError, match="lend"):
            receiver.lend(memoryview(bytearray(receiver._least_lent() - 1)))
        least = receiver._least_lent() + more
        return least

    reader = WebSocketReader(receiver, capacity=1024, lends=lends)
    reader.feed(frame(BINARY, payload))
    assert reader.seen == [("binary", payload)]


def test_memory_that_nobody_lends_is_asked_for_again(kind: type[JoiningReceiver]) -> None:
    receiver = kind(False)
    ring = RingBuffer(512)
    ring.write(frame(BINARY, bytes(1000))[:512])
    assert receiver.next(ring) == receiver.next(ring) == outcomes.NEED_MEMORY
    assert ring.length == 504
    receiver.lend(memoryview(bytearray(receiver.wanted)))
    assert receiver.next(ring) == outcomes.NEED_BYTES
    assert ring.length == 0
    assert len(receiver.direct(ring) or b"") == 1000 - 504
    ring.write(b"x")
    assert receiver.direct(ring) is None
    with pytest.raises(StateError, match="took_direct"):
        receiver.took_direct(1000 - 504 + 1)


def test_memory_lent_or_taken_unasked_is_refused(kind: type[JoiningReceiver]) -> None:
    receiver = kind(False)
    with pytest.raises(StateError, match="lend"):
        receiver.lend(memoryview(bytearray(100)))
    assert receiver.direct(RingBuffer(512)) is None
    with pytest.raises(StateError, match="took_direct"):
        receiver.took_direct(0)


def test_receiver_abandoned_lets_go_of_lent_memory(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False), capacity=512)
    reader.feed(frame(BINARY, bytes(1000))[:800])
    memory = reader.receiver.lent
    assert memory is not None
    reader.receiver.abandon()
    assert reader.receiver.lent is None
    memory.release()
    assert reader.receiver.next(reader.ring) == outcomes.ENDED


# What fails, and with which code.


@pytest.mark.parametrize("rsv", [1, 2, 4])
def test_reserved_bit_fails_with_1002(rsv: int) -> None:
    assert failure(frame(TEXT, b"a", rsv=rsv)) == (1002, "a frame has a reserved bit that no extension uses")


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcode_fails_with_1002(opcode: int) -> None:
    assert failure(frame(opcode, b"")) == (1002, f"a frame has the reserved opcode {opcode}")


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_fragmented_control_frame_fails_with_1002(opcode: int) -> None:
    assert failure(frame(opcode, b"", fin=False))[0] == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_long_control_frame_fails_with_1002(opcode: int) -> None:
    assert failure(frame(opcode, b"\x03\xe8" + b"x" * 124))[0] == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_frame_masked_by_the_wrong_side_fails_with_1002(opcode: int) -> None:
    assert failure(frame(opcode, b"", key=None)) == (1002, "a frame of a client is not masked")
    assert failure(frame(opcode, b""), is_client=True) == (1002, "a frame of a server is masked")


@pytest.mark.parametrize(
    "head", ["82 fe 00 7d", "82 fe 00 00", "82 ff 00 00 00 00 00 00 ff ff", "82 ff 80 00 00 00 00 00 00 00"]
)
def test_bad_length_fails_with_1002(head: str) -> None:
    assert failure(bytes.fromhex(head))[0] == 1002


@pytest.mark.parametrize("n", [0, 1, 125])
def test_bad_length_fails_with_its_payload_there(n: int) -> None:
    assert failure(bytes.fromhex("82 fe") + n.to_bytes(2, "big") + KEY + bytes(n))[0] == 1002
    assert failure(bytes.fromhex("82 7e") + n.to_bytes(2, "big") + bytes(n), is_client=True)[0] == 1002


def test_length_of_almost_2_to_the_63_is_too_big_and_allocates_nothing() -> None:
    assert failure(bytes.fromhex("82 ff 7f ff ff ff ff ff ff ff 00 00 00 00"))[0] == 1009


def test_continuation_of_nothing_fails_with_1002() -> None:
    assert failure(frame(BINARY, b"a") + frame(CONTINUATION, b"b"))[0] == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_inside_another_fails_with_1002(opcode: int) -> None:
    assert failure(frame(opcode, b"a", fin=False) + frame(opcode, b"b"))[0] == 1002


@pytest.mark.parametrize("limit", [1, 100, 125, 126, 300])
def test_message_up_to_the_limit_passes_and_one_byte_more_fails_with_1009(limit: int) -> None:
    assert read(frame(BINARY, b"x" * limit), max_message=limit, capacity=2048) == [("binary", b"x" * limit)]
    code, reason = failure(frame(BINARY, b"x" * (limit + 1)), max_message=limit, capacity=2048)
    assert (code, reason) == (1009, f"a message has more than max_message={limit} bytes")
    fragments = frame(BINARY, b"x" * limit, fin=False)
    assert failure(fragments + frame(CONTINUATION, b"x"), max_message=limit, capacity=2048)[0] == 1009


def test_frame_too_big_fails_before_its_payload_comes(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False, max_message=1000))
    reader.feed(frame(BINARY, bytes(1001))[:8])
    assert [seen[:2] for seen in reader.seen] == [("failed", 1009)]


def test_fragments_up_to_the_limit_pass_and_one_more_fails_with_1008() -> None:
    for payload in (b"", b"x"):
        first = frame(TEXT, payload, fin=False)
        middle = frame(CONTINUATION, payload, fin=False)
        last = frame(CONTINUATION)
        assert read(first + 3 * middle + last, max_fragments=5) == [("text", payload.decode() * 4)]
        assert failure(first + 4 * middle + last, max_fragments=5)[0] == 1008


def test_message_in_one_frame_passes_where_only_these_may() -> None:
    assert read(frame(TEXT, b"a") + frame(BINARY, b"b" * 130), max_fragments=1) == [
        ("text", "a"),
        ("binary", b"b" * 130),
    ]
    assert failure(frame(TEXT, b"a", fin=False) + frame(CONTINUATION), max_fragments=1)[0] == 1008


def test_a_million_empty_fragments_are_refused_before_they_have_all_come(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False), capacity=65536)
    reader.feed(frame(BINARY, b"", fin=False))
    block = frame(CONTINUATION, b"", fin=False) * 10_000
    blocks = 0
    while not reader.seen and blocks < 100:
        reader.feed(block)
        blocks += 1
    assert reader.seen[0][:2] == ("failed", 1008)
    assert blocks == 14


def test_fragments_in_numbers_are_taken_in_bounded_steps(kind: type[JoiningReceiver]) -> None:
    receiver = kind(False)
    ring = RingBuffer(65536)
    ring.write(frame(BINARY, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) * 999 + frame(CONTINUATION, b"c"))
    codes = [receiver.next(ring)]
    while codes[-1] == outcomes.AGAIN:
        codes.append(receiver.next(ring))
    assert codes[-1] == outcomes.MESSAGE
    assert receiver.tobytes() == b"a" + b"b" * 999 + b"c"
    assert len(codes) == 1001 // WEBSOCKET_STEP_FRAMES + 1


BAD_TEXT = [b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xe2\x82a", b"x" * 200 + b"\xff", b"x" * 300 + b"\xc3"]


@pytest.mark.parametrize("payload", BAD_TEXT)
def test_text_that_is_not_utf8_fails_with_1007(payload: bytes) -> None:
    expected = (1007, "a text message is not UTF-8")
    assert failure(frame(TEXT, payload), capacity=1024) == expected
    half = len(payload) // 2
    fragments = frame(TEXT, payload[:half], fin=False) + frame(PING) + frame(CONTINUATION, payload[half:])
    assert failure(fragments, capacity=1024) == expected
    assert read(frame(BINARY, payload), capacity=1024) == [("binary", payload)]


def test_long_text_is_checked_to_its_end(kind: type[JoiningReceiver]) -> None:
    for size in (UTF8_STEP_BYTES - 1, UTF8_STEP_BYTES, UTF8_STEP_BYTES + 1, 40_000):
        text = "é" * (size // 2) + "x" * (size % 2)
        for tail, expected in (
            (b"", ("text", text)),
            (b"\xe9", ("failed", 1007, "a text message is not UTF-8")),
        ):
            reader = WebSocketReader(kind(False), capacity=65536)
            reader.feed(frame(TEXT, text.encode() + tail))
            assert reader.seen == [expected]


def test_text_fails_before_its_frame_is_whole(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False), capacity=1024)
    reader.feed(frame(TEXT, b"ok \xf4\x90 and so on")[:11])
    assert [seen[:2] for seen in reader.seen] == [("failed", 1007)]


def test_text_after_a_cut_character_in_a_binary_message_is_read() -> None:
    data = frame(BINARY, b"\xc3", fin=False) + frame(CONTINUATION, b"") + frame(TEXT, b"a", fin=False)
    assert read(data + frame(CONTINUATION, b"b")) == [("binary", b"\xc3"), ("text", "ab")]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", ("close", 1005, "")),
        (b"\x03\xe8", ("close", 1000, "")),
        (b"\x0f\xa0" + "tschüß".encode(), ("close", 4000, "tschüß")),
        (b"\x03", ("failed", 1002, "a Close frame has half a close code")),
        (b"\x03\xed", ("failed", 1002, "a Close frame has the close code 1005, which no peer may send")),
        (b"\x03\xe8\xff", ("failed", 1007, "the reason in a Close frame is not UTF-8")),
    ],
)
def test_close_frame_ends_what_is_read(payload: bytes, expected: Seen) -> None:
    assert read(frame(BINARY, b"a") + frame(CLOSE, payload) + frame(BINARY, b"b")) == [("binary", b"a"), expected]
    inside = frame(BINARY, b"a", fin=False) + frame(CLOSE, payload) + frame(CONTINUATION, b"b")
    assert read(inside) == [expected]


def test_receiver_that_ended_drops_what_comes(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False), capacity=512)
    reader.feed(frame(CLOSE) + b"\xff" * 5000)
    assert reader.seen == [("close", 1005, "")]
    assert reader.ring.length == 0
    assert reader.receiver.next(reader.ring) == outcomes.ENDED


def test_pings_that_nobody_answers_fail_with_1008_and_answered_ones_never(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False))
    for i in range(3 * MAX_UNANSWERED_PINGS):
        reader.feed(frame(PING, b"%d" % i))
        if i % MAX_UNANSWERED_PINGS == MAX_UNANSWERED_PINGS - 1:
            assert reader.receiver.unanswered_pings == MAX_UNANSWERED_PINGS
            reader.receiver.pong_sent()
    assert len(reader.seen) == 3 * MAX_UNANSWERED_PINGS
    for i in range(MAX_UNANSWERED_PINGS + 1):
        reader.feed(frame(PING, b"%d" % i))
    assert reader.seen[-1][:2] == ("failed", 1008)


def test_pongs_that_nobody_asked_for_are_read_without_end(kind: type[JoiningReceiver]) -> None:
    reader = WebSocketReader(kind(False))
    for _ in range(2000):
        reader.feed(frame(PONG, b"x"))
    assert reader.seen == [("pong", b"x")] * 2000


@pytest.mark.parametrize("seed", seeds(15))
@pytest.mark.parametrize("is_client", [False, True])
def test_random_streams_are_read_alike_by_both_kinds_however_they_come(seed: int, is_client: bool) -> None:
    chance = random.Random(seed)
    key = None if is_client else KEY
    data = b""
    expected: list[Seen] = []
    while len(data) < 30_000:
        size = chance.choice((0, 1, 10, 125, 126, 400, 449, 700, 3000))
        is_text = chance.random() < 0.5
        payload = "".join(chance.choices("aé日\U0001f600", k=size // 2)).encode() if is_text else chance.randbytes(size)
        parts = chance.choice((1, 1, 1, 2, 5))
        at = 0
        for i in range(parts):
            end = len(payload) if i == parts - 1 else chance.randint(at, len(payload))
            opcode = CONTINUATION if i else TEXT if is_text else BINARY
            data += frame(opcode, payload[at:end], fin=i == parts - 1, key=key)
            at = end
            if i < parts - 1 and chance.random() < 0.5:
                data += frame(PING, payload[:5], key=key)
                expected.append(("ping", payload[:5]))
        expected.append(("text", payload.decode()) if is_text else ("binary", payload))
    for kind in KINDS:
        for wraps in (False, True):
            reader = WebSocketReader(
                kind(is_client),
                capacity=chance.choice((512, 2048, 65536)),
                offset=chance.randrange(512),
                wraps=wraps,
                direct=chance.random() < 0.5,
            )
            at = 0
            while at < len(data):
                n = chance.choice((1, 2, 7, 100, 1000, 5000))
                reader.feed(data[at : at + n])
                at += n
            assert reader.seen == expected


@pytest.mark.parametrize("seed", seeds(15))
def test_damaged_streams_are_read_alike_by_both_kinds(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        data = bytearray()
        for _ in range(chance.randint(1, 5)):
            opcode = chance.choice((TEXT, BINARY, TEXT, BINARY, CONTINUATION, PING, CLOSE))
            data += frame(opcode, b"\x03\xe8" + b"a" * chance.choice((0, 5, 123, 300)), fin=chance.random() < 0.8)
        for _ in range(chance.randint(0, 2)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        seen = []
        for kind in KINDS:
            for step in (len(data), 1, 50):
                reader = WebSocketReader(kind(False, max_message=2000), capacity=4096)
                for i in range(0, len(data), step):
                    reader.feed(bytes(data[i : i + step]))
                seen.append(reader.seen)
        assert all(each == seen[0] for each in seen)


@pytest.mark.parametrize(
    "options",
    [
        {"max_message": 0},
        {"max_message": 1 << 63},
        {"max_message": True},
        {"max_message": 1.5},
        {"max_fragments": 0},
        {"max_fragments": "5"},
    ],
)
def test_wrong_option_is_refused_by_name(kind: type[JoiningReceiver], options: dict[str, int]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(options))):
        kind(False, **options)


def test_ring_that_is_too_small_is_refused(kind: type[JoiningReceiver]) -> None:
    kind(False).room(RingBuffer(MIN_RING_BYTES))
    with pytest.raises(InvalidOption, match="ring"):
        kind(False).room(RingBuffer(MIN_RING_BYTES - 1))


@pytest.mark.parametrize("size", [5, 125, 126, SMALL_BYTES, 1000, UTF8_STEP_BYTES])
def test_text_that_came_whole_is_decoded_once(kind: type[JoiningReceiver], size: int) -> None:
    receiver = kind(False)
    ring = RingBuffer(2 * UTF8_STEP_BYTES)
    ring.write(frame(TEXT, b"x" * size))
    assert receiver.next(ring) == outcomes.MESSAGE
    assert receiver.text == "x" * size
    assert receiver.totext() is receiver.text


def test_mask_is_taken_off_in_the_ring(kind: type[JoiningReceiver]) -> None:
    payload = random.Random(1).randbytes(1000)
    ring = RingBuffer(2048)
    ring.write(frame(BINARY, payload))
    assert masked(payload) in ring.storage
    assert kind(False).next(ring) == outcomes.MESSAGE
    assert payload in ring.storage


def test_receiver_says_where_it_is() -> None:
    reader = WebSocketReader(MessageReceiver(False))
    reader.feed(frame(BINARY, b"abc", fin=False) + frame(PING) + frame(CONTINUATION, b"defgh")[:8])
    assert repr(reader.receiver) == "<MessageReceiver kept=5 gap=12 left=3 size=0>"
