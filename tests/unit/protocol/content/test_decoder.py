from __future__ import annotations

import gzip
import random
import sys
import tracemalloc
import zlib

import pytest

from support.content import (
    BROTLIS,
    CASES,
    DEFLATES,
    GZIPS,
    INFLATES,
    PACKAGES,
    ZSTDS,
    Case,
    cut,
    decode,
    decoder_of,
    encode,
)
from support.seeds import seeds
from turbosock.errors import BodyTooLarge, DecodingError, Origin, StateError
from turbosock.limits import (
    DECODE_INPUT_BYTES,
    DECODE_RATIO_FREE_BYTES,
    DECODE_STEP_BYTES,
    KIB,
    MAX_DECODE_RATIO,
    MAX_DECODE_STEPS,
    MIB,
)
from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.decoder import Decoder
from turbosock.protocol.content.gzip_coding import GzipCoding
from turbosock.protocol.content.libraries import inflate_libraries
from turbosock.protocol.content.stream import Stream

GZIP = Case("gzip", "zlib")
TEXT = b"".join(b"%d little bottles, standing on the wall; " % number for number in range(8000))
SHORT = TEXT[:700]
ALL = pytest.mark.parametrize("case", CASES, ids=str)


def deflate_bomb(megabytes: int) -> bytes:
    """A gzip member without its end that expands to `megabytes` MiB of zeros, a thousandfold."""
    encoder = zlib.compressobj(9, wbits=31)
    head = encoder.compress(bytes(MIB)) + encoder.flush(zlib.Z_FULL_FLUSH)
    block = encoder.compress(bytes(MIB)) + encoder.flush(zlib.Z_FULL_FLUSH)
    return head + block * (megabytes - 1)


def zstd_bomb(blocks: int) -> bytes:
    """A zstd frame of blocks of one repeated byte (RFC 8878 §3.1.1.2.2), four bytes for 128 KiB, without an end."""
    frame_header = b"\x28\xb5\x2f\xfd\x00\x68"
    block_header = (128 * KIB << 3 | 1 << 1).to_bytes(3, "little")
    return frame_header + (block_header + b"\0") * blocks


def chain_bomb() -> bytes:
    """10 GiB of zeros, coded as "gzip, gzip", in well under 1 MiB."""
    return gzip.compress(deflate_bomb(10 * 1024))


@ALL
def test_decoder_whole_body_is_decoded(case: Case) -> None:
    outcome = decode(decoder_of(case), [encode(case, TEXT)])
    assert (outcome.data == TEXT, outcome.code) == (True, "")


@ALL
def test_decoder_body_cut_at_every_byte_decodes_the_same(case: Case) -> None:
    data = encode(case, SHORT)
    decoder = decoder_of(case)
    for split in range(len(data) + 1):
        decoder.reset()
        assert decode(decoder, [data[:split], data[split:]]) == (SHORT, None), split


@ALL
@pytest.mark.parametrize("room", [1, 7, 4096])
def test_decoder_body_byte_by_byte_and_little_room_decodes_the_same(case: Case, room: int) -> None:
    assert decode(decoder_of(case), cut(encode(case, SHORT), 1), room) == (SHORT, None)


@ALL
def test_decoder_room_of_one_byte_delivers_every_byte(case: Case) -> None:
    assert decode(decoder_of(case), [encode(case, TEXT[:70_000])], room=1) == (TEXT[:70_000], None)


