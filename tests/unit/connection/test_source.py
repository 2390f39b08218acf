"""Request bodies of every kind: their length, their blocks, and whether they can be sent again."""

from __future__ import annotations

import array
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from turbosock import limits
from turbosock.buffers import BufferPool
from turbosock.connection.body_source import body_source as source_of
from turbosock.connection.file_range import FileRange
from turbosock.connection.file_source import FileSource
from turbosock.connection.source import BodySource, BufferSource, IterableSource
from turbosock.errors import InvalidOption, Origin, WriteError

BUFFERS = BufferPool()


def body_source(content: object, argument: str = "content") -> BodySource | None:
    return source_of(content, BUFFERS, argument)


def read(source: BodySource) -> bytes:
    """All blocks of a body, none of which may be empty."""
    blocks = []
    while (block := source.next_block()) is not None:
        assert len(block) > 0
        assert not isinstance(block, FileRange)
        blocks.append(bytes(block))
    return b"".join(blocks)


def made(content: object) -> BodySource:
    source = body_source(content)
    assert source is not None
    return source


def generator(*blocks: bytes) -> Iterator[bytes]:
    yield from blocks


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"", b""),
        (b"abc", b"abc"),
        ("äb", b"\xc3\xa4b"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (memoryview(bytearray(b"abcdefgh")).cast("I"), b"abcdefgh"),
        (array.array("H", [0x6161, 0x6262]), b"aabb"),
    ],
)
def test_buffer_is_one_block_of_known_length_and_can_be_replayed(content: object, body: bytes) -> None:
    source = made(content)
    assert isinstance(source, BufferSource)
    assert (source.length, source.replayable) == (len(body), True)
    assert read(source) == body
    assert source.next_block() is None
    source.rewind()
    assert read(source) == body


def test_buffer_is_sent_from_where_it_lies() -> None:
    memory = bytearray(b"abc")
    block = made(memory).next_block()
    memory[0] = ord("x")
    assert block == b"xbc"


def test_file_is_read_from_its_position_in_bounded_blocks(tmp_path: Path) -> None:
    data = os.urandom(limits.SEND_BLOCK_BYTES + 1000)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(10)
        source = made(file)
        assert isinstance(source, FileSource)
        assert (source.length, source.replayable) == (len(data) - 10, True)
        first = source.next_block()
        assert first is not None
        assert len(first) == limits.SEND_BLOCK_BYTES
        assert bytes(first) + read(source) == data[10:]
        source.close()
        source.rewind()
        assert read(source) == data[10:]
        assert not file.closed


def test_file_that_shrinks_is_a_local_write_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        source = made(file)
        os.truncate(path, 4)
        block = source.next_block()
        assert block is not None and not isinstance(block, FileRange) and bytes(block) == b"0123"
        with pytest.raises(WriteError, match="6 bytes before the 10") as caught:
            source.next_block()
        assert caught.value.origin is Origin.LOCAL


def test_file_that_grows_is_sent_as_long_as_announced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    with path.open("rb") as file:
        source = made(file)
        with path.open("ab") as more:
            more.write(b"4567")
        assert read(source) == b"0123"


def test_file_at_or_beyond_its_end_has_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    with path.open("rb") as file:
        for position in (4, 100):
            file.seek(position)
            source = made(file)
            assert (source.length, read(source)) == (0, b"")


def test_pipe_has_no_length_and_cannot_be_replayed() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    with open(reader, "rb") as file:
        source = made(file)
        assert (source.length, source.replayable) == (-1, False)
        assert read(source) == b"abc"


def test_file_in_memory_has_the_length_of_its_rest_and_can_be_replayed() -> None:
    file = io.BytesIO(b"012345")
    file.seek(2)
    source = made(file)
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


def test_file_with_read_alone_is_sent_once() -> None:
    source = made(OnlyRead(b"abc"))
    assert (source.length, source.replayable) == (-1, False)
    assert read(source) == b"abc"


def test_file_that_reads_text_is_refused() -> None:
    class Text:
        def read(self, size: int) -> str:
            return "abc"

    with pytest.raises(InvalidOption, match="binary mode"):
        made(Text()).next_block()
    with pytest.raises(InvalidOption, match="binary mode"):
        body_source(io.StringIO("abc"))


@pytest.mark.parametrize(
    ("content", "replayable"),
    [
        ([b"ab", b"", bytearray(b"c"), memoryview(b"de")], True),
        ((b"abcde",), True),
        (generator(b"abc", b"de"), False),
        (iter([b"abcde"]), False),
        ([memoryview(b"abcde").cast("b")], True),
    ],
)
def test_iterable_gives_its_blocks_without_the_empty_ones(content: object, replayable: bool) -> None:
    source = made(content)
    assert isinstance(source, IterableSource)
    assert (source.length, source.replayable) == (-1, replayable)
    assert read(source) == b"abcde"
    if replayable:
        source.rewind()
        assert read(source) == b"abcde"


@pytest.mark.parametrize("block", ["text", 5, None, memoryview(b"abcd")[::2]])
def test_iterable_of_something_else_is_refused(block: object) -> None:
    with pytest.raises(InvalidOption, match="the iterable gave"):
        made([block]).next_block()


@pytest.mark.parametrize(("blocks", "amount"), [([b"abcd"], "less"), ([b"abc", b"def"], "more"), ([], "less")])
def test_iterable_that_breaks_its_announced_length_is_a_local_write_error(blocks: list[bytes], amount: str) -> None:
    source = IterableSource(blocks)
    source.announce(5)
    with pytest.raises(WriteError, match=f"gave {amount} than the 5 bytes") as caught:
        read(source)
    assert caught.value.origin is Origin.LOCAL


def test_iterable_with_its_announced_length_can_be_replayed() -> None:
    source = IterableSource([b"ab", b"cde"])
    source.announce(5)
    assert (source.length, read(source)) == (5, b"abcde")
    source.rewind()
    assert read(source) == b"abcde"


@pytest.mark.parametrize("content", [5, 1.5, object(), memoryview(b"abcd")[::2]])
def test_content_that_cannot_be_sent_is_refused_by_name(content: object) -> None:
    with pytest.raises(InvalidOption, match=r"^content: "):
        body_source(content)
    with pytest.raises(InvalidOption, match=r"^data: "):
        body_source(content, "data")


@pytest.mark.parametrize("content", [b"abc", [b"a", b"bc"], io.BytesIO(b"abc")])
def test_source_that_was_closed_can_be_replayed(content: object) -> None:
    source = made(content)
    assert read(source) == b"abc"
    source.close()
    source.close()
    source.rewind()
    assert read(source) == b"abc"
    source.release()
    source.release()


def test_content_of_none_has_no_body() -> None:
    assert body_source(None) is None
