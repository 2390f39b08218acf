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
import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

SMALL_BYTES: Final = 448
# What is masked at once by tables: two such blocks stay in a first-level cache.
_TABLE_BLOCK_BYTES: Final = 16 * 1024

# REPEATS[n] times a key is the key as often as n bytes need it; without its last SHIFTS[n] bits it has n bytes.
_BY_WORDS: Final = tuple(sum(1 << 32 * word for word in range(words)) for words in range(SMALL_BYTES // 4 + 1))
REPEATS: Final = tuple(_BY_WORDS[(n + 3) // 4] for n in range(SMALL_BYTES + 1))
SHIFTS: Final = tuple(-n % 4 * 8 for n in range(SMALL_BYTES + 1))

LargeMask = Callable[[memoryview, int, int, int], None]


def rotated(key: int, n: int) -> int:
    """The key as it stands after `n` bytes."""
    bits = (n & 3) << 3
    return (key << bits | key >> 32 - bits) & 0xFFFFFFFF


def mask(view: memoryview, start: int, stop: int, key: int) -> None:
    """Mask `view[start:stop]`, writable bytes, in place; the byte at `start` meets the first byte of `key`."""
    n = stop - start
    if n > SMALL_BYTES:
        _large_mask(view, start, stop, key)
    else:
        repeated = key * REPEATS[n] >> SHIFTS[n]
        view[start:stop] = (int.from_bytes(view[start:stop], "big") ^ repeated).to_bytes(n, "big")


def prepare() -> None:
    """Load what large payloads are masked with, once: numpy takes a tenth of a second, which no tick should meet."""
    global _is_prepared, _large_mask
    if _is_prepared:
        return
    try:
        _large_mask = numpy_mask(importlib.import_module("numpy"))
    except ImportError:
        for byte in range(256):
            _table(byte)
    _is_prepared = True


def numpy_mask(numpy: Any) -> LargeMask:
    """`mask` for large payloads by numpy, an optional dependency, whose types may not be there: hence Any."""
    read_word = Struct(">Q").unpack_from
    write_word = Struct(">Q").pack_into
    frombuffer = numpy.frombuffer
    bitwise_xor = numpy.bitwise_xor
    uint64 = numpy.uint64

    def mask_by_numpy(view: memoryview, start: int, stop: int, key: int) -> None:
        # Off a multiple of eight numpy copies everything aside, so the ends are done as two ints that overlap the rest.
        head = -start & 7
        if head:
            value = read_word(view, start)[0] ^ (key << 32 | key) >> 64 - 8 * head << 64 - 8 * head
            write_word(view, start, value)
            start += head
            key = rotated(key, head)
        words = stop - start >> 3
        array = frombuffer(view, uint64, words, start)
        bitwise_xor(array, uint64(int.from_bytes(key.to_bytes(4, "big") * 2, sys.byteorder)), array)
        tail = stop - start & 7
        if tail:
            write_word(view, stop - 8, read_word(view, stop - 8)[0] ^ (key << 32 | key) >> 64 - 8 * tail)

    return mask_by_numpy


def mask_by_tables(view: memoryview, start: int, stop: int, key: int) -> None:
    """`mask` for large payloads without numpy."""
    tables = [_table(byte) for byte in key.to_bytes(4, "big")]
    while start < stop:
        end = min(start + _TABLE_BLOCK_BYTES, stop)
        # Slices with a step are slow in a memoryview and fast in a bytearray.
        block = bytearray(view[start:end])
        for first in range(4):
            block[first::4] = block[first::4].translate(tables[first])
        view[start:end] = block
        start = end


_TABLES: Final[dict[int, bytes]] = {}


def _table(byte: int) -> bytes:
    """What each byte becomes under one byte of a key."""
    table = _TABLES.get(byte)
    if table is None:
        repeated = int.from_bytes(bytes((byte,)) * 256, "big")
        table = _TABLES[byte] = (int.from_bytes(bytes(range(256)), "big") ^ repeated).to_bytes(256, "big")
    return table


_large_mask: LargeMask = mask_by_tables
_is_prepared = False
