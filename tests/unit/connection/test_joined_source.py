"""Several bodies as one: what is put together, what is lent, what is moved, and that nothing is lost."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.buffers import BufferPool, BufferWriter
from turbosock.connection.body_source import body_source
from turbosock.connection.file_range import FileRange
from turbosock.connection.joined_source import JoinedSource
from turbosock.connection.source import BodySource, Buffer
from turbosock.errors import LimitError, WriteError

LONG = limits.JOINED_PART_BYTES + 1


@pytest.fixture
def pool() -> Iterator[BufferPool]:
    """A pool whose leases must all be back, unviewed, at the end of the test."""
    pool = BufferPool(diagnostics=True)
    yield pool
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


def joined(pool: BufferPool, *pieces: object) -> JoinedSource:
    """A source of pieces: owned bytes as they are, anything else as the body that it makes."""
    sources: list[bytes | BodySource] = []
    for piece in pieces:
        source = piece if isinstance(piece, bytes) else body_source(piece, pool)
        assert source is not None
        sources.append(source)
    return JoinedSource(sources, pool)


def blocks(source: JoinedSource) -> Iterator[Buffer]:
    while (block := source.next_block()) is not None:
        assert not isinstance(block, FileRange)
        assert len(block)
        yield block


def read(source: JoinedSource) -> list[bytes]:
    """Copies of all blocks, and the end of the sending."""
    copies = [bytes(block) for block in blocks(source)]
    source.close()
    return copies


def test_short_pieces_are_one_block(pool: BufferPool) -> None:
    source = joined(pool, b"a", memoryview(b"bc"), [b"d", b"ef"], io.BytesIO(b"gh"), b"", b"i")
    assert (source.length, source.replayable) == (-1, True)
    assert read(source) == [b"abcdefghi"]
    source.rewind()
    assert read(source) == [b"abcdefghi"]


def test_length_is_known_where_all_of_them_are(pool: BufferPool) -> None:
    source = joined(pool, b"a", memoryview(b"bc"), io.BytesIO(b"gh"))
    assert source.length == 5
    assert read(source) == [b"abcgh"]
    assert joined(pool).length == 0


def test_one_piece_that_cannot_be_replayed_is_enough(pool: BufferPool) -> None:
    assert not joined(pool, b"a", iter([b"b"])).replayable


@pytest.mark.parametrize("kind", ["buffer", "iterable"])
def test_long_buffer_is_lent_from_where_it_lies(kind: str, pool: BufferPool) -> None:
    memory = bytearray(LONG)
    long = memoryview(memory)
    source = joined(pool, b"a", long if kind == "buffer" else [long], b"z")
    found = []
    for block in blocks(source):
        memory[0] = ord("x")
        found.append((len(block), bytes(block[:1])))
    del block
    assert found == [(1, b"a"), (LONG, b"x"), (1, b"z")]
    source.release()


def test_file_goes_on_in_the_block_of_its_head(tmp_path: Path, pool: BufferPool) -> None:
    data = os.urandom(limits.SEND_BLOCK_BYTES)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        source = joined(pool, b"head", file, b"tail")
        assert [len(block) for block in read(source)] == [limits.SEND_BLOCK_BYTES, 8]
        source.rewind()
        assert b"".join(read(source)) == b"head" + data + b"tail"
        source.release()


def test_long_file_is_moved_where_that_is_possible(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(limits.MOVED_FILE_BYTES))
    with path.open("rb") as file:
        source = joined(pool, b"head", file, b"tail")
        source.takes_files = True
        found = []
        while (block := source.next_block()) is not None:
            found.append((type(block).__name__, len(block)))
        assert found == [("memoryview", 4), ("FileRange", limits.MOVED_FILE_BYTES), ("memoryview", 4)]
        block = None
        source.release()


def test_long_file_in_chunks_is_read(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(limits.MOVED_FILE_BYTES))
    with path.open("rb") as file:
        # The length of the whole is not known.
        source = joined(pool, file, [b"a"])
        source.takes_files = True
        assert len(b"".join(read(source))) == limits.MOVED_FILE_BYTES + 1


def test_file_that_shrinks_is_an_error_and_gives_its_block_back(tmp_path: Path, pool: BufferPool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        source = joined(pool, b"head", file)
        os.truncate(path, 5)
        with pytest.raises(WriteError, match="5 bytes before the 10"):
            list(blocks(source))
        source.release()


@pytest.mark.parametrize("seed", seeds(20))
def test_pieces_of_any_kind_and_length_come_whole(seed: int, pool: BufferPool) -> None:
    chance = random.Random(seed)
    pieces: list[object] = []
    whole = b""
    for _ in range(chance.randrange(1, 12)):
        data = chance.randbytes(chance.choice([0, 1, 100, LONG, 200_000, 600_000]))
        kind = chance.randrange(4)
        cut = chance.randrange(len(data) + 1)
        pieces.append(
            (data, memoryview(data), [data[:cut], data[cut:]], io.BytesIO(data))[kind],
        )
        whole += data
    source = joined(pool, *pieces)
    for _ in range(2):
        assert b"".join(read(source)) == whole
        source.rewind()
    with BufferWriter(pool) as writer:
        assert source.write_to(writer) == len(whole) == len(writer)
        assert b"".join(writer.segments()) == whole
    source.release()


def test_write_to_a_writer_without_room_is_its_limit(pool: BufferPool) -> None:
    with BufferWriter(pool, max_bytes=5) as writer, pytest.raises(LimitError):
        joined(pool, b"abc", b"def").write_to(writer)
