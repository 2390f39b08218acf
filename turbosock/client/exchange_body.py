"""ExchangeBody: an exchange of a Loop, as far as its body is read.

The body goes to one of three places: into the caller's buffer (`into=`), into owned bytes (`content`), or into DATA
events (`stream=True`).

Invariants: one step moves about a quantum of bytes, then the connection goes to the back of the line; what cannot be
taken for want of memory, or of room for events, stays where it is, so that the peer is pushed back.
"""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.client.charset import decoded
from turbosock.client.exchange_connecting import ExchangeConnecting
from turbosock.client.gather import Gatherer, too_large
from turbosock.errors import BodyTooLarge, PoolExhausted, StateError
from turbosock.protocol.http1.framing import Framing

if TYPE_CHECKING:
    from turbosock.buffers import PooledBuffer
    from turbosock.client.exchange_ending import TickedConnection
    from turbosock.connection.receive_ring import ReceiveRing


# A step that did nothing for want of memory: the loop comes again.
_STARVED: Final = -2


class ExchangeBody(ExchangeConnecting):
    """A request under way in a Loop, and what becomes of its answer's body.

    Attributes:
        gathers: whether the body is gathered into `content`.
    """

    __slots__ = ("_bytes_moved", "_quiet_since_ns", "_stream", "gathers")

    # As of ClientExchange, `Exchange.forget()` sets every slot.
    _bytes_moved: float
    _quiet_since_ns: int
    _stream: bool
    gathers: bool

    def _take_whole(self, connection: TickedConnection, ring: ReceiveRing | None) -> None:
        """The body came with the head: one copy out of the ring, and the connection is free."""
        if self._stream:
            if self._take_data_whole(connection):
                self._finish()
            return
        assert ring is not None, "a head was read from it"
        count = ring.length
        if count:
            start = ring.start
            into = self.into
            if into is None:
                if count > self._loop.max_body_bytes:
                    raise too_large(self._loop.max_body_bytes)
                self._content = bytes(ring.root[start : start + count])
            elif count > len(into):
                self._check_fits(count)
            else:
                into[:count] = ring.root[start : start + count]
            ring.start = 0
            ring.length = 0
            self.nbytes = count
        self._finish()

    def _take_data_whole(self, connection: TickedConnection) -> bool:
        """One DATA event with the whole body; False: starved, the loop comes again."""
        ring = connection.ring
        assert ring is not None, "a head was read from it"
        if not ring.length:
            return True
        lease = self._rent_segment()
        if lease is None:
            return False
        count = ring.length
        lease.view[:count] = ring.readable()
        ring.clear()
        self._loop.events.put_data(self, lease, count)  # type: ignore[arg-type]  # it is an Exchange
        self.nbytes = count
        return True

    def _rent_segment(self) -> PooledBuffer | None:
        """Memory for a DATA event, or None: starved; the connection waits, and the peer is pushed back."""
        loop = self._loop
        if loop.events.is_full:
            loop.events.full_count += 1
        else:
            try:
                return loop.buffers.rent(limits.SEGMENT_BYTES)
            except PoolExhausted:
                loop.requests.exhausted_count += 1
        loop.requests.starved.append(self)  # type: ignore[arg-type]  # as below
        return None

    def _check_fits(self, length: int) -> None:
        if self.into is not None and length > len(self.into):
            raise BodyTooLarge(
                f"the body has {length} bytes, into= has room for {len(self.into)}; give a larger buffer"
            )

    def _take_body(self, connection: TickedConnection) -> None:
        """Move what has arrived to where it goes, a quantum at most."""
        body = connection.body
        moved = 0
        while not body.complete or connection.decoded is not None:
            if self._stream:
                count = self._take_data(connection)
            elif self.into is not None:
                count = self._take_into(connection, self.into, moved)
            else:
                count = self._take_gathered(connection, moved)
            if count < 0:
                # Armed by the step, or starved of memory and resumed by the loop.
                decoded = connection.decoded
                if decoded is not None and decoded.busy and count != _STARVED:
                    self._requeue(connection)
                self._note_progress(connection)
                return
            self.nbytes += count
            moved += count
            if moved >= limits.TURN_QUANTUM_BYTES and not (body.complete and connection.decoded is None):
                self._requeue(connection)
                self._note_progress(connection)
                return
        self._finish()

    def _take_into(self, connection: TickedConnection, into: memoryview, moved: int) -> int:
        nbytes = self.nbytes
        size = len(into)
        reader = connection.decoded
        if reader is not None:
            if nbytes < size:
                return reader.read_body(into[nbytes : nbytes + _left_in_step(moved)])
        elif nbytes == 0 and connection.body.run > size and connection.body.framing is Framing.LENGTH:
            self._check_fits(connection.body.run)
        if nbytes < size:
            if nbytes or size > limits.TURN_QUANTUM_BYTES:
                into = into[nbytes : nbytes + _left_in_step(moved)]
            return connection.read_body(into)
        # Full: all that may come is the end.
        probe = memoryview(bytearray(1))
        count = (reader or connection).read_body(probe)
        if count > 0:
            raise BodyTooLarge(f"the body is longer than the {size} bytes of into=; give a larger buffer")
        return count

    def _take_gathered(self, connection: TickedConnection, moved: int) -> int:
        body = connection.body
        gatherer = self._gatherer
        if gatherer is None:
            known = body.framing is Framing.LENGTH and connection.decoded is None
            gatherer = self._gatherer = Gatherer(body.run if known else -1, self._loop.max_body_bytes)
        count = (connection.decoded or connection).read_body(gatherer.writable(_left_in_step(moved)))
        if count > 0:
            gatherer.advance(count)
        return count

    def _take_data(self, connection: TickedConnection) -> int:
        """One DATA event, from one receive at most."""
        lease = self._rent_segment()
        if lease is None:
            return _STARVED
        try:
            count = (connection.decoded or connection).read_body(lease.view)
        except BaseException:
            lease.release()
            raise
        if count > 0:
            self._loop.events.put_data(self, lease, count)  # type: ignore[arg-type]  # it is an Exchange
        else:
            lease.release()
        return count

    def _requeue(self, connection: TickedConnection) -> None:
        connection.requeue()

    def _note_progress(self, connection: TickedConnection) -> None:
        """A step is over and the exchange is not: if it moved bytes, the limits of read and write count from now."""
        transport = connection.transport
        moved = transport.bytes_in + transport.bytes_out
        if moved != self._bytes_moved:
            self._bytes_moved = moved
            self._quiet_since_ns = self._now_ns()

    # What the user reads

    @property
    def content(self) -> bytes:
        """The gathered body.

        Raises:
            StateError: the exchange is not done, failed, or put its body elsewhere.
        """
        if not self.done:
            raise StateError("the exchange is not done: poll() until `done`, or wait for its RESPONSE event")
        if self.error is not None:
            raise StateError("the exchange failed: look at its `error`")
        if not self.gathers:
            raise StateError("the body went into your buffer or into DATA events; there is no content")
        return self._content or b""

    @property
    def text(self) -> str:
        """The gathered body as text, by `encoding`; what does not decode is replaced."""
        return decoded(self.content, self._charset())

    def json(self) -> Any:
        """The gathered body as JSON; ValueError where it is not."""
        serializer = self._loop.config.serializer
        return json_module.loads(self.content) if serializer is None else serializer.deserialize(self.content)


def _left_in_step(moved: int) -> int:
    """What a step that moved so much may still ask for; the kernel may hold megabytes."""
    return max(limits.TURN_QUANTUM_BYTES - moved, limits.SEGMENT_BYTES)
