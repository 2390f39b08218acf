"""What the child of a fork renews, when, and what is not in it any more."""

from __future__ import annotations

import gc
import threading
from weakref import WeakSet

from support.forks import NEEDS_FORK, held_elsewhere, in_child
from turbosock.forks import renewed_in_child


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
