"""BufferPool: sizes, bounds, clearing and counts, alone and under threads."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from turbosock.buffers.pool import BufferPool, Clearing, FixedBufferPool
from turbosock.errors import InvalidOption, LeaseError, LimitError, PoolExhausted
from turbosock.limits import KIB, MAX_BUCKET_BYTES, MAX_IDLE_BYTES_PER_BUCKET, MAX_IDLE_PER_BUCKET, MIB


def hold(pool: BufferPool, size: int, count: int) -> None:
    """Leave `count` buffers of `size` idle in the pool, where its cap allows it."""
    for buffer in [pool.rent(size) for _ in range(count)]:
        buffer.release()


@pytest.mark.parametrize(
    ("size", "capacity"),
    [
        (1, KIB),
        (1023, KIB),
        (1024, KIB),
        (1025, 2 * KIB),
        (4096, 4 * KIB),
        (65_535, 64 * KIB),
        (65_536, 64 * KIB),
        (128 * KIB, 128 * KIB),
        (128 * KIB + 1, 256 * KIB),
        (MAX_BUCKET_BYTES, MAX_BUCKET_BYTES),
        (MAX_BUCKET_BYTES + 1, MAX_BUCKET_BYTES + 1),
    ],
)
def test_rent_size_is_rounded_up_to_its_bucket(size: int, capacity: int) -> None:
    with BufferPool().rent(size) as buffer:
        assert buffer.capacity == len(buffer.storage) == capacity
        assert buffer.size == len(buffer) == len(buffer.view) == size
        assert not buffer.view.readonly


def test_buckets_are_the_powers_of_two_up_to_the_bound() -> None:
    capacities = list(BufferPool().stats().buckets)
    assert capacities[:8] == [n * KIB for n in (1, 2, 4, 8, 16, 32, 64, 128)]
    assert capacities == [KIB << n for n in range(len(capacities))]
    assert capacities[-1] == MAX_BUCKET_BYTES


@pytest.mark.parametrize("size", [0, -1, 1.0, "1", None, True, b"x"])
def test_rent_wrong_size_is_refused_and_counts_nothing(size: Any) -> None:
    pool = BufferPool()
    with pytest.raises(InvalidOption, match="size must be an int of at least 1 byte"):
        pool.rent(size)
    assert pool.stats().rented == 0


def test_returned_buffer_is_lent_again_with_the_same_view() -> None:
    pool = BufferPool()
    buffer = pool.rent(KIB)
    view = buffer.view
    buffer.release()
    again = pool.rent(KIB)
    assert again is buffer
    assert again.view is view


def test_returned_buffer_in_another_size_gets_a_view_of_that_size() -> None:
    pool = BufferPool()
    for size in (1000, 1024, 7, 7, 1023):
        with pool.rent(size) as buffer:
            assert len(buffer.view) == buffer.size == size
    assert pool.stats().missed == 1


def test_last_returned_is_lent_first() -> None:
    pool = BufferPool()
    first, second = pool.rent(10), pool.rent(10)
    first.release()
    second.release()
    assert pool.rent(10) is second


def test_generation_counts_returns() -> None:
    pool = BufferPool()
    for generation in range(3):
        with pool.rent(10) as buffer:
            assert buffer.generation == generation


def test_oversized_memory_is_not_kept_and_counted_as_unpooled() -> None:
    pool = BufferPool()
    buffer = pool.rent(MAX_BUCKET_BYTES + 1)
    stats = pool.stats()
    assert (stats.unpooled, stats.outstanding, stats.outstanding_bytes) == (1, 1, MAX_BUCKET_BYTES + 1)
    buffer.release()
    stats = pool.stats()
    assert (stats.unpooled, stats.outstanding, stats.outstanding_bytes, stats.idle) == (1, 0, 0, 0)
    assert stats.dropped == 1
    assert pool.rent(MAX_BUCKET_BYTES + 1) is not buffer


def test_bucket_keeps_no_more_buffers_than_its_cap() -> None:
    pool = BufferPool(max_idle_per_bucket=3)
    hold(pool, 10, 5)
    bucket = pool.stats().buckets[KIB]
    assert bucket._asdict() == {
        "capacity": KIB,
        "rented": 5,
        "returned": 5,
        "missed": 5,
        "dropped": 2,
        "leaked": 0,
        "outstanding": 0,
        "idle": 3,
    }


def test_bucket_keeps_no_more_bytes_than_its_cap() -> None:
    pool = BufferPool(max_idle_bytes_per_bucket=10 * KIB)
    hold(pool, KIB, 20)
    hold(pool, 4 * KIB, 20)
    hold(pool, 16 * KIB, 20)
    stats = pool.stats().buckets
    assert (stats[KIB].idle, stats[4 * KIB].idle, stats[16 * KIB].idle) == (10, 2, 0)


@pytest.mark.parametrize("option", ["max_idle_per_bucket", "max_idle_bytes_per_bucket"])
def test_bucket_cap_of_zero_keeps_nothing(option: str) -> None:
    options: dict[str, Any] = {option: 0}
    pool = BufferPool(**options)
    hold(pool, 10, 2)
    assert pool.stats().idle == 0
    assert pool.stats().dropped == 2


def test_default_caps_are_those_of_limits() -> None:
    pool = BufferPool()
    hold(pool, KIB, MAX_IDLE_PER_BUCKET + 3)
    hold(pool, 2 * MIB, MAX_IDLE_BYTES_PER_BUCKET // (2 * MIB) + 1)
    stats = pool.stats().buckets
    assert stats[KIB].idle == MAX_IDLE_PER_BUCKET
    assert stats[2 * MIB].idle == MAX_IDLE_BYTES_PER_BUCKET // (2 * MIB)


def test_counts_follow_each_step() -> None:
    pool = BufferPool()
    one, two = pool.rent(10), pool.rent(3000)
    stats = pool.stats()
    assert (stats.rented, stats.missed, stats.outstanding, stats.idle) == (2, 2, 2, 0)
    assert stats.outstanding_bytes == KIB + 4 * KIB
    one.release()
    stats = pool.stats()
    assert (stats.returned, stats.outstanding, stats.idle, stats.dropped) == (1, 1, 1, 0)
    pool.rent(10)
    stats = pool.stats()
    assert (stats.rented, stats.missed, stats.outstanding, stats.idle) == (3, 2, 2, 0)
    assert stats.buckets[4 * KIB].outstanding == 1
    two.release()


def test_clear_drops_idle_buffers_and_leaves_lent_ones() -> None:
    pool = BufferPool()
    hold(pool, 10, 3)
    hold(pool, 5000, 2)
    lent = pool.rent(10)
    pool.clear()
    stats = pool.stats()
    assert (stats.idle, stats.outstanding, stats.dropped) == (0, 1, 0)
    lent.release()
    assert pool.stats().idle == 1


def test_pooling_off_lends_fresh_memory_and_drops_it() -> None:
    pool = BufferPool(pooling=False, clearing=Clearing.NEVER)
    buffer = pool.rent(10)
    buffer.view[:3] = b"abc"
    buffer.release()
    assert bytes(buffer.view[:3]) == b"abc"
    assert bytes(pool.rent(10).view) == bytes(10)
    stats = pool.stats()
    assert (stats.rented, stats.missed, stats.dropped, stats.idle) == (2, 2, 1, 0)


@pytest.mark.parametrize(
    ("clearing", "idle", "lent"),
    [
        (Clearing.NEVER, b"secret", b"secret"),
        (Clearing.ON_RENT, b"secret", bytes(6)),
        (Clearing.ON_RETURN, bytes(6), bytes(6)),
    ],
)
def test_clearing_policy_decides_what_the_next_holder_sees(clearing: Clearing, idle: bytes, lent: bytes) -> None:
    pool = BufferPool(clearing=clearing)
    buffer = pool.rent(100)
    storage = buffer.storage
    storage[-6:] = buffer.view[:6] = b"secret"
    buffer.release()
    assert storage[:6] == storage[-6:] == idle
    again = pool.rent(100)
    assert again.storage is storage
    assert storage[:6] == storage[-6:] == lent


def test_clearing_is_on_rent_by_default() -> None:
    assert BufferPool().clearing is Clearing.ON_RENT
    assert BufferPool.fixed(10, count=1).clearing is Clearing.ON_RENT


def test_outstanding_bound_is_reached_and_freed_by_a_return() -> None:
    pool = BufferPool(max_outstanding_bytes=3 * KIB, name="receive pool")
    one, _two = pool.rent(KIB), pool.rent(KIB)
    with pytest.raises(PoolExhausted, match=r"receive pool: .*2048 bytes, 2048 of max_outstanding_bytes = 3072"):
        pool.rent(KIB + 1)
    one.release()
    _three = pool.rent(KIB + 1)
    with pytest.raises(LimitError):
        pool.rent(1)
    assert pool.stats().rented == 3


def test_outstanding_bound_counts_unpooled_memory_too() -> None:
    pool = BufferPool(max_outstanding_bytes=6 * MIB)
    with pool.rent(5 * MIB), pytest.raises(PoolExhausted):
        pool.rent(5 * MIB)
    pool.rent(5 * MIB).release()


def test_fixed_pool_lends_its_count_of_exactly_its_size() -> None:
    pool = BufferPool.fixed(514, count=2, name="datagrams")
    one, two = pool.rent(), pool.rent(514)
    assert one.capacity == two.capacity == len(one.view) == 514
    with pytest.raises(PoolExhausted, match="datagrams: all 2 buffers of 514 bytes are lent"):
        pool.rent()
    one.release()
    assert pool.rent() is one
    assert list(pool.stats().buckets) == [514]


def test_fixed_pool_lends_smaller_views_and_refuses_larger_ones() -> None:
    pool = BufferPool.fixed(514, count=1)
    with pool.rent(100) as buffer:
        assert (len(buffer.view), buffer.capacity) == (100, 514)
    for size in (515, 1025, MAX_BUCKET_BYTES + 1, 1 << 80):
        with pytest.raises(InvalidOption, match="at most 514"):
            pool.rent(size)
    with pool.rent() as buffer:
        assert len(buffer.view) == 514


@pytest.mark.parametrize("size", [0, -1, "x", True])
def test_fixed_pool_refuses_wrong_sizes(size: Any) -> None:
    with pytest.raises(InvalidOption, match="size"):
        BufferPool.fixed(514, count=1).rent(size)
    with pytest.raises(InvalidOption, match="size"):
        BufferPool.fixed(size, count=1)


def test_fixed_pool_made_directly_is_that_of_the_factory() -> None:
    pool = FixedBufferPool(514, count=1)
    pool.rent().release()
    pool.rent().release()
    assert pool.stats().missed == 1
    assert type(BufferPool.fixed(514, count=1)) is FixedBufferPool


def test_fixed_pool_keeps_every_buffer_whatever_its_size() -> None:
    pool = BufferPool.fixed(3, count=MAX_IDLE_PER_BUCKET + 1)
    for buffer in [pool.rent() for _ in range(MAX_IDLE_PER_BUCKET + 1)]:
        buffer.release()
    assert pool.stats().idle == MAX_IDLE_PER_BUCKET + 1
    assert pool.stats().dropped == 0


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_idle_per_bucket": -1}, "max_idle_per_bucket"),
        ({"max_idle_per_bucket": 2.0}, "max_idle_per_bucket"),
        ({"max_idle_bytes_per_bucket": -1}, "max_idle_bytes_per_bucket"),
        ({"max_idle_bytes_per_bucket": None}, "max_idle_bytes_per_bucket"),
        ({"max_outstanding_bytes": 0}, "max_outstanding_bytes"),
        ({"max_outstanding_bytes": "1"}, "max_outstanding_bytes"),
        ({"clearing": "never"}, "clearing"),
    ],
)
def test_wrong_option_is_refused_by_name(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidOption, match=argument):
        BufferPool(**options)


@pytest.mark.parametrize("count", [0, -1, None, 1.0])
def test_fixed_pool_wrong_count_is_refused_by_name(count: Any) -> None:
    with pytest.raises(InvalidOption, match="count"):
        BufferPool.fixed(10, count=count)


def test_buffer_of_another_pool_is_refused() -> None:
    mine, other = BufferPool(name="mine"), BufferPool(name="theirs")
    buffer = other.rent(10)
    with pytest.raises(LeaseError, match="mine: given back a buffer that theirs has lent"):
        mine.give_back(buffer)
    other.give_back(buffer)


class NoMemory(bytearray):
    """Memory that the system refuses."""

    def __init__(self, *_arguments: object) -> None:
        raise MemoryError


@pytest.mark.parametrize("diagnostics", [False, True])
def test_failed_allocation_leaves_a_bounded_pool_as_it_was(diagnostics: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = BufferPool.fixed(514, count=1, diagnostics=diagnostics)
    with monkeypatch.context() as patch:
        patch.setattr("turbosock.buffers.pool.bytearray", NoMemory, raising=False)
        with pytest.raises(MemoryError):
            pool.rent()
    stats = pool.stats()
    assert (stats.rented, stats.missed, stats.outstanding) == (0, 0, 0)
    pool.rent().release()


@pytest.mark.parametrize("diagnostics", [False, True])
def test_failed_unpooled_allocation_is_not_counted_as_outstanding(
    diagnostics: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = BufferPool(diagnostics=diagnostics)
    with monkeypatch.context() as patch:
        patch.setattr("turbosock.buffers.pool.bytearray", NoMemory, raising=False)
        with pytest.raises(MemoryError):
            pool.rent(MAX_BUCKET_BYTES + 1)
    assert pool.stats().outstanding_bytes == 0


def test_lease_that_could_not_be_made_is_not_reported_as_leaked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_view: memoryview, _byte: int) -> None:
        raise MemoryError

    pool = BufferPool.fixed(514, count=1, diagnostics=True)
    with monkeypatch.context() as patch:
        patch.setattr("turbosock.buffers.lease.fill", fail)
        with pytest.raises(MemoryError):
            pool.rent(10)
    assert pool.leaks == ()
    pool.rent().release()


class Crowd:
    """Runs one function in many threads that change places as often as the interpreter lets them."""

    def __init__(self, threads: int) -> None:
        self.faults: list[str] = []
        self._threads = threads

    def run(self, work: Any) -> None:
        start = threading.Barrier(self._threads)

        def body(number: int) -> None:
            start.wait()
            work(number)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=body, args=(number,)) for number in range(self._threads)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)


def test_threads_never_share_memory_nor_pass_a_bucket_cap() -> None:
    pool = BufferPool(max_idle_per_bucket=3, clearing=Clearing.NEVER)
    crowd = Crowd(8)

    def work(number: int) -> None:
        for _ in range(400):
            with pool.rent(100) as buffer:
                buffer.view[0] = number
                if pool.stats().buckets[KIB].idle > 3:
                    crowd.faults.append("cap passed")
                if buffer.view[0] != number:
                    crowd.faults.append("memory shared")

    crowd.run(work)
    assert not crowd.faults
    stats = pool.stats()
    assert stats.rented == stats.returned == 8 * 400
    assert stats.outstanding == 0
    assert stats.missed == stats.dropped + stats.idle


def test_threads_never_hold_more_than_a_fixed_pool_lends() -> None:
    pool = BufferPool.fixed(514, count=3)
    crowd = Crowd(8)
    held: list[int] = []
    refused = [0] * 8

    def work(number: int) -> None:
        for _ in range(400):
            try:
                buffer = pool.rent()
            except PoolExhausted:
                refused[number] += 1
                continue
            held.append(number)
            if len(held) > 3:
                crowd.faults.append(f"{len(held)} held")
            held.remove(number)
            buffer.release()

    crowd.run(work)
    assert not crowd.faults
    stats = pool.stats()
    assert stats.rented + sum(refused) == 8 * 400
    assert stats.missed <= 3
    assert stats.outstanding == 0
    _leases = [pool.rent() for _ in range(3)]
    with pytest.raises(PoolExhausted):
        pool.rent()


def test_lease_that_is_collected_is_lent_no_more_and_counted() -> None:
    pool = BufferPool(max_outstanding_bytes=2 * KIB)
    view = pool.rent(2 * KIB).view
    view[:3] = b"abc"
    stats = pool.stats()
    assert (stats.outstanding, stats.outstanding_bytes, stats.idle, stats.leaked) == (0, 0, 0, 1)
    # Its memory is nobody else's, and there is room for other.
    with pool.rent(2 * KIB) as other:
        assert bytes(other.view[:3]) == b"\0\0\0" and bytes(view[:3]) == b"abc"
    assert not pool.leaks


def test_threads_that_share_a_lease_return_it_once() -> None:
    pool = BufferPool()
    crowd = Crowd(4)
    lease = pool.rent(10)

    def work(number: int) -> None:
        for _ in range(1000):
            lease.retain()
            lease.release()

    crowd.run(work)
    assert lease.holders == 1
    assert pool.stats().returned == 0
    lease.release()
    assert pool.stats().returned == 1
