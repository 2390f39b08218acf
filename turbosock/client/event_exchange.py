"""EventExchange: one request of an event stream in a Loop; its body goes straight into the stream's parser.

A receive ends in the parser's memory, where the events of it wait to be taken; until they were, nothing more is read,
and the peer is pushed back. Its end is no event: its stream is told, and goes on or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.client.chained_exchange import ChainedExchange
from turbosock.client.loop_connection import LoopConnection
from turbosock.client.loop_exchange import Exchange
from turbosock.errors import PoolExhausted, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.exchange_ending import TickedConnection
    from turbosock.client.loop_event_stream import LoopEventStream
    from turbosock.client.loop_services import LoopServices
    from turbosock.connection.receive_ring import ReceiveRing

# As of ExchangeBody: a step that did nothing, which its stream, or the loop, takes again.
_STARVED: Final = -2


class EventExchange(Exchange):
    """See the module."""

    __slots__ = ("_accepted", "events_of")

    # It is its stream's alone.
    pooled = False

    def __init__(self, loop: LoopServices, stream: LoopEventStream) -> None:
        self.events_of = stream
        self._accepted = False
        super().__init__(loop)

    def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            head = self.head
            assert head is not None, "a body comes after its head"
            self.events_of.on_head(self.prepared, head)
            self.count_head()
            self.timeouts = self.events_of.body_timeouts
            connection = self.connection
            if connection is not None:
                # A shorter limit may hold from here on.
                connection.timer.move(min(connection.timer.deadline_ns, self._now_ns() + self.timeouts.read_ns))

    def _take_whole(self, connection: TickedConnection, ring: ReceiveRing | None) -> None:
        self._accept()
        super()._take_whole(connection, ring)

    def _take_body(self, connection: TickedConnection) -> None:
        self._accept()
        super()._take_body(connection)

    def _take_data_whole(self, connection: TickedConnection) -> bool:
        ring = connection.ring
        assert ring is not None, "a head was read from it"
        stream = self.events_of
        while ring.length:
            if stream.pending:
                return False
            view = self._writable()
            if view is None:
                return False
            count = min(len(view), ring.length)
            view[:count] = ring.root[ring.start : ring.start + count]
            ring.consume(count)
            self.nbytes += count
            stream.took(count, full=False)
        return True

    def _take_data(self, connection: TickedConnection) -> int:
        stream = self.events_of
        if stream.pending:
            return _STARVED
        view = self._writable()
        if view is None:
            return _STARVED
        count = (connection.decoded or connection).read_body(view)
        if count > 0:
            stream.took(count, full=count == len(view))
            if type(connection) is LoopConnection:
                # While events wait, nothing is received.
                connection.release_ring()
        elif count < 0:
            del view
            self._rest()
        return count

    def _rest(self) -> None:
        """Nothing has come: hold no more than an unfinished event, so that streams that wait cost nothing."""
        connection = self.connection
        if type(connection) is LoopConnection:
            connection.release_ring()
        try:
            self.events_of.parser.shrink()
        except PoolExhausted:
            # It stays as it is.
            return

    def _writable(self) -> memoryview | None:
        """Memory to receive into; None: starved, the loop comes again."""
        try:
            return self.events_of.parser.writable()
        except PoolExhausted:
            self._loop.requests.exhausted_count += 1
            self._loop.requests.starved.append(self)
            return None

    def go_on(self) -> None:
        """The events that waited were taken: read on."""
        connection = self.connection
        if connection is None:
            return
        # What kept it was not the peer.
        self._quiet_since_ns = self._now_ns()
        try:
            if type(connection) is LoopConnection and connection.decoded is None and not connection.whole:
                ring = connection.ring
                if not connection.transport.readable and (ring is None or not ring.length):
                    connection.arm()
                    self._rest()
                    return
            self._requeue(connection)
        except TurbosockError as error:
            # The system refuses to watch the socket.
            self.fail(error)

    def _finish(self) -> None:
        super()._finish()
        self.events_of.on_end(self, None)

    def _tell_failure(self) -> None:
        try:
            super()._tell_failure()
        finally:
            self.events_of.on_end(self, self.error)


class ChainedEventExchange(ChainedExchange, EventExchange):
    """One with middleware around it."""

    def __init__(self, loop: LoopServices, stream: LoopEventStream) -> None:
        self.timeline = None
        EventExchange.__init__(self, loop, stream)
