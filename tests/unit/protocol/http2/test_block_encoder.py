from __future__ import annotations

import pytest
from hpack import Decoder, HeaderTuple

from support import hpack_stories
from support import hpack_wire as wire
from turbosock.limits import (
    MAX_ENCODED_BLOCK_BYTES,
    MAX_ENCODED_BLOCKS,
    MAX_INSERTED_NAMES,
    MAX_INSERTIONS_PER_NAME,
)
from turbosock.protocol.http1.headers import SECRET_KEYS
from turbosock.protocol.http2.block_encoder import VOLATILE_KEYS, BlockEncoder

Fields = list[tuple[bytes, bytes]]

STEADY: Fields = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"www.example.com"),
    (b"user-agent", b"turbosock/1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate, br"),
]
STATIC: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/")]


class Peer:
    """An encoder and what reads it: hpack's own decoder.

    Attributes:
        read: the fields of the last block.
    """

    def __init__(self, max_table_size: int = 4096) -> None:
        self.encoder = BlockEncoder(max_table_size)
        self.decoder = Decoder(1 << 20)
        self.decoder.max_allowed_table_size = max_table_size
        self.read: list[HeaderTuple] = []

    def send(self, fields: Fields, key: bytes | None = None) -> bytes:
        """The block of these fields, which was read as them."""
        block = self.encoder.encode(fields, key)
        self.read = list(self.decoder.decode(block, raw=True))
        assert [tuple(field) for field in self.read] == fields
        return block

    def resize(self, size: int) -> None:
        """Announce another table size; the encoder hears of it."""
        self.decoder.max_allowed_table_size = size
        self.encoder.resize(size)

    @property
    def table(self) -> Fields:
        """What the reader's table holds, newest first."""
        return list(self.decoder.header_table.dynamic_entries)


def test_block_encoder_on_every_raw_story_is_read_by_another_decoder() -> None:
    lists = given = sent = 0
    for story in hpack_stories.stories_of(hpack_stories.RAW):
        peer = Peer()
        for _, _, fields in story.cases:
            sent += len(peer.send(fields))
            given += sum(len(name) + len(value) for name, value in fields)
            lists += 1
    assert lists > 3_000
    # Cookies and paths are most of what these browsers sent, and never enter the table.
    assert sent < 0.6 * given


def test_block_encoder_repeated_fields_become_indexes_and_a_kept_block() -> None:
    peer = Peer()
    first = peer.send(STEADY, b"key")
    assert peer.encoder.cached == {}
    assert peer.encoder.insertions == 4
    second = peer.send(STEADY, b"key")
    assert len(second) == len(STEADY) < len(first)
    assert peer.encoder.cached == {b"key": second}
    assert peer.send(STEADY, b"other") == second
    assert set(peer.encoder.cached) == {b"key", b"other"}
    assert peer.encoder.insertions == 4


def test_block_encoder_block_without_a_key_is_not_kept() -> None:
    peer = Peer()
    peer.send(STEADY)
    peer.send(STEADY)
    assert peer.encoder.cached == {}


def test_block_encoder_insertion_empties_the_kept_blocks() -> None:
    peer = Peer()
    for _ in range(2):
        peer.send(STEADY, b"key")
    before = peer.encoder.cached[b"key"]
    peer.send([*STEADY, (b"x-new", b"1")], b"new")
    assert peer.encoder.cached == {}
    # The entries have moved by one.
    after = peer.send(STEADY, b"key")
    assert after != before
    assert peer.encoder.cached == {b"key": after}


@pytest.mark.parametrize("name", sorted(VOLATILE_KEYS))
def test_block_encoder_volatile_field_never_enters_the_table(name: bytes) -> None:
    peer = Peer()
    for number in range(3):
        block = peer.send([(name, b"%d" % number)], b"key")
        # A literal that others may index (RFC 7541 §6.2.2).
        assert block[0] & 0xF0 == 0x00
        assert peer.encoder.cached[b"key"] == block
    assert peer.table == []


@pytest.mark.parametrize("name", sorted(SECRET_KEYS))
@pytest.mark.parametrize("value", [b"", b"hunter2", b"x" * 1000])
def test_block_encoder_credential_is_never_indexed_by_anybody(name: bytes, value: bytes) -> None:
    peer = Peer()
    for _ in range(3):
        block = peer.send([(b"x-steady", b"1"), (name, value)], b"key")
        # What a reader must not put into a table of its own either (RFC 7541 §6.2.3).
        assert [field.indexable for field in peer.read] == [True, False]
        assert peer.encoder.cached in ({}, {b"key": block})
    assert peer.table == [(b"x-steady", b"1")]


@pytest.mark.parametrize("field", [(b"accept", b"x" * 3000), (b"x-large", b"y" * 2010)])
def test_block_encoder_field_of_half_the_table_does_not_enter(field: tuple[bytes, bytes]) -> None:
    peer = Peer()
    peer.send([field])
    assert peer.table == []
    peer.send([(field[0], field[1][:1900])])
    assert len(peer.table) == 1