@ALL
@pytest.mark.parametrize("seed", seeds(3))
def test_decoder_random_pieces_and_rooms_deliver_the_body(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    body = b"".join(
        rng.choice((rng.randbytes(rng.randrange(3000)), bytes(rng.randrange(60_000)), TEXT[: rng.randrange(9000)]))
        for _ in range(12)
    )
    data = encode(case, body)
    decoder = decoder_of(case)
    got = bytearray()
    start = 0
    while start < len(data) or not decoder.needs_input:
        if decoder.pending == 0 and start < len(data) and rng.random() < 0.7:
            end = start + rng.choice((1, 2, 300, 20_000, 100_000))
            decoder.feed(memoryview(data)[start:end])
            start = min(end, len(data))
        out = memoryview(bytearray(rng.choice((1, 10, 5000, DECODE_STEP_BYTES, 200_000))))
        got += out[: decoder.read_into(out)]
        assert decoder.offset + decoder.pending == start
        assert decoder.produced == len(got)
    decoder.finish()
    assert got == body


@ALL
def test_decoder_empty_content_and_no_bytes_at_all_are_empty_bodies(case: Case) -> None:
    assert decode(decoder_of(case), [encode(case, b"")]) == (b"", None)
    assert decode(decoder_of(case), []) == (b"", None)
    assert decode(decoder_of(case), [b"", b""]) == (b"", None)


@ALL
def test_decoder_body_truncated_anywhere_says_so_after_what_it_decodes_to(case: Case) -> None:
    data = encode(case, SHORT)
    decoder = decoder_of(case)
    for end in range(1, len(data)):
        decoder.reset()
        outcome = decode(decoder, [data[:end]])
        assert outcome.code == "truncated", end
        assert SHORT.startswith(outcome.data)
        assert isinstance(outcome.error, DecodingError)
        assert (outcome.error.coding, outcome.error.offset) == (case.coding, end)
        assert outcome.error.origin is Origin.PROTOCOL


@pytest.mark.parametrize("case", [case for case in CASES if not case.raw and case.coding != "br"], ids=str)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_decoder_body_that_lies_about_its_coding_is_refused_at_its_first_bytes(case: Case, size: int) -> None:
    if case.coding == "deflate":
        body = b"\xff\xfe plain text that no deflate stream begins with"
    else:
        body = b"<!doctype html><p>plain text"
    outcome = decode(decoder_of(case), cut(body, size))
    assert (outcome.data, outcome.code) == (b"", "decoding")
    assert isinstance(outcome.error, DecodingError)
    assert outcome.error.offset <= 3
    assert repr(case.coding) in str(outcome.error)


@pytest.mark.parametrize("case", BROTLIS, ids=str)
def test_decoder_plain_text_in_the_name_of_br_is_refused(case: Case) -> None:
    assert decode(decoder_of(case), [TEXT]).code == "decoding"
    assert decode(decoder_of(case), cut(TEXT, 1)).code == "decoding"


@ALL
@pytest.mark.parametrize("seed", seeds(3))
def test_decoder_garbage_and_flipped_bits_end_in_an_error_or_an_end(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    data = encode(case, TEXT)
    decoder = decoder_of(case, max_bytes=4 * MIB)
    for _ in range(40):
        broken = bytearray(data[: rng.randrange(4, len(data))])
        for _ in range(rng.randrange(1, 9)):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        decoder.reset()
        whole = decode(decoder, [bytes(broken)])
        decoder.reset()
        parts = decode(decoder, cut(bytes(broken), rng.choice((100, 999))))
        assert whole.code == parts.code
        assert whole.code in ("", "decoding", "truncated", "bomb", "body_too_large")
        assert parts.data.startswith(whole.data) or whole.data.startswith(parts.data)


@pytest.mark.parametrize("case", [*GZIPS, *DEFLATES[::2]], ids=str)
@pytest.mark.parametrize("size", [1, 11, 100_000])
def test_decoder_wrong_checksum_or_length_is_refused(case: Case, size: int) -> None:
    data = encode(case, SHORT)
    for from_end in range(1, 9 if case.coding == "gzip" else 5):
        broken = bytearray(data)
        broken[-from_end] ^= 0x40
        outcome = decode(decoder_of(case), cut(bytes(broken), size))
        assert outcome.code == "decoding", from_end
        assert isinstance(outcome.error, DecodingError)
        assert len(data) - 8 - size <= outcome.error.offset <= len(data)


@ALL
def test_decoder_failure_delivers_what_was_decoded_in_the_steps_before(case: Case) -> None:
    noise = random.Random(1).randbytes(100_000)
    data = encode(case, noise)
    outcome = decode(decoder_of(case), [data[:-10]])
    assert (outcome.code, outcome.data == noise[: len(outcome.data)]) == ("truncated", True)
    assert len(outcome.data) > 60_000
    if case.coding in ("gzip", "zstd"):
        outcome = decode(decoder_of(case, Case("gzip", "zlib")), [encode(case, gzip.compress(noise)[:-8] + bytes(8))])
        assert isinstance(outcome.error, DecodingError)
        assert (outcome.code, outcome.error.coding) == ("decoding", "gzip")
        assert outcome.data == noise[: len(outcome.data)]
        assert len(outcome.data) > 60_000


@pytest.mark.parametrize("first", CASES, ids=str)
@pytest.mark.parametrize("second", [GZIPS[0], DEFLATES[1], BROTLIS[0], ZSTDS[0]], ids=str)
def test_decoder_chain_of_two_is_undone_from_the_outside_in(first: Case, second: Case) -> None:
    data = encode(first, encode(second, TEXT))
    assert decode(decoder_of(first, second), [data]) == (TEXT, None)
    assert decode(decoder_of(first, second), cut(data, 13), room=100) == (TEXT, None)


def test_decoder_chain_of_five_cut_at_every_byte_decodes_the_same() -> None:
    chain = [GZIPS[0], DEFLATES[0], DEFLATES[1], GZIPS[0], DEFLATES[0]]
    data = SHORT
    for case in reversed(chain):
        data = encode(case, data)
    decoder = decoder_of(*chain)
    assert decoder.codings == ("gzip", "deflate", "deflate", "gzip", "deflate")
    for split in range(len(data) + 1):
        decoder.reset()
        assert decode(decoder, [data[:split], data[split:]]) == (SHORT, None)
    decoder.reset()
    assert decode(decoder, cut(data, 1), room=1) == (SHORT, None)


def test_decoder_chain_whose_inner_coding_is_cut_or_broken_names_it() -> None:
    cut_short = encode(ZSTDS[0], gzip.compress(SHORT)[:-3])
    outcome = decode(decoder_of(ZSTDS[0], GZIP), [cut_short])
    assert isinstance(outcome.error, DecodingError)
    assert (outcome.data, outcome.code, outcome.error.coding) == (SHORT, "truncated", "gzip")
    outcome = decode(decoder_of(ZSTDS[0], GZIP), [encode(ZSTDS[0], b"plain")])
    assert isinstance(outcome.error, DecodingError)
    assert (outcome.code, outcome.error.coding, outcome.error.offset) == ("decoding", "gzip", 0)


@pytest.mark.parametrize("case", [*GZIPS, *ZSTDS], ids=str)
@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000, 10**6])
def test_decoder_streams_in_a_row_are_one_body(case: Case, size: int) -> None:
    parts = [SHORT, b"", TEXT, b"x", bytes(100_000)]
    data = b"".join(encode(case, part) for part in parts)
    decoder = decoder_of(case)
    assert decode(decoder, cut(data, size)) == (b"".join(parts), None)
    assert decoder.offset == len(data)


