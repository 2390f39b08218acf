"""BufferPool: bucketed bytearrays that are lent, returned and lent again; bounded and counted.

A size is rounded up to its bucket, a power of two from 1 KiB to MAX_BUCKET_BYTES; larger memory is made for its
one use and counted as unpooled. `BufferPool.fixed()` makes a pool of one size and a fixed number of buffers.

Bounds: each bucket keeps at most `max_idle_per_bucket` buffers and `max_idle_bytes_per_bucket` bytes, whatever
threads do; `max_outstanding_bytes` bounds what is lent at once, under a lock, and only pools that have it take one.
Steady state: a rent of an idle buffer in the size it last had allocates nothing.

What is in the memory of a new lease is the clearing policy's matter, see `Clearing`. Who may hold a lease, and for
how long, is `lease.py`'s.
"""

from __future__ import annotations

import enum
import threading
import warnings
from collections import deque
from typing import Final, NamedTuple

from turbosock.buffers.bucket import Bucket, BucketStats
from turbosock.buffers.interpreter import REUSE_IS_SAFE
from turbosock.buffers.lease import GuardedBuffer, Leak, PooledBuffer
from turbosock.errors import InvalidOption, LeaseError, PoolExhausted
from turbosock.forks import renewed_in_child
from turbosock.limits import (
    MAX_BUCKET_BYTES,
    MAX_IDLE_BYTES_PER_BUCKET,
    MAX_IDLE_PER_BUCKET,
    MAX_RECORDED_LEAKS,
    MIN_BUCKET_BYTES,
)


class Clearing(enum.Enum):
    """When a pool sets memory to zero.

    NEVER: the next holder may read what the last one left. Only for pools whose memory never crosses from one
    origin to another, such as those of one connection, or where every byte is overwritten before it is read.
    ON_RENT: reused memory is zero when it is lent. The default.
    ON_RETURN: memory is zero while it lies idle, too, so that secrets do not linger.
    """

    NEVER = "never"
    ON_RENT = "on_rent"
    ON_RETURN = "on_return"


# Bound once: before 3.12 each look-up of an enum's member makes an object.
_ON_RENT: Final = Clearing.ON_RENT
_ON_RETURN: Final = Clearing.ON_RETURN


class PoolStats(NamedTuple):
    """Counts of a pool since it was made, its buckets' and its unpooled buffers' together.

    `unpooled` of the `rented` buffers were larger than any bucket. `outstanding`, `outstanding_bytes` (capacities)
    and `idle` are of now. `buckets` maps each capacity to its own counts. The rest as in BucketStats.
    """

    rented: int
    returned: int
    missed: int
    dropped: int
    leaked: int
    unpooled: int
    outstanding: int
    outstanding_bytes: int
    idle: int
    buckets: dict[int, BucketStats]


