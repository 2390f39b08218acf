from __future__ import annotations

import random
import zlib

import pytest

from support.seeds import seeds
from turbosock.protocol.websocket.deflater import Deflater
from turbosock.protocol.websocket.inflater import TAIL

MESSAGE = b'{"name": "player", "position": [1.5, 2.25, 3.0], "hits": 100}' * 4


def inflated(data: bytes, bits: int = 15) -> bytes:
    return zlib.decompressobj(wbits=-bits).decompress(data + TAIL)


def test_message_is_compressed_without_its_tail() -> None:
    data = Deflater().deflate(b"Hello")
    # RFC 7692 §7.2.3.1.
    assert data == bytes.fromhex("f2 48 cd c9 c9 07 00")


def test_second_message_refers_to_the_first_with_takeover_only() -> None:
    keeping = Deflater()
    forgetting = Deflater(takeover=False)
    assert len(keeping.deflate(MESSAGE)) > 3 * len(keeping.deflate(MESSAGE))
    first = forgetting.deflate(MESSAGE)
    assert forgetting.deflate(MESSAGE) == first
    assert inflated(first) == MESSAGE


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_empty_messages_are_messages(takeover: bool, kind: type[bytes]) -> None:
    deflater = Deflater(takeover=takeover)
    receiver = zlib.decompressobj(wbits=-15)
    for payload in (b"", b"", MESSAGE, b"", b"a", b""):
        data = deflater.deflate(kind(payload))
        assert data
        assert receiver.decompress(data + TAIL) == payload


@pytest.mark.parametrize("takeover", [True, False])
def test_fragments_come_out_as_they_go_in(takeover: bool) -> None:
    deflater = Deflater(takeover=takeover)
    receiver = zlib.decompressobj(wbits=-15)
    for _ in range(2):
        assert receiver.decompress(deflater.deflate(b"first", last=False)) == b"first"
        assert receiver.decompress(deflater.deflate(b"", last=False)) == b""
        assert receiver.decompress(deflater.deflate(b"second", last=False)) == b"second"
        assert receiver.decompress(deflater.deflate(b"") + TAIL) == b""


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_output_refers_back_no_further_than_was_agreed(bits: int, level: int) -> None:
    chance = random.Random(bits)
    deflater = Deflater(bits, level=level, memory_level=chance.randint(1, 9))
    # zlib refuses to inflate a distance beyond the window that it is told.
    receiver = zlib.decompressobj(wbits=-bits)
    seen = b""
    for _ in range(30):
        # Repeats from all distances around the window.
        at = max(0, len(seen) - (1 << bits) - chance.randint(-600, 600))
        payload = seen[at : at + chance.randint(0, 700)] + chance.randbytes(chance.randint(1, 300))
        assert receiver.decompress(deflater.deflate(payload) + TAIL) == payload
        seen += payload


@pytest.mark.parametrize("seed", seeds(5))
def test_random_messages_come_through(seed: int) -> None:
    chance = random.Random(seed)
    deflater = Deflater(chance.randint(8, 15), chance.random() < 0.5, chance.randint(0, 9), chance.randint(1, 9))
    receiver = zlib.decompressobj(wbits=-15)
    for _ in range(50):
        payload = bytes(chance.choices(b"abcdefgh", k=chance.randint(0, 5000)))
        assert receiver.decompress(deflater.deflate(payload) + TAIL) == payload


@pytest.mark.parametrize("takeover", [True, False])
def test_restart_keeps_nothing_of_what_was_not_sent(takeover: bool) -> None:
    deflater = Deflater(15, takeover)
    receiver = zlib.decompressobj(wbits=-15)
    words = b"the same words again and again, " * 20
    assert receiver.decompress(deflater.deflate(words) + TAIL) == words
    # Compressed, or begun, and never sent.
    lost = bytes(range(200))
    deflater.deflate(lost)
    deflater.deflate(lost, last=False)
    deflater.restart()
    assert receiver.decompress(deflater.deflate(lost + words) + TAIL) == lost + words
    assert receiver.decompress(deflater.deflate(words) + TAIL) == words