@pytest.mark.parametrize("case", [*GZIPS, *DEFLATES, *ZSTDS], ids=str)
@pytest.mark.parametrize(
    "trailing", [b"\0" * 100, b"\r\n", b"\x1f", b"\x1f\x8b", b"\x28\xb5", b"\x28\xb5\x2f", b"<!-- -->"]
)
@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_decoder_bytes_behind_the_last_stream_are_ignored(case: Case, trailing: bytes, size: int) -> None:
    data = encode(case, SHORT) + trailing
    decoder = decoder_of(case)
    assert decode(decoder, cut(data, size)) == (SHORT, None)
    assert decoder.offset == len(data)


@pytest.mark.parametrize("case", BROTLIS, ids=str)
@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_decoder_bytes_behind_a_br_stream_are_refused(case: Case, size: int) -> None:
    assert decode(decoder_of(case), cut(encode(case, SHORT) + b"\0", size)).code == "decoding"


@pytest.mark.parametrize("case", GZIPS, ids=str)
def test_decoder_second_member_that_is_broken_is_an_error_and_not_ignored(case: Case) -> None:
    broken = bytearray(gzip.compress(b"second"))
    broken[-8] ^= 1
    outcome = decode(decoder_of(case), [gzip.compress(b"first") + broken])
    assert outcome == (b"first", outcome.error)
    assert outcome.code == "decoding"


