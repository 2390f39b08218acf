from __future__ import annotations

import random
import zlib

import pytest

from support.seeds import seeds
from turbosock.limits import MAX_INFLATE_STREAMS
from turbosock.protocol.websocket.inflater import TAIL, Inflater

# RFC 7692 §7.2.3, as it writes them: each is "Hello" as one message.
HELLO = {
    "one block": "f2 48 cd c9 c9 07 00",
    "no compression": "00 05 00 fa ff 48 65 6c 6c 6f 00",
    "final block": "f3 48 cd c9 c9 07 00 00",
    "two blocks": "f2 48 05 00 00 00 ff ff ca c9 c9 07 00",
}


def inflate(inflater: Inflater, data: bytes, room: int = 1000, piece_bytes: int = 1 << 20) -> bytes:
    """A whole message."""
    out = []
    for part in (data, TAIL):
        at = 0
        while at < len(part) or not inflater.hungry:
            piece = memoryview(part)[at : at + piece_bytes]
            out.append(inflater.step(piece, room))
            assert not inflater.failure, inflater.failure
            assert len(out[-1]) <= room
            at += inflater.taken
    inflater.end_message()
    return b"".join(out)


@pytest.mark.parametrize("piece_bytes", [1, 3, 1000])
@pytest.mark.parametrize("room", [1, 2, 1000])
@pytest.mark.parametrize("example", HELLO.values(), ids=HELLO)
def test_example_of_the_rfc_is_inflated(example: str, room: int, piece_bytes: int) -> None:
    inflater = Inflater()
    for _ in range(3):
        assert inflate(inflater, bytes.fromhex(example), room, piece_bytes) == b"Hello"


def test_second_message_of_the_rfc_refers_to_the_first_only_with_takeover() -> None:
    inflater = Inflater()
    assert inflate(inflater, bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
    assert inflate(inflater, bytes.fromhex("f2 00 11 00 00")) == b"Hello"
    forgetful = Inflater(takeover=False)
    assert inflate(forgetful, bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
    forgetful.step(bytes.fromhex("f2 00 11 00 00"), 100)
    assert "broken" in forgetful.failure


def test_empty_message_is_inflated_to_nothing() -> None:
    inflater = Inflater()
    assert inflate(inflater, b"\x00") == b""
    assert inflate(inflater, b"\x02\x00") == b""


@pytest.mark.parametrize("room", [1, 100, 32768])
def test_never_more_comes_out_than_was_asked_for(room: int) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bomb.compress(bytes(1_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    inflater = Inflater()
    out = inflater.step(data, room)
    assert len(out) == room
    assert not inflater.hungry
    assert len(inflater.step(memoryview(data)[inflater.taken :], room)) == room


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x01\x02\x03\x04\x05", bytes.fromhex("f2 00 11 00 00")])
def test_broken_data_is_a_failure_in_words(data: bytes) -> None:
    inflater = Inflater()
    assert inflater.step(data, 100) == b""
    assert inflater.failure.startswith("a compressed message is broken: ")


def test_broken_data_takes_nothing_more() -> None:
    inflater = Inflater()
    inflater.step(bytes.fromhex("f2 48 cd c9 c9 07 00") + TAIL, 100)
    assert inflater.taken == 11
    inflater.step(b"\xff", 100)
    assert inflater.failure
    assert inflater.taken == 0


def test_streams_without_number_are_refused_and_each_message_has_its_own_count() -> None:
    empty_final = b"\x03\x00"
    inflater = Inflater()
    for _ in range(3):
        assert inflate(inflater, empty_final * MAX_INFLATE_STREAMS + b"\x00") == b""
    data = empty_final * (MAX_INFLATE_STREAMS + 1)
    at = 0
    while not inflater.failure:
        inflater.step(data[at:], 100)
        at += inflater.taken
    assert str(MAX_INFLATE_STREAMS) in inflater.failure
    assert at == len(data)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("seed", seeds(3))
def test_messages_of_any_compressor_are_inflated(seed: int, bits: int) -> None:
    chance = random.Random(seed)
    sender = zlib.compressobj(chance.randint(0, 9), zlib.DEFLATED, -bits, chance.randint(1, 9))
    inflater = Inflater(bits)
    for _ in range(10):
        payload = bytes(chance.choices(b"abc", k=chance.randint(0, 3000)))
        data = sender.compress(payload) + sender.flush(zlib.Z_SYNC_FLUSH)
        data = data.removesuffix(TAIL) if data else b"\x00"
        assert inflate(inflater, data, chance.randint(1, 500), chance.randint(1, 500)) == payload
