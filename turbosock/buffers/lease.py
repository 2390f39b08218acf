"""PooledBuffer: memory that a BufferPool lends, and its guarded form for diagnostics.

A lease has holders. rent() makes the first, retain() adds one, release() ends one; with the last the memory goes
back to its pool. Whoever holds may read and write `view`; nobody may after the last release, because the memory
is then lent again.

Invariant: holders >= 0, and holders > 0 exactly while the lease is out.

A PooledBuffer object is itself lent again, so a release by someone who no longer holds is noticed at once only
until the next rent. GuardedBuffer, which diagnostic pools lend instead, is made anew for each rent and notices
every use after return, double return, overrun, leaked view and leaked lease, and names the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turbosock.buffers.caller import caller_line
from turbosock.buffers.poison import CANARY, POISON, fill
from turbosock.errors import LeaseError

if TYPE_CHECKING:
    from types import TracebackType

    from turbosock.buffers.bucket import Bucket
    from turbosock.buffers.pool import BufferPool


class Leak(NamedTuple):
    """A lease that nobody returned (`kind` "lease"), or memory still viewed when it was ("view")."""

    kind: str
    size: int
    taken_at: str
    returned_at: str


class PooledBuffer:
    """A lease of `size` bytes; made by BufferPool.rent(), and a context manager that releases it.

    Attributes:
        storage: the memory, `capacity` bytes. Only the first `size` are lent.
        view: the first `size` bytes, valid until the last release() of the lease; writable. It is kept and lent
            again, so nobody calls release() on the view itself.
        root: a view of all of `storage`, for the pool.
        capacity: bytes of memory, at least `size`.
        size: bytes asked for.
        generation: how often this memory has been returned.
        holders: how many releases are due.
        pool: where it goes back to.
        bucket: the pool's shelf for it.
    """

    __slots__ = ("bucket", "capacity", "generation", "holders", "pool", "root", "size", "storage", "view")

    def __init__(self, pool: BufferPool, bucket: Bucket, storage: bytearray, size: int) -> None:
        self.holders = 0
        self.pool = pool
        self.bucket = bucket
        self.storage = storage
        self.capacity = len(storage)
        self.root = memoryview(storage)
        self.size = size
        self.view = self.root if size == self.capacity else self.root[:size]
        # A float, whose freed ones CPython keeps for the next.
        self.generation = 0.0

    def __del__(self) -> None:
        # Not there where an interrupt came first.
        if getattr(self, "holders", 0) > 0:
            self.pool.on_leaked_lease(self)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"<{type(self).__name__} size={self.size} capacity={self.capacity} holders={self.holders}>"

    def __enter__(self) -> PooledBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def retain(self) -> PooledBuffer:
        """Add a holder, who owes one release(), and return the lease itself.

        Raises:
            LeaseError: the lease was returned already.
        """
        holders = self.holders
        if holders < 1:
            raise LeaseError(f"retain() of memory that was returned{self.first_return()}: retain before the release")
        self.holders = holders + 1
        return self

    def release(self) -> None:
        """End one holder's use; the last one's gives the memory back.

        Raises:
            LeaseError: the lease was returned already; with diagnostics also when it was overrun.
        """
        self.pool.give_back(self)

    def first_return(self) -> str:
        """Return words that say where the lease was returned, or nothing when that is not known."""
        return ""


class GuardedBuffer(PooledBuffer):
    """A lease of a diagnostic pool.

    After its return, `storage`, `view` and `root` raise LeaseError with the line of the return, and a view that
    was kept in a variable raises ValueError.
    """

    __slots__ = ("returned_at", "taken_at")

    def __init__(self, pool: BufferPool, bucket: Bucket, storage: bytearray, size: int) -> None:
        super().__init__(pool, bucket, storage, size)
        self.taken_at = caller_line()
        self.returned_at = ""
        if size < self.capacity:
            fill(self.root[size:], CANARY)

    def __getattr__(self, name: str) -> object:
        # Only for attributes that are missing: retire() deletes those that lead to the memory.
        if name in ("root", "storage", "view"):
            raise LeaseError(f"{name} of memory that was returned{self.first_return()}: retain() it for longer use")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def first_return(self) -> str:
        return f" at {self.returned_at}" if self.returned_at else ""

    def retire(self) -> tuple[bytearray | None, str]:
        """End the lease: poison the memory and cut every way to it.

        Returns:
            The memory, or None when a view of it is still alive so that it cannot be lent again; and what the
            holder did wrong, in words, or nothing.
        """
        self.returned_at = caller_line()
        storage = self.storage
        view, root = self.view, self.root
        del self.view, self.root, self.storage
        fault = ""
        if storage.count(CANARY, self.size) != self.capacity - self.size:
            fault = f"somebody wrote beyond the {self.size} bytes: rent as much as is written"
        fill(memoryview(storage), POISON)
        try:
            # The items of a released view cannot be asked for.
            len(view)
        except ValueError:
            fault = "somebody called release() on the lent view, which its next holder needs: drop it instead"
        try:
            view.release()
            root.release()
            # A bytearray that anybody still views refuses to change its size.
            last = storage.pop()
            storage.append(last)
        except BufferError:
            return None, fault
        return storage, fault
