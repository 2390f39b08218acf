"""PooledBuffer and GuardedBuffer: holders, and each kind of misuse with the line that is to blame."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from turbosock.buffers.lease import GuardedBuffer, PooledBuffer
from turbosock.buffers.pool import BufferPool, Clearing
from turbosock.errors import LeaseError
from turbosock.limits import MAX_RECORDED_LEAKS


def line_above() -> str:
    """Return "file:line" of the line before the one that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno - 1}"


def guarded_pool(**options: Any) -> BufferPool:
    return BufferPool(diagnostics=True, **options)


def test_lease_as_context_manager_returns_at_its_end_even_after_an_error() -> None:
    pool = BufferPool()

    def fail() -> None:
        with pool.rent(10):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert pool.stats().outstanding == 0


def test_lease_returned_twice_raises_and_is_not_idle_twice() -> None:
    pool = BufferPool()
    lease = pool.rent(10)
    lease.release()
    with pytest.raises(LeaseError, match="returned twice"):
        lease.release()
    with pytest.raises(LeaseError, match="returned twice"):
        pool.give_back(lease)
    assert pool.stats().idle == 1
    assert pool.rent(10) is not pool.rent(10)


def test_lease_retained_returns_with_its_last_holder() -> None:
    pool = BufferPool()
    lease = pool.rent(10)
    assert lease.retain() is lease
    lease.retain()
    lease.release()
    lease.release()
    assert pool.stats().outstanding == 1
    lease.release()
    assert pool.stats().outstanding == 0


def test_lease_retained_after_its_return_raises() -> None:
    lease = BufferPool().rent(10)
    lease.release()
    with pytest.raises(LeaseError, match="retain"):
        lease.retain()
    assert lease.holders == 0


def test_pool_without_diagnostics_lends_plain_leases() -> None:
    lease = BufferPool().rent(10)
    assert type(lease) is PooledBuffer
    assert "size=10 capacity=1024 holders=1" in repr(lease)


def test_guarded_lease_behaves_as_a_plain_one() -> None:
    pool = guarded_pool()
    with pool.rent(10) as lease:
        assert isinstance(lease, GuardedBuffer)
        assert len(lease.view) == lease.size == 10
        assert lease.generation == 0
        lease.view[:] = b"0123456789"
        lease.retain()
        lease.release()
        assert bytes(lease.view) == b"0123456789"
    with pool.rent(10) as lease:
        assert lease.generation == 1
    assert pool.stats().missed == 1
    assert pool.leaks == ()


USES: list[tuple[str, Callable[[PooledBuffer], object]]] = [
    ("view", lambda lease: lease.view),
    ("storage", lambda lease: lease.storage),
    ("root", lambda lease: lease.root),
    ("retain", lambda lease: lease.retain()),
    ("release", lambda lease: lease.release()),
    ("give_back", lambda lease: lease.pool.give_back(lease)),
]


@pytest.mark.parametrize("use", [use for _, use in USES], ids=[name for name, _ in USES])
def test_guarded_lease_used_after_return_names_the_line_of_the_return(use: Callable[[PooledBuffer], object]) -> None:
    pool = guarded_pool()
    lease = pool.rent(10)
    lease.release()
    returned_at = line_above()
    with pytest.raises(LeaseError) as caught:
        use(lease)
    assert returned_at in str(caught.value)
    assert pool.stats().idle == 1


def test_guarded_lease_used_after_its_memory_was_lent_again_still_names_the_first_return() -> None:
    pool = guarded_pool()
    stale = pool.rent(10)
    stale.release()
    returned_at = line_above()
    fresh = pool.rent(10)
    assert pool.stats().missed == 1
    with pytest.raises(LeaseError) as caught:
        stale.release()
    assert returned_at in str(caught.value)
    assert fresh.holders == 1
    fresh.release()


def test_guarded_lease_unknown_attribute_is_an_attribute_error() -> None:
    with guarded_pool().rent(10) as lease, pytest.raises(AttributeError, match="colour"):
        lease.colour  # type: ignore[attr-defined]  # noqa: B018  # the error is what is tested


def test_guarded_view_kept_in_a_variable_fails_at_its_next_use() -> None:
    pool = guarded_pool()
    lease = pool.rent(10)
    view = lease.view
    lease.release()
    with pytest.raises(ValueError, match="released"):
        view[0]
    assert pool.leaks == ()


def test_guarded_memory_is_poisoned_at_its_return() -> None:
    pool = guarded_pool(clearing=Clearing.NEVER)
    for size in (10, 1024):
        lease = pool.rent(size)
        storage = lease.storage
        lease.view[:3] = b"abc"
        lease.release()
        assert storage == b"\xdb" * 1024
    with pool.rent(4) as lease:
        assert bytes(lease.view) == b"\xdb" * 4


