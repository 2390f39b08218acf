"""BufferPool and ObjectPool against naive models that remember every object."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.buffers.lease import PooledBuffer
from turbosock.buffers.objects import ObjectPool
from turbosock.buffers.pool import BufferPool, Clearing
from turbosock.errors import LeaseError, PoolExhausted
from turbosock.limits import KIB, MAX_BUCKET_BYTES

SIZES = (1, 500, KIB, KIB + 1, 3000, 4 * KIB, 20_000)


@pytest.mark.parametrize("diagnostics", [False, True])
@pytest.mark.parametrize("seed", seeds(10))
def test_buffer_pool_random_operations_match_the_model(seed: int, diagnostics: bool) -> None:
    rng = random.Random(seed)
    clearing = rng.choice(list(Clearing))
    max_idle = rng.randint(0, 4)
    bound = rng.choice((None, 64 * KIB))
    pool = BufferPool(
        clearing=clearing, max_idle_per_bucket=max_idle, max_outstanding_bytes=bound, diagnostics=diagnostics
    )
    lent: dict[PooledBuffer, tuple[int, bytes]] = {}
    idle: dict[int, int] = {}
    rented = returned = missed = dropped = cleared = 0
    for _ in range(400):
        operation = rng.randrange(8)
        outstanding = sum(buffer.capacity for buffer in lent)
        if operation <= 3:
            size = rng.choice(SIZES)
            capacity = max(KIB, 1 << (size - 1).bit_length())
            if bound is not None and outstanding + capacity > bound:
                with pytest.raises(PoolExhausted):
                    pool.rent(size)
                continue
            buffer = pool.rent(size)
            assert buffer not in lent
            assert (buffer.size, buffer.capacity, len(buffer.view)) == (size, capacity, size)
            rented += 1
            if idle.get(capacity, 0):
                idle[capacity] -= 1
            else:
                missed += 1
            if clearing is not Clearing.NEVER:
                assert not any(buffer.view)
            mark = rng.randbytes(1) * size
            buffer.view[:] = mark
            lent[buffer] = (1, mark)
        elif lent and operation == 4:
            buffer = rng.choice(list(lent))
            holders, mark = lent[buffer]
            buffer.retain()
            lent[buffer] = (holders + 1, mark)
        elif lent and operation <= 6:
            buffer = rng.choice(list(lent))
            holders, mark = lent.pop(buffer)
            assert buffer.view == mark
            buffer.release()
            if holders > 1:
                lent[buffer] = (holders - 1, mark)
                continue
            with pytest.raises(LeaseError):
                buffer.release()
            returned += 1
            if idle.setdefault(buffer.capacity, 0) < max_idle:
                idle[buffer.capacity] += 1
            else:
                dropped += 1
        elif rng.random() < 0.05:
            pool.clear()
            cleared += sum(idle.values())
            idle.clear()
        stats = pool.stats()
        assert (stats.rented, stats.returned, stats.missed, stats.dropped) == (rented, returned, missed, dropped)
        assert stats.outstanding == len(lent)
        assert stats.outstanding_bytes == sum(buffer.capacity for buffer in lent)
        assert {size: each.idle for size, each in stats.buckets.items() if each.idle} == {
            size: count for size, count in idle.items() if count
        }
        assert missed - dropped - cleared == len(lent) + stats.idle
    for buffer, (holders, mark) in lent.items():
        assert buffer.view == mark
        for _ in range(holders):
            buffer.release()
    assert pool.stats().outstanding == 0


def test_every_size_gets_the_smallest_bucket_that_holds_it() -> None:
    pool = BufferPool()
    capacities = list(pool.stats().buckets)
    near = {1, *(capacity + delta for capacity in capacities for delta in (-1, 0, 1))}
    for size in sorted(near):
        wanted = min((capacity for capacity in capacities if capacity >= size), default=size)
        with pool.rent(size) as buffer:
            assert buffer.capacity == wanted
    assert max(near) == MAX_BUCKET_BYTES + 1


class Item:
    """A pooled object that remembers its user."""

    __slots__ = ("user",)

    def __init__(self) -> None:
        self.user = 0


def reset(item: Item) -> None:
    item.user = 0


@pytest.mark.parametrize("diagnostics", [False, True])
@pytest.mark.parametrize("seed", seeds(10))
def test_object_pool_random_operations_never_lend_what_is_held(seed: int, diagnostics: bool) -> None:
    rng = random.Random(seed)
    max_idle = rng.randint(0, 6)
    pool = ObjectPool(Item, reset, max_idle=max_idle, diagnostics=diagnostics)
    lent: list[Item] = []
    kept: list[Item] = []
    rented = returned = 0
    for user in range(1, 800):
        operation = rng.randrange(5)
        if operation <= 1:
            lent.append(pool.rent())
            rented += 1
            assert lent[-1].user == 0
            assert all(lent[-1] is not other for other in lent[:-1] + kept)
            lent[-1].user = user
        elif lent and operation == 2:
            pool.give_back(lent.pop(rng.randrange(len(lent))))
            returned += 1
        elif lent and operation == 3:
            # A user who keeps an object past its life.
            kept.append(lent.pop(rng.randrange(len(lent))))
            pool.give_back(kept[-1])
            returned += 1
        elif kept:
            kept.pop(rng.randrange(len(kept)))
        stats = pool.stats()
        assert (stats.rented, stats.returned) == (rented, returned)
        assert stats.idle <= max_idle
        assert stats.made - stats.dropped == len(lent) + stats.idle
        assert all(item.user == 0 for item in kept)
        assert len({item.user for item in lent}) == len(lent)