def test_block_encoder_name_that_changes_stops_entering() -> None:
    peer = Peer()
    for number in range(50):
        peer.send([*STEADY, (b"x-trace", b"%d" % number)], b"key")
    assert peer.encoder.insertions == 4 + MAX_INSERTIONS_PER_NAME
    # Those that entered are still of use, and a block with another one is kept.
    assert len(peer.send([(b"x-trace", b"0")])) == 1
    peer.send([*STEADY, (b"x-trace", b"new")], b"key")
    assert b"key" in peer.encoder.cached


def test_block_encoder_values_that_drive_each_other_out_stop_entering() -> None:
    peer = Peer()
    for _ in range(20):
        for letter in b"abc":
            peer.send([(b"accept", bytes([letter]) * 1900)])
    assert peer.encoder.insertions == MAX_INSERTIONS_PER_NAME


def test_block_encoder_names_without_end_stop_entering() -> None:
    peer = Peer()
    for number in range(2 * MAX_INSERTED_NAMES):
        peer.send([(b"x-%d" % number, b"1")])
    assert peer.encoder.insertions == MAX_INSERTED_NAMES
    peer.send([(b"x-0", b"2")])
    assert peer.encoder.insertions == MAX_INSERTED_NAMES + 1


def test_block_encoder_kept_blocks_are_bounded_in_number() -> None:
    peer = Peer()
    for number in range(MAX_ENCODED_BLOCKS + 1):
        assert len(peer.encoder.cached) == number
        peer.send(STATIC, b"%d" % number)
    assert list(peer.encoder.cached) == [b"%d" % MAX_ENCODED_BLOCKS]


def test_block_encoder_kept_blocks_are_bounded_in_bytes() -> None:
    peer = Peer()
    path = b"/" + b"x" * (MAX_ENCODED_BLOCK_BYTES // 10)
    for number in range(20):
        peer.send([(b":path", path)], b"%d" % number)
        assert sum(len(key) + len(block) for key, block in peer.encoder.cached.items()) <= MAX_ENCODED_BLOCK_BYTES
    assert len(peer.encoder.cached) > 1
    peer.encoder.encode([(b":path", b"x" * MAX_ENCODED_BLOCK_BYTES)], b"too large")
    assert b"too large" not in peer.encoder.cached


# Table sizes


def test_block_encoder_resized_says_so_in_its_next_block_and_forgets() -> None:
    peer = Peer()
    for _ in range(2):
        peer.send(STEADY, b"key")
    peer.resize(100)
    assert peer.encoder.cached == {}
    block = peer.send(STEADY, b"key")
    assert block.startswith(wire.resized(100))
    assert sum(len(name) + len(value) + 32 for name, value in peer.table) <= 100


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((0,), [0]),
        ((100, 50, 70), [50, 70]),
        ((100, 4096), [100, 4096]),
        ((100, 200, 300, 50), [50]),
        ((100, 100), [100]),
        ((100, 65536), [100, 4096]),
        ((65536, 100), [100]),
        ((65536,), []),
        ((4096, 4096), []),
    ],
)
def test_block_encoder_resized_often_says_the_smallest_and_the_last(sizes: tuple[int, ...], said: list[int]) -> None:
    peer = Peer()
    peer.send(STEADY)
    for size in sizes:
        peer.resize(size)
    start = b"".join(map(wire.resized, said))
    block = peer.send(STATIC, b"key")
    assert block == start + b"\x82\x87\x84"
    assert (b"key" in peer.encoder.cached) is not bool(said)
    # Said once.
    assert peer.send(STATIC) == b"\x82\x87\x84"


def test_block_encoder_of_a_small_table_says_so_first() -> None:
    peer = Peer(max_table_size=0)
    block = peer.send(STEADY)
    assert block.startswith(wire.resized(0))
    for _ in range(2):
        peer.send(STEADY, b"key")
    assert peer.table == []
    assert b"key" in peer.encoder.cached


def test_block_encoder_uses_no_more_than_its_own_bound() -> None:
    peer = Peer(max_table_size=65536)
    assert peer.send(STATIC) == b"\x82\x87\x84"


# Literals


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 256, 16509, 16511, 20000])
def test_block_encoder_literal_of_any_length_is_read(length: int) -> None:
    Peer().send([(b":path", b"x" * length), (b"cookie", b"y" * length), (b"traceparent", b"z" * length)])


def test_block_encoder_literal_matches_an_independent_writer() -> None:
    encoder = BlockEncoder()
    assert encoder.encode([(b":path", b"/x")]) == wire.literal(4, b"/x")
    assert encoder.encode([(b"traceparent", b"0")]) == wire.literal(b"traceparent", b"0")
    assert encoder.encode([(b"cookie", b"a=1")]) == wire.secret(32, b"a=1")
    # The smallest index of a name that stands twice.
    assert encoder.encode([(b":path", b"/index")]) == wire.literal(4, b"/index")
    assert encoder.encode([(b":path", b"/")]) == wire.indexed(4)
