"""Representations of RFC 7541 §6 as bytes, one by one, for blocks that no encoder would write."""

from __future__ import annotations

from hpack import Encoder


def integer(value: int, prefix_bits: int, first: int) -> bytes:
    """An integer (§5.1) behind the upper bits of `first`."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([first | value])
    octets = [first | most]
    value -= most
    while value >= 128:
        octets.append(value % 128 + 128)
        value //= 128
    return bytes([*octets, value])


def string(data: bytes, huffman: bool = False) -> bytes:
    """A string literal (§5.2)."""
    if huffman:
        data = Encoder().huffman_coder.encode(data)
        return integer(len(data), 7, 0x80) + data
    return integer(len(data), 7, 0) + data


def indexed(index: int) -> bytes:
    """An indexed field (§6.1)."""
    return integer(index, 7, 0x80)


def inserted(name: bytes | int, value: bytes, huffman: bool = False) -> bytes:
    """A literal field that enters the table (§6.2.1), its name given or by its index."""
    return _literal(name, value, 6, 0x40, huffman)


def literal(name: bytes | int, value: bytes, huffman: bool = False) -> bytes:
    """A literal field that does not enter the table (§6.2.2)."""
    return _literal(name, value, 4, 0x00, huffman)


def secret(name: bytes | int, value: bytes, huffman: bool = False) -> bytes:
    """A literal field that never enters a table (§6.2.3)."""
    return _literal(name, value, 4, 0x10, huffman)


def resized(size: int) -> bytes:
    """A change of the table's size (§6.3)."""
    return integer(size, 5, 0x20)


def _literal(name: bytes | int, value: bytes, prefix_bits: int, first: int, huffman: bool) -> bytes:
    if isinstance(name, int):
        return integer(name, prefix_bits, first) + string(value, huffman)
    return bytes([first]) + string(name, huffman) + string(value, huffman)
