"""What the child of a fork renews, when, and what is not in it any more."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import pytest

from support.forks import NEEDS_FORK, held_elsewhere, in_child
from turbosock.buffers import BufferPool, ObjectPool
from turbosock.client.cancel_token import CancelToken
from turbosock.client.request import Preparer
from turbosock.config import PoolConfig, TlsConfig
from turbosock.forks import renewed_in_child
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.tls.cache import LruCache
from turbosock.tls.selector import ProviderSelector


class Guarded:
    """An object with a lock."""

    def __init__(self, noted: list[Guarded]) -> None:
        self.lock = threading.Lock()
        self.noted = noted

    def renew(self) -> None:
        self.lock = threading.Lock()
        self.noted.append(self)


@NEEDS_FORK
def test_child_renews_what_lives_in_it_and_the_parent_nothing() -> None:
    noted: list[Guarded] = []
    living: WeakSet[Guarded] = renewed_in_child(Guarded.renew)
    one, other, dropped = Guarded(noted), Guarded(noted), Guarded(noted)
    living.update((one, other, dropped))
    del dropped
    gc.collect()

    def use() -> None:
        assert {id(guarded) for guarded in noted} == {id(one), id(other)} and len(noted) == 2
        with one.lock:
            pass

    with held_elsewhere(one.lock):
        in_child(use)
    assert noted == []


@NEEDS_FORK
def test_child_renews_sets_in_the_order_in_which_they_were_made() -> None:
    told: list[str] = []
    below: WeakSet[Guarded] = renewed_in_child(lambda _: told.append("below"))
    above: WeakSet[Guarded] = renewed_in_child(lambda _: told.append("above"))
    one = Guarded([])
    above.add(one)
    below.add(one)

    def use() -> None:
        assert told == ["below", "above"]

    in_child(use)


def use_objects(objects: ObjectPool[Guarded]) -> None:
    objects.give_back(objects.rent())


def use_token(token: CancelToken) -> None:
    token.cancel()
    assert token.cancelled


@NEEDS_FORK
@pytest.mark.parametrize(
    ("make", "lock", "use"),
    [
        (lambda: BufferPool.fixed(514, count=2), "_lock", lambda buffers: buffers.rent().release()),
        (lambda: ObjectPool(lambda: Guarded([]), None, diagnostics=True), "_places_lock", use_objects),
        (lambda: LruCache(1), "_lock", lambda cache: cache.put("key", 1)),
        (ProviderSelector, "_lock", lambda selector: selector.provider_for(TlsConfig())),
        (
            lambda: Preparer(ConnectionPool(PoolConfig()), ()),
            "_lock",
            lambda preparer: preparer.prepare("GET", "http://127.0.0.1/"),
        ),
        (CancelToken, "_lock", use_token),
    ],
    ids=["BufferPool", "ObjectPool", "LruCache", "ProviderSelector", "Preparer", "CancelToken"],
)
def test_child_uses_what_another_thread_was_inside_of(
    make: Callable[[], Any], lock: str, use: Callable[[Any], object]
) -> None:
    one = make()
    with held_elsewhere(getattr(one, lock)):
        in_child(lambda: use(one))
    use(one)
