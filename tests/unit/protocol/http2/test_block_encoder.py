from __future__ import annotations

from hpack import Decoder

from support import hpack_stories
from turbosock.protocol.http2.block_encoder import BlockEncoder


def test_block_encoder_on_every_raw_story_is_read_by_another_decoder() -> None:
    lists = 0
    for story in hpack_stories.stories_of(hpack_stories.RAW):
        encoder = BlockEncoder()
        decoder = Decoder()
        for _, _, fields in story.cases:
            assert [tuple(field) for field in decoder.decode(encoder.encode(fields), raw=True)] == fields, story.name
            lists += 1
    assert lists > 3_000
