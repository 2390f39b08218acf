"""DecodedBody: the content of a coded body (RFC 9110 §8.4), read as a connection's plain body is.

It stands between the connection, whose payload it reads into memory of its own, and whoever reads the content. That
memory is a receive ring more, held from the first read to the end; with it, the decoder's windows and one step's output
are all that a body costs, however much it expands to.

A body in a coding that is not known or not installed is handed on as it is: its Content-Encoding says what it is.

Invariants: the connection's `decoded` is this object until the content has come to its end, and None from then on; a
failed one holds nothing, and raises when it is read again.
Left to others: the total of what is gathered (the gatherer's bound), and the end of a connection whose body failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.errors import DecodingError, StateError

if TYPE_CHECKING:
    from turbosock.connection.http1 import Http1Connection
    from turbosock.connection.http2_stream import Http2Stream
    from turbosock.connection.receive_ring import ReceiveRing
    from turbosock.protocol.content.decoder import Decoder
    from turbosock.protocol.http1.head import ResponseHead

# What a stream of content is for has no end of its own: whoever gathers it counts.
_UNBOUNDED_BYTES = 2**63


class DecodedBody:
    """Reads the content of the body that `connection` is about to read.

    Args:
        connection: has read `head`, and nothing of the body.
        head: a coded one.

    Attributes:
        busy: whether more comes out without more going in: a read that returned -1 only did its share of work.
    """

    __slots__ = ("_connection", "_decoder", "_head", "_plain", "_ring", "busy")

    def __init__(self, connection: Http1Connection | Http2Stream, head: ResponseHead) -> None:
        self._connection: Http1Connection | Http2Stream | None = connection
        self._head = head
        self._decoder: Decoder | None = None
        self._ring: ReceiveRing | None = None
        self._plain = False
        self.busy = False

    def read_body(self, view: memoryview) -> int:
        """Move content into `view`: what has arrived, with one receive at most.

        Args:
            view: a writable byte view, not empty.

        Returns:
            The number of bytes, 0 at the end of the content, or -1: nothing yet. If `busy`, call again, else wait.

        Raises:
            DecodingError: the body is not in its coding, was cut, expands too far, or has too many codings.
            TurbosockError: as Http1Connection.read_body.
        """
        connection = self._connection
        if connection is None:
            raise StateError("the body failed to decode, or its connection was closed")
        decoder = self._decoder
        if decoder is None:
            decoder = self._begin(connection)
            if decoder is None:
                return self._read_plain(connection, view)
        ring = self._ring
        assert ring is not None, "taken with the decoder"
        asked = False
        while True:
            if not decoder.needs_input:
                count = decoder.read_into(view)
                if count:
                    self.busy = not decoder.needs_input
                    return count
                if not decoder.needs_input:
                    # A share of work without a result, or with a failure that the next call raises.
                    self.busy = True
                    return -1
            self.busy = False
            if connection.body.complete:
                decoder.finish()
                self.close()
                return 0
            if asked:
                # One receive each time: between two of them its driver looks at its deadline.
                self.busy = True
                return -1
            asked = True
            count = connection.read_body(ring.root)
            if count < 0:
                return -1
            decoder.feed(ring.root[:count])

    def _begin(self, connection: Http1Connection | Http2Stream) -> Decoder | None:
        """What decodes the body; None: it is handed on as it is."""
        if self._plain:
            return None
        # Not with the module: the codings are 4 ms of import time, and most programs need none at their start.
        from turbosock.protocol.content.registry import decoder_for

        value = self._head.headers.joined(b"content-encoding")
        assert value is not None, "a coded head has the field"
        try:
            self._decoder = decoder_for(value.decode("latin-1"), max_bytes=_UNBOUNDED_BYTES)
        except DecodingError as error:
            if error.code != "unknown_coding":
                raise
        if self._decoder is None:
            self._plain = True
            return None
        self._ring = ring = connection.rings.rent()
        if ring.origin is not connection.origin:
            ring.belongs_to(connection.origin)
        return self._decoder

    def _read_plain(self, connection: Http1Connection | Http2Stream, view: memoryview) -> int:
        count = connection.read_body(view)
        if connection.body.complete:
            self.close()
        return count

    def close(self) -> None:
        """Let go of everything: the rest of the body, if any, is read from the connection as it came."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        self.busy = False
        if connection.decoded is self:
            connection.decoded = None
        decoder = self._decoder
        if decoder is not None:
            self._decoder = None
            decoder.close()
        ring = self._ring
        if ring is not None:
            self._ring = None
            connection.rings.give_back(ring)
