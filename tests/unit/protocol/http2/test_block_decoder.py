from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest
from hpack import Encoder

from support import hpack_stories
from support import hpack_wire as wire
from turbosock.audit.counting import allocations, usable_memray
from turbosock.audit.growth import blocks_kept
from turbosock.errors import HeadTooLarge, Http2Error
from turbosock.limits import MAX_HEAD_BYTES, MAX_HEAD_FIELDS, MAX_HEAD_OVERRUN, MAX_KNOWN_BLOCK_BYTES
from turbosock.protocol.http2.block_decoder import BlockDecoder
from turbosock.protocol.http2.error_codes import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from turbosock.protocol.http2.field_block import ORDINARY

ANSWER = [
    (b":status", b"200"),
    (b"server", b"nginx/1.22.1"),
    (b"date", b"Thu, 21 Nov 2024 10:00:00 GMT"),
    (b"content-type", b"application/octet-stream"),
    (b"content-length", b"1024"),
]
# As nginx writes it: everything enters the table, nothing refers to it.
INSERTING = b"".join([wire.indexed(8), *(wire.inserted(name, value) for name, value in ANSWER[1:])])


class Empty:
    """A call like that of a decoder, which does nothing."""

    def decode(self, block: bytes) -> None:
        pass


def refusal(decoder: BlockDecoder, block: bytes) -> Http2Error:
    with pytest.raises(Http2Error) as raised:
        decoder.decode(block)
    return raised.value


# What others wrote: the archive of stories, and RFC 7541 appendix C


def test_block_decoder_on_every_story_of_every_encoder_finds_its_fields() -> None:
    lists = 0
    for story in hpack_stories.stories():
        if story.encoder == hpack_stories.RAW:
            continue
        decoder = BlockDecoder()
        for table_size, block, fields in story.cases:
            if table_size is not None:
                decoder.resize(table_size)
            assert list(decoder.decode(block).fields) == fields, story.name
            lists += 1
    assert lists > 43_000


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header")),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
        ("100870617373776f726406736563726574", (b"password", b"secret")),
        ("82", (b":method", b"GET")),
    ],
)
def test_block_decoder_on_single_fields_of_the_rfc(block: str, field: tuple[bytes, bytes]) -> None:
    assert BlockDecoder().decode(bytes.fromhex(block)).fields == (field,)


@pytest.mark.parametrize(
    "blocks",
    [
        (
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ),
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ),
    ],
)
def test_block_decoder_on_requests_of_the_rfc(blocks: tuple[str, str, str]) -> None:
    decoder = BlockDecoder()
    first, second, third = [decoder.decode(bytes.fromhex(block)).fields for block in blocks]
    site = (b":authority", b"www.example.com")
    assert first == ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), site)
    assert second == (*first, (b"cache-control", b"no-cache"))
    custom = (b"custom-key", b"custom-value")
    assert third == ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), site, custom)