class BufferPool:
    """Lends PooledBuffers; safe to share between threads.

    Args:
        clearing: when memory is set to zero.
        max_idle_per_bucket: buffers that one bucket keeps.
        max_idle_bytes_per_bucket: bytes that one bucket keeps.
        max_outstanding_bytes: bytes, by capacity, that may be lent at once; None sets no bound.
        diagnostics: lend GuardedBuffers, which find misuse and are slow.
        pooling: False makes every rent fresh memory that is dropped at its return, for chasing a lifetime bug.
        name: what messages call the pool.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "__weakref__",
        "_bounded",
        "_buckets",
        "_by_bits",
        "_leaks",
        "_lock",
        "_max_outstanding_bytes",
        "_outstanding_bytes",
        "_unpooled",
        "_unpooled_bytes",
        "clearing",
        "diagnostics",
        "name",
        "pooling",
    )

    def __init__(
        self,
        *,
        clearing: Clearing = Clearing.ON_RENT,
        max_idle_per_bucket: int = MAX_IDLE_PER_BUCKET,
        max_idle_bytes_per_bucket: int = MAX_IDLE_BYTES_PER_BUCKET,
        max_outstanding_bytes: int | None = None,
        diagnostics: bool = False,
        pooling: bool = True,
        name: str = "buffer pool",
    ) -> None:
        _check_count("max_idle_per_bucket", max_idle_per_bucket, 0)
        _check_count("max_idle_bytes_per_bucket", max_idle_bytes_per_bucket, 0)
        buckets = []
        capacity = MIN_BUCKET_BYTES
        while capacity <= MAX_BUCKET_BYTES:
            max_idle = min(max_idle_per_bucket, max_idle_bytes_per_bucket // capacity)
            buckets.append(Bucket(capacity, max_idle if pooling and REUSE_IS_SAFE else 0))
            capacity *= 2
        self._set_up(buckets, clearing, max_outstanding_bytes, diagnostics, pooling, name)

    def _set_up(
        self,
        buckets: list[Bucket],
        clearing: Clearing,
        max_outstanding_bytes: int | None,
        diagnostics: bool,
        pooling: bool,
        name: str,
    ) -> None:
        if not isinstance(clearing, Clearing):
            raise InvalidOption(f"clearing must be a Clearing, not {clearing!r}")
        if max_outstanding_bytes is not None:
            _check_count("max_outstanding_bytes", max_outstanding_bytes, 1)
        self.clearing = clearing
        self.diagnostics = diagnostics
        self.pooling = pooling
        self.name = name
        self._buckets = tuple(buckets)
        # _by_bits[(size - 1).bit_length()] is the first bucket that can hold `size`; beyond its end none can.
        self._by_bits = tuple(
            next(bucket for bucket in buckets if (bucket.capacity - 1).bit_length() >= bits)
            for bits in range((buckets[-1].capacity - 1).bit_length() + 1)
        )
        self._unpooled = Bucket(0, 0)
        self._unpooled_bytes = 0
        self._leaks: deque[Leak] = deque(maxlen=MAX_RECORDED_LEAKS)
        self._max_outstanding_bytes = max_outstanding_bytes or 0
        # A float, whose freed ones CPython keeps for the next.
        self._outstanding_bytes = 0.0
        # Reentrant, because a leaked lease may be collected while this thread is inside.
        self._lock = threading.RLock()
        self._bounded = max_outstanding_bytes is not None
        _pools.add(self)

    @staticmethod
    def fixed(
        size: int,
        *,
        count: int,
        clearing: Clearing = Clearing.ON_RENT,
        diagnostics: bool = False,
        pooling: bool = True,
        name: str = "fixed buffer pool",
    ) -> FixedBufferPool:
        """Return a pool of at most `count` buffers of exactly `size` bytes; arguments as in FixedBufferPool."""
        return FixedBufferPool(
            size, count=count, clearing=clearing, diagnostics=diagnostics, pooling=pooling, name=name
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """The last leaked leases and views that diagnostics found, oldest first."""
        return tuple(self._leaks)

    def rent(self, size: int | None = None) -> PooledBuffer:
        """Lend memory of at least `size` bytes, whose `view` is exactly that long; the caller owes one release().

        Only a fixed pool, whose buffers have one size, lets the size be left out.

        Raises:
            InvalidOption: size is not an int above 0, or is more than a fixed pool's.
            PoolExhausted: as much is outstanding as the pool may lend.
        """
        if type(size) is not int or size < 1:
            size = self._default_size(size)
        bits = (size - 1).bit_length()
        by_bits = self._by_bits
        bucket = by_bits[bits] if bits < len(by_bits) else self._unpooled
        capacity = bucket.capacity
        if size > capacity:
            bucket = self._beyond_buckets(size)
            capacity = size
        if self._bounded or bucket is self._unpooled:
            self._reserve(bucket, capacity)
        try:
            idle = bucket.idle
            buffer = None
            if idle:
                try:
                    buffer = idle.pop()
                except IndexError:
                    # Another thread took the last one between the test and the pop.
                    pass
            if buffer is None:
                buffer = self._make(bucket, capacity, size)
            else:
                if self.clearing is _ON_RENT:
                    bucket.clear_memory(buffer)
                if buffer.size != size:
                    buffer.view = buffer.root if size == capacity else buffer.root[:size]
                    buffer.size = size
                if self.diagnostics:
                    buffer = self._guard(buffer)
        except BaseException:
            if self._bounded or bucket is self._unpooled:
                self._unreserve(bucket, capacity)
            raise
        buffer.holders = 1
        bucket.rented += 1.0
        return buffer

    def give_back(self, buffer: PooledBuffer) -> None:
        """End one holder's use of `buffer`, as its release() does; the last one's makes it idle.

        Raises:
            LeaseError: the buffer is another pool's or was returned already; with diagnostics, when it was overrun.
        """
        if buffer.pool is not self:
            raise LeaseError(f"{self.name}: given back a buffer that {buffer.pool.name} has lent")
        holders = buffer.holders - 1
        if holders:
            if holders < 0:
                raise LeaseError(f"{self.name}: memory returned twice, first{buffer.first_return() or ' before this'}")
            buffer.holders = holders
            return
        buffer.holders = 0
        buffer.generation += 1
        bucket = buffer.bucket
        bucket.returned += 1.0
        if isinstance(buffer, GuardedBuffer):
            self._retire(buffer)
            return
        if self.clearing is _ON_RETURN:
            bucket.clear_memory(buffer)
        bucket.idle.append(buffer)
        if self._bounded or bucket is self._unpooled:
            self._unreserve(bucket, buffer.capacity)

    def give_up(self, buffer: PooledBuffer) -> None:
        """End the one holder's use of a buffer that somebody else may write to still: it is not lent again."""
        assert buffer.holders == 1, "nobody else gives it back"
        buffer.holders = 0
        bucket = buffer.bucket
        bucket.returned += 1.0
        if self._bounded or bucket is self._unpooled:
            self._unreserve(bucket, buffer.capacity)

    def clear(self) -> None:
        """Let go of every idle buffer; those that are lent stay so."""
        for bucket in self._buckets:
            bucket.drop_idle()

    def stats(self) -> PoolStats:
        """Return the counts; exact when no other thread is inside the pool."""
        buckets = {bucket.capacity: bucket.stats() for bucket in self._buckets}
        unpooled = self._unpooled.stats()
        every = (*buckets.values(), unpooled)
        return PoolStats(
            rented=sum(each.rented for each in every),
            returned=sum(each.returned for each in every),
            missed=sum(each.missed for each in every),
            dropped=sum(each.dropped for each in every),
            leaked=sum(each.leaked for each in every),
            unpooled=unpooled.rented,
            outstanding=sum(each.outstanding for each in every),
            outstanding_bytes=sum(each.outstanding * each.capacity for each in every) + self._unpooled_bytes,
            idle=sum(each.idle for each in every),
            buckets=buckets,
        )

    def on_leaked_lease(self, buffer: PooledBuffer) -> None:
        """Count a lease that was collected before its return, and report it, with diagnostics; called by the lease.

        Without them that is no news: an interrupt on the lease's way to who rented it may have lost it.
        """
        bucket = buffer.bucket
        bucket.leaked += 1.0
        if self._bounded or bucket is self._unpooled:
            self._unreserve(bucket, buffer.capacity)
        if isinstance(buffer, GuardedBuffer):
            self._report_leak(
                Leak("lease", buffer.size, buffer.taken_at, ""),
                f"{self.name}: {buffer.size} bytes taken at {buffer.taken_at} were never returned: release() them",
            )

    def _default_size(self, size: object) -> int:
        raise InvalidOption(f"{self.name}: size must be an int of at least 1 byte, not {size!r}")

    def _beyond_buckets(self, size: int) -> Bucket:
        """Return the bucket of a size that is larger than every bucket's."""
        return self._unpooled

    def _make(self, bucket: Bucket, capacity: int, size: int) -> PooledBuffer:
        kind = GuardedBuffer if self.diagnostics else PooledBuffer
        buffer = kind(self, bucket, bytearray(capacity), size)
        bucket.missed += 1.0
        return buffer

    def _guard(self, idle: PooledBuffer) -> GuardedBuffer:
        """Return a new guarded lease of an idle buffer's memory."""
        if self.clearing is Clearing.ON_RETURN:
            # Diagnostics poison what is returned, so the promised zeros come here.
            idle.bucket.clear_memory(idle)
        buffer = GuardedBuffer(self, idle.bucket, idle.storage, idle.size)
        buffer.generation = idle.generation
        return buffer

    def _retire(self, buffer: GuardedBuffer) -> None:
        """Take a guarded lease's memory back and report what was wrong with its use."""
        bucket = buffer.bucket
        storage, fault = buffer.retire()
        if storage is not None and not fault:
            idle = PooledBuffer(self, bucket, storage, buffer.capacity)
            idle.generation = buffer.generation
            bucket.idle.append(idle)
        if self._bounded or bucket is self._unpooled:
            self._unreserve(bucket, buffer.capacity)
        if storage is None:
            self._report_leak(
                Leak("view", buffer.size, buffer.taken_at, buffer.returned_at),
                f"{self.name}: a view of {buffer.size} bytes taken at {buffer.taken_at} is still alive after their"
                f" return at {buffer.returned_at}: drop the view first, or retain() the buffer",
            )
        if fault:
            raise LeaseError(
                f"{self.name}: {buffer.size} bytes taken at {buffer.taken_at}, returned at {buffer.returned_at}:"
                f" {fault}"
            )

    def _report_leak(self, leak: Leak, message: str) -> None:
        self._leaks.append(leak)
        warnings.warn(message, ResourceWarning, stacklevel=2)

    def _reserve(self, bucket: Bucket, capacity: int) -> None:
        # A `with` would bind the lock's two methods, which are objects.
        lock = self._lock
        lock.acquire()
        try:
            outstanding = self._outstanding_bytes + capacity
            if self._bounded and outstanding > self._max_outstanding_bytes:
                raise PoolExhausted(self._describe_exhaustion(capacity))
            self._outstanding_bytes = outstanding
            if bucket is self._unpooled:
                self._unpooled_bytes += capacity
        finally:
            lock.release()

    def _unreserve(self, bucket: Bucket, capacity: int) -> None:
        lock = self._lock
        lock.acquire()
        try:
            self._outstanding_bytes -= capacity
            if bucket is self._unpooled:
                self._unpooled_bytes -= capacity
        finally:
            lock.release()

    def _describe_exhaustion(self, capacity: int) -> str:
        return (
            f"{self.name}: cannot lend {capacity} bytes, {self._outstanding_bytes:.0f} of max_outstanding_bytes ="
            f" {self._max_outstanding_bytes} are lent: return some, or raise the bound"
        )


