"""BlockDecoder: field blocks into FieldBlocks, by the `hpack` package, with a memory for blocks that come again.

A block means what it means together with the header table (RFC 7541 §2.3), so there are two memories:

- Blocks that refer to nothing in the table but their own insertions decode the same whatever it holds. They are known
  by their bytes alone; what they insert is put in a log, and the table is worked out from it only when a block asks for
  it. nginx sends no other blocks, and changes the table with each.
- All others are known by their bytes and a *state*: one exact content of the table. States are found by their content,
  so that a table which comes back to where it was finds what was known there. Most servers fill the table with the
  first answers and then leave it: the state stands still.

Either way a known block costs a look-up or two, and nothing is allocated. Any other block is decoded by hpack's
decoder, which is put in step with the state first.

Invariants: the table is that of `_state`, with the insertions of the log added in order. Everything known holds for a
table of `_size` bytes; when that changes, or the memory is full, all is forgotten but the table itself. A block that is
refused leaves everything as it was; but the peer's table is another from then on, and no further block can be decoded
(RFC 9113 §4.3).
"""

from __future__ import annotations

from collections.abc import Iterable

from hpack import Decoder, HPACKError, InvalidTableIndexError, InvalidTableSizeError, OversizedHeaderListError

from turbosock.errors import Http2Error
from turbosock.limits import (
    HEADER_TABLE_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
    MAX_HEAD_OVERRUN,
    MAX_KNOWN_BLOCK_BYTES,
)
from turbosock.protocol.http1.headers import Field
from turbosock.protocol.http2.block_outline import outline
from turbosock.protocol.http2.error_codes import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from turbosock.protocol.http2.field_block import FieldBlock

# What a field counts beside its name and value, in the table and in a list (RFC 7541 §4.1, RFC 9113 §6.5.2); no entry
# of a table is smaller.
FIELD_OVERHEAD_BYTES = 32
# What a known block takes in memory beside its bytes, about: the objects made of it, and its fields as objects, which
# are thrice the size of the list.
_BLOCK_OVERHEAD_BYTES = 1024
_FIELDS_FACTOR = 3


class _State:
    """One content of the table, newest entry first; for each known block its fields and the index of the next state."""

    __slots__ = ("blocks", "entries")

    def __init__(self, entries: tuple[Field, ...]) -> None:
        self.entries = entries
        self.blocks: dict[bytes, tuple[FieldBlock, int]] = {}