@pytest.mark.parametrize(
    "blocks",
    [
        (
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d"
            "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ),
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960"
            "d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
    ],
)
def test_block_decoder_on_responses_of_the_rfc_evicts(blocks: tuple[str, str, str]) -> None:
    decoder = BlockDecoder(max_table_size=256)
    # The examples begin with a table of 256 bytes; on a connection of HTTP/2 the encoder says so first.
    first, second, third = [
        decoder.decode(bytes.fromhex(block)).fields for block in ("3fe101" + blocks[0], blocks[1], blocks[2])
    ]
    kept = ((b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"))
    place = (b"location", b"https://www.example.com")
    assert first == ((b":status", b"302"), *kept, place)
    assert second == ((b":status", b"307"), *kept, place)
    assert third == (
        (b":status", b"200"),
        kept[0],
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        place,
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    )


# Blocks that come again


def test_block_decoder_known_block_that_inserts_is_not_decoded_again() -> None:
    decoder = BlockDecoder()
    first = decoder.decode(INSERTING)
    for _ in range(1000):
        assert decoder.decode(bytes(bytearray(INSERTING))) is first
    assert decoder.misses == 1


def test_block_decoder_known_block_that_inserts_has_filled_the_table_when_it_is_asked_for() -> None:
    decoder = BlockDecoder()
    for number in range(50):
        decoder.decode(INSERTING)
        decoder.decode(wire.inserted(b"n", b"%d" % number))
    assert decoder.decode(wire.indexed(62)).fields == ((b"n", b"49"),)
    assert decoder.decode(wire.indexed(63)).fields == (ANSWER[-1],)
    assert decoder.decode(wire.indexed(67) + wire.indexed(72)).fields == ((b"n", b"48"), (b"n", b"47"))


def test_block_decoder_table_that_stands_still_costs_no_decode() -> None:
    encoder = Encoder()
    blocks = [encoder.encode(ANSWER) for _ in range(3)]
    assert blocks[0] != blocks[1] == blocks[2]
    decoder = BlockDecoder()
    decoder.decode(blocks[0])
    second = decoder.decode(blocks[1])
    assert second.fields == tuple(ANSWER)
    for _ in range(1000):
        assert decoder.decode(blocks[2]) is second
    assert decoder.misses == 2


def test_block_decoder_table_that_comes_back_to_its_content_knows_what_it_knew() -> None:
    decoder = BlockDecoder()
    # Two large entries of which the table holds one: what follows it is known for either.
    big = [wire.inserted(b"n", bytes([letter]) * 4000) for letter in b"ab"]
    for _ in range(10):
        for block in big:
            decoder.decode(block)
            decoder.decode(wire.indexed(62))
    assert decoder.misses == 4


def test_block_decoder_same_bytes_in_another_table_mean_something_else() -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"a", b"1"))
    assert decoder.decode(wire.indexed(62)).fields == ((b"a", b"1"),)
    decoder.decode(wire.inserted(b"a", b"2"))
    assert decoder.decode(wire.indexed(62)).fields == ((b"a", b"2"),)
    assert decoder.decode(wire.indexed(63)).fields == ((b"a", b"1"),)


def test_block_decoder_block_that_drives_its_own_entries_out_leaves_what_hpack_leaves() -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"old", b"1"))
    # The first does not fit any table and empties it (RFC 7541 §4.4); the second stays.
    decoder.decode(wire.inserted(b"n", b"x" * 5000) + wire.inserted(b"new", b"2"))
    assert decoder.decode(wire.indexed(62)).fields == ((b"new", b"2"),)
    assert refusal(decoder, wire.indexed(63)).error_code == COMPRESSION_ERROR


@pytest.mark.parametrize("refers", [False, True])
def test_block_decoder_known_block_costs_one_call_and_no_allocation(refers: bool) -> None:
    block = INSERTING
    decoder = BlockDecoder()
    decoder.decode(block)
    if refers:
        block = wire.indexed(8) + b"".join([wire.indexed(index) for index in (65, 64, 63, 62)])
        decoder.decode(block)

    def work(count: int) -> int:
        decode = decoder.decode
        for _ in range(count):
            decode(block)
        return count

    empty = Empty()

    def empty_work(count: int) -> int:
        decode = empty.decode
        for _ in range(count):
            decode(block)
        return count

    calls = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    work(1000)
    sys.setprofile(None)
    # And one of work() itself.
    assert calls == 1001
    assert blocks_kept(work) < 0.1
    memray = usable_memray()
    if memray is not None:
        assert allocations(memray, work) == pytest.approx(allocations(memray, empty_work), abs=0.2)


