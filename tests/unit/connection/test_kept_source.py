"""A body that outlives its requests: at its beginning for each, released once."""

from __future__ import annotations

import io

import pytest

from turbosock.buffers import BufferPool
from turbosock.connection.body_source import body_source
from turbosock.connection.kept_source import KeptSource
from turbosock.connection.source import BodySource
from turbosock.errors import WriteError


def kept(content: object) -> KeptSource:
    source = body_source(content, BufferPool())
    assert source is not None
    return KeptSource(source)


def sent(source: BodySource) -> bytes:
    blocks = []
    while True:
        block = source.next_block()
        if block is None:
            break
        assert isinstance(block, (bytes, bytearray, memoryview))
        blocks.append(bytes(block))
    source.close()
    return b"".join(blocks)


@pytest.mark.parametrize("make", [lambda: b"body", lambda: [b"bo", b"dy"], lambda: io.BytesIO(b"body")])
def test_body_is_the_same_for_each_request(make: object) -> None:
    source = kept(make())  # type: ignore[operator]  # a function, of one of three kinds
    for _ in range(3):
        source.begin()
        assert sent(source) == b"body"
        source.release()


def test_file_begins_where_it_stood() -> None:
    file = io.BytesIO(b"skipped body")
    file.seek(8)
    source = kept(file)
    for _ in range(2):
        source.begin()
        assert sent(source) == b"body"
        source.release()


def test_body_that_was_begun_is_replayed_within_a_request() -> None:
    source = kept(b"body")
    source.begin()
    source.next_block()
    source.replay()
    assert sent(source) == b"body"


def test_file_that_was_closed_meanwhile_cannot_be_sent_again() -> None:
    file = io.BytesIO(b"body")
    source = kept(file)
    source.begin()
    assert sent(source) == b"body"
    file.close()
    with pytest.raises(WriteError, match="cannot be sent again"):
        source.begin()


def test_dropped_body_lets_go_of_its_memory() -> None:
    memory = bytearray(b"body")
    source = kept(memory)
    source.begin()
    sent(source)
    source.release()
    with pytest.raises(BufferError):
        memory.append(1)
    source.drop()
    memory.append(1)
