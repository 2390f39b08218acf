"""BufferWriter: contiguous reservations, growth by segments, and file-like writing."""

from __future__ import annotations

import codecs
import io
import json
import pickle
import shutil
import socket
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from turbosock.buffers.pool import BufferPool
from turbosock.buffers.writer import BufferWriter
from turbosock.errors import InvalidOption, LimitError, PoolExhausted, StateError
from turbosock.limits import KIB, MAX_BUCKET_BYTES


@pytest.fixture
def pool() -> Iterator[BufferPool]:
    """A pool whose leases must all be back, unviewed, at the end of the test."""
    pool = BufferPool(diagnostics=True)
    yield pool
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


def content(writer: BufferWriter) -> bytes:
    return b"".join(writer.segments())


def test_writer_new_has_no_segments_and_holds_no_memory(pool: BufferPool) -> None:
    with BufferWriter(pool) as writer:
        assert len(writer) == 0
        assert writer
        assert writer.segments() == []
        assert pool.stats().outstanding == 0


def test_writer_reserved_and_advanced_shows_what_was_written(pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        view = writer.reserve(5)
        assert len(view) >= 5
        view[:3] = b"abc"
        writer.advance(3)
        view = writer.reserve(2)
        view[:2] = b"de"
        writer.advance(2)
        assert len(writer) == 5
        assert [bytes(segment) for segment in writer.segments()] == [b"abcde"]
        del view


def test_writer_reserve_without_advance_leaves_no_content(pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        writer.reserve(100)[:3] = b"abc"
        assert len(writer) == 0
        assert writer.segments() == []


def test_writer_reserve_of_more_than_the_rest_takes_a_new_segment(pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        writer.write(b"a" * 1000)
        view = writer.reserve(25)
        assert len(view) == KIB
        view[:25] = b"b" * 25
        del view
        writer.advance(25)
        assert [bytes(segment) for segment in writer.segments()] == [b"a" * 1000, b"b" * 25]
        assert len(writer.reserve(999)) == 999
        assert pool.stats().outstanding == 2


def test_writer_reserve_of_more_than_a_segment_is_contiguous(pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        writer.write(b"a")
        view = writer.reserve(5000)
        assert len(view) == 5000
        view[:] = b"b" * 5000
        del view
        writer.advance(5000)
        writer.write(b"c")
        assert [len(segment) for segment in writer.segments()] == [1, 5000, 1]
        assert content(writer) == b"a" + b"b" * 5000 + b"c"


def test_writer_segment_skipped_empty_is_not_sent(pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        writer.reserve(10)
        writer.reserve(2000)[:2] = b"ab"
        writer.advance(2)
        assert [bytes(segment) for segment in writer.segments()] == [b"ab"]


def test_writer_write_fills_segments_to_the_end(pool: BufferPool) -> None:
    data = bytes(range(256)) * 10
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        for start in range(0, len(data), 100):
            assert writer.write(data[start : start + 100]) == len(data[start : start + 100])
        assert [len(segment) for segment in writer.segments()] == [KIB, KIB, 512]
        assert content(writer) == data


def test_writer_writes_any_bytes_like_and_counts_bytes(pool: BufferPool) -> None:
    with BufferWriter(pool) as writer:
        assert writer.write(memoryview(b"abcd").cast("H")) == 4
        assert writer.write(bytearray(b"e")) == 1
        assert writer.write(b"") == 0
        assert content(writer) == b"abcde"


@pytest.mark.parametrize("n", [-1, KIB + 1])
def test_writer_advance_beyond_the_reserved_is_refused(n: int, pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        with pytest.raises(StateError, match="0 bytes reserved"):
            writer.advance(1)
        writer.reserve(1)
        with pytest.raises(StateError, match="1024 bytes reserved"):
            writer.advance(n)
        with pytest.raises(StateError, match="negative"):
            writer.reserve(-1)


def test_writer_bound_is_reached_exactly_and_named_when_passed(pool: BufferPool) -> None:
    with BufferWriter(pool, max_bytes=10) as writer:
        writer.write(b"0123456789")
        uses: list[Any] = [lambda: writer.write(b"x"), lambda: writer.reserve(1), lambda: writer.advance(1)]
        for use in uses:
            with pytest.raises(LimitError, match="11 bytes are more than max_bytes = 10"):
                use()
        assert content(writer) == b"0123456789"


def test_writer_write_over_the_bound_copies_nothing(pool: BufferPool) -> None:
    with BufferWriter(pool, max_bytes=10) as writer:
        writer.write(b"01234567")
        with pytest.raises(LimitError):
            writer.write(b"xxx")
        assert content(writer) == b"01234567"


def test_writer_reserve_over_the_bound_takes_no_memory(pool: BufferPool) -> None:
    with BufferWriter(pool, max_bytes=10 * KIB) as writer:
        with pytest.raises(LimitError):
            writer.reserve(10 * KIB + 1)
        assert pool.stats().rented == 0


def test_writer_over_an_exhausted_pool_keeps_what_it_has() -> None:
    pool = BufferPool.fixed(KIB, count=2)
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        with pytest.raises(PoolExhausted):
            writer.write(b"x" * 3 * KIB)
        assert content(writer) == b"x" * 2 * KIB
    assert pool.stats().outstanding == 0


def test_writer_released_gives_everything_back_and_refuses_use(pool: BufferPool) -> None:
    writer = BufferWriter(pool, segment_bytes=KIB)
    writer.write(bytes(3000))
    writer.release()
    writer.release()
    assert pool.stats().outstanding == 0
    uses: list[Any] = [
        lambda: writer.write(b"x"),
        lambda: writer.reserve(1),
        lambda: writer.advance(0),
        writer.segments,
        writer.clear,
    ]
    for use in uses:
        with pytest.raises(StateError, match="released"):
            use()


def test_writer_cleared_is_empty_and_usable(pool: BufferPool) -> None:
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        writer.write(bytes(3000))
        writer.clear()
        assert len(writer) == 0
        assert writer.segments() == []
        assert pool.stats().outstanding == 0
        writer.write(b"again")
        assert content(writer) == b"again"


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": None}, "max_bytes"),
        ({"segment_bytes": KIB - 1}, "segment_bytes"),
        ({"segment_bytes": MAX_BUCKET_BYTES + 1}, "segment_bytes"),
        ({"segment_bytes": True}, "segment_bytes"),
    ],
)
def test_writer_wrong_option_is_refused_by_name(options: dict[str, Any], argument: str, pool: BufferPool) -> None:
    with pytest.raises(InvalidOption, match=argument):
        BufferWriter(pool, **options)


def test_writer_segments_are_sent_by_one_sendmsg(pool: BufferPool) -> None:
    one, other = socket.socketpair()
    with one, other, BufferWriter(pool, segment_bytes=KIB) as writer:
        writer.write(bytes(range(256)) * 9)
        assert one.sendmsg(writer.segments()) == 2304
        assert other.recv(4096, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == bytes(range(256)) * 9


def test_writer_serves_libraries_that_write_to_files(pool: BufferPool) -> None:
    value = {"key": ["ä" * 700, 1, None]}
    with BufferWriter(pool, segment_bytes=KIB) as writer:
        pickle.dump(value, writer)
        assert pickle.loads(content(writer)) == value
        writer.clear()
        json.dump(value, codecs.getwriter("utf-8")(writer))  # type: ignore[arg-type]  # only write() is called
        assert json.loads(content(writer)) == value
        writer.clear()
        shutil.copyfileobj(io.BytesIO(b"z" * 5000), writer)
        assert content(writer) == b"z" * 5000
        writer.clear()
        with tarfile.open(fileobj=writer, mode="w|") as archive:  # type: ignore[call-overload]  # only write() is called
            info = tarfile.TarInfo("member")
            info.size = 3000
            archive.addfile(info, io.BytesIO(b"t" * 3000))
        with tarfile.open(fileobj=io.BytesIO(content(writer))) as archive:
            extracted = archive.extractfile("member")
            assert extracted is not None
            assert extracted.read() == b"t" * 3000


# Adopted memory


def test_writer_adopts_memory_between_what_it_copied(pool: BufferPool) -> None:
    with BufferWriter(pool) as writer:
        writer.write(b"ab")
        given = bytearray(b"cde")
        writer.adopt(given)
        writer.write(b"fg")
        writer.adopt(b"")
        writer.adopt(b"h")
        assert len(writer) == 8
        # From where it lies.
        given[0] = ord("C")
        assert writer.segments() == [b"ab", b"Cde", b"fg", b"h"]


def test_writer_that_adopted_reserves_memory_of_its_own(pool: BufferPool) -> None:
    with BufferWriter(pool) as writer:
        writer.adopt(b"abc")
        with pytest.raises(StateError, match="0 bytes reserved"):
            writer.advance(1)
        view = writer.reserve(2)
        view[:2] = b"de"
        writer.advance(2)
        assert content(writer) == b"abcde"


@pytest.mark.parametrize("end", [BufferWriter.clear, BufferWriter.release])
def test_writer_gives_adopted_memory_back_once_and_free(end: Any, pool: BufferPool) -> None:
    back: list[bytearray] = []

    def give_back(memory: bytearray) -> None:
        # Refused while anybody views it.
        memory.append(0)
        back.append(memory)

    memory = bytearray(b"abc")
    with BufferWriter(pool) as writer:
        writer.adopt(memory, give_back)
        assert back == []
        end(writer)
        assert back == [memory]
    assert len(back) == 1


def test_writer_adopts_no_more_than_it_may_hold(pool: BufferPool) -> None:
    with BufferWriter(pool, max_bytes=4) as writer:
        writer.write(b"ab")
        with pytest.raises(LimitError):
            writer.adopt(b"cde")
        assert content(writer) == b"ab"
    with pytest.raises(StateError):
        writer.adopt(b"c")
