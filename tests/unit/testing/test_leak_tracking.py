"""Leases that were not returned are found, with the line that took them, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turbosock import Client, Config
from turbosock.buffers.pool import BufferPool
from turbosock.testing import LeakTracker, LeakTrackingPool, MockTransport

HERE = Path(__file__).name


def test_pool_names_the_line_of_what_is_out() -> None:
    pool = LeakTrackingPool(name="pool of mine")
    kept = pool.rent(100)
    pool.rent(200).release()
    [lease] = pool.outstanding()
    assert (lease.size, lease.pool, lease.held) == (100, "pool of mine", True)
    assert HERE in lease.taken_at
    with pytest.raises(AssertionError, match=rf"1 lease not returned: 100 bytes of the pool of mine taken at .*{HERE}"):
        pool.assert_all_returned()
    kept.release()
    pool.assert_all_returned()


@pytest.mark.filterwarnings("ignore:pool:ResourceWarning")
def test_pool_knows_what_was_lost() -> None:
    pool = LeakTrackingPool(name="pool")
    pool.rent(100)
    [lease] = pool.outstanding()
    assert (lease.size, lease.held) == (100, False)
    assert HERE in lease.taken_at


def test_tracker_names_what_was_taken_inside_and_not_returned() -> None:
    before = BufferPool(name="earlier")
    earlier = before.rent(10)
    tracker = LeakTracker()
    with pytest.raises(AssertionError) as caught, tracker:
        held = before.rent(20)
    assert "1 lease not returned: 20 bytes of the earlier" in str(caught.value)
    assert HERE in str(caught.value)
    held.release()
    earlier.release()


@pytest.mark.parametrize("switch", [None, "0"])
def test_tracker_leaves_diagnostics_as_they_were(switch: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURBOSOCK_POOL_DIAGNOSTICS", raising=False)
    if switch is not None:
        monkeypatch.setenv("TURBOSOCK_POOL_DIAGNOSTICS", switch)
    pool = BufferPool()
    with LeakTracker() as tracker:
        assert pool.diagnostics
        assert Config().diagnostics
        assert tracker.outstanding() == []
    assert not pool.diagnostics
    assert os.environ.get("TURBOSOCK_POOL_DIAGNOSTICS") == switch


def test_response_that_is_not_closed_is_found_by_the_line_that_read_it() -> None:
    with MockTransport() as mock, LeakTracker() as tracker, Client(connector=mock) as client:
        mock.add(content=bytes(100_000))
        response = client.stream("GET", "http://x/")
        view = response.view()
        leases = tracker.outstanding()
        assert leases
        assert any(HERE in lease.taken_at for lease in leases)
        view.release()
        response.close()
        tracker.assert_all_returned()


def test_error_inside_is_not_hidden_by_what_it_left_behind() -> None:
    pool = BufferPool()
    kept = []

    def fail() -> None:
        kept.append(pool.rent(5))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), LeakTracker():
        fail()
    kept.pop().release()