@pytest.mark.parametrize("library", INFLATES)
def test_decoder_gzip_bomb_stops_at_the_ratio(library: str) -> None:
    bomb = deflate_bomb(200)
    outcome = decode(decoder_of(Case("gzip", library), max_bytes=1 << 40), cut(bomb, 64 * KIB))
    assert outcome.code == "bomb"
    assert isinstance(outcome.error, DecodingError)
    assert outcome.error.origin is Origin.LIMIT
    # The first of the bombs that is above the free bytes and has used up what it has: nothing near 200 MiB.
    assert len(outcome.data) <= MAX_DECODE_RATIO * 64 * KIB


@pytest.mark.parametrize("library", INFLATES)
def test_decoder_body_under_the_ratio_is_no_bomb(library: str) -> None:
    bomb = deflate_bomb(8)
    outcome = decode(decoder_of(Case("gzip", library), max_ratio=1100), cut(bomb, 64 * KIB))
    assert (outcome.code, len(outcome.data)) == ("truncated", 8 * MIB)


@ALL
def test_decoder_short_body_that_expands_far_is_no_bomb_below_the_free_bytes(case: Case) -> None:
    spaces = b" " * DECODE_RATIO_FREE_BYTES
    assert decode(decoder_of(case), [encode(case, spaces)]) == (spaces, None)


@ALL
def test_decoder_body_in_one_piece_that_expands_a_hundredfold_is_no_bomb(case: Case) -> None:
    body = b"".join(b"%05d" % number * 4000 for number in range(100))
    data = encode(case, body)
    assert len(data) < DECODE_INPUT_BYTES
    # Libraries that keep the piece to themselves do not tell how much of it is used up.
    assert decode(decoder_of(case, max_ratio=1.2 * len(body) / len(data)), [data]) == (body, None)


@ALL
def test_decoder_body_of_exactly_max_bytes_passes_and_one_more_is_refused(case: Case) -> None:
    data = encode(case, TEXT)
    assert decode(decoder_of(case, max_bytes=len(TEXT)), [data]) == (TEXT, None)
    outcome = decode(decoder_of(case, max_bytes=len(TEXT) - 1), [data])
    assert isinstance(outcome.error, BodyTooLarge)
    assert outcome.data == TEXT[:-1]
    outcome = decode(decoder_of(case, max_bytes=1), cut(data, 1), room=1)
    assert (outcome.data, outcome.code) == (TEXT[:1], "body_too_large")


def test_decoder_chain_bomb_of_ten_gigabytes_stops_in_bounded_memory_and_work() -> None:
    bomb = chain_bomb()
    assert len(bomb) < MIB
    for max_bytes, max_ratio, code in ((1 << 40, MAX_DECODE_RATIO, "bomb"), (5 * MIB, 10**9, "body_too_large")):
        decoder = decoder_of(GZIP, GZIP, max_bytes=max_bytes, max_ratio=max_ratio)
        out = memoryview(bytearray(64 * KIB))
        calls = 0
        tracemalloc.start()
        try:
            decoder.feed(bomb)
            failed = ""
            while not failed:
                try:
                    decoder.read_into(out)
                except (DecodingError, BodyTooLarge) as error:
                    failed = error.code
                calls += 1
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert failed == code
        # Two windows, two steps' output, two leftovers of a piece.
        assert peak < 512 * KIB
        assert calls * len(out) <= MAX_DECODE_RATIO * len(bomb)
        assert decoder.pending == 0


@pytest.mark.parametrize("case", ZSTDS, ids=str)
def test_decoder_zstd_bomb_of_ten_gigabytes_stops_at_its_bound(case: Case) -> None:
    bomb = zstd_bomb(80_000)
    outcome = decode(decoder_of(case, max_bytes=1 << 40), [bomb])
    assert outcome.code == "bomb"
    assert len(outcome.data) <= MAX_DECODE_RATIO * DECODE_INPUT_BYTES
    outcome = decode(decoder_of(case, max_bytes=100_000, max_ratio=10**9), [bomb])
    assert (outcome.code, outcome.data) == ("body_too_large", bytes(100_000))


@pytest.mark.parametrize("case", BROTLIS, ids=str)
def test_decoder_br_bomb_stops_at_its_bound(case: Case) -> None:
    bomb = encode(case, bytes(16 * MIB))
    assert len(bomb) < KIB
    outcome = decode(decoder_of(case, max_bytes=1 << 40), [bomb])
    assert outcome.code == "bomb"
    assert len(outcome.data) <= DECODE_RATIO_FREE_BYTES
    outcome = decode(decoder_of(case, max_bytes=100_000, max_ratio=10**9), [bomb])
    assert (outcome.code, outcome.data) == ("body_too_large", bytes(100_000))


