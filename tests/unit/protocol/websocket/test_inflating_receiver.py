from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest

from support.seeds import seeds
from support.websocket import Seen, WebSocketReader, frame, read_every_way
from turbosock.buffers.ring import RingBuffer
from turbosock.errors import InvalidOption, StateError
from turbosock.limits import (
    DECODE_INPUT_BYTES,
    DECODE_STEP_BYTES,
    MAX_DECODE_RATIO,
    MAX_DECODE_STEPS,
    MAX_WEBSOCKET_MESSAGE_BYTES,
    MIB,
)
from turbosock.protocol.websocket import outcomes
from turbosock.protocol.websocket.frame import BINARY, CLOSE, CONTINUATION, PING, TEXT
from turbosock.protocol.websocket.inflater import Inflater
from turbosock.protocol.websocket.inflating_receiver import InflatingReceiver

RSV1 = 4
HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


def deflated(payload: bytes) -> bytes:
    """One message, which refers to no other."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def receiver(
    is_client: bool = False, *, max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES, max_ratio: float = MAX_DECODE_RATIO
) -> InflatingReceiver:
    return InflatingReceiver(is_client, Inflater(), max_message=max_message, max_ratio=max_ratio)


def read(data: bytes, max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES) -> list[Seen]:
    return read_every_way(lambda: receiver(max_message=max_message), data)


def failure(data: bytes, max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES) -> tuple[object, str]:
    *before, last = read(data + frame(BINARY, b"more"), max_message)
    assert last[0] == "failed" and not [seen for seen in before if seen[0] == "failed"]
    return last[1], str(last[2])


# RFC 7692 §7.2.3, as it writes them; the frames are a server's.
EXAMPLES = {
    "one block": ["c1 07 f2 48 cd c9 c9 07 00"],
    "two frames": ["41 03 f2 48 cd", "80 04 c9 c9 07 00"],
    "sharing the window": ["c1 07 f2 48 cd c9 c9 07 00", "c1 05 f2 00 11 00 00"],
    "no compression": ["c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"],
    "final block": ["c1 08 f3 48 cd c9 c9 07 00 00"],
    "two blocks": ["c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"],
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_example_of_the_rfc_is_read(example: list[str]) -> None:
    messages = 2 if len(example) == 2 and example[1].startswith("c1") else 1
    data = bytes.fromhex("".join(example))
    seen = read_every_way(lambda: receiver(True), data)
    assert seen == [("text", "Hello")] * messages


def test_messages_of_both_sorts_follow_each_other() -> None:
    data = (
        frame(TEXT, b"plain")
        + frame(BINARY, HELLO, rsv=RSV1)
        + frame(PING, b"1")
        + frame(TEXT, b"", fin=False)
        + frame(CONTINUATION, b"joined")
        + frame(TEXT, b"\x00", rsv=RSV1)
        + frame(BINARY, b"", rsv=RSV1)
        + frame(BINARY, b"x" * 200)
    )
    assert read(data) == [
        ("text", "plain"),
        ("binary", b"Hello"),
        ("ping", b"1"),
        ("text", "joined"),
        ("text", ""),
        ("binary", b""),
        ("binary", b"x" * 200),
    ]


def test_compressed_fragments_with_control_frames_between_them_are_one_message() -> None:
    text = "größer als zuvor, " * 30
    data = deflated(text.encode())
    frames = frame(TEXT, data[:2], fin=False, rsv=RSV1)
    for i in range(2, len(data), 3):
        frames += frame(PING, b"%d" % i) + frame(CONTINUATION, data[i : i + 3], fin=False)
    frames += frame(CONTINUATION)
    for step in (1, 7, len(frames)):
        reader = WebSocketReader(receiver())
        for i in range(0, len(frames), step):
            reader.feed(frames[i : i + step])
        assert reader.seen[-1] == ("text", text)


@pytest.mark.parametrize("size", [0, 1, DECODE_STEP_BYTES - 1, DECODE_STEP_BYTES, DECODE_STEP_BYTES + 1, 300_000])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("opcode", [BINARY, TEXT])
def test_message_of_any_size_is_inflated(opcode: int, noise: bool, size: int) -> None:
    chance = random.Random(size)
    payload = bytes(chance.choices(range(128), k=size)) if noise else b"ab" * (size // 2) + b"c" * (size % 2)
    data = frame(opcode, deflated(payload), rsv=RSV1) + frame(BINARY, b"after")
    expected: Seen = ("text", payload.decode()) if opcode == TEXT else ("binary", payload)
    for capacity in (512, 65536):
        reader = WebSocketReader(receiver(), capacity=capacity)
        reader.feed(data)
        assert reader.seen == [expected, ("binary", b"after")]
        if size < DECODE_STEP_BYTES and len(data) < DECODE_INPUT_BYTES and capacity == 65536:
            assert reader.wanted == []


def test_message_that_came_in_one_step_is_owned_bytes() -> None:
    subject = receiver()
    ring = RingBuffer(512)
    ring.write(frame(BINARY, HELLO, rsv=RSV1))
    assert subject.next(ring) == outcomes.MESSAGE
    assert subject.data == b"Hello"
    assert bytes(subject.view()) == b"Hello"


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_memory_may_be_lent_in_any_size_that_goes_on(more: int) -> None:
    payload = random.Random(more).randbytes(200_000)
    subject = receiver()

    def lends(wanted: int) -> int:
        least = subject._least_lent()
        with pytest.raises(StateError, match="lend"):
            subject.lend(memoryview(bytearray(least - 1)))
        return least + more

    reader = WebSocketReader(subject, capacity=65536, lends=lends)
    reader.feed(frame(BINARY, deflated(payload), rsv=RSV1))
    assert reader.seen == [("binary", payload)]


# What fails, and with which code.


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, HELLO, fin=False, rsv=RSV1) + frame(CONTINUATION, b"", rsv=RSV1), 1002),
        (frame(PING, b"", rsv=RSV1), 1002),
        (frame(CLOSE, b"", rsv=RSV1), 1002),
        (frame(TEXT, b"", rsv=RSV1 | 1), 1002),
        (frame(TEXT, b"\xff\xff\xff", rsv=RSV1), 1007),
        (frame(TEXT, deflated(b"\xff"), rsv=RSV1), 1007),
        (frame(TEXT, deflated(b"ab\xc3"), rsv=RSV1), 1007),
        (frame(TEXT, deflated(b"a"), fin=False, rsv=RSV1) + frame(TEXT, b"b"), 1002),
    ],
)
def test_bad_message_fails_with_its_code(data: bytes, code: int) -> None:
    assert failure(data)[0] == code


@pytest.mark.parametrize("limit", [1, 5, 100, 10_000])
def test_message_up_to_the_limit_passes_and_one_byte_more_fails_with_1009(limit: int) -> None:
    assert read(frame(BINARY, deflated(bytes(limit)), rsv=RSV1), max_message=limit) == [("binary", bytes(limit))]
    code, reason = failure(frame(BINARY, deflated(bytes(limit + 1)), rsv=RSV1), max_message=limit)
    assert (code, reason) == (1009, f"a message has more than max_message={limit} bytes")


def test_incompressible_message_at_the_limit_passes() -> None:
    payload = random.Random(1).randbytes(100_000)
    data = deflated(payload)
    assert len(data) > len(payload)
    reader = WebSocketReader(receiver(max_message=len(payload)), capacity=65536)
    reader.feed(frame(BINARY, data, rsv=RSV1))
    assert reader.seen == [("binary", payload)]


def test_message_that_grows_without_expanding_is_too_big() -> None:
    reader = WebSocketReader(receiver(max_message=10_000), capacity=65536)
    reader.feed(frame(BINARY, b"", fin=False, rsv=RSV1))
    for _ in range(100):
        reader.feed(frame(CONTINUATION, b"\x00\x00\x00\xff\xff" * 100, fin=False))
    assert [seen[:2] for seen in reader.seen] == [("failed", 1009)]


def test_bomb_is_refused_before_it_goes_off() -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush the same bytes say the same again: a gibibyte, without the time that it takes to compress.
    block = compressor.compress(bytes(16 * MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    bomb = block * 64
    assert len(bomb) < 1.1 * MIB
    reader = WebSocketReader(receiver(), capacity=65536)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        reader.feed(frame(BINARY, bomb, rsv=RSV1)[:70_000])
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert [seen[:2] for seen in reader.seen] == [("failed", 1009)]
    assert max(reader.wanted) <= MIB
    # The lent memory, what it replaced, and a ring's copies in this test.
    assert peak < 4 * MIB


def test_bomb_below_the_limit_is_refused_by_its_ratio() -> None:
    reader = WebSocketReader(receiver(max_message=64 * MIB, max_ratio=100), capacity=65536)
    reader.feed(frame(BINARY, deflated(bytes(32 * MIB)), rsv=RSV1))
    assert [seen[:2] for seen in reader.seen] == [("failed", 1009)]
    assert "max_ratio=100" in str(reader.seen[0][2])
    assert max(reader.wanted) <= 4 * MIB
    free = WebSocketReader(receiver(max_ratio=1), capacity=65536)
    free.feed(frame(BINARY, deflated(bytes(MIB)), rsv=RSV1))
    assert free.seen == [("binary", bytes(MIB))]


def test_inflating_is_done_in_bounded_steps() -> None:
    subject = receiver(max_message=16 * MIB, max_ratio=10_000)
    ring = RingBuffer(65536)
    ring.write(frame(BINARY, deflated(bytes(8 * MIB)), rsv=RSV1))
    again = 0
    while (code := subject.next(ring)) != outcomes.MESSAGE:
        if code == outcomes.NEED_MEMORY:
            subject.lend(memoryview(bytearray(8 * MIB)))
        else:
            assert code == outcomes.AGAIN
            again += 1
    assert again >= 8 * MIB // (DECODE_STEP_BYTES * MAX_DECODE_STEPS) - 1


def test_streams_without_number_fail_with_1007() -> None:
    assert failure(frame(BINARY, b"\x03\x00" * 100, rsv=RSV1))[0] == 1007


@pytest.mark.parametrize("ratio", [0.9, "5", None, float("nan")])
def test_wrong_ratio_is_refused_by_name(ratio: float) -> None:
    with pytest.raises(InvalidOption, match="max_ratio"):
        receiver(max_ratio=ratio)


def test_receiver_abandoned_lets_go_of_what_it_holds() -> None:
    reader = WebSocketReader(receiver())
    reader.feed(frame(BINARY, deflated(b"a"), fin=False, rsv=RSV1))
    reader.receiver.abandon()
    assert reader.receiver.next(reader.ring) == outcomes.ENDED


@pytest.mark.parametrize("seed", seeds(10))
@pytest.mark.parametrize("takeover", [True, False])
def test_random_messages_are_inflated_however_they_come(seed: int, takeover: bool) -> None:
    chance = random.Random(seed)
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = b""
    expected: list[Seen] = []
    for _ in range(40):
        payload = "".join(chance.choices("aé日", k=chance.choice((1, 20, 1000, 20_000)))).encode()
        if chance.random() < 0.3:
            data += frame(TEXT, payload)
        else:
            if not takeover:
                compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
            packed = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            cut = chance.randint(0, len(packed))
            if chance.random() < 0.5:
                data += frame(TEXT, packed, rsv=RSV1)
            else:
                data += frame(TEXT, packed[:cut], fin=False, rsv=RSV1) + frame(CONTINUATION, packed[cut:])
        expected.append(("text", payload.decode()))
    for wraps in (False, True):
        subject = InflatingReceiver(False, Inflater(takeover=takeover))
        reader = WebSocketReader(subject, capacity=chance.choice((512, 4096, 65536)), wraps=wraps, direct=True)
        at = 0
        while at < len(data):
            n = chance.choice((1, 10, 1000, 5000, 50_000))
            reader.feed(data[at : at + n])
            at += n
        assert reader.seen == expected


@pytest.mark.parametrize("seed", seeds(10))
def test_damaged_messages_come_to_the_same_however_they_come(seed: int) -> None:
    chance = random.Random(seed)
    failed = 0
    for _ in range(30):
        data = bytearray()
        for _ in range(chance.randint(1, 3)):
            packed = deflated(bytes(chance.choices(b"abc", k=chance.choice((10, 1000, 5000)))))
            cut = chance.randint(0, len(packed))
            data += frame(BINARY, packed[:cut], fin=False, rsv=RSV1) + frame(CONTINUATION, packed[cut:])
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        seen = []
        for step in (len(data), 7, 100):
            reader = WebSocketReader(receiver(max_message=8000), capacity=1024)
            for i in range(0, len(data), step):
                reader.feed(bytes(data[i : i + step]))
            # zlib tells of a fault that is wide open when it comes to it, which depends on how much it was given.
            seen.append([each[:2] if each[0] == "failed" else each for each in reader.seen])
        assert seen[0] == seen[1] == seen[2]
        failed += seen[0] != [] and seen[0][-1][0] == "failed"
    assert failed > 5
