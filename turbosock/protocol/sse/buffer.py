"""EventBuffer: the memory of one event stream, from what was received to what is lent.

Bytes are received straight into it (`writable()`, `advance()`), parsed where they lie, and lent as views of it. It is
one pooled buffer at a time:

- What is left of an unfinished event moves to the front when there is less room behind it than before it.
- A buffer that one event fills is replaced by one of twice its size, up to what the largest event takes; one that was
  four times too large for a while is replaced by a smaller one. Its size is therefore at most `buffer_bytes`, or twice
  what is kept, while the stream is read; `shrink()` makes it fit at once, and an idle stream holds nothing.
- A buffer that a retained event pins is left to it, and what is kept moves to another.

Invariants: `0 <= pos <= end <= size - 2`. Once bytes have come, the two behind `end` are LF and NUL, so that a search
for LF always ends, and what follows it there never looks like another line. Where data of an unfinished event was read,
`0 <= data_start <= data_end <= pos`, else `data_start` is -1. While the parser is hungry, no line ends from `pos` on.
`lf` and `cr` are the first LF and CR at or after `pos`, or `end` where there is none; one below `pos` is not known.

Left to others: what the bytes mean (`parser.py`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from turbosock.buffers.poison import POISON, fill
from turbosock.errors import InvalidOption, StateError
from turbosock.limits import (
    MAX_BUCKET_BYTES,
    MAX_SSE_EVENT_BYTES,
    MAX_SSE_FIELD_BYTES,
    MIN_BUCKET_BYTES,
    SSE_BUFFER_BYTES,
    SSE_EVENT_BYTES,
    SSE_SHRINK_FILLS,
)
from turbosock.protocol.sse.event import EMPTY, ServerSentEvent

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool, PooledBuffer

# LF and NUL behind the content.
_SENTINEL_BYTES: Final = 2
# Beside its data, an event may have one line under way: the longest that is no data, with its name and end.
_LINE_BYTES: Final = MAX_SSE_FIELD_BYTES + 16
_NO_STORAGE: Final = bytearray(b"\n\0")


class EventBuffer:
    """The memory of one event stream; belongs to one thread at a time.

    Args:
        pool: where buffers come from.
        max_event_bytes: the most data that one event may have.
        buffer_bytes: the size of the first buffer, and of those that hold no large event.

    Attributes:
        event: the one object that tells events.
        max_event_bytes: as given.
        bytes_in: bytes received.
        buffer_allocations, buffer_reuses: buffers rented that were made for it, and that had been used before.
        compactions: times that kept bytes were moved to make room.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_arm_bytes",
        "_ceiling",
        "_cr",
        "_data_end",
        "_data_start",
        "_end",
        "_event_start",
        "_fills",
        "_floor",
        "_free",
        "_guarded",
        "_hungry",
        "_least",
        "_lease",
        "_lent_start",
        "_lf",
        "_pool",
        "_pos",
        "_root",
        "_size",
        "_storage",
        "_view",
        "buffer_allocations",
        "buffer_reuses",
        "bytes_in",
        "compactions",
        "event",
        "max_event_bytes",
    )

    _cr: int
    _data_end: int
    _data_start: int
    _end: int
    _event_start: int
    _fills: int
    _free: memoryview
    _hungry: bool
    _lease: PooledBuffer | None
    _lf: int
    _pos: int
    _root: memoryview
    _size: int
    _storage: bytearray
    _view: memoryview

    def __init__(
        self,
        pool: BufferPool,
        *,
        max_event_bytes: int = SSE_EVENT_BYTES,
        buffer_bytes: int = SSE_BUFFER_BYTES,
    ) -> None:
        if type(max_event_bytes) is not int or not 1 <= max_event_bytes <= MAX_SSE_EVENT_BYTES:
            raise InvalidOption(
                f"max_event_bytes must be an int from 1 to {MAX_SSE_EVENT_BYTES}, not {max_event_bytes!r}"
            )
        if type(buffer_bytes) is not int or not MIN_BUCKET_BYTES <= buffer_bytes <= MAX_BUCKET_BYTES:
            raise InvalidOption(
                f"buffer_bytes must be an int from {MIN_BUCKET_BYTES} to {MAX_BUCKET_BYTES}, not {buffer_bytes!r}"
            )
        self._pool = pool
        self.max_event_bytes = max_event_bytes
        self._ceiling = max_event_bytes + _LINE_BYTES
        self._floor = self._least = min(buffer_bytes, self._ceiling)
        self.event = ServerSentEvent()
        self.bytes_in = 0.0
        self.buffer_allocations = 0.0
        self.buffer_reuses = 0.0
        self.compactions = 0.0
        self._guarded = pool.diagnostics
        # The fast path checks no length: it is taken where so few bytes are there that none can be too long. With
        # diagnostics it is not taken at all.
        self._arm_bytes = -1 if self._guarded else max_event_bytes
        self._lent_start = 0
        self._set_aside()
        self._forget_content()

    def writable(self) -> memoryview:
        """Return memory for bytes to come, at least one; valid until advance().

        It is called once all events were taken, and ends what the last one lent.

        Raises:
            StateError: not all events were taken yet.
            PoolExhausted: the pool has nothing left to lend; what was received so far stays.
        """
        if not self._hungry:
            raise StateError("writable() while there may be events: take them first")
        size = wanted = self._size
        start = self._data_start
        kept = self._end - self._pos + (0 if start < 0 else self._data_end - start)
        if size < self._floor:
            wanted = self._floor
        elif size > self._floor and kept * 4 < size:
            self._fills += 1
            if self._fills >= SSE_SHRINK_FILLS:
                wanted = max(self._fitting(kept), self._floor)
        else:
            self._fills = 0
        if kept + _SENTINEL_BYTES >= wanted:
            wanted = min(2 * wanted, self._ceiling)
            assert kept + _SENTINEL_BYTES < wanted, "a larger event was refused"
        if wanted != size or self._pinned():
            self._move(wanted, kept)
        elif not kept:
            self._rewind()
            return self._free
        elif kept < self._end and self._end * 2 > size:
            self._move(size, kept)
        return self._free[self._end :] if self._end else self._free

    def advance(self, n: int, now_ns: int = 0) -> None:
        """Count `n` bytes that were written at the front of the writable memory as received at `now_ns`.

        Raises:
            StateError: n is negative or more than was writable, or not all events were taken yet.
        """
        end = self._end
        stop = end + n
        if not self._hungry or n < 0 or stop + _SENTINEL_BYTES > self._size:
            raise StateError(f"advance({n}): not after writable(), or not within it")
        if not n:
            return
        storage = self._storage
        self._end = stop
        storage[stop] = 0x0A
        storage[stop + 1] = 0
        found = storage.find(b"\n", end, stop)
        self._lf = found if found >= 0 else stop
        found = storage.find(b"\r", end, stop)
        self._cr = found if found >= 0 else stop
        self.bytes_in += n
        self.event.received_ns = now_ns
        self._hungry = False

    def suit(self, count: int, *, full: bool) -> None:
        """Let the next buffers suit a receive of `count` bytes, between `buffer_bytes` and SSE_BUFFER_BYTES.

        Args:
            full: whether it took all that there was room for.
        """
        floor = self._floor
        if full:
            if floor * 2 <= SSE_BUFFER_BYTES:
                self._floor = min(floor * 2, self._ceiling)
        elif floor > self._least and count * 4 < floor:
            self._floor = max(floor // 2, self._least)

    @property
    def hungry(self) -> bool:
        """Whether all events were taken, as far as they are whole, and more bytes are needed."""
        return self._hungry

    @property
    def buffer_bytes(self) -> int:
        """The size of the buffer that is held now, or 0."""
        return self._size

    @property
    def kept_bytes(self) -> int:
        """Bytes of the unfinished event that are held now, with those that no event was asked of."""
        start = self._data_start
        return self._end - self._pos + (0 if start < 0 else self._data_end - start)

    def shrink(self) -> None:
        """Hold no more than the unfinished event takes, and nothing without one; for a stream that waits.

        It is called once all events were taken, and ends what the last one lent.

        Raises:
            StateError: not all events were taken yet.
            PoolExhausted: the pool has nothing left to lend; the buffer stays.
        """
        if not self._hungry:
            raise StateError("shrink() while there may be events: take them first")
        if self._lease is None:
            return
        kept = self.kept_bytes
        if not kept:
            self._give_back()
            self._rewind()
            return
        size = self._fitting(kept)
        if size < self._size:
            self._move(size, kept)

    def close(self) -> None:
        """Give the buffer back and forget what it held; a second call does nothing."""
        if self._lease is not None:
            self._give_back()
        self._forget_content()

    def _pinned(self) -> bool:
        """Whether retained events lie in the buffer."""
        return self._lease is not None and self._lease.holders > 1

    def _fitting(self, kept: int) -> int:
        """The smallest size that has room for more than `kept` bytes; `buffer_bytes` bounds it from below if larger."""
        size = MIN_BUCKET_BYTES
        while size < kept + _SENTINEL_BYTES + 1:
            size *= 2
        return min(size, self._ceiling)

    def _move(self, size: int, kept: int) -> None:
        """Bring what is kept to the front of a buffer of `size` bytes, a new one where that is another size."""
        root, start, stop, pos, end = self._root, self._data_start, self._data_end, self._pos, self._end
        old = self._lease
        fresh = size != self._size or self._pinned()
        if fresh:
            lease = self._pool.rent(size)
            if lease.generation:
                self.buffer_reuses += 1.0
            else:
                self.buffer_allocations += 1.0
            target = lease.view
        else:
            target = root
        data = 0
        if start >= 0:
            data = stop - start
            target[:data] = root[start:stop]
        if end > pos:
            target[data:kept] = root[pos:end]
        if kept:
            self.compactions += 1.0
        if fresh:
            del root, target
            if old is not None:
                self._give_back()
            self._lease = lease
            self.event.lie_in(lease)
            self._storage = lease.storage
            self._root = lease.view
            self._view = lease.view.toreadonly()
            self._free = lease.view[: size - _SENTINEL_BYTES]
            self._size = size
            self._fills = 0
        if start >= 0:
            self._data_start = 0
            self._data_end = data
        self._keep_start(data)
        self._pos = data
        self._end = self._lf = self._cr = kept

    def _rewind(self) -> None:
        """Begin at the front again, with nothing kept."""
        if self._data_start >= 0:
            # Data was read, and it is empty so far.
            self._data_start = self._data_end = 0
        self._keep_start(0)
        self._pos = self._end = self._lf = self._cr = 0

    def _keep_start(self, pos: int) -> None:
        """Let the present event begin at `pos` if none of it was read; else it does not lie in one piece any more."""
        self._event_start = pos if self._event_start == self._pos else -1

    def _give_back(self) -> None:
        lease = self._lease
        assert lease is not None, "there is one"
        self._set_aside()
        lease.release()

    def _set_aside(self) -> None:
        """Keep no way to any memory, so that it can be lent again."""
        self.event.lie_in(None)
        self._lease = None
        self._storage = _NO_STORAGE
        self._root = self._view = self._free = EMPTY
        self._size = 0
        self._fills = 0

    def _forget_content(self) -> None:
        self._pos = self._end = self._lf = self._cr = 0
        self._data_start = self._data_end = -1
        self._event_start = 0
        self._hungry = True

    def _spoil(self) -> None:
        """Make what was lent unreadable, for diagnostics: it was lent until now."""
        event = self.event
        data = event.data
        event.data = EMPTY
        if data is not EMPTY and not self._pinned():
            start = self._lent_start
            fill(self._root[start : start + len(data)], POISON)
            # Something made from the view (an array, say) may live on; what it reads is poison.
            with contextlib.suppress(BufferError):
                data.release()