def test_decoder_chain_that_expands_to_nothing_is_a_bomb_all_the_same() -> None:
    # Gigabytes of empty stored blocks between two codings: work without a result.
    encoder = zlib.compressobj(9, wbits=31)
    head = encoder.compress(b"") + encoder.flush(zlib.Z_FULL_FLUSH)
    inner = head + b"\0\0\0\xff\xff" * (4 * MIB)
    outcome = decode(decoder_of(GZIP, GZIP), [gzip.compress(inner)])
    assert (outcome.data, outcome.code) == (b"", "bomb")
    assert isinstance(outcome.error, DecodingError)
    assert outcome.error.coding == "gzip"


class ByteCoding(Coding):
    """Takes a byte in each step and yields `gain` bytes for it; counts its steps."""

    name = "byte"

    def __init__(self, gain: int) -> None:
        super().__init__()
        self.gain = gain
        self.steps = 0

    def may_begin(self, prefix: bytes) -> bool:
        return True

    def open(self, prefix: bytes) -> Stream:
        return ByteStream(self)


class ByteStream(Stream):
    """See ByteCoding."""

    def __init__(self, coding: ByteCoding) -> None:
        super().__init__()
        self.coding = coding

    def step(self, piece: memoryview) -> bytes:
        self.coding.steps += 1
        self.taken = min(len(piece), 1)
        return bytes(piece[:1]) * self.coding.gain


def test_decoder_call_does_a_bounded_number_of_steps() -> None:
    for gain, expected in ((0, 0), (1, MAX_DECODE_STEPS - 1)):
        coding = ByteCoding(gain)
        decoder = Decoder([coding], max_bytes=MIB, max_ratio=10)
        decoder.feed(bytes(1000))
        out = memoryview(bytearray(1000))
        # The first step opens the stream.
        assert decoder.read_into(out) == expected
        assert coding.steps == MAX_DECODE_STEPS - 1
        assert not decoder.needs_input
        calls = 0
        while not decoder.needs_input:
            decoder.read_into(out)
            calls += 1
        assert calls <= 1000 // MAX_DECODE_STEPS + 1
        assert decoder.produced == 1000 * gain


def test_decoder_library_that_makes_no_progress_is_an_error() -> None:
    class Stuck(Stream):
        def step(self, piece: memoryview) -> bytes:
            self.hungry = False
            return b""

    class StuckCoding(ByteCoding):
        def open(self, prefix: bytes) -> Stream:
            return Stuck()

    assert decode(Decoder([StuckCoding(0)], max_bytes=9, max_ratio=9), [b"abc"]).code == "decoding"


@pytest.mark.parametrize("name", INFLATES)
def test_decoder_million_little_reads_do_linear_work(name: str) -> None:
    body = random.Random(5).randbytes(MIB)
    copied = [0]

    class Counting(Stream):
        """Counts what the library is handed, which bounds what it copies."""

        def __init__(self, stream: Stream) -> None:
            super().__init__()
            self.stream = stream

        def step(self, piece: memoryview) -> bytes:
            copied[0] += len(piece)
            data = self.stream.step(piece)
            self.taken, self.hungry, self.ended = self.stream.taken, self.stream.hungry, self.stream.ended
            return data

    class CountingCoding(GzipCoding):
        def open(self, prefix: bytes) -> Stream:
            return Counting(super().open(prefix))

    found = [library for library in inflate_libraries() if library.name == name]
    if not found:
        pytest.skip(f"pip install {PACKAGES[name]}")
    decoder = Decoder([CountingCoding(found[0])], max_bytes=2 * MIB, max_ratio=10)
    data = gzip.compress(body, 1)
    decoder.feed(data)
    out = memoryview(bytearray(1))
    got = bytearray()
    for _ in range(100_000):
        assert decoder.read_into(out) == 1
        got += out
    assert got == body[:100_000]
    assert copied[0] < 4 * len(got)


