"""LeakTracker and LeakTrackingPool: which leases of pooled memory are out, and the line that took each.

    with LeakTracker() as leaks:
        with turbosock.Client() as client:
            ...
    # AssertionError: 1 lease not returned: 4096 bytes taken at /srv/app/fetch.py:17

They read what diagnostics know (`buffers/lease.py`), which are on while they look: every lease is guarded, misuse
raises, and a pool costs more than it saves.

Invariant: leases that were out before a tracker began are not its business.
"""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from turbosock.buffers.lease import GuardedBuffer
from turbosock.buffers.living import buffer_pools, held_leases
from turbosock.buffers.pool import BufferPool

if TYPE_CHECKING:
    from typing import Self

_SWITCH = "TURBOSOCK_POOL_DIAGNOSTICS"


class OutstandingLease(NamedTuple):
    """Memory that was lent and not returned.

    Attributes:
        size: bytes that were asked for.
        taken_at: "file:line" of the caller; "" where that is not known.
        pool: the name of its pool.
        held: whether something still refers to it; otherwise it is lost.
    """

    size: int
    taken_at: str
    pool: str
    held: bool

    def __str__(self) -> str:
        return f"{self.size} bytes of the {self.pool} taken at {self.taken_at or 'a place that is not known'}"


class LeakTrackingPool(BufferPool):
    """A BufferPool that knows who took what it has lent; arguments as there, with diagnostics on."""

    __slots__ = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"name": "leak-tracking pool", **options, "diagnostics": True})

    def outstanding(self) -> list[OutstandingLease]:
        """What is out, the lost included."""
        return _outstanding([self])

    def assert_all_returned(self) -> None:
        """Raise AssertionError, which names the lines, where something is out."""
        _assert_none(self.outstanding())


class LeakTracker:
    """Looks at every pool, those of clients and loops included, from the beginning of its with block to its end.

    At the end it raises AssertionError, which names the lines, where a lease that was taken inside is out.
    """

    __slots__ = ("_before", "_lost", "_restoring")

    def __init__(self) -> None:
        self._before: list[object] = []
        self._lost: dict[int, int] = {}
        self._restoring = ExitStack()

    def outstanding(self) -> list[OutstandingLease]:
        """What was taken since the beginning and is out, the lost included."""
        gc.collect()
        return _outstanding(buffer_pools(), self._before, self._lost)

    def assert_all_returned(self) -> None:
        """Raise AssertionError, which names the lines, where something is out."""
        _assert_none(self.outstanding())

    def __enter__(self) -> Self:
        gc.collect()
        pools = buffer_pools()
        self._before = [*held_leases()]
        self._lost = {id(pool): len(pool.leaks) for pool in pools}
        stack = self._restoring
        for pool in pools:
            stack.callback(setattr, pool, "diagnostics", pool.diagnostics)
            pool.diagnostics = True
        # What is made from here on reads it.
        stack.callback(_set_switch, os.environ.get(_SWITCH))
        _set_switch("1")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.assert_all_returned()
        finally:
            self.stop()

    def stop(self) -> None:
        """Look no more, and leave the pools' diagnostics as they were."""
        self._restoring.close()
        self._before = []


def _set_switch(value: str | None) -> None:
    if value is None:
        os.environ.pop(_SWITCH, None)
    else:
        os.environ[_SWITCH] = value


def _outstanding(
    pools: list[BufferPool], before: list[object] | None = None, lost: dict[int, int] | None = None
) -> list[OutstandingLease]:
    known = {id(lease) for lease in before or ()}
    found = [
        OutstandingLease(
            lease.size, lease.taken_at if isinstance(lease, GuardedBuffer) else "", lease.pool.name, held=True
        )
        for lease in held_leases()
        if id(lease) not in known and any(lease.pool is pool for pool in pools)
    ]
    for pool in pools:
        leaks = pool.leaks[(lost or {}).get(id(pool), 0) :]
        found += [
            OutstandingLease(leak.size, leak.taken_at, pool.name, held=False) for leak in leaks if leak.kind == "lease"
        ]
    return found


def _assert_none(found: list[OutstandingLease]) -> None:
    if found:
        what = "lease" if len(found) == 1 else "leases"
        raise AssertionError(f"{len(found)} {what} not returned: {'; '.join(str(lease) for lease in found)}")
