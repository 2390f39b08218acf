"""Field blocks under random insertions, evictions, sizes and repetitions, against hpack's own decoder as the model."""

from __future__ import annotations

import copy
import random

import pytest
from hpack import Decoder, HPACKError

from support import hpack_wire as wire
from support.length import short_or_long
from support.seeds import seeds
from turbosock.errors import Http2Error
from turbosock.protocol.http1.headers import SECRET_KEYS
from turbosock.protocol.http2.block_decoder import BlockDecoder
from turbosock.protocol.http2.block_encoder import BlockEncoder
from turbosock.protocol.http2.error_codes import COMPRESSION_ERROR

Fields = list[tuple[bytes, bytes]]

STEPS = short_or_long(300, 5000)


class Writer:
    """A peer that writes every form of RFC 7541 at random, from so few words that blocks and tables come again."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.sizes = [0, 40, 80, 200, 4096]
        self.names = [bytes([letter]) * chance.choice((1, 1, 3, 20)) for letter in b"abcd"]
        self.values = [b"", b"1", b"22", b"value" * 5, b"large" * 30]
        self.history: list[bytes] = []

    def block(self, entries: int, sizes: list[int]) -> bytes:
        """A block for a table of so many entries, which begins with these sizes; some refer to what is not there."""
        if self.history and not sizes and self.chance.random() < 0.6:
            return self.chance.choice(self.history)
        parts = [wire.resized(size) for size in sizes]
        for _ in range(self.chance.randrange(4)):
            parts.append(self.representation(entries))
        block = b"".join(parts)
        if not sizes and len(self.history) < 12:
            self.history.append(block)
        return block

    def representation(self, entries: int) -> bytes:
        chance = self.chance
        index = chance.choice((2, 8, 61, 62, 61 + max(1, entries), chance.randrange(1, 62 + entries)))
        form = chance.choice((wire.inserted, wire.inserted, wire.literal, wire.secret, None, None))
        if form is None:
            return wire.indexed(index)
        name = index if chance.random() < 0.4 else chance.choice(self.names)
        return form(name, chance.choice(self.values), chance.random() < 0.3)


@pytest.mark.parametrize("seed", seeds(20))
def test_block_decoder_decodes_what_hpack_decodes(seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(chance)
    model = Decoder()
    decoder = BlockDecoder(max_known_bytes=chance.choice((5_000, 50_000, 1_000_000)))
    bound = smallest = 4096
    decoded = 0
    for _ in range(STEPS):
        if chance.random() < 0.02:
            bound = chance.choice(writer.sizes)
            smallest = min(bound, smallest)
            model.max_allowed_table_size = bound
            decoder.resize(bound)
        sizes: list[int] = []
        if smallest < model.header_table_size:
            sizes = [smallest]
        elif chance.random() < 0.02:
            sizes = [chance.choice([size for size in writer.sizes if size <= bound])]
        block = writer.block(len(model.header_table.dynamic_entries), sizes)
        before = copy.deepcopy(model)
        try:
            fields = [tuple(field) for field in model.decode(block, raw=True)]
        except HPACKError:
            # It would be the connection's last block; here the story goes on as if it had not come.
            model = before
            with pytest.raises(Http2Error) as raised:
                decoder.decode(block)
            assert raised.value.error_code == COMPRESSION_ERROR
            continue
        assert list(decoder.decode(block).fields) == fields
        smallest = bound
        decoded += 1
    assert decoded > STEPS // 4
    entries = len(model.header_table.dynamic_entries)
    if smallest >= model.header_table_size:
        everything = b"".join([wire.indexed(62 + index) for index in range(entries)])
        assert list(decoder.decode(everything).fields) == list(model.header_table.dynamic_entries)


@pytest.mark.parametrize("seed", seeds(20))
def test_block_encoder_is_read_by_hpack_and_kept_blocks_stay_true(seed: int) -> None:
    chance = random.Random(seed)
    encoder = BlockEncoder()
    decoder = Decoder()
    ours = BlockDecoder()
    names = [b":path", b":authority", b"accept", b"user-agent", b"x-a", b"x-b", b"traceparent", *SECRET_KEYS]
    messages = [
        [(chance.choice(names), b"%d" % chance.randrange(chance.choice((2, 100)))) for _ in range(chance.randrange(8))]
        for _ in range(20)
    ]
    kept = 0
    for _ in range(STEPS):
        if chance.random() < 0.02:
            for _ in range(chance.randrange(1, 4)):
                size = chance.choice((0, 60, 100, 300, 4096, 65536))
                encoder.resize(size)
                # The same two numbers that an engine gives to both of its halves.
                decoder.max_allowed_table_size = size
                ours.resize(size)
        number = chance.randrange(len(messages))
        key = b"%d" % number
        if key in encoder.cached:
            block = encoder.cached[key]
            kept += 1
        else:
            block = encoder.encode(messages[number], key)
        read = list(decoder.decode(block, raw=True))
        assert [tuple(field) for field in read] == messages[number]
        assert list(ours.decode(block).fields) == messages[number]
        for field in read:
            assert field.indexable is (field[0] not in SECRET_KEYS)
        assert not SECRET_KEYS.intersection(name for name, _ in decoder.header_table.dynamic_entries)
    assert kept > STEPS // 3
    assert encoder.insertions < 30
