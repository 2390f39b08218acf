"""Bodies from files: what is read, how long it is said to be, and what is moved by the system."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turbosock import limits
from turbosock.buffers import BufferPool
from turbosock.connection.file_range import FileRange
from turbosock.connection.file_source import FileSource
from turbosock.errors import InvalidOption, Origin, WriteError


@pytest.fixture
def pool() -> Iterator[BufferPool]:
    """A pool whose leases must all be back at the end of the test."""
    pool = BufferPool(diagnostics=True)
    yield pool
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


def read(source: FileSource) -> bytes:
    """All blocks of a body, none of which may be empty, and the end of the sending."""
    blocks = []
    while (block := source.next_block()) is not None:
        assert not isinstance(block, FileRange)
        assert len(block) > 0
        blocks.append(bytes(block))
        del block
    source.close()
    return b"".join(blocks)


def test_file_is_read_from_its_position_in_bounded_blocks(tmp_path: Path, pool: BufferPool) -> None:
    data = os.urandom(limits.SEND_BLOCK_BYTES + 1000)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(10)
        source = FileSource(file, pool)
        assert (source.length, source.replayable) == (len(data) - 10, True)
        first = source.next_block()
        assert first is not None and not isinstance(first, FileRange)
        assert len(first) == limits.SEND_BLOCK_BYTES
        start = bytes(first)
        del first
        assert start + read(source) == data[10:]
        source.rewind()
        assert read(source) == data[10:]
        assert not file.closed


def test_file_that_shrinks_is_a_local_write_error(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        source = FileSource(file, pool)
        os.truncate(path, 4)
        block = source.next_block()
        assert block is not None and not isinstance(block, FileRange) and bytes(block) == b"0123"
        del block
        with pytest.raises(WriteError, match="6 bytes before the 10") as caught:
            source.next_block()
        assert caught.value.origin is Origin.LOCAL
        source.close()


def test_file_that_grows_is_sent_as_long_as_announced(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    with path.open("rb") as file:
        source = FileSource(file, pool)
        with path.open("ab") as more:
            more.write(b"4567")
        assert read(source) == b"0123"


def test_file_at_or_beyond_its_end_has_no_bytes(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    with path.open("rb") as file:
        for position in (4, 100):
            file.seek(position)
            source = FileSource(file, pool)
            assert (source.length, read(source)) == (0, b"")


def test_pipe_has_no_length_and_cannot_be_replayed(pool: BufferPool) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    with open(reader, "rb") as file:
        source = FileSource(file, pool)
        assert (source.length, source.replayable) == (-1, False)
        assert read(source) == b"abc"


def test_file_in_memory_has_the_length_of_its_rest_and_can_be_replayed(pool: BufferPool) -> None:
    file = io.BytesIO(b"012345")
    file.seek(2)
    source = FileSource(file, pool)
    assert (source.length, source.replayable) == (4, True)
    assert file.tell() == 2
    assert read(source) == b"2345"
    source.rewind()
    assert read(source) == b"2345"


class OnlyRead:
    """The least that a file must offer."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self.file.read(size)


def test_file_with_read_alone_is_sent_once(pool: BufferPool) -> None:
    source = FileSource(OnlyRead(b"abc"), pool)
    assert (source.length, source.replayable) == (-1, False)
    assert read(source) == b"abc"


def test_file_that_reads_text_is_refused_before_any_is_sent(pool: BufferPool) -> None:
    class Text:
        def read(self, size: int) -> str:
            return "abc"

    source = FileSource(Text(), pool)  # type: ignore[arg-type]  # its text is what is refused
    with pytest.raises(InvalidOption, match="binary mode"):
        source.next_block()
    source.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def test_file_is_read_by_position_and_its_own_stays(path: Path, pool: BufferPool) -> None:
    with path.open("rb") as file:
        file.seek(2)
        first, second = FileSource(file, pool), FileSource(file, pool)
        file.seek(5)
        assert read(first) == read(second) == b"23456789"
        assert file.tell() == 5


def test_file_open_for_writing_as_well_is_sent_as_written(path: Path, pool: BufferPool) -> None:
    with path.open("r+b") as file:
        file.write(b"abcdefghijklmnop")
        # A seek writes what lies in the file's own buffer: nothing ahead of a position ever does.
        file.seek(1)
        assert read(FileSource(file, pool)) == b"bcdefghijklmnop"


def test_temporary_file_is_one_of_the_system(pool: BufferPool) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"abc")
        file.seek(1)
        source = FileSource(file, pool)
        assert (source.length, read(source)) == (2, b"bc")


@pytest.mark.parametrize("max_size", [0, 2])
def test_spooled_file_has_a_length_wherever_it_lies(max_size: int, pool: BufferPool) -> None:
    with tempfile.SpooledTemporaryFile(max_size=max_size) as file:
        file.write(b"abc")
        file.seek(1)
        source = FileSource(file, pool)
        assert (source.length, read(source)) == (2, b"bc")