@pytest.mark.parametrize("refers", [False, True])
def test_block_decoder_memory_that_is_full_forgets_and_stays_right(refers: bool) -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"kept", b"1"))
    value = b"x" * 1000
    for number in range(2 * MAX_KNOWN_BLOCK_BYTES // 1000):
        block = wire.literal(b"n", b"%d" % number + value) + (wire.indexed(62) if refers else b"")
        assert decoder.decode(block).fields[0] == (b"n", b"%d" % number + value)
        assert decoder._known_bytes <= MAX_KNOWN_BLOCK_BYTES + 8000
    assert decoder.decode(wire.indexed(62)).fields == ((b"kept", b"1"),)


def test_block_decoder_memory_is_about_what_it_counts() -> None:
    decoder = BlockDecoder()
    peak = 0
    tracemalloc.start()
    try:
        for number in range(1000):
            fields = [wire.inserted(b"n%d" % index, b"value%d" % number) for index in range(6)]
            decoder.decode(wire.indexed(8) + b"".join(fields)).response_head(ORDINARY)
            peak = max(peak, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert 0.5 * MAX_KNOWN_BLOCK_BYTES < peak < 1.5 * MAX_KNOWN_BLOCK_BYTES


def test_block_decoder_many_tables_are_bounded() -> None:
    decoder = BlockDecoder(max_known_bytes=40_000)
    for number in range(100):
        decoder.decode(wire.inserted(b"n", b"%d" % number))
        assert decoder.decode(wire.indexed(62)).fields == ((b"n", b"%d" % number),)
        assert len(decoder._states) <= 11
    assert decoder.decode(wire.indexed(161)).fields == ((b"n", b"0"),)


def test_block_decoder_dropped_is_freed_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        decoder = BlockDecoder()
        for number in range(10):
            decoder.decode(wire.inserted(b"n", b"%d" % (number % 2)))
            decoder.decode(wire.indexed(62))
        del decoder
        assert gc.collect() == 0
    finally:
        gc.enable()


# Bounds


def test_block_decoder_list_beyond_its_bounds_fails_its_message_alone() -> None:
    decoder = BlockDecoder(max_list_bytes=1000, max_fields=10)
    large = decoder.decode(wire.inserted(b"n", b"x" * 999) + wire.inserted(b"after", b"1"))
    many = decoder.decode(wire.indexed(2) * 11)
    for block in (large, many):
        assert block.fields == ()
        for ask in (lambda b=block: b.response_head(0), lambda b=block: b.request_head(True), block.trailers):
            with pytest.raises(HeadTooLarge):
                ask()
    assert (large.list_bytes, many.list_bytes) == (1032 + 38, 11 * 42)
    assert decoder.decode(wire.indexed(62)).fields == ((b"after", b"1"),)


def test_block_decoder_list_at_its_bounds_is_decoded() -> None:
    decoder = BlockDecoder(max_list_bytes=1000, max_fields=10)
    assert decoder.decode(wire.literal(b"n", b"x" * 967)).list_bytes == 1000
    assert len(decoder.decode(wire.literal(b"n", b"x") * 10).fields) == 10


def test_block_decoder_bomb_of_references_ends_the_connection() -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"n", b"x" * 4000))
    times = MAX_HEAD_OVERRUN * MAX_HEAD_BYTES // 4033
    assert decoder.decode(wire.indexed(62) * times).fields == ()
    error = refusal(decoder, wire.indexed(62) * (times + 1))
    assert error.error_code == ENHANCE_YOUR_CALM
    assert error.__suppress_context__


def test_block_decoder_bomb_of_fields_ends_the_connection() -> None:
    decoder = BlockDecoder()
    times = MAX_HEAD_OVERRUN * MAX_HEAD_FIELDS
    assert decoder.decode(wire.literal(b"", b"") * times).fields == ()
    assert refusal(decoder, wire.literal(b"", b"") * (times + 1)).error_code == ENHANCE_YOUR_CALM
    assert decoder.misses == 1


# Table sizes


def test_block_decoder_size_within_the_bound_is_taken() -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"a", b"1") + wire.inserted(b"b", b"2"))
    decoder.decode(wire.resized(40))
    assert decoder.decode(wire.indexed(62)).fields == ((b"b", b"2"),)
    decoder.decode(wire.resized(4096))
    assert refusal(decoder, wire.indexed(63)).error_code == COMPRESSION_ERROR


def test_block_decoder_known_blocks_after_another_size_are_decoded_anew() -> None:
    decoder = BlockDecoder()
    block = wire.inserted(b"a", b"1") + wire.inserted(b"b", b"2") + wire.indexed(63)
    assert decoder.decode(block).fields[2] == (b"a", b"1")
    decoder.decode(wire.resized(40))
    assert refusal(decoder, block).error_code == COMPRESSION_ERROR


def test_block_decoder_size_above_the_bound_is_refused() -> None:
    assert refusal(BlockDecoder(), wire.resized(4097)).error_code == COMPRESSION_ERROR
    decoder = BlockDecoder()
    decoder.resize(8192)
    decoder.decode(wire.resized(8192))
    assert refusal(decoder, wire.resized(8193)).error_code == COMPRESSION_ERROR


def test_block_decoder_size_after_a_field_is_refused() -> None:
    assert refusal(BlockDecoder(), wire.indexed(2) + wire.resized(100)).error_code == COMPRESSION_ERROR


