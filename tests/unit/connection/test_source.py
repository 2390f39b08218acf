"""Request bodies of every kind: their length, their blocks, and whether they can be sent again."""

from __future__ import annotations

import array
import io
from collections.abc import Iterator

import pytest

from turbosock.buffers import BufferPool
from turbosock.connection.body_source import body_source as source_of
from turbosock.connection.file_range import FileRange
from turbosock.connection.source import BodySource, BufferSource, IterableSource
from turbosock.errors import InvalidHeader, InvalidOption, Origin, WriteError

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


def test_released_buffer_may_grow_again() -> None:
    memory = bytearray(b"abc")
    source = made(memory)
    assert read(source) == b"abc"
    source.release()
    memory.extend(b"more")


def test_body_of_known_length_takes_no_other() -> None:
    with pytest.raises(InvalidHeader, match="Content-Length"):
        BodySource(-1, replayable=False).announce(5)
