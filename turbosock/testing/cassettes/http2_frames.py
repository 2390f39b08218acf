"""FrameReader: frames of HTTP/2 from the bytes of one direction of a connection (RFC 9113 §4, §6).

Frames are taken apart and field blocks decoded; nothing is judged: for what one side says that was judged, or made, by
this library.

Invariant: every field block is decoded, in order, since each may change the table of the next (RFC 7541 §2.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hpack import Decoder, HPACKError

from turbosock import limits
from turbosock.errors import ProtocolError
from turbosock.protocol.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITY_BYTES,
    WITH_PRIORITY,
)
from turbosock.testing.cassettes.entry import TextField


class Frame(NamedTuple):
    """One frame, without its padding; HEADERS with all that continues it, decoded."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    fields: list[TextField]

    @property
    def ends(self) -> bool:
        """Whether a HEADERS or DATA frame is the last of its stream."""
        return bool(self.flags & END_STREAM)


class FrameReader:
    """Reads one direction.

    Args:
        from_client: whether a preface comes first (RFC 9113 §3.4).
    """

    def __init__(self, *, from_client: bool) -> None:
        self._received = bytearray()
        self._preface_left = len(PREFACE) if from_client else 0
        self._decoder = Decoder(max_header_list_size=limits.MAX_HEAD_BYTES * limits.MAX_HEAD_OVERRUN)
        # What the other side allows was held by whoever sent it.
        self._decoder.max_allowed_table_size = limits.MAX_HEAD_BYTES
        # HEADERS that others continue.
        self._begun: Frame | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now.

        Raises:
            ProtocolError: a field block cannot be decoded.
        """
        skipped = min(self._preface_left, len(data))
        self._preface_left -= skipped
        received = self._received
        received += data[skipped:]
        while len(received) >= HEADER_BYTES:
            high, low, kind, flags, stream = HEADER.unpack_from(received)
            end = HEADER_BYTES + (high << 16 | low)
            if len(received) < end:
                return
            payload = bytes(received[HEADER_BYTES:end])
            del received[:end]
            if kind in (DATA, HEADERS) and flags & PADDED and payload:
                payload = payload[1 : len(payload) - payload[0]]
            if kind == HEADERS and flags & WITH_PRIORITY:
                payload = payload[PRIORITY_BYTES:]
            if kind == CONTINUATION and self._begun is not None:
                begun = self._begun
                kind, flags, payload = HEADERS, begun.flags | flags, begun.payload + payload
            frame = Frame(kind, flags, stream, payload, [])
            if kind != HEADERS:
                yield frame
            elif flags & END_HEADERS:
                self._begun = None
                yield frame._replace(fields=self._decoded(payload))
            else:
                self._begun = frame

    def _decoded(self, block: bytes) -> list[TextField]:
        try:
            decoded = self._decoder.decode(block, raw=True)
        except HPACKError as error:
            raise ProtocolError("a field block that cannot be decoded") from error
        return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in decoded]