@pytest.mark.parametrize(
    ("sizes", "block", "right"),
    [
        ((100,), wire.indexed(2), False),
        ((100,), wire.resized(101) + wire.indexed(2), False),
        ((100,), wire.resized(100) + wire.indexed(2), True),
        ((100,), wire.resized(0) + wire.resized(100) + wire.indexed(2), True),
        # It went down and up again: what was evicted must be known (RFC 7541 §4.2).
        ((100, 4096), wire.indexed(2), False),
        ((100, 4096), wire.resized(4096) + wire.indexed(2), False),
        ((100, 4096), wire.resized(100) + wire.resized(4096) + wire.indexed(2), True),
        ((100, 4096, 200), wire.resized(200) + wire.indexed(2), False),
        ((100, 4096, 200), wire.resized(100) + wire.indexed(2), True),
        ((8192,), wire.indexed(2), True),
        ((4096,), wire.indexed(2), True),
    ],
)
def test_block_decoder_resized_down_wants_to_hear_it_first(sizes: tuple[int, ...], block: bytes, right: bool) -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"a", b"1"))
    decoder.decode(wire.indexed(2))
    for size in sizes:
        decoder.resize(size)
    if right:
        assert decoder.decode(block).fields[-1] == (b":method", b"GET")
        assert decoder.decode(wire.indexed(2)).fields == ((b":method", b"GET"),)
    else:
        assert refusal(decoder, block).error_code == COMPRESSION_ERROR


def test_block_decoder_resized_keeps_the_table() -> None:
    decoder = BlockDecoder()
    decoder.decode(wire.inserted(b"a", b"1"))
    decoder.resize(100)
    assert decoder.decode(wire.resized(100) + wire.indexed(62)).fields == ((b"a", b"1"),)
    decoder.resize(65536)
    assert decoder.decode(wire.resized(65536) + wire.indexed(62)).fields == ((b"a", b"1"),)
    for number in range(1500):
        decoder.decode(wire.inserted(b"n", b"%d" % number))
    assert decoder.decode(wire.indexed(62 + 1499)).fields == ((b"n", b"0"),)


def test_block_decoder_told_of_a_small_table_wants_it_from_the_first_block() -> None:
    assert refusal(BlockDecoder(max_table_size=0), wire.indexed(2)).error_code == COMPRESSION_ERROR
    decoder = BlockDecoder(max_table_size=0)
    decoder.resize(4096)
    assert refusal(decoder, wire.indexed(2)).error_code == COMPRESSION_ERROR
    decoder = BlockDecoder(max_table_size=0)
    decoder.decode(wire.resized(0) + wire.inserted(b"a", b"1"))
    assert refusal(decoder, wire.indexed(62)).error_code == COMPRESSION_ERROR


# Bytes that are no block


@pytest.mark.parametrize(
    "block",
    [
        wire.indexed(0),
        wire.indexed(62),
        wire.literal(62, b"a"),
        wire.inserted(62, b"a"),
        wire.secret(62, b"a"),
        b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        b"\x40\x7f\xff\xff\xff\xff\xff\xff\x0f",
        # Huffman codes: padding of eight bits, of zeros, the end of the string as a symbol, and padding alone.
        b"\x00\x01a\x82\x1f\xff",
        b"\x00\x01a\x81\x18",
        b"\x00\x01a\x84\xff\xff\xff\xff",
        b"\x00\x01a\x81\xff",
    ],
)
def test_block_decoder_on_a_malformed_block_names_the_compression(block: bytes) -> None:
    error = refusal(BlockDecoder(), block)
    assert (error.error_code, error.stream_id) == (COMPRESSION_ERROR, 0)


def test_block_decoder_on_a_block_cut_anywhere_refuses_or_has_fewer_fields() -> None:
    parts = [
        wire.resized(4000),
        wire.indexed(8),
        wire.inserted(b"name", b"value" * 30),
        wire.literal(28, b"17"),
        wire.secret(b"password", b"secret", huffman=True),
    ]
    whole = b"".join(parts)
    ends = [len(b"".join(parts[:count])) for count in range(len(parts) + 1)]
    for end in range(len(whole)):
        if end in ends:
            assert len(BlockDecoder().decode(whole[:end]).fields) == max(0, ends.index(end) - 1)
        else:
            assert refusal(BlockDecoder(), whole[:end]).error_code == COMPRESSION_ERROR


def test_block_decoder_errors_show_no_values() -> None:
    for block in (wire.literal(b"cookie", b"hunter2")[:-1], wire.literal(b"cookie", b"hunter2") + wire.indexed(99)):
        error = refusal(BlockDecoder(), block)
        assert "hunter2" not in str(error)
        assert error.__cause__ is None and error.__suppress_context__
