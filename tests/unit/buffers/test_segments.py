"""SegmentedSequence and SegmentedReader: across every border, and under the standard library's readers."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from turbosock.buffers.pool import BufferPool
from turbosock.buffers.segments import SegmentedReader, SegmentedSequence
from turbosock.errors import BodyTooLarge, InvalidOption, PoolExhausted, StateError
from turbosock.limits import KIB, MAX_BUCKET_BYTES, SEGMENT_BYTES


@pytest.fixture
def pool() -> Iterator[BufferPool]:
    """A pool whose leases must all be back, unviewed, at the end of the test."""
    pool = BufferPool(diagnostics=True)
    yield pool
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


def sequence_of(data: bytes, pool: BufferPool, **options: Any) -> SegmentedSequence:
    sequence = SegmentedSequence(pool, segment_bytes=KIB, **options)
    sequence.append(data)
    return sequence


def pattern(length: int) -> bytes:
    """Return bytes in which no 16 in a row occur twice."""
    return b"".join(n.to_bytes(4, "big") for n in range(length // 4 + 1))[:length]


@pytest.mark.parametrize("length", [0, 1, KIB - 1, KIB, KIB + 1, 2 * KIB, 5 * KIB + 7])
def test_sequence_appended_holds_what_came_in(length: int, pool: BufferPool) -> None:
    data = pattern(length)
    with sequence_of(data, pool) as sequence:
        assert len(sequence) == length
        assert bytes(sequence) == data
        assert b"".join(sequence) == data
        assert [len(view) for view in sequence] == [KIB] * (length // KIB) + [length % KIB] * bool(length % KIB)
        assert pool.stats().outstanding == -(-length // KIB)


def test_sequence_appended_piecewise_holds_everything_in_order(pool: BufferPool) -> None:
    data = pattern(3000)
    with SegmentedSequence(pool, segment_bytes=KIB) as sequence:
        for start in range(0, 3000, 7):
            sequence.append(memoryview(data)[start : start + 7])
        assert bytes(sequence) == data
        sequence.append(memoryview(b"abcd").cast("H"))
        sequence.append(bytearray(b"ef"))
        assert sequence[-6:] == b"abcdef"


def test_sequence_received_into_its_segments_holds_everything(pool: BufferPool) -> None:
    data = pattern(3 * KIB + 5)
    with SegmentedSequence(pool, segment_bytes=KIB) as sequence:
        while len(sequence) < len(data):
            view = sequence.writable()
            assert 0 < len(view) <= KIB
            n = min(700, len(view), len(data) - len(sequence))
            view[:n] = data[len(sequence) : len(sequence) + n]
            sequence.advance(n)
        del view
        assert bytes(sequence) == data
        assert pool.stats().outstanding == 4


def test_sequence_writable_asked_twice_is_the_same_memory(pool: BufferPool) -> None:
    with SegmentedSequence(pool, segment_bytes=KIB) as sequence:
        sequence.writable()[:2] = b"ab"
        assert bytes(sequence.writable()[:2]) == b"ab"
        assert pool.stats().outstanding == 1


@pytest.mark.parametrize("n", [-1, KIB + 1])
def test_sequence_advance_beyond_writable_is_refused(n: int, pool: BufferPool) -> None:
    with SegmentedSequence(pool, segment_bytes=KIB) as sequence:
        with pytest.raises(StateError, match="0 bytes writable"):
            sequence.advance(1)
        sequence.writable()
        with pytest.raises(StateError, match="1024 bytes writable"):
            sequence.advance(n)
        assert len(sequence) == 0


def test_sequence_of_exactly_its_bound_is_allowed_and_one_more_refused(pool: BufferPool) -> None:
    with sequence_of(bytes(2 * KIB), pool, max_bytes=2 * KIB) as sequence:
        with pytest.raises(BodyTooLarge, match="2049 bytes of body are more than max_bytes = 2048"):
            sequence.append(b"x")
        # The end of the stream can still be seen.
        assert len(sequence.writable()) > 0
        sequence.advance(0)
        with pytest.raises(BodyTooLarge):
            sequence.advance(1)
        assert len(sequence) == 2 * KIB


def test_sequence_append_over_its_bound_copies_nothing(pool: BufferPool) -> None:
    with sequence_of(b"abc", pool, max_bytes=5) as sequence:
        with pytest.raises(BodyTooLarge):
            sequence.append(b"def")
        assert bytes(sequence) == b"abc"


def test_sequence_over_an_exhausted_pool_keeps_what_it_has() -> None:
    pool = BufferPool.fixed(KIB, count=2)
    sequence = SegmentedSequence(pool, segment_bytes=KIB)
    with pytest.raises(PoolExhausted):
        sequence.append(b"x" * 3 * KIB)
    assert bytes(sequence) == b"x" * 2 * KIB
    sequence.release()
    assert pool.stats().outstanding == 0


def test_sequence_index_and_slice_match_bytes(pool: BufferPool) -> None:
    data = pattern(2 * KIB + 3)
    edges = (None, 0, 1, KIB - 1, KIB, KIB + 1, 2 * KIB + 2, 2 * KIB + 3, 9999, -1, -4, -KIB - 3, -9999)
    with sequence_of(data, pool) as sequence:
        for start in edges:
            for stop in edges:
                assert sequence[start:stop] == data[start:stop]
                assert sequence[start:stop:3] == data[start:stop:3]
                assert sequence[start:stop:-700] == data[start:stop:-700]
        for index in (0, 1, KIB - 1, KIB, 2 * KIB + 2, -1, -len(data)):
            assert sequence[index] == data[index]
        for index in (len(data), -len(data) - 1):
            with pytest.raises(IndexError):
                sequence[index]


def test_sequence_finds_a_needle_at_every_place_around_a_border(pool: BufferPool) -> None:
    for needle in (b"#", b"#!", b"#" + b"-" * 40 + b"!"):
        for place in range(KIB - 45, KIB + 3):
            data = bytearray(b"." * (2 * KIB))
            data[place : place + len(needle)] = needle
            with sequence_of(bytes(data), pool) as sequence:
                assert sequence.find(needle) == place
                assert sequence.find(needle, place) == place
                assert sequence.find(needle, place + 1) == -1


def test_sequence_finds_a_needle_longer_than_a_segment(pool: BufferPool) -> None:
    data = pattern(6 * KIB)
    with sequence_of(data, pool) as sequence:
        for start in (0, 1, KIB - 1, KIB, 2000):
            assert sequence.find(data[start : start + 3 * KIB]) == start
            assert sequence.find(data[start:]) == start
        assert sequence.find(data + b"x") == -1


def test_sequence_finds_what_bytes_finds_from_every_start(pool: BufferPool) -> None:
    data = b"ab" * 500 + b"aab" * 100
    with sequence_of(data, pool) as sequence:
        for needle in (b"aab", b"ba", b"bab", b"c", b""):
            for start in (0, 1, 998, 1000, 1021, 1022, 1023, 1024, 1025, 1299, 1300, 1301, 5000):
                assert sequence.find(needle, start) == data.find(needle, start), (needle, start)
        with pytest.raises(StateError):
            sequence.find(b"a", -1)


def test_sequence_find_does_not_see_stale_memory_behind_the_content() -> None:
    pool = BufferPool.fixed(KIB, count=1)
    sequence = sequence_of(b"old secret", pool)
    sequence.clear()
    sequence.append(b"new")
    assert sequence.find(b"secret") == -1
    sequence.release()


def test_sequence_released_gives_everything_back_and_refuses_use(pool: BufferPool) -> None:
    sequence = sequence_of(pattern(3000), pool)
    sequence.release()
    sequence.release()
    assert pool.stats().outstanding == 0
    uses: list[Any] = [
        sequence.writable,
        sequence.clear,
        lambda: sequence.append(b"x"),
        lambda: sequence.advance(0),
        lambda: bytes(sequence),
        lambda: sequence[0],
        lambda: sequence[:1],
        lambda: iter(sequence),
        lambda: sequence.find(b"x"),
        lambda: SegmentedReader(sequence).read(1),
        lambda: SegmentedReader(sequence).readall(),
    ]
    for use in uses:
        with pytest.raises(StateError, match="released"):
            use()


def test_sequence_released_during_iteration_ends_it_with_an_error(pool: BufferPool) -> None:
    sequence = sequence_of(pattern(3000), pool)
    views = iter(sequence)
    next(views)
    sequence.release()
    with pytest.raises(StateError, match="given back while it was read"):
        next(views)


def test_sequence_cleared_is_empty_and_usable(pool: BufferPool) -> None:
    with sequence_of(pattern(3000), pool) as sequence:
        sequence.clear()
        assert len(sequence) == 0
        assert pool.stats().outstanding == 0
        sequence.append(b"again")
        assert bytes(sequence) == b"again"


def test_sequence_as_bytes_allocates_its_size_once() -> None:
    sequence = SegmentedSequence(BufferPool())
    sequence.append(bytes(SEGMENT_BYTES * 16))
    tracemalloc.start()
    try:
        data = bytes(sequence)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data) == SEGMENT_BYTES * 16
    assert peak < len(data) + 16 * KIB
    sequence.release()


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": 1.0}, "max_bytes"),
        ({"segment_bytes": KIB - 1}, "segment_bytes"),
        ({"segment_bytes": MAX_BUCKET_BYTES + 1}, "segment_bytes"),
        ({"segment_bytes": "1024"}, "segment_bytes"),
    ],
)
def test_sequence_wrong_option_is_refused_by_name(options: dict[str, Any], argument: str, pool: BufferPool) -> None:
    with pytest.raises(InvalidOption, match=argument):
        SegmentedSequence(pool, **options)


def test_reader_reads_in_any_size(pool: BufferPool) -> None:
    data = pattern(2 * KIB + 9)
    with sequence_of(data, pool) as sequence:
        for size in (1, 3, 1000, KIB, KIB + 1, 9999):
            reader = SegmentedReader(sequence)
            pieces = []
            while piece := reader.read(size):
                assert len(piece) <= size
                pieces.append(piece)
            assert b"".join(pieces) == data
        assert SegmentedReader(sequence).read() == data
        reader.close()
        assert bytes(sequence) == data


def test_reader_reads_into_memory_of_any_format(pool: BufferPool) -> None:
    with sequence_of(b"abcdefgh", pool) as sequence:
        target = memoryview(bytearray(4)).cast("I")
        reader = SegmentedReader(sequence)
        assert reader.readinto(target) == 4
        assert target.tobytes() == b"abcd"
        assert reader.readinto(bytearray(9)) == 4
        assert reader.readinto(bytearray(9)) == 0


def test_reader_sees_what_is_appended_later(pool: BufferPool) -> None:
    with sequence_of(b"abc", pool) as sequence:
        reader = SegmentedReader(sequence)
        assert reader.read(10) == b"abc"
        assert reader.read(10) == b""
        sequence.append(b"def")
        assert reader.read(10) == b"def"


def test_reader_seeks_as_a_file_does(pool: BufferPool) -> None:
    data = pattern(2 * KIB)
    model = io.BytesIO(data)
    with sequence_of(data, pool) as sequence:
        reader = SegmentedReader(sequence)
        assert reader.seekable()
        assert reader.readable()
        assert not reader.writable()
        for offset, whence in [(5, 0), (KIB - 2, 1), (-4, 2), (-5, 1), (3000, 0), (0, 2), (0, 0)]:
            assert reader.seek(offset, whence) == model.seek(offset, whence)
            assert reader.tell() == model.tell()
            assert reader.read(7) == model.read(7)
        assert reader.seek(9999) == 9999
        assert reader.readall() == b""
        for offset, whence in [(-1, 0), (-99999, 1), (-3000, 2), (0, 7)]:
            with pytest.raises(ValueError, match=r"seek|whence"):
                reader.seek(offset, whence)


def test_reader_closed_refuses_use_as_a_file_does(pool: BufferPool) -> None:
    with sequence_of(b"abc", pool) as sequence:
        reader = SegmentedReader(sequence)
        reader.close()
        uses: list[Any] = [
            lambda: reader.read(1),
            reader.readall,
            reader.tell,
            lambda: reader.seek(0),
            reader.readable,
            reader.seekable,
        ]
        for use in uses:
            with pytest.raises(ValueError, match="closed"):
                use()


def test_json_loads_through_a_buffered_reader(pool: BufferPool) -> None:
    value = {"items": [{"id": n, "name": f"naïve {n}"} for n in range(200)]}
    with sequence_of(json.dumps(value, ensure_ascii=False).encode(), pool) as sequence:
        assert json.load(io.BufferedReader(SegmentedReader(sequence))) == value
        text = io.TextIOWrapper(io.BufferedReader(SegmentedReader(sequence)), encoding="utf-8")
        assert json.load(text) == value


def test_csv_reads_through_a_text_wrapper(pool: BufferPool) -> None:
    rows = [[str(n), f"ümlaut, quoted {n}", 'a "b"'] for n in range(300)]
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    with sequence_of(out.getvalue().encode(), pool) as sequence:
        reader = io.BufferedReader(SegmentedReader(sequence))
        assert list(csv.reader(io.TextIOWrapper(reader, encoding="utf-8", newline=""))) == rows


@pytest.mark.parametrize("buffered", [False, True])
def test_zipfile_opens_through_a_reader(buffered: bool, pool: BufferPool) -> None:
    members = {f"member {n}": pattern(n * 777) for n in range(6)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with sequence_of(out.getvalue(), pool) as sequence:
        raw = SegmentedReader(sequence)
        with zipfile.ZipFile(io.BufferedReader(raw) if buffered else raw) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == members
            assert archive.testzip() is None


@pytest.mark.parametrize("mode", ["r:", "r|", "r:gz", "r|gz"])
def test_tarfile_opens_through_a_buffered_reader(mode: Any, pool: BufferPool) -> None:
    members = {f"member-{n}": pattern(n * 777) for n in range(6)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if mode.endswith("gz") else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with sequence_of(out.getvalue(), pool) as sequence:
        found = {}
        with tarfile.open(fileobj=io.BufferedReader(SegmentedReader(sequence)), mode=mode) as archive:
            for info in archive:
                extracted = archive.extractfile(info)
                assert extracted is not None
                found[info.name] = extracted.read()
        assert found == members
