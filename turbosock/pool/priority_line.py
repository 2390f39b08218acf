"""PriorityLine: a bounded line of things by priority, first in first out within one, with ageing against starvation.

The order of leaving: the lowest effective priority, then who stands there for longest. The effective priority is the
item's own, less one for each whole `ageing_s` that it has waited, and at least CRITICAL. A LOW item that has waited
three of them is therefore before every CRITICAL one that came after it: under any load it leaves.

Time is an argument and never decreases; there is no lock: whoever shares a line guards it.

Invariants: 0 <= len(line) <= max_items; an item stands in a line once, known by its hash; within one priority the item
in front is the oldest, so the fronts alone decide, and every operation costs the same however long the line is.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Generic, TypeVar

from turbosock import limits
from turbosock.config import check_count, check_seconds
from turbosock.errors import InvalidOption, QueueFull, StateError
from turbosock.reactor.clock import NS_PER_S

T = TypeVar("T")


class Priority(enum.IntEnum):
    """How soon a request leaves a queue; smaller is sooner."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class PriorityLine(Generic[T]):
    """A bounded line of hashable items by priority.

    Args:
        max_items: how many it holds.
        ageing_s: seconds of waiting that make an item count one priority higher, again and again; None: never.
        name: what messages call it.

    Raises:
        InvalidOption: an argument cannot work.
    """

    __slots__ = ("_ageing_ns", "_levels", "_length", "_pushed", "max_items", "name")

    def __init__(self, max_items: int, ageing_s: float | None = None, *, name: str = "line") -> None:
        check_count("max_items", max_items, 1, limits.MAX_QUEUE_PENDING)
        check_seconds("ageing_s", ageing_s, optional=True)
        self.max_items = max_items
        self.name = name
        self._ageing_ns = 0 if ageing_s is None else max(1, int(ageing_s * NS_PER_S))
        # Each item with its place in the order of coming. An OrderedDict forgets any item, and shows the first one,
        # in constant time; a dict searches for its first past all that were removed there.
        self._levels: tuple[OrderedDict[T, tuple[int, int]], ...] = tuple(OrderedDict() for _ in Priority)
        self._length = 0
        self._pushed = 0

    @property
    def is_full(self) -> bool:
        """Whether the next `push` raises QueueFull."""
        return self._length >= self.max_items

    def push(self, item: T, priority: Priority, now_ns: int) -> None:
        """Put `item` at the end of its priority; it ages from `now_ns` on.

        Raises:
            QueueFull: `max_items` stand in line.
            StateError: `item` stands in line already.
            InvalidOption: `priority` is not a Priority.
        """
        check_priority(priority)
        if self.is_full:
            raise QueueFull(f"the {self.name} is full: {self.max_items} stand in line; come later, or raise the bound")
        if item in self:
            raise StateError(f"the {self.name} holds this item already: push it again once it has left")
        self._pushed += 1
        self._levels[priority][item] = (now_ns, self._pushed)
        self._length += 1

    def first(self, now_ns: int) -> T | None:
        """The item whose turn it is at `now_ns`, which stays in line; None for an empty line."""
        chosen: T | None = None
        best = (len(Priority), 0, 0)
        for priority, items in enumerate(self._levels):
            if not items:
                continue
            item = next(iter(items))
            since_ns, number = items[item]
            if self._ageing_ns:
                priority = max(0, priority - max(0, now_ns - since_ns) // self._ageing_ns)
            rank = (priority, since_ns, number)
            if rank < best:
                best = rank
                chosen = item
        return chosen

    def pop(self, now_ns: int) -> T | None:
        """Take out the item whose turn it is at `now_ns`; None from an empty line."""
        item = self.first(now_ns)
        if item is not None:
            self.remove(item)
        return item

    def remove(self, item: T) -> bool:
        """Take `item` out wherever it stands; False: it does not stand in this line."""
        for items in self._levels:
            if item in items:
                del items[item]
                self._length -= 1
                return True
        return False

    def clear(self) -> list[T]:
        """Take everything out; returns it by priority, and in the order of coming within one."""
        left = [item for items in self._levels for item in items]
        for items in self._levels:
            items.clear()
        self._length = 0
        return left

    def __len__(self) -> int:
        return self._length

    def __contains__(self, item: object) -> bool:
        return any(item in items for items in self._levels)

    def __repr__(self) -> str:
        return f"<PriorityLine {self.name!r} {self._length} of {self.max_items}>"


def check_priority(priority: object) -> None:
    """Raise InvalidOption unless `priority` is a member of Priority."""
    if not isinstance(priority, Priority):
        names = ", ".join(f"Priority.{each.name}" for each in Priority)
        raise InvalidOption(f"priority={priority!r}: give one of {names}")
