from __future__ import annotations

import random
import sys
import zlib

import pytest

from support.websocket import WebSocketReader, frame
from turbosock.errors import StateError
from turbosock.protocol.websocket.deflater import Deflater
from turbosock.protocol.websocket.frame import (
    BINARY,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MAX_HEADER_BYTES,
    PING,
    TEXT,
    header_size,
)
from turbosock.protocol.websocket.inflater import TAIL, Inflater
from turbosock.protocol.websocket.inflating_receiver import InflatingReceiver
from turbosock.protocol.websocket.mask_keys import MaskKeys
from turbosock.protocol.websocket.writer import MessageWriter, Payload

SIZES = [0, 1, 124, 125, 126, 448, 449, 1000, 65535, 65536, 100_000]
KEY = b"\x01\x02\x03\x04"
MESSAGE = b"the same words, and the same words again, " * 10


def constant_keys() -> MaskKeys:
    return MaskKeys(lambda n: int.from_bytes(KEY, "big").to_bytes(4, sys.byteorder) * (n // 4))


def written(writer: MessageWriter, first: int, payload: Payload, at: int = 3) -> bytes:
    """The bytes of one frame, of which `size` tells the number beforehand, and nothing around them is touched."""
    size = writer.size(len(payload))
    memory = memoryview(bytearray(b"\xdb" * (at + size + 5)))
    assert writer.write(memory, at, first, payload) == at + size
    assert bytes(memory[:at]) == b"\xdb" * at and bytes(memory[at + size :]) == b"\xdb" * 5
    return bytes(memory[at : at + size])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", SIZES)
def test_frame_is_written_as_one_made_by_hand(size: int, kind: type[bytes]) -> None:
    payload = random.Random(size).randbytes(size)
    assert written(MessageWriter(None), FIN | BINARY, kind(payload)) == frame(BINARY, payload, key=None)
    assert written(MessageWriter(constant_keys()), FIN | BINARY, kind(payload)) == frame(BINARY, payload, key=KEY)


@pytest.mark.parametrize("opcode", [BINARY, TEXT])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 32, 125])
def test_small_frame_as_an_object_is_the_one_that_is_written(size: int, opcode: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert MessageWriter(constant_keys()).small(FIN | opcode, payload) == frame(opcode, payload, key=KEY)


@pytest.mark.parametrize("keys", [None, constant_keys()], ids=["server", "client"])
@pytest.mark.parametrize("size", SIZES)
def test_frame_written_in_pieces_is_the_one_written_whole(size: int, keys: MaskKeys | None) -> None:
    payload = random.Random(size).randbytes(size)
    writer = MessageWriter(keys)
    memory = memoryview(bytearray(b"\xdb" * 1100))
    at = writer.begin(memory, 3, FIN | BINARY, size)
    wire = bytes(memory[3:at])
    done = 0
    while done < size:
        piece = memoryview(payload)[done : done + 333]
        assert writer.fill(memory, 5, piece) == 5 + len(piece)
        wire += memory[5 : 5 + len(piece)]
        done += len(piece)
    assert wire == frame(BINARY, payload, key=None if keys is None else KEY)


def test_every_masked_frame_has_its_own_key() -> None:
    writer = MessageWriter(MaskKeys())
    keys = {written(writer, FIN | PING, b"12345678")[2:6] for _ in range(500)}
    keys |= {written(writer, FIN | BINARY, bytes(200))[4:8] for _ in range(500)}
    assert len(keys) > 990


@pytest.mark.parametrize("size", SIZES)
def test_message_built_in_place_is_framed_where_it_lies(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    for keys, key in ((None, None), (constant_keys(), KEY)):
        memory = memoryview(bytearray(b"\xdb" * (MAX_HEADER_BYTES + size + 3)))
        memory[MAX_HEADER_BYTES : MAX_HEADER_BYTES + size] = payload
        start = MessageWriter(keys).seal(memory, MAX_HEADER_BYTES, FIN | BINARY, size)
        assert start == MAX_HEADER_BYTES - header_size(size, key is not None)
        assert bytes(memory[start:-3]) == frame(BINARY, payload, key=key)
        assert bytes(memory[-3:]) == b"\xdb" * 3


def test_encode_of_whole_messages_and_fragments_tells_the_first_byte() -> None:
    writer = MessageWriter(None)
    for opcode, fin, first, unfinished in (
        (TEXT, True, FIN | TEXT, 0),
        (BINARY, False, BINARY, BINARY),
        (CONTINUATION, False, CONTINUATION, BINARY),
        (CONTINUATION, True, FIN | CONTINUATION, 0),
        (TEXT, True, FIN | TEXT, 0),
    ):
        payload = b"payload"
        assert writer.encode(opcode, payload, fin) is payload
        assert (writer.first, writer.unfinished) == (first, unfinished)


def test_encode_out_of_order_is_refused_and_changes_nothing() -> None:
    writer = MessageWriter(None, Deflater())
    with pytest.raises(StateError, match="no message"):
        writer.encode(CONTINUATION, b"")
    with pytest.raises(StateError, match="control"):
        writer.encode(PING, b"")
    writer.encode(TEXT, b"a", fin=False)
    for opcode in (TEXT, BINARY):
        with pytest.raises(StateError, match="inside"):
            writer.encode(opcode, b"")
    assert writer.unfinished == TEXT
    writer.encode(CONTINUATION, b"b")


def test_message_is_compressed_from_min_bytes_on() -> None:
    writer = MessageWriter(None, Deflater(min_bytes=100))
    small = MESSAGE[:99]
    assert writer.encode(TEXT, small) is small
    assert writer.first == FIN | TEXT
    encoded = writer.encode(TEXT, MESSAGE[:100])
    assert writer.first == FIN | TEXT | COMPRESSED
    assert zlib.decompressobj(wbits=-15).decompress(bytes(encoded) + TAIL) == MESSAGE[:100]


def test_message_that_compression_makes_longer_is_sent_as_it_is_where_nothing_refers_to_it() -> None:
    noise = random.Random(1).randbytes(500)
    forgetting = MessageWriter(None, Deflater(takeover=False))
    assert forgetting.encode(BINARY, noise) is noise
    assert forgetting.first == FIN | BINARY
    keeping = MessageWriter(None, Deflater())
    assert keeping.encode(BINARY, noise) is not noise
    assert keeping.first == FIN | BINARY | COMPRESSED


def test_fragments_are_compressed_as_one_message_marked_once() -> None:
    writer = MessageWriter(None, Deflater())
    fragments = [
        (TEXT, b"x", False),
        (CONTINUATION, MESSAGE, False),
        (CONTINUATION, b"", False),
        (CONTINUATION, b"y", True),
    ]
    data = b""
    firsts = []
    for opcode, payload, fin in fragments:
        data += bytes(writer.encode(opcode, payload, fin))
        firsts.append(writer.first)
    assert firsts == [TEXT | COMPRESSED, CONTINUATION, CONTINUATION, FIN | CONTINUATION]
    assert zlib.decompressobj(wbits=-15).decompress(data + TAIL) == b"x" + MESSAGE + b"y"


@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize("takeover", [True, False])
def test_what_is_written_is_received(is_client: bool, takeover: bool) -> None:
    chance = random.Random(5)
    writer = MessageWriter(MaskKeys() if is_client else None, Deflater(12, takeover))
    reader = WebSocketReader(InflatingReceiver(not is_client, Inflater(12, takeover)), capacity=4096)
    expected: list[tuple[object, ...]] = []
    for _ in range(200):
        payload = bytes(chance.choices(MESSAGE, k=chance.choice((0, 10, 200, 3000))))
        cut = chance.randint(0, len(payload))
        pieces = [(TEXT, payload, True)]
        if chance.random() < 0.5:
            pieces = [(TEXT, payload[:cut], False), (CONTINUATION, payload[cut:], True)]
        for opcode, piece, fin in pieces:
            encoded = writer.encode(opcode, piece, fin)
            reader.feed(written(writer, writer.first, encoded))
        expected.append(("text", payload.decode()))
    assert reader.seen == expected
