"""ObjectPool: a bounded free list of reusable objects, such as responses, exchanges, contexts and rings.

An object is never lent again while anybody can still reach it. At rent the pool compares the object's
reference count with that of an object which only the pool holds; one that a caller's variable still names goes
to the back of the queue. A user who keeps a response past its life therefore never sees another request's data.
Weak references are not counted: pooled classes have `__slots__` without `__weakref__`.

Invariant: 0 <= idle <= max_idle, at every moment and with any number of threads, because the queue is a
`deque(maxlen=max_idle)`, whose append drops the oldest object in the same atomic step.

What "reset" means is left to the owner of the class: the reset callback leaves no state of one use behind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from turbosock.buffers.caller import caller_line
from turbosock.buffers.interpreter import REUSE_IS_SAFE, UNSHARED_REFERENCES, getrefcount
from turbosock.errors import InvalidOption, LeaseError
from turbosock.forks import renewed_in_child
from turbosock.limits import MAX_IDLE_OBJECTS

T = TypeVar("T")


class ObjectPoolStats(NamedTuple):
    """Counts since the pool was made, and `idle`, the objects that wait now.

    `made` of the `rented` objects were new. `dropped` came back and were not kept, because the pool was full or
    reuse is off; `cleared` were let go by clear().
    """

    made: int
    rented: int
    returned: int
    dropped: int
    cleared: int
    idle: int


class ObjectPool(Generic[T]):
    """A bounded free list of objects that `make` makes and `reset` empties; safe to share between threads.

    Args:
        make: returns a new object.
        reset: called with each object that comes back, before it can be lent again; None where whoever rents does
            it, for objects that stay readable to those who still hold them. If it raises, the object is
            dropped and the error goes to the caller of give_back().
        max_idle: objects kept; at 0 none is.
        pooling: False makes every rent a new object, for chasing a lifetime bug.
        diagnostics: True makes a second give_back() of an idle object raise LeaseError.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "__weakref__",
        "_cleared",
        "_idle",
        "_keep",
        "_made",
        "_make",
        "_max_idle",
        "_places",
        "_places_lock",
        "_rented",
        "_reset",
        "_returned",
        "_take",
    )

    def __init__(
        self,
        make: Callable[[], T],
        reset: Callable[[T], None] | None,
        *,
        max_idle: int = MAX_IDLE_OBJECTS,
        pooling: bool = True,
        diagnostics: bool = False,
    ) -> None:
        if not callable(make):
            raise InvalidOption(f"make must be callable, not {make!r}")
        if reset is not None and not callable(reset):
            raise InvalidOption(f"reset must be callable, not {reset!r}")
        if type(max_idle) is not int or max_idle < 0:
            raise InvalidOption(f"max_idle must be an int of at least 0, not {max_idle!r}")
        self._make = make
        self._reset = reset
        self._max_idle = max_idle if pooling and REUSE_IS_SAFE else 0
        self._idle: deque[T] = deque(maxlen=self._max_idle)
        # Bound once, for the two calls of every use.
        self._take = self._idle.popleft
        self._keep = self._idle.append
        self._rented = 0.0
        self._made = 0
        self._returned = 0.0
        self._cleared = 0.0
        # Diagnostics: where each idle object, by its id, was given back.
        self._places: dict[int, str] | None = {} if diagnostics else None
        self._places_lock = threading.RLock()
        if diagnostics:
            _diagnosed.add(self)

    def rent(self) -> T:
        """Return an idle object that nobody else holds, or a new one."""
        try:
            if self._idle:
                candidate = self._take()
                if getrefcount(candidate) <= UNSHARED_REFERENCES:
                    self._rented += 1.0
                    return candidate
                self._keep(candidate)
                # Two are looked at, not all: a caller who keeps many must not make every rent a scan.
                candidate = self._take()
                if getrefcount(candidate) <= UNSHARED_REFERENCES:
                    self._rented += 1.0
                    return candidate
                self._keep(candidate)
        except IndexError:
            # Another thread took the last one between the test and the pop.
            _diagnosed.add(self)
        candidate = self._make()
        self._made += 1
        self._rented += 1.0
        return candidate

    def give_back(self, used: T) -> None:
        """Reset `used` and keep it for a later rent(); the caller lets go of it.

        Raises:
            LeaseError: it is idle already (with diagnostics only; without them it is never lent twice either).
        """
        if self._places is not None:
            self._note_return(used)
        if self._reset is not None:
            self._reset(used)
        self._returned += 1.0
        self._keep(used)

    def clear(self) -> None:
        """Let go of every idle object."""
        idle = self._idle
        while idle:
            try:
                idle.popleft()
            except IndexError:
                return
            self._cleared += 1.0

    def stats(self) -> ObjectPoolStats:
        """Return the counts; exact when no other thread is inside the pool."""
        idle = len(self._idle)
        reused = self._rented - self._made
        dropped = self._returned - reused - self._cleared - idle
        return ObjectPoolStats(
            made=self._made,
            rented=int(self._rented),
            returned=int(self._returned),
            dropped=max(0, int(dropped)),
            cleared=int(self._cleared),
            idle=idle,
        )

    def renew_lock(self) -> None:
        """In the child of a fork: a lock that nobody holds; called by itself."""
        self._places_lock = threading.RLock()

    def _note_return(self, used: T) -> None:
        places = self._places
        assert places is not None, "called with diagnostics only"
        with self._places_lock:
            idle = {id(other) for other in tuple(self._idle)}
            if id(used) in idle:
                first = places.get(id(used), "an unknown line")
                raise LeaseError(f"{type(used).__name__} was given back twice, first at {first}: give it back once")
            if len(places) > 2 * self._max_idle:
                self._places = places = {key: place for key, place in places.items() if key in idle}
            places[id(used)] = caller_line()


# Others never take their lock.
_diagnosed: Final = renewed_in_child(ObjectPool[Any].renew_lock)