class BlockDecoder:
    """Decodes the field blocks of one direction of a connection, in the order in which they came.

    Args:
        max_table_size: bytes that the peer may give the table. It begins with 4096 (RFC 9113 §4.3.1); where less is
            permitted, the first block must shrink it.
        max_list_bytes, max_fields: what a head may have. More is the failure of its message, and MAX_HEAD_OVERRUN times
            as much that of the connection.
        max_known_bytes: memory for blocks, what they mean, and contents of the table.

    Attributes:
        misses: blocks that had to be decoded.
    """

    __slots__ = (
        "_at",
        "_decoder",
        "_decoder_entries",
        "_known_bytes",
        "_last",
        "_log",
        "_logged",
        "_max_fields",
        "_max_known_bytes",
        "_max_list_bytes",
        "_max_table_size",
        "_owed_size",
        "_self_contained",
        "_size",
        "_state",
        "_state_indexes",
        "_states",
        "misses",
    )

    def __init__(
        self,
        max_table_size: int = HEADER_TABLE_BYTES,
        max_list_bytes: int = MAX_HEAD_BYTES,
        max_fields: int = MAX_HEAD_FIELDS,
        max_known_bytes: int = MAX_KNOWN_BLOCK_BYTES,
    ) -> None:
        self._max_table_size = max_table_size
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        self._max_known_bytes = max_known_bytes
        self._size = HEADER_TABLE_BYTES
        # The size to which the next block must shrink the table, or -1.
        self._owed_size = max_table_size if max_table_size < HEADER_TABLE_BYTES else -1
        self._decoder = self._new_decoder(())
        self._decoder_entries: tuple[Field, ...] | None = ()
        self.misses = 0
        self._start_anew(())

    def _start_anew(self, entries: tuple[Field, ...]) -> None:
        """Forget every block and state, and go on with this content of the table."""
        self._self_contained: dict[bytes, tuple[FieldBlock, tuple[Field, ...]]] = {}
        self._state = _State(entries)
        # A step names the next state by its index here: references would make cycles, which only a collector frees.
        self._states = [self._state]
        self._state_indexes = {entries: 0}
        self._known_bytes = 0
        self._clear_log()

    def _clear_log(self) -> None:
        # In so many places there is room for more entries than the table can hold: each block here has at least one.
        places = max(1, self._size // FIELD_OVERHEAD_BYTES)
        self._log: list[tuple[Field, ...]] = [()] * places
        self._last = places - 1
        self._at = 0
        self._logged = False

    def decode(self, block: bytes) -> FieldBlock:
        """The fields of the next block, shared with every other message that had the same.

        Raises:
            Http2Error: COMPRESSION_ERROR, the block breaks RFC 7541; ENHANCE_YOUR_CALM, it grows beyond all bounds.
                Both are errors of the connection.
        """
        # Flat, because it is run for every message; neither `get` nor unpacking, which allocate where they are traced.
        self_contained = self._self_contained
        if block in self_contained:
            known = self_contained[block]
            inserted = known[1]
            if inserted:
                at = self._at
                self._log[at] = inserted
                self._at = at + 1 if at < self._last else 0
                self._logged = True
            return known[0]
        if not self._logged:
            blocks = self._state.blocks
            if block in blocks:
                step = blocks[block]
                self._state = self._states[step[1]]
                return step[0]
        return self._decode_unknown(block)

    def resize(self, max_table_size: int) -> None:
        """Permit the peer a table of `max_table_size` bytes, as we announced and it acknowledged.

        Where its table is larger, the next block must begin by shrinking it (RFC 9113 §4.3.1).
        """
        self._max_table_size = max_table_size
        if max_table_size < self._size and (self._owed_size < 0 or max_table_size < self._owed_size):
            self._owed_size = max_table_size
        self._decoder.max_allowed_table_size = max_table_size
        # What is known was judged by the old bound.
        self._start_anew(self._present_state().entries)

    def _decode_unknown(self, block: bytes) -> FieldBlock:
        """Decode a block that is not known, or only known in the state which the log leads to."""
        if self._known_bytes >= self._max_known_bytes:
            self._start_anew(self._present_state().entries)
        fields, insertions, smallest_size = outline(block, MAX_HEAD_OVERRUN * self._max_fields)
        if fields > MAX_HEAD_OVERRUN * self._max_fields:
            raise Http2Error(
                f"a field block has more than {MAX_HEAD_OVERRUN} times {self._max_fields} fields", ENHANCE_YOUR_CALM
            )
        if self._owed_size >= 0:
            if not 0 <= smallest_size <= self._owed_size:
                raise Http2Error(
                    f"a field block does not begin by shrinking the header table to {self._owed_size} bytes",
                    COMPRESSION_ERROR,
                )
        if insertions >= 0:
            decoder = self._new_decoder(())
            decoded = self._decoded(decoder, block)
            inserted = tuple(decoder.header_table.dynamic_entries)
            # Fewer are left where the block's entries drove each other out, and with them all that was there before.
            if len(inserted) == insertions:
                self._self_contained[block] = (decoded, inserted)
                self._known_bytes += _footprint(block, decoded)
                # It is known now, so this does what else there is to do for such a block.
                return self.decode(block)
        state = self._present_state()
        step = state.blocks.get(block)
        if step is not None:
            self._state = self._states[step[1]]
            return step[0]
        return self._decode_in_step(block, state)

    def _decode_in_step(self, block: bytes, state: _State) -> FieldBlock:
        """Decode a block that depends on the table, or resizes it."""
        decoder = self._decoder
        if self._decoder_entries is not state.entries:
            decoder = self._decoder = self._new_decoder(state.entries)
        # Out of step until the end, because an error may leave it anywhere.
        self._decoder_entries = None
        decoded = self._decoded(decoder, block)
        # Where a size was owed, no block was known, and those that pay are decoded here.
        self._owed_size = -1
        entries = tuple(decoder.header_table.dynamic_entries)
        if decoder.header_table_size != self._size:
            self._size = decoder.header_table_size
            self._start_anew(entries)
        else:
            index = self._state_index(entries)
            state.blocks[block] = (decoded, index)
            self._known_bytes += _footprint(block, decoded)
            self._state = self._states[index]
        self._decoder_entries = self._state.entries
        return decoded

    def _new_decoder(self, entries: tuple[Field, ...]) -> Decoder:
        """A decoder of hpack's, with this content of the table."""
        decoder = Decoder(MAX_HEAD_OVERRUN * self._max_list_bytes)
        decoder.max_allowed_table_size = self._max_table_size
        decoder.header_table_size = self._size
        table = decoder.header_table
        for name, value in reversed(entries):
            table.add(name, value)
        return decoder

    def _decoded(self, decoder: Decoder, block: bytes) -> FieldBlock:
        self.misses += 1
        try:
            fields = tuple([(name, value) for name, value in decoder.decode(block, raw=True)])
        except OversizedHeaderListError:
            raise Http2Error(
                f"a field block decodes to more than {MAX_HEAD_OVERRUN} times {self._max_list_bytes} bytes",
                ENHANCE_YOUR_CALM,
            ) from None
        except HPACKError as error:
            # Its own message may show the bytes, and with them a credential.
            raise Http2Error(f"a field block cannot be decoded: {_reason(error)}", COMPRESSION_ERROR) from None
        list_bytes = sum([len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in fields])
        if list_bytes > self._max_list_bytes:
            excess = f"a message's fields have more than {self._max_list_bytes} bytes, the limit max_head_bytes"
        elif len(fields) > self._max_fields:
            excess = f"a message has more than {self._max_fields} fields, the limit max_head_fields"
        else:
            return FieldBlock(fields, list_bytes)
        return FieldBlock((), list_bytes, excess)

    def _present_state(self) -> _State:
        """The state of the table as it is now; works the log in."""
        if self._logged:
            oldest_first = self._log[self._at :] + self._log[: self._at]
            oldest_first.insert(0, self._state.entries)
            self._clear_log()
            self._state = self._states[self._state_index(_newest(reversed(oldest_first), self._size))]
        return self._state

    def _state_index(self, entries: tuple[Field, ...]) -> int:
        """The index of the one state with this content."""
        index = self._state_indexes.get(entries)
        if index is None:
            index = self._state_indexes[entries] = len(self._states)
            self._states.append(_State(entries))
            self._known_bytes += self._size
        return index


def _footprint(block: bytes, decoded: FieldBlock) -> int:
    """The memory that a known block takes, in bytes, about."""
    return _BLOCK_OVERHEAD_BYTES + len(block) + _FIELDS_FACTOR * decoded.list_bytes


def _newest(groups: Iterable[tuple[Field, ...]], size: int) -> tuple[Field, ...]:
    """The entries that a table of `size` bytes has kept of these, which come newest first (RFC 7541 §4.4)."""
    kept: list[Field] = []
    for group in groups:
        for field in group:
            size -= len(field[0]) + len(field[1]) + FIELD_OVERHEAD_BYTES
            if size < 0:
                return tuple(kept)
            kept.append(field)
    return tuple(kept)


def _reason(error: HPACKError) -> str:
    if isinstance(error, InvalidTableIndexError):
        return "it refers to an entry that the header table does not have"
    if isinstance(error, InvalidTableSizeError):
        return "it makes the header table larger than was permitted"
    return "it breaks RFC 7541"
