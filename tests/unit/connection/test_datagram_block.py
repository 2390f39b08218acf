"""DatagramBlock: slots, holders, and a pool that lends no more than it may."""

from __future__ import annotations

import pytest

from turbosock import limits
from turbosock.connection.datagram_block import DatagramBlocks


def make(max_bytes: int = 1 << 20, **options: bool) -> tuple[DatagramBlocks, list[int]]:
    calls: list[int] = []
    return DatagramBlocks(2048, max_bytes, lambda: calls.append(1), **options), calls


def test_block_has_as_many_slots_as_fit() -> None:
    blocks, _ = make()
    block = blocks.rent()
    assert block is not None
    assert len(block.slots) == limits.RECEIVE_RING_BYTES // 2048 and {len(slot) for slot in block.slots} == {2048}
    block.slots[1][:3] = b"abc"
    assert bytes(block.root[2048:2051]) == b"abc"


def test_pool_lends_no_more_than_it_may_and_tells_of_room() -> None:
    blocks, calls = make(2 * limits.RECEIVE_RING_BYTES)
    first, second = blocks.rent(), blocks.rent()
    assert first is not None and second is not None and blocks.rent() is None and not blocks.has_room
    first.holders += 1
    first.let_go()
    assert calls == [] and blocks.out == 2
    first.let_go()
    assert calls == [1] and blocks.has_room
    assert blocks.rent() is first


def test_pool_lends_one_however_small_its_bound() -> None:
    blocks, _ = make(1)
    assert blocks.rent() is not None and blocks.rent() is None


@pytest.mark.parametrize("pooling", [True, False])
def test_block_is_used_again_with_pooling_alone(pooling: bool) -> None:
    blocks, _ = make(pooling=pooling)
    first = blocks.rent()
    assert first is not None
    first.let_go()
    assert (blocks.rent() is first) is pooling


def test_diagnostics_poison_what_comes_back() -> None:
    blocks, _ = make(diagnostics=True)
    block = blocks.rent()
    assert block is not None
    block.let_go()
    assert bytes(block.slots[0][:4]) == b"\xdb" * 4
    blocks.clear()
    assert blocks.rent() is not block