@ALL
def test_decoder_is_used_for_body_after_body(case: Case) -> None:
    decoder = decoder_of(case)
    assert decode(decoder, [encode(case, TEXT)]) == (TEXT, None)
    decoder.reset()
    assert (decoder.offset, decoder.produced, decoder.pending, decoder.needs_input) == (0, 0, 0, True)
    assert decode(decoder, [encode(case, TEXT)[:100]]).code == "truncated"
    decoder.reset()
    decoder.feed(encode(case, TEXT))
    decoder.read_into(memoryview(bytearray(10)))
    decoder.reset()
    assert decode(decoder, [encode(case, SHORT)]) == (SHORT, None)


@pytest.mark.parametrize("case", [case for case in CASES if not case.raw], ids=str)
def test_decoder_failure_lets_go_of_the_memory_it_was_lent(case: Case) -> None:
    data = encode(case, random.Random(2).randbytes(300_000))
    lent = bytearray(data[: len(data) // 2] + random.Random(3).randbytes(200_000))
    decoder = decoder_of(case)
    decoder.feed(lent)
    out = memoryview(bytearray(MIB))
    assert decoder.read_into(out) > 0
    with pytest.raises(DecodingError) as raised:
        decoder.read_into(out)
    assert decoder.offset + DECODE_INPUT_BYTES < len(lent)
    assert raised.value.__context__ is None
    lent.append(1)
    assert decoder.pending == 0


def test_decoder_that_failed_or_is_closed_refuses_to_go_on() -> None:
    decoder = decoder_of(GZIP)
    out = memoryview(bytearray(10))
    assert decode(decoder, [b"plain"]).code == "decoding"
    for call in (lambda: decoder.feed(b"x"), lambda: decoder.read_into(out), decoder.finish):
        with pytest.raises(StateError, match="failed: reset"):
            call()
    decoder.reset()
    lent = bytearray(gzip.compress(SHORT))
    decoder.feed(lent)
    decoder.close()
    decoder.close()
    lent.append(1)
    for call in (lambda: decoder.feed(b"x"), lambda: decoder.read_into(out), decoder.finish, decoder.reset):
        with pytest.raises(StateError, match="is closed"):
            call()


def test_decoder_fed_or_finished_too_early_refuses() -> None:
    decoder = decoder_of(GZIP)
    data = gzip.compress(TEXT)
    decoder.feed(data)
    with pytest.raises(StateError, match=f"{len(data)} bytes fed"):
        decoder.feed(b"more")
    with pytest.raises(StateError, match="still has something to read"):
        decoder.finish()
    assert decoder.pending == len(data)


def test_decoder_read_without_room_reads_nothing() -> None:
    decoder = decoder_of(GZIP)
    decoder.feed(gzip.compress(SHORT))
    assert decoder.read_into(memoryview(b"")) == 0
    assert not decoder.needs_input


def test_decoder_interrupted_read_cannot_go_on_in_the_wrong_place() -> None:
    class Interrupted(ByteStream):
        def step(self, piece: memoryview) -> bytes:
            raise KeyboardInterrupt

    class InterruptedCoding(ByteCoding):
        def open(self, prefix: bytes) -> Stream:
            return Interrupted(self)

    decoder = Decoder([InterruptedCoding(1)], max_bytes=100, max_ratio=10)
    lent = bytearray(b"abc")
    decoder.feed(lent)
    with pytest.raises(KeyboardInterrupt) as raised:
        decoder.read_into(memoryview(bytearray(10)))
    with pytest.raises(StateError, match="interrupted"):
        decoder.read_into(memoryview(bytearray(10)))
    decoder.reset()
    assert decoder.needs_input
    # The frames of the interrupt are still there, and no view of the memory with them.
    assert raised.tb is not None
    lent.append(1)


def test_decoder_steady_reads_keep_no_memory() -> None:
    decoder = decoder_of(GZIP, max_bytes=1 << 40)
    block = TEXT[:60_000]
    encoder = zlib.compressobj(wbits=31)
    pieces = [encoder.compress(block) + encoder.flush(zlib.Z_SYNC_FLUSH) for _ in range(60)]
    out = memoryview(bytearray(64 * KIB))
    for index, piece in enumerate(pieces):
        decoder.feed(piece)
        while not decoder.needs_input:
            decoder.read_into(out)
        if index == 30:
            before = sys.getallocatedblocks()
    assert sys.getallocatedblocks() - before < 50
