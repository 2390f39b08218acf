"""Caches: bounded, least recently used first out, one value for many who ask at once, and their life after a fork."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.tls import cache as caches
from turbosock.tls.cache import LruCache, SessionCache, SessionReads


@pytest.mark.parametrize("seed", seeds(20))
def test_lru_cache_does_as_a_naive_model(seed: int) -> None:
    rng = random.Random(seed)
    cache: LruCache[int] = LruCache(4)
    model: OrderedDict[int, int] = OrderedDict()
    for value in range(500):
        key = rng.randrange(8)
        action = rng.choice(["get", "put", "discard", "get_or_make"])
        if action == "get":
            assert cache.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        elif action == "discard":
            cache.discard(key)
            model.pop(key, None)
        else:
            if action == "put" or key not in model:
                model[key] = value
            model.move_to_end(key)
            if action == "put":
                cache.put(key, value)
            else:
                assert cache.get_or_make(key, lambda made=value: made) == model[key]  # type: ignore[misc]  # bound now
            while len(model) > 4:
                model.popitem(last=False)
        assert len(cache) == len(model) <= 4
    cache.clear()
    assert len(cache) == 0


def test_get_or_make_by_many_threads_makes_one() -> None:
    cache: LruCache[object] = LruCache(4)
    start = threading.Barrier(8)
    found: list[object] = []

    def ask() -> None:
        start.wait()
        found.append(cache.get_or_make("key", object))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert cache.made == 1


def test_get_or_make_that_fails_keeps_nothing() -> None:
    cache: LruCache[int] = LruCache(4)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("key", lambda: 1 // 0)
    assert cache.get_or_make("key", lambda: 7) == 7


def test_after_fork_sessions_are_gone_contexts_stay_and_a_held_lock_is_free() -> None:
    contexts: LruCache[int] = LruCache(4)
    sessions: SessionCache[int] = SessionCache(4)
    for cache in (contexts, sessions):
        cache.put("key", 1)
        cache._lock.acquire()
        cache.after_fork()
    assert contexts.get("key") == 1
    assert sessions.get("key") is None


def test_looks_at_sessions_are_a_burst_and_then_one_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns)
    reads = SessionReads()
    assert [reads.take() for _ in range(limits.MAX_SESSION_READS + 2)] == [True] * limits.MAX_SESSION_READS + [
        False
    ] * 2
    now_ns += caches.SESSION_READ_NS - 1
    assert not reads.take()
    now_ns += 1
    assert [reads.take(), reads.take()] == [True, False]
    now_ns += 1000 * caches.SESSION_READ_NS
    assert sum(reads.take() for _ in range(1000)) == limits.MAX_SESSION_READS
