"""ObjectPool: reuse, bounds, counts, and that nothing shared is ever lent."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from turbosock.buffers import objects as objects_module
from turbosock.buffers.objects import ObjectPool
from turbosock.errors import InvalidOption, LeaseError


class Item:
    """A pooled object that shows whether it was reset."""

    __slots__ = ("payload",)

    def __init__(self) -> None:
        self.payload = ""


def reset(item: Item) -> None:
    item.payload = ""


def pool_of(count: int, **options: Any) -> ObjectPool[Item]:
    """Return a pool with `count` idle items, which nobody else holds."""
    pool = ObjectPool(Item, reset, **options)
    items = [pool.rent() for _ in range(count)]
    while items:
        pool.give_back(items.pop())
    return pool


def test_object_given_back_and_let_go_is_lent_again_reset() -> None:
    pool = pool_of(0)
    item = pool.rent()
    item.payload = "secret"
    identity = id(item)
    pool.give_back(item)
    del item
    again = pool.rent()
    assert id(again) == identity
    assert again.payload == ""
    assert pool.stats().made == 1


def test_object_still_held_by_a_caller_is_not_lent() -> None:
    pool = pool_of(0)
    kept = pool.rent()
    pool.give_back(kept)
    assert pool.rent() is not kept
    assert pool.rent() is not kept
    assert pool.stats().made == 3


@pytest.mark.parametrize("holder", ["list", "dict", "closure", "bound method"])
def test_object_reachable_by_any_reference_is_not_lent(holder: str) -> None:
    pool = pool_of(1)
    item = pool.rent()
    identity = id(item)
    keep: object
    if holder == "list":
        keep = [item]
    elif holder == "dict":
        keep = {"kept": item}
    elif holder == "closure":
        keep = (lambda held: lambda: held)(item)
    else:
        keep = item.__repr__
    pool.give_back(item)
    del item
    lent = pool.rent()
    assert id(lent) != identity
    del keep
    assert id(pool.rent()) == identity


def test_object_held_once_is_lent_after_its_holder_lets_go() -> None:
    pool = pool_of(0)
    kept = pool.rent()
    identity = id(kept)
    pool.give_back(kept)
    pool.rent()
    del kept
    assert id(pool.rent()) == identity


def test_object_behind_a_held_one_is_lent_without_making_another() -> None:
    pool = pool_of(0)
    kept, free = pool.rent(), pool.rent()
    identity = id(free)
    pool.give_back(kept)
    pool.give_back(free)
    del free
    assert id(pool.rent()) == identity
    assert pool.stats().made == 2


def test_objects_all_held_cost_two_looks_and_a_new_object() -> None:
    pool = pool_of(0)
    kept = [pool.rent() for _ in range(5)]
    for item in kept:
        pool.give_back(item)
    assert pool.rent() not in kept
    assert pool.stats().idle == 5


def test_loop_that_rebinds_its_variable_alternates_between_two_objects() -> None:
    pool = pool_of(0)
    for _ in range(100):
        item = pool.rent()
        pool.give_back(item)
    assert pool.stats().made == 2


def test_object_given_back_twice_is_never_lent_to_two() -> None:
    pool = pool_of(0)
    item = pool.rent()
    pool.give_back(item)
    pool.give_back(item)
    del item
    lent = [pool.rent() for _ in range(4)]
    assert len({id(each) for each in lent}) == 4


def test_full_pool_drops_the_oldest_so_that_held_objects_do_not_clog_it() -> None:
    pool = pool_of(0, max_idle=2)
    kept = [pool.rent() for _ in range(2)]
    free = pool.rent()
    for item in kept:
        pool.give_back(item)
    pool.give_back(free)
    assert pool.stats().idle == 2
    assert pool.stats().dropped == 1
    identity = id(free)
    del free
    assert id(pool.rent()) == identity


def test_pool_of_no_idle_objects_makes_each() -> None:
    pool = pool_of(3, max_idle=0)
    assert pool.stats()._asdict() == {"made": 3, "rented": 3, "returned": 3, "dropped": 3, "cleared": 0, "idle": 0}


def test_pooling_off_makes_each_and_still_resets() -> None:
    pool = pool_of(0, pooling=False)
    item = pool.rent()
    item.payload = "secret"
    pool.give_back(item)
    assert item.payload == ""
    del item
    pool.rent()
    assert pool.stats().made == 2


def test_interpreter_that_cannot_tell_holders_reuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_module, "REUSE_IS_SAFE", False)
    pool = pool_of(3)
    pool.rent()
    assert pool.stats().made == 4


def test_counts_add_up() -> None:
    pool = pool_of(5, max_idle=3)
    first, second = pool.rent(), pool.rent()
    pool.give_back(first)
    stats = pool.stats()
    assert stats._asdict() == {"made": 5, "rented": 7, "returned": 6, "dropped": 2, "cleared": 0, "idle": 2}
    assert second.payload == ""


def test_clear_lets_go_of_idle_objects_only() -> None:
    pool = pool_of(4)
    lent = pool.rent()
    pool.clear()
    assert pool.stats().idle == 0
    assert pool.stats().cleared == 3
    assert pool.stats().dropped == 0
    pool.give_back(lent)
    assert pool.stats().idle == 1


def test_reset_that_fails_drops_its_object() -> None:
    def fail(item: Item) -> None:
        raise RuntimeError("cannot reset")

    pool = ObjectPool(Item, fail)
    with pytest.raises(RuntimeError, match="cannot reset"):
        pool.give_back(pool.rent())
    assert pool.stats().idle == 0


def test_make_that_fails_reaches_the_caller_and_is_not_counted() -> None:
    def fail() -> Item:
        raise IndexError("cannot make")

    pool = ObjectPool(fail, reset)
    with pytest.raises(IndexError, match="cannot make"):
        pool.rent()
    assert pool.stats().rented == 0
    assert pool.stats().made == 0


def test_diagnostics_second_give_back_names_the_first_line() -> None:
    pool = pool_of(0, diagnostics=True)
    item = pool.rent()
    pool.give_back(item)
    line = first_line(test_diagnostics_second_give_back_names_the_first_line) + 3
    with pytest.raises(LeaseError, match=rf"Item was given back twice, first at .*test_objects\.py:{line}:"):
        pool.give_back(item)
    assert pool.stats().idle == 1


def test_diagnostics_reused_object_may_be_given_back_again() -> None:
    pool = pool_of(0, diagnostics=True, max_idle=2)
    for _ in range(20):
        items = [pool.rent() for _ in range(3)]
        while items:
            pool.give_back(items.pop())
    assert pool.stats().returned == 60


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_idle": -1}, "max_idle"),
        ({"max_idle": 1.0}, "max_idle"),
        ({"max_idle": True}, "max_idle"),
        ({"make": None}, "make"),
        ({"reset": 3}, "reset"),
    ],
)
def test_wrong_option_is_refused_by_name(options: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {"make": Item, "reset": reset, **options}
    with pytest.raises(InvalidOption, match=argument):
        ObjectPool(**arguments)


def test_threads_never_share_an_object_nor_pass_the_cap() -> None:
    pool = ObjectPool(Item, reset, max_idle=4)
    start = threading.Barrier(8)
    faults: list[str] = []

    def work(number: int) -> None:
        start.wait()
        mine = str(number)
        for _ in range(1500):
            item = pool.rent()
            if item.payload:
                faults.append(f"{number} got {item.payload}")
            item.payload = mine
            if pool.stats().idle > 4:
                faults.append("cap passed")
            if item.payload != mine:
                faults.append(f"{number} shares with {item.payload}")
            pool.give_back(item)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    stats = pool.stats()
    assert stats.rented == stats.returned == 8 * 1500
    assert stats.idle <= 4
    assert stats.made == stats.dropped + stats.idle


def first_line(function: Any) -> int:
    """Return the line of a function's `def`."""
    line: int = function.__code__.co_firstlineno
    return line
