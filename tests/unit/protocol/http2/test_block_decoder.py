from __future__ import annotations

from support import hpack_stories
from turbosock.protocol.http2.block_decoder import BlockDecoder


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
