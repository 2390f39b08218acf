"""Masking and unmasking, which are the same, in place: RFC 6455 §5.3.

A key is an int of 32 bits whose highest byte comes first on the wire. `mask` begins with that byte; for a payload that
arrives in pieces, `rotated` turns the key to where the next piece begins.

Three ways, each where it is the fastest (CPython 3.11, ns for 32 B / 448 B / 1 KiB / 64 KiB):

- one int for the whole piece:      450 / 1,050 / 2,200 / 190,000
- every fourth byte by a table:   1,600 / 2,100 / 2,700 /  73,000
- numpy, eight bytes at a time:   1,450 / 1,500 / 1,500 /   2,400; 900 more where both ends are off a multiple of 8

Up to SMALL_BYTES the ints, and the bytes made of them, are small enough for Python's own allocator: no malloc.
Above it numpy is used where it is installed (the extra `fast-mask`), and the tables where it is not.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from turbosock.buffers.ring import RingBuffer
from turbosock.limits import MAX_IDLE_MASK_WORDS

SMALL_BYTES: Final = 448
# In a ring, whose words are there, numpy is faster than one int from about here on, and allocates less.
_LEAST_BY_WORDS: Final = 125
# What is masked at once by tables: two such blocks stay in a first-level cache.
_TABLE_BLOCK_BYTES: Final = 16 * 1024

# REPEATS[n] times a key is the key as often as n bytes need it; without its last SHIFTS[n] bits it has n bytes.
_BY_WORDS: Final = tuple(sum(1 << 32 * word for word in range(words)) for words in range(SMALL_BYTES // 4 + 1))
REPEATS: Final = tuple(_BY_WORDS[(n + 3) // 4] for n in range(SMALL_BYTES + 1))
SHIFTS: Final = tuple(-n % 4 * 8 for n in range(SMALL_BYTES + 1))

# Of a view, from where on, how many bytes, the key; and the ring whose memory it is, if it is one's.
LargeMask = Callable[[memoryview, int, int, int, RingBuffer | None], None]


def rotated(key: int, n: int) -> int:
    """The key as it stands after `n` bytes."""
    bits = (n & 3) << 3
    return (key << bits | key >> 32 - bits) & 0xFFFFFFFF


def mask(view: memoryview, start: int, stop: int, key: int) -> None:
    """Mask `view[start:stop]`, writable bytes, in place; the byte at `start` meets the first byte of `key`."""
    n = stop - start
    if n > SMALL_BYTES:
        _large_mask(view, start, n, key, None)
    else:
        repeated = key * REPEATS[n] >> SHIFTS[n]
        view[start:stop] = (int.from_bytes(view[start:stop], "big") ^ repeated).to_bytes(n, "big")


def mask_ring(ring: RingBuffer, start: int, n: int, key: int) -> None:
    """Mask `n` bytes of a ring's memory from `start` on, more than a few, as `mask` does."""
    if n > _least_large:
        _large_mask(ring.root, start, n, key, ring)
    else:
        mask(ring.root, start, start + n, key)


def mask_large(view: memoryview, start: int, n: int, key: int) -> None:
    """Mask the `n` bytes of `view` from `start` on, more than SMALL_BYTES, as `mask` does."""
    _large_mask(view, start, n, key, None)


def prepare() -> None:
    """Load what large payloads are masked with, once: numpy takes a tenth of a second, which no tick should meet."""
    global _is_prepared, _large_mask, _least_large
    if _is_prepared:
        return
    try:
        _large_mask = numpy_mask(importlib.import_module("numpy"))
        _least_large = _LEAST_BY_WORDS
    except ImportError:
        _make_tables()
    _is_prepared = True


def numpy_mask(numpy: Any) -> LargeMask:
    """`mask` for large payloads by numpy, an optional dependency, whose types may not be there: hence Any."""
    read_key = Struct(">I").unpack_from
    write_key = Struct(">I").pack_into
    write_twice = Struct(">II").pack_into
    frombuffer = numpy.frombuffer
    bitwise_xor = numpy.bitwise_xor
    uint32 = numpy.uint32
    # Keys as numpy takes them, beside the memory of each: an int would be made into an array each time. Whoever masks
    # takes one, because there may be many threads.
    idle: deque[tuple[bytearray, Any]] = deque(maxlen=MAX_IDLE_MASK_WORDS)
    take = idle.pop
    keep = idle.append

    def make() -> tuple[bytearray, Any]:
        memory = bytearray(8)
        return memory, frombuffer(memory, uint32, 1).reshape(())

    def mask_by_numpy(view: memoryview, start: int, n: int, key: int, ring: RingBuffer | None = None) -> None:
        try:
            pair = take() if idle else make()
        except IndexError:
            # Another thread took the last one.
            pair = make()
        memory = pair[0]
        write_twice(memory, 0, key, key)
        # Off a multiple of four numpy copies everything aside, so the ends are done byte by byte.
        # Of small ints, which are there already.
        head = 4 - (start & 3) & 3
        if head:
            n -= head
            at = 0
            while at < head:
                view[start] ^= memory[at]
                start += 1
                at += 1
            write_key(memory, 0, read_key(memory, head)[0])
        if ring is None:
            array = frombuffer(view, uint32, n >> 2, start)
        else:
            # A slice is one object of 112 bytes, what is made of memory two of 280.
            words: Any = ring.words
            if words is None:
                words = ring.words = frombuffer(view, uint32, ring.capacity >> 2)
            first = start >> 2
            array = words[first : first + (n >> 2)]
        bitwise_xor(array, pair[1], array)
        tail = n & 3
        if tail:
            at = start + n
            while tail:
                tail -= 1
                at -= 1
                view[at] ^= memory[tail]
        keep(pair)

    return mask_by_numpy


def mask_by_tables(view: memoryview, start: int, n: int, key: int, ring: RingBuffer | None = None) -> None:
    """`mask` for large payloads without numpy."""
    stop = start + n
    tables = _TABLES or _make_tables()
    first = tables[key >> 24]
    second = tables[key >> 16 & 0xFF]
    third = tables[key >> 8 & 0xFF]
    fourth = tables[key & 0xFF]
    while start < stop:
        end = min(start + _TABLE_BLOCK_BYTES, stop)
        # Slices with a step are slow in a memoryview and fast in a bytearray.
        block = bytearray(view[start:end])
        block[::4] = block[::4].translate(first)
        block[1::4] = block[1::4].translate(second)
        block[2::4] = block[2::4].translate(third)
        block[3::4] = block[3::4].translate(fourth)
        view[start:end] = block
        start = end


# By a byte of a key: what each byte becomes under it. Nothing until it is needed.
_TABLES: Final[list[bytes]] = []


def _make_tables() -> list[bytes]:
    every = int.from_bytes(bytes(range(256)), "big")
    # In one step: another thread may do the same.
    _TABLES[:] = [(every ^ int.from_bytes(bytes((byte,)) * 256, "big")).to_bytes(256, "big") for byte in range(256)]
    return _TABLES


_large_mask: LargeMask = mask_by_tables
# What `mask_ring` masks as large is longer.
_least_large = SMALL_BYTES
_is_prepared = False
