"""BlockEncoder: fields into field blocks, so that the header table soon stands still and blocks can be kept.

A block is bytes that depend on the table (RFC 7541 §2.3): while the table stays as it is, the same fields are the same
bytes, and a repeated request costs one look-up. So what is put into the table is chosen for that:

- Fields that a program says again and again (:authority, user-agent, accept ...) go in, by the `hpack` package; after
  the first message they are a byte each.
- Fields that change with the message (:path, content-length, date ...) are literals and never enter: an entry that is
  not used again costs others their place, and every block its validity.
- A name that turns out to change, because it was put in MAX_INSERTIONS_PER_NAME times, is one of those from then on;
  so the table moves a bounded number of times in the life of a connection.
- Credentials and cookies are literals that no hop may put into a table either: who can have fields of his own sent
  beside them could guess a value that is in the table by the size of the block (RFC 7541 §7.1.3).

Literals that do not enter are not Huffman-coded: it would save a fifth of them, and cost several microseconds each.

Invariant: every block in `cached`, and every code of `_codes`, is valid for the table as it is; any change of it, and
any announced size, empties both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpack import Encoder
from hpack.table import HeaderTable

from turbosock.limits import (
    HEADER_TABLE_BYTES,
    MAX_ENCODED_BLOCK_BYTES,
    MAX_ENCODED_BLOCKS,
    MAX_INSERTED_NAMES,
    MAX_INSERTIONS_PER_NAME,
)
from turbosock.protocol.http1.headers import SECRET_KEYS, Field

# What is another value in nearly every message: targets, sizes, times, validators, ranges, cookies' kin, and the
# identities of requests and messages. Other names are found out by MAX_INSERTIONS_PER_NAME.
VOLATILE_KEYS: Final = frozenset(
    b":path age baggage b3 cf-ray content-disposition content-length content-location content-md5 content-range date"
    b" digest etag expires idempotency-key if-match if-modified-since if-none-match if-range if-unmodified-since"
    b" last-event-id last-modified location range referer request-id retry-after sentry-trace server-timing traceparent"
    b" tracestate x-amz-content-sha256 x-amz-date x-amzn-trace-id x-b3-parentspanid x-b3-spanid x-b3-traceid"
    b" x-correlation-id x-forwarded-for x-request-id x-runtime x-trace-id".split()
)

# Literals by what a reader may do with them (RFC 7541 §6.2.2, §6.2.3): index them for its own next hop, or never.
_WITHOUT_INDEXING: Final = 0x00
_NEVER_INDEXED: Final = 0x10

_STATIC_TABLE: Final = HeaderTable.STATIC_TABLE
_STATIC_FIELDS: Final = frozenset(_STATIC_TABLE)
_NAME_INDEXES: Final = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC_TABLE, 1)))}


class BlockEncoder:
    """Encodes the fields of one direction of a connection, in the order in which their blocks are sent.

    A block that was asked for must be sent, and before the next: it may have changed the table.

    Args:
        max_table_size: what the peer permits; used up to HEADER_TABLE_BYTES.

    Attributes:
        cached: blocks by the caller's keys, each to be sent as it stands; read it first and ask `encode` for the rest.
        insertions: fields that were put into the table.
    """

    __slots__ = (
        "_cached_bytes",
        "_codes",
        "_hpack",
        "_insertions",
        "_resized_to",
        "_smallest_size",
        "cached",
        "insertions",
    )

    def __init__(self, max_table_size: int = HEADER_TABLE_BYTES) -> None:
        self._hpack = Encoder()
        # Fields that are in a table, by what stands for them: no more than the tables have entries.
        self._codes: dict[Field, bytes] = {}
        self._insertions: dict[bytes, int] = {}
        self.cached: dict[bytes, bytes] = {}
        self._cached_bytes = 0
        # What the next block has to say of the table's size: the smallest since the last one, and the last; or -1.
        self._smallest_size = -1
        self._resized_to = -1
        self.insertions = 0
        self.resize(max_table_size)

    def encode(self, fields: Iterable[Field], key: bytes | None = None) -> bytes:
        """The block of these fields, whose names are in lower case, to be sent next.

        Args:
            key: under which the block is kept in `cached` once it is the same each time; equal for equal fields alone.
        """
        stands = self._resized_to < 0
        start = b"" if stands else self._resize_table()
        before = self.insertions
        codes = self._codes
        encode_field = self._encode_field
        block = start + b"".join([codes[field] if field in codes else encode_field(field) for field in fields])
        if key is not None and stands and self.insertions == before:
            self._keep(key, block)
        return block

    def resize(self, max_table_size: int) -> None:
        """Take the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells that it was heard (RFC 7541 §4.2)."""
        size = min(max_table_size, HEADER_TABLE_BYTES)
        if self._resized_to < 0:
            if size == self._hpack.header_table_size:
                return
            self._smallest_size = size
        self._smallest_size = min(self._smallest_size, size)
        self._resized_to = size
        self._forget()

    def _resize_table(self) -> bytes:
        """Give the table its new size; what the block begins with."""
        encoder = self._hpack
        # hpack writes each size that it is given, but nothing at all where the last one is no change.
        if self._smallest_size < min(self._resized_to, encoder.header_table_size):
            encoder.header_table_size = self._smallest_size
        if self._resized_to != encoder.header_table_size:
            encoder.header_table_size = self._resized_to
        self._resized_to = -1
        return encoder.encode(())

    def _encode_field(self, field: Field) -> bytes:
        """A field that has no code yet: it gets one if it is in a table, enters if it may, or is a literal."""
        name, value = field
        if name in SECRET_KEYS:
            return _literal(name, value, _NEVER_INDEXED)
        encoder = self._hpack
        if field in _STATIC_FIELDS or field in encoder.header_table.dynamic_entries:
            code = self._codes[field] = encoder.encode((field,))
            return code
        if not self._may_enter(name, value):
            return _literal(name, value, _WITHOUT_INDEXING)
        self._insertions[name] = self._insertions.get(name, 0) + 1
        self.insertions += 1
        self._forget()
        return encoder.encode((field,))

    def _may_enter(self, name: bytes, value: bytes) -> bool:
        if name in VOLATILE_KEYS:
            return False
        # One that would drive half of the others out is not worth it (nghttp2 stops at three quarters).
        if 2 * (len(name) + len(value) + 32) > self._hpack.header_table_size:
            return False
        count = self._insertions.get(name)
        if count is None:
            return len(self._insertions) < MAX_INSERTED_NAMES
        return count < MAX_INSERTIONS_PER_NAME

    def _keep(self, key: bytes, block: bytes) -> None:
        size = len(key) + len(block)
        if len(self.cached) >= MAX_ENCODED_BLOCKS or self._cached_bytes + size > MAX_ENCODED_BLOCK_BYTES:
            self.cached.clear()
            self._cached_bytes = 0
        if size <= MAX_ENCODED_BLOCK_BYTES:
            self.cached[key] = block
            self._cached_bytes += size

    def _forget(self) -> None:
        """The table changes: nothing that was encoded for it is valid any more."""
        self._codes.clear()
        self.cached.clear()
        self._cached_bytes = 0


def _literal(name: bytes, value: bytes, kind: int) -> bytes:
    """A literal that does not enter the table (RFC 7541 §6.2), its name by the static table where it is there."""
    index = _NAME_INDEXES.get(name, 0)
    if index:
        return b"%b%b%b" % (_integer(index, 0x0F, kind), _integer(len(value), 0x7F, 0), value)
    return b"%c%b%b%b%b" % (kind, _integer(len(name), 0x7F, 0), name, _integer(len(value), 0x7F, 0), value)


def _integer(value: int, mask: int, kind: int) -> bytes:
    """An integer with its prefix under `mask`, beside the bits of `kind` (RFC 7541 §5.1)."""
    if value < mask:
        return bytes((kind | value,))
    octets = [kind | mask]
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