class FixedBufferPool(BufferPool):
    """Lends at most `count` buffers of exactly `size` bytes of memory; smaller rents are views of as much.

    Args:
        size: bytes of each buffer, any number above 0.
        count: buffers that may be lent at once, and that are kept.
        clearing, diagnostics, pooling, name: as in BufferPool.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = ("count", "size")

    def __init__(
        self,
        size: int,
        *,
        count: int,
        clearing: Clearing = Clearing.ON_RENT,
        diagnostics: bool = False,
        pooling: bool = True,
        name: str = "fixed buffer pool",
    ) -> None:
        _check_count("size", size, 1)
        _check_count("count", count, 1)
        self.size = size
        self.count = count
        bucket = Bucket(size, count if pooling and REUSE_IS_SAFE else 0)
        self._set_up([bucket], clearing, size * count, diagnostics, pooling, name)

    def _default_size(self, size: object) -> int:
        return self.size if size is None else super()._default_size(size)

    def _beyond_buckets(self, size: int) -> Bucket:
        raise InvalidOption(f"{self.name}: size must be at most {self.size} bytes, not {size}")

    def _describe_exhaustion(self, capacity: int) -> str:
        return f"{self.name}: all {self.count} buffers of {self.size} bytes are lent: return one, or raise count"


def _check_count(argument: str, value: object, minimum: int) -> None:
    if type(value) is not int or value < minimum:
        raise InvalidOption(f"{argument} must be an int of at least {minimum}, not {value!r}")


def _renew_lock(pool: BufferPool) -> None:
    pool._lock = threading.RLock()


_pools: Final = renewed_in_child(_renew_lock)
