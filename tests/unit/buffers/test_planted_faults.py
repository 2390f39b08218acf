"""Faults that are planted in a program, each caught under diagnostics with the line that is at fault."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator

import pytest

from turbosock import Client, Config, LeaseError, Loop
from turbosock.buffers import BufferPool


@pytest.fixture(params=["client", "loop"])
def pool(request: pytest.FixtureRequest) -> Iterator[BufferPool]:
    config = Config(diagnostics=True)
    owner: Client | Loop = Client(config) if request.param == "client" else Loop(config)
    with owner:
        yield owner.buffers


def line_before() -> str:
    """Return "file:line" of the line before the one that asks."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno - 1}"


def test_use_after_return_is_caught_and_the_return_named(pool: BufferPool) -> None:
    lease = pool.rent(2000)
    view = lease.view
    lease.release()
    returned = line_before()
    with pytest.raises(LeaseError, match=returned):
        lease.view[0] = 1
    with pytest.raises(ValueError, match="released"):
        view[0] = 1


def test_double_return_is_caught_and_the_first_named(pool: BufferPool) -> None:
    lease = pool.rent(2000)
    lease.release()
    returned = line_before()
    with pytest.raises(LeaseError, match=f"returned twice, first at {returned}"):
        lease.release()


def test_overrun_is_caught_and_who_took_the_memory_named(pool: BufferPool) -> None:
    lease = pool.rent(2000)
    taken = line_before()
    lease.storage[2000] = 1
    with pytest.raises(LeaseError, match=f"taken at {taken}.*wrote beyond the 2000 bytes"):
        lease.release()


def test_leak_is_caught_and_who_took_the_memory_named(pool: BufferPool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool.rent(2000)
        taken = line_before()
    [leak] = pool.leaks
    assert (leak.kind, leak.size, leak.taken_at) == ("lease", 2000, taken)
    assert [str(each.message) for each in caught] == [
        f"{pool.name}: 2000 bytes taken at {taken} were never returned: release() them"
    ]


def test_view_that_outlives_its_lease_is_caught_and_both_lines_named(pool: BufferPool) -> None:
    lease = pool.rent(2000)
    taken = line_before()
    part = lease.view[:10]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lease.release()
        returned = line_before()
    assert f"taken at {taken} is still alive after their return at {returned}" in str(caught[0].message)
    [leak] = pool.leaks
    assert (leak.kind, leak.taken_at, leak.returned_at) == ("view", taken, returned)
    part.release()
