"""A body in the memory that it was serialised into: sent from there, and given back once."""

from __future__ import annotations

from turbosock.buffers import BufferPool, BufferWriter
from turbosock.connection.writer_source import WriterSource


def test_body_is_what_was_written_and_can_be_replayed_until_it_is_released() -> None:
    pool = BufferPool(diagnostics=True)
    writer = BufferWriter(pool, segment_bytes=1024)
    data = bytes(range(256)) * 10
    writer.write(data)
    source = WriterSource(writer)
    assert (source.length, source.replayable) == (len(data), True)
    for _ in range(2):
        blocks = []
        while (block := source.next_block()) is not None:
            blocks.append(bytes(block))
        assert len(blocks) == 3 and b"".join(blocks) == data
        block = None
        source.close()
        source.rewind()
    assert pool.stats().outstanding == 3
    source.release()
    source.release()
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


def test_body_of_nothing_has_no_blocks() -> None:
    source = WriterSource(BufferWriter(BufferPool()))
    assert (source.length, source.next_block()) == (0, None)
