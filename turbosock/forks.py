"""Forks: what the child of fork(2) does with objects that it finds as its parent left them.

A lock that another thread held at the fork is held for ever in the child, and what it guarded may be half changed; a
thread, a socket or a permit is the parent's alone. So each class that has such a thing keeps its living objects in a
set from here, and says what one of them does first in the child.

Invariant: only the child runs it, in the thread that forked, which is its only one, before fork() returns there;
classes in the order in which their sets were made, so what is built upon others comes after them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakSet

T = TypeVar("T")


def renewed_in_child(renew: Callable[[T], None]) -> WeakSet[T]:
    """Return an empty set; in the child of a fork `renew` is called with each object that is in it by then.

    The set keeps no object alive. Two threads may add at once.
    """
    living: WeakSet[T] = WeakSet()

    def renew_all() -> None:
        for one in tuple(living):
            renew(one)

    # Not on Windows, which has no fork either.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew_all)
    return living
