"""ServerSentEvent: what a parser tells of the event it has just read; RetainedEvent: one that stays.

A parser has one ServerSentEvent and fills it anew for each event, so nothing is made for an event but the view of its
data. Whoever needs an event for longer copies it (`bytes(event)`, `event.text`) or pins its memory (`retain()`).

Left to others: the memory itself, and what becomes of it (`buffer.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.errors import StateError

if TYPE_CHECKING:
    from types import TracebackType

    from turbosock.buffers import PooledBuffer

EMPTY = memoryview(b"")

# The type of an event that names none (HTML 9.2.6).
MESSAGE = "message"


class ServerSentEvent:
    """The event that its parser has read last.

    Attributes:
        data: its data, bytes as they came, lines joined by LF; read-only, and lent until the parser is next called.
        event: its type, "message" unless the stream named another.
        id: the last event ID as of this event; "" if there was none.
        retry: the reconnection time that came with this event, in milliseconds, or None.
        received_ns: the time that was told when its last bytes came, or 0.
    """

    __slots__ = ("_lease", "data", "event", "id", "received_ns", "retry")

    def __init__(self, lease: PooledBuffer | None = None) -> None:
        self._lease = lease
        self.data = EMPTY
        self.event = MESSAGE
        self.id = ""
        self.retry: int | None = None
        self.received_ns = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} event={self.event!r} id={self.id!r} data of {len(self.data)} bytes>"

    def __bytes__(self) -> bytes:
        """Return a copy of the data."""
        return bytes(self.data)

    @property
    def text(self) -> str:
        """The data as UTF-8, with U+FFFD for each malformed sequence; decoded again at each call."""
        return str(self.data, "utf-8", "replace")

    def retain(self) -> RetainedEvent:
        """Return this event as an object of its own, whose data stays where it is until its release().

        It pins the whole buffer that the data lies in, which the parser replaces at its next need: for small events
        `bytes(event)` is cheaper.

        Raises:
            StateError: no event is lent: none was read yet, or its memory was given back.
        """
        lease = self._lease
        if lease is None or self.data is EMPTY:
            raise StateError("no event is lent: retain() it before the parser is called again")
        lease.retain()
        return RetainedEvent(self, lease)

    def lie_in(self, lease: PooledBuffer | None) -> None:
        """Be lent from `lease` from now on; called by the parser's buffer. Ends what was lent."""
        self._lease = lease
        self.data = EMPTY


class RetainedEvent(ServerSentEvent):
    """An event that stays as it is until release(); a context manager that releases it."""

    __slots__ = ()

    def __init__(self, event: ServerSentEvent, lease: PooledBuffer) -> None:
        super().__init__(lease)
        self.data = event.data[:]
        self.event = event.event
        self.id = event.id
        self.retry = event.retry
        self.received_ns = event.received_ns

    def __enter__(self) -> RetainedEvent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the memory back; `data` is empty from then on. A second call does nothing."""
        lease = self._lease
        if lease is not None:
            self.lie_in(None)
            lease.release()