def test_file_that_decompresses_is_not_taken_for_the_compressed_one(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file.gz"
    with gzip.open(path, "wb") as file:
        file.write(bytes(100_000))
    with gzip.open(path, "rb") as file:
        source = FileSource(file, pool)
        source.takes_files = True
        assert (source.length, source.moves) == (-1, False)
        assert read(source) == bytes(100_000)
        source.rewind()
        assert read(source) == bytes(100_000)


def test_sparse_file_is_sent_with_its_holes(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(99_999)
        file.write(b"x")
    with path.open("rb") as file:
        assert read(FileSource(file, pool)) == bytes(99_999) + b"x"


def test_file_of_no_bytes_has_length_zero(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "empty"
    path.touch()
    with path.open("rb") as file:
        source = FileSource(file, pool)
        assert (source.length, read(source)) == (0, b"")


def test_file_whose_size_says_nothing_has_no_length(pool: BufferPool) -> None:
    with open("/proc/self/status", "rb") as file:
        source = FileSource(file, pool)
        assert source.length == -1
        assert read(source).startswith(b"Name:")


@pytest.mark.parametrize("mode", ["wb", "ab", "xb"])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, mode: str, pool: BufferPool) -> None:
    with (tmp_path / "file").open(mode) as file, pytest.raises(InvalidOption, match=r"^data: .*'rb'"):
        FileSource(file, pool, "data")


def test_file_that_is_closed_or_text_is_refused(path: Path, pool: BufferPool) -> None:
    with path.open("r") as text, pytest.raises(InvalidOption, match=r"^content: .*binary mode"):
        FileSource(text, pool)  # type: ignore[arg-type]  # a text file is what is refused
    with path.open("rb") as file:
        pass
    with pytest.raises(InvalidOption, match=r"^content: the file is closed"):
        FileSource(file, pool)


def test_file_closed_while_it_is_sent_is_a_local_write_error(path: Path, pool: BufferPool) -> None:
    with path.open("rb") as file:
        source = FileSource(file, pool)
    with pytest.raises(WriteError, match="closed while it was sent") as caught:
        source.next_block()
    assert caught.value.origin is Origin.LOCAL
    with pytest.raises(WriteError, match="cannot be sent again: ValueError") as caught:
        source.replay()
    assert caught.value.origin is Origin.LOCAL
    source.close()


class Nothing(io.RawIOBase):
    """A file that has nothing to read now."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> None:
        return None


def test_file_without_anything_now_is_not_taken_to_be_at_its_end(pool: BufferPool) -> None:
    source = FileSource(Nothing(), pool)
    with pytest.raises(WriteError, match="nothing to read now"):
        source.next_block()
    source.close()


def test_file_that_gives_more_than_was_asked_for_is_refused(pool: BufferPool) -> None:
    class Generous:
        def read(self, size: int) -> bytes:
            return bytes(size + 1)

    source = FileSource(Generous(), pool)
    with pytest.raises(InvalidOption, match="gave 524289"):
        source.next_block()
    source.close()


def test_pipe_with_an_announced_length_is_sent_so_far(pool: BufferPool) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abcdef")
    with open(reader, "rb") as file:
        source = FileSource(file, pool)
        source.announce(4)
        assert (source.length, read(source)) == (4, b"abcd")
    os.close(writer)


def test_pipe_gives_what_has_come_without_waiting_for_more(pool: BufferPool) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    with open(reader, "rb") as file:
        source = FileSource(file, pool)
        block = source.next_block()
        # The other end is open: waiting for a whole block would be for ever.
        assert block is not None and not isinstance(block, FileRange) and bytes(block) == b"abc"
        del block
        os.close(writer)
        assert read(source) == b""


# Moved by the system


@pytest.fixture
def long_path(tmp_path: Path) -> Path:
    path = tmp_path / "long"
    path.write_bytes(os.urandom(limits.MOVED_FILE_BYTES + 100))
    return path


def test_long_file_is_one_range_where_files_are_taken(long_path: Path, pool: BufferPool) -> None:
    with long_path.open("rb") as file:
        file.seek(100)
        source = FileSource(file, pool)
        for _ in range(2):
            source.takes_files = True
            part = source.next_block()
            assert isinstance(part, FileRange)
            assert (part.offset, part.count, len(part)) == (100, limits.MOVED_FILE_BYTES, limits.MOVED_FILE_BYTES)
            assert source.next_block() is None
            source.rewind()
            # As over TLS, after a redirect.
            source.takes_files = False
            assert read(source) == long_path.read_bytes()[100:]
            source.rewind()


def test_shorter_file_is_read_to_leave_with_the_head(long_path: Path, pool: BufferPool) -> None:
    with long_path.open("rb") as file:
        file.seek(101)
        source = FileSource(file, pool)
        source.takes_files = True
        assert read(source) == long_path.read_bytes()[101:]


@pytest.mark.parametrize("kind", [io.BytesIO, OnlyRead])
def test_file_that_is_not_the_systems_is_read(kind: type[Any], pool: BufferPool) -> None:
    source = FileSource(kind(bytes(limits.MOVED_FILE_BYTES)), pool)
    source.takes_files = True
    assert read(source) == bytes(limits.MOVED_FILE_BYTES)
