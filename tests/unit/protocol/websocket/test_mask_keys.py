from __future__ import annotations

import os
import threading

import pytest

from support.forks import NEEDS_FORK, in_child
from turbosock.limits import MASK_KEY_BATCH_BYTES
from turbosock.protocol.websocket import mask_keys
from turbosock.protocol.websocket.mask_keys import MaskKeys

KEYS_A_BATCH = MASK_KEY_BATCH_BYTES // 4


class Counter:
    """Random bytes that are none: consecutive numbers; remembers how much it was asked for."""

    def __init__(self) -> None:
        self.next = 0
        self.asked: list[int] = []

    def __call__(self, n: int) -> bytes:
        self.asked.append(n)
        first = self.next
        self.next += n // 4
        return b"".join(i.to_bytes(4, "little") for i in range(first, self.next))


def test_keys_come_from_the_source_in_batches_each_once() -> None:
    source = Counter()
    keys = MaskKeys(source)
    assert source.asked == []
    taken = [keys.take() for _ in range(3 * KEYS_A_BATCH)]
    assert sorted(taken) == sorted(set(taken))
    assert source.asked == [MASK_KEY_BATCH_BYTES] * 3


def test_keys_are_of_the_systems_random_source_unless_told_otherwise() -> None:
    keys = MaskKeys()
    taken = {keys.take() for _ in range(2000)}
    assert len(taken) > 1990
    assert all(0 <= key < 1 << 32 for key in taken)
    assert keys._random_bytes is os.urandom


def test_keys_of_racing_threads_are_never_the_same() -> None:
    keys = MaskKeys(Counter())
    taken: list[list[int]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def take(into: list[int]) -> None:
        start.wait()
        for _ in range(5000):
            into.append(keys.take())

    threads = [threading.Thread(target=take, args=(into,)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [key for into in taken for key in into]
    assert len(every) == len(set(every)) == 40_000


def test_keys_without_the_interpreters_lock_are_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_keys, "REUSE_IS_SAFE", False)
    source = Counter()
    keys = MaskKeys(source)
    assert len({keys.take() for _ in range(10)}) == 10
    assert source.asked == [4] * 10


@NEEDS_FORK
def test_keys_drawn_before_a_fork_are_not_used_in_the_child() -> None:
    source = Counter()
    keys = MaskKeys(source)
    keys.take()
    assert len(source.asked) == 1

    def take() -> None:
        keys.take()
        assert len(source.asked) == 2

    in_child(take)
    keys.take()
    assert len(source.asked) == 1