@pytest.mark.parametrize("clearing", [Clearing.ON_RENT, Clearing.ON_RETURN])
def test_guarded_memory_is_zero_when_lent_where_clearing_promises_it(clearing: Clearing) -> None:
    pool = guarded_pool(clearing=clearing)
    pool.rent(100).release()
    with pool.rent(50) as lease:
        assert bytes(lease.view) == bytes(50)
    assert pool.stats().missed == 1


@pytest.mark.parametrize("offset", [10, 11, 1023])
def test_guarded_overrun_raises_at_return_and_names_both_lines(offset: int) -> None:
    pool = guarded_pool()
    lease = pool.rent(10)
    taken_at = line_above()
    lease.storage[offset] = 0
    with pytest.raises(LeaseError) as caught:
        lease.release()
    assert "beyond the 10 bytes" in str(caught.value)
    assert taken_at in str(caught.value)
    assert lease.returned_at in str(caught.value)  # type: ignore[attr-defined]  # a GuardedBuffer
    stats = pool.stats()
    assert (stats.outstanding, stats.idle, stats.dropped) == (0, 0, 1)


@pytest.mark.parametrize("size", [10, 1024])
def test_guarded_view_released_by_its_holder_raises_at_return(size: int) -> None:
    pool = guarded_pool()
    lease = pool.rent(size)
    taken_at = line_above()
    lease.view.release()
    with pytest.raises(LeaseError, match=r"release\(\) on the lent view") as caught:
        lease.release()
    assert taken_at in str(caught.value)
    assert pool.stats().outstanding == 0


def test_guarded_write_of_the_whole_size_is_no_overrun() -> None:
    pool = guarded_pool()
    for size in (10, 1023, 1024):
        lease = pool.rent(size)
        lease.view[:] = b"x" * size
        lease.release()
    assert pool.stats().idle == 1


LEAKED_VIEWS: list[tuple[str, Callable[[PooledBuffer], object]]] = [
    ("slice of view", lambda lease: lease.view[2:5]),
    ("cast of view", lambda lease: lease.view.cast("b")),
    ("view of storage", lambda lease: memoryview(lease.storage)),
    ("view of view", lambda lease: memoryview(lease.view)),
]


@pytest.mark.parametrize("size", [10, 1024])
@pytest.mark.parametrize("make", [make for _, make in LEAKED_VIEWS], ids=[name for name, _ in LEAKED_VIEWS])
def test_guarded_view_alive_at_return_is_reported_and_its_memory_never_lent_again(
    make: Callable[[PooledBuffer], object], size: int
) -> None:
    pool = guarded_pool()
    lease = pool.rent(size)
    taken_at = line_above()
    view = make(lease)
    with pytest.warns(ResourceWarning, match=r"a view of .* is still alive") as caught:
        lease.release()
    returned_at = line_above()
    assert taken_at in str(caught[0].message)
    assert returned_at in str(caught[0].message)
    assert [tuple(leak) for leak in pool.leaks] == [("view", size, taken_at, returned_at)]
    stats = pool.stats()
    assert (stats.outstanding, stats.idle, stats.dropped) == (0, 0, 1)
    assert bytes(view)[:1] == b"\xdb"  # type: ignore[call-overload]  # a memoryview


def test_guarded_lease_collected_while_out_is_reported_with_the_line_that_took_it() -> None:
    pool = guarded_pool(name="audited")
    lease = pool.rent(10)
    taken_at = line_above()
    with pytest.warns(ResourceWarning, match="audited: 10 bytes taken at .* were never returned") as caught:
        del lease
    assert taken_at in str(caught[0].message)
    assert [tuple(leak) for leak in pool.leaks] == [("lease", 10, taken_at, "")]
    stats = pool.stats()
    assert (stats.outstanding, stats.leaked, stats.idle) == (0, 1, 0)


def test_guarded_lease_leaked_from_a_fixed_pool_frees_its_place() -> None:
    pool = BufferPool.fixed(514, count=1, diagnostics=True)
    with pytest.warns(ResourceWarning, match="never returned"):
        pool.rent()
    pool.rent().release()


def test_guarded_pool_remembers_a_bounded_number_of_leaks() -> None:
    pool = guarded_pool(pooling=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(MAX_RECORDED_LEAKS + 5):
            pool.rent(10)
    assert len(pool.leaks) == MAX_RECORDED_LEAKS
    assert pool.stats().leaked == MAX_RECORDED_LEAKS + 5


def test_guarded_unpooled_lease_is_guarded_too() -> None:
    pool = guarded_pool()
    lease = pool.rent(5 << 20)
    lease.release()
    with pytest.raises(LeaseError):
        lease.release()
    assert pool.stats().outstanding_bytes == 0
