"""What an encoded field block does to the header table, read without decoding a string: RFC 7541 §5 and §6.

A block that refers to no entry of the dynamic table but those it inserted itself decodes to the same fields whatever
the table holds; servers such as nginx send no others. `BlockDecoder` remembers such blocks apart from the table.

It is a look from outside and no judge: a malformed block gets an outline that claims nothing, and the decoder, which
reads every block that is not known, refuses it.
"""

from __future__ import annotations

from typing import NamedTuple

from hpack.table import HeaderTable

_STATIC_ENTRIES = len(HeaderTable.STATIC_TABLE)

# Bytes of an integer after its prefix that the decoder takes: 35 bits; it refuses longer ones.
_MAX_INTEGER_BYTES = 5


class BlockOutline(NamedTuple):
    """What the first bytes of the block's representations say.

    Attributes:
        fields: representations of fields that were seen, at most one more than asked for.
        insertions: entries that the block adds to the table, or -1 where its fields depend on the table before it,
            where it resizes the table, and where it is malformed.
        smallest_size: the smallest table size that it sets before its first field, or -1 where it sets none.
    """

    fields: int
    insertions: int
    smallest_size: int


def outline(block: bytes, max_fields: int) -> BlockOutline:
    """The outline of a block, read up to its field after `max_fields`."""
    end = len(block)
    fields = 0
    insertions = 0
    smallest_size = -1
    depends = False
    i = 0
    while i < end and fields <= max_fields:
        byte = block[i]
        if byte & 0xE0 == 0x20:
            size, i = _integer(block, i, 0x1F)
            if i < 0 or fields:
                return BlockOutline(fields, -1, smallest_size)
            smallest_size = size if smallest_size < 0 else min(size, smallest_size)
            depends = True
            continue
        fields += 1
        index, i = _integer(block, i, 0x7F if byte & 0x80 else 0x3F if byte & 0x40 else 0x0F)
        if i >= 0 and not byte & 0x80:
            if index == 0:
                i = _after_string(block, i)
            i = _after_string(block, i)
        if i < 0 or i > end:
            return BlockOutline(fields, -1, smallest_size)
        if index > _STATIC_ENTRIES + insertions:
            depends = True
        if byte & 0xC0 == 0x40:
            insertions += 1
    return BlockOutline(fields, -1 if depends else insertions, smallest_size)


def _integer(block: bytes, i: int, mask: int) -> tuple[int, int]:
    """The integer whose prefix is the byte at `i` under `mask` (RFC 7541 §5.1), and the index after it, or -1."""
    value = block[i] & mask
    i += 1
    if value < mask:
        return value, i
    for shift, byte in enumerate(block[i : i + _MAX_INTEGER_BYTES]):
        value += (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, i + shift + 1
    return value, -1


def _after_string(block: bytes, i: int) -> int:
    """The index after the string literal at `i` (RFC 7541 §5.2), beyond the block's end where it is cut; -1 stays."""
    if i < 0 or i >= len(block):
        return -1
    length, i = _integer(block, i, 0x7F)
    return -1 if i < 0 else i + length
