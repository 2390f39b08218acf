"""Receive rings: whose bytes they held, how many are kept, and what diagnostics add."""

from __future__ import annotations

import pytest

from turbosock import limits
from turbosock.connection.receive_ring import ReceiveRing, RingPool
from turbosock.errors import LeaseError

HERE, THERE = object(), object()


def test_ring_of_another_origin_is_wiped_and_one_of_the_same_is_not() -> None:
    ring = ReceiveRing()
    ring.belongs_to(HERE)
    ring.root[:6] = b"secret"
    ring.belongs_to(HERE)
    assert ring.storage.startswith(b"secret")
    ring.belongs_to(THERE)
    assert ring.storage == bytes(limits.RECEIVE_RING_BYTES)
    assert ring.origin is THERE


def test_ring_given_back_is_lent_again_empty() -> None:
    pool = RingPool()
    ring = pool.rent()
    ring.start, ring.length = 5, 10
    pool.give_back(ring)
    assert pool.rent() is ring
    assert (ring.start, ring.length) == (0, 0)
    assert pool.stats() == (1, 0)


def test_rings_kept_are_bounded() -> None:
    pool = RingPool()
    rings = [pool.rent() for _ in range(limits.MAX_IDLE_RINGS + 3)]
    for ring in rings:
        pool.give_back(ring)
    assert pool.stats() == (limits.MAX_IDLE_RINGS + 3, limits.MAX_IDLE_RINGS)
    pool.clear()
    assert pool.stats().idle == 0


def test_rings_without_pooling_are_all_new() -> None:
    pool = RingPool(pooling=False)
    ring = pool.rent()
    pool.give_back(ring)
    assert pool.rent() is not ring
    assert pool.stats() == (2, 0)


def test_diagnostics_poison_a_ring_and_refuse_it_twice() -> None:
    pool = RingPool(diagnostics=True)
    ring = pool.rent()
    ring.root[:6] = b"secret"
    pool.give_back(ring)
    assert b"secret" not in ring.storage
    with pytest.raises(LeaseError, match="twice"):
        pool.give_back(ring)
