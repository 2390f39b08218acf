"""EventParser: events out of the bytes of an event stream, where they lie.

The calling order, in which `receive` is any `read_body(view) -> int`, of a plain, a chunked or a decoded body:
1. `for event in parser:` use it; its data is lent until the next step. Then `check()` says whether all is well.
   Or one at a time: `while parser.next_event():` use `parser.event`.
2. `view = parser.writable()`; `n = receive(view)`; if n is above 0: `parser.advance(n, now_ns)`, and step 1 again.
3. Where nothing has come for now, a stream that waits among many may call `parser.shrink()`.
4. At the end of the body: `reset()` for the next one, or `close()`. An unfinished event is dropped (HTML 9.2.6).

There are four ways through the same memory, each of which gives up in favour of the next and leaves the bytes as they
came. The *shape* (`shape.py`) is how the last plain event began, up to its id or data.
- `__iter__`: the event has that shape, one line of data and LF, and so begins the one after. Where its data begins is
  known; one search and one comparison find its end. `value` says that this may be tried.
- `__iter__`, too: the events have that shape and several lines of data. A *run* of them is joined in one go, at the
  front of the memory that they came in (`joining.py`), and read from there in the same manner.
- `_read_alike`: the event has that shape, or an earlier one, with CRLF, without spaces, with more lines of data, or
  whatever comes after it.
- `_read_lines` (`lines.py`): everything else.

Invariants, beside those of `lines.py`: where `value` is not 0, the event that begins `len(prefix)` bytes before
`abs(value)` begins with the prefix, nothing of it was read, no more than `max_event_bytes` follow, and no CR unless the
shape has it. `value` is above 0 where the shape has one line of data, and neither id nor CRLF nor tight fields.
`reading` is the search of the one iteration that may go on: the memory that an older one searches may be lent no more.
While `run_stop` is not 0, `run_start <= abs(value) <= run_text_stop < run_stop`: the events from `value` on are joined
up to `run_text_stop`, where CR and NUL follow; they lay up to `run_stop`, where what was expected follows them.

Left to others: text (`ServerSentEvent.text`), the media type, and what to do with `retry_ms` and the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.errors import LimitError
from turbosock.limits import (
    MAX_SSE_NAMES,
    MAX_SSE_SHAPE_BYTES,
    SSE_BUFFER_BYTES,
    SSE_EVENT_BYTES,
    SSE_JOIN_BYTES,
    SSE_SHORT_LINE_BYTES,
)
from turbosock.protocol.sse.event import MESSAGE
from turbosock.protocol.sse.joining import NEXT_DATA, joined, parted
from turbosock.protocol.sse.lines import EventLines
from turbosock.protocol.sse.shape import EventShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbosock.buffers import BufferPool
    from turbosock.protocol.sse.event import ServerSentEvent

_LINE_FEED: Final = 0x0A
_CARRIAGE_RETURN: Final = 0x0D
_SPACE: Final = 0x20
_LETTER_E: Final = 0x65
# Behind the last event of a run: what a search finds, and what is the beginning of nothing.
_END_OF_RUN: Final = b"\r\0"
# Plain events that have another shape than the remembered one, in a row, before theirs is remembered, at most.
_MAX_PATIENCE: Final = 64


class EventParser(EventLines):
    """Reads events; see the module's calling order. Belongs to one thread at a time.

    Args:
        pool: where buffers come from.
        max_event_bytes: the most data that one event may have.
        buffer_bytes: the size of the first buffer, and of those that hold no large event.

    Attributes:
        event: the one object that tells events.
        retry_ms: the last reconnection time that the stream named, or None.
        max_event_bytes: as given.
        events, comments, bytes_in: events told, comments met, bytes received.
        buffer_allocations, buffer_reuses: buffers rented that were made for it, and that had been used before.
        compactions: times that kept bytes were moved to make room.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_expect_several",
        "_expected",
        "_expected_size",
        "_id_size",
        "_inline_size",
        "_middle",
        "_missed",
        "_patience",
        "_prefix",
        "_prefix_size",
        "_reading",
        "_run_bytes",
        "_run_end",
        "_run_end_size",
        "_run_start",
        "_run_stop",
        "_run_text_stop",
        "_shape",
        "_shapes",
        "_value",
    )

    _reading: object
    _run_start: int
    _run_stop: int
    _run_text_stop: int
    _value: int

    def __init__(
        self,
        pool: BufferPool,
        *,
        max_event_bytes: int = SSE_EVENT_BYTES,
        buffer_bytes: int = SSE_BUFFER_BYTES,
    ) -> None:
        super().__init__(pool, max_event_bytes=max_event_bytes, buffer_bytes=buffer_bytes)
        # By their first lines, those that begin with the event's type.
        self._shapes: dict[bytes, EventShape] = {}
        # The length of the last id; events whose shape was not remembered, and how many of them there may be.
        self._id_size = 0
        self._missed = 0
        self._patience = 0
        self._run_bytes = SSE_SHORT_LINE_BYTES
        self._take_shape(EventShape(b"data: ", -1, -1, False, MESSAGE), several=False)

    # One long generator on purpose, for all the events of a receive: what it keeps in local variables, a method would
    # load anew for each event, and its caller would pay for a call.
    def __iter__(self) -> Iterator[ServerSentEvent]:
        """Read the events that are whole, each in the step that tells it, which ends what the last one lent.

        Where the stream is refused no more come, and check() says why. After another iteration, next_event(), reset()
        or close() begin anew: what is left of this one ends, or goes on with what is next.
        """
        event = self.event
        while True:
            start = self._value
            if start:
                storage, view = self._storage, self._view
                find, startswith = storage.find, storage.startswith
                self._reading = find
                if start > 0:
                    expected, size = self._expected, self._expected_size
                    while True:
                        stop = find(b"\n", start)
                        if not startswith(expected, stop):
                            break
                        event.data = view[start:stop]
                        self._value = start = stop + size
                        self.events += 1.0
                        yield event
                        if self._reading is not find:
                            return
                elif self._inline_size > 0:
                    start = -start
                    middle, middle_size = self._middle, self._inline_size
                    expected, size = self._expected, self._expected_size
                    while True:
                        stop = start + self._id_size
                        if not startswith(middle, stop):
                            stop = find(b"\n", start)
                            if stop - start > MAX_SSE_SHAPE_BYTES or not startswith(middle, stop):
                                break
                            self._id_size = stop - start
                        # The text is a copy in any case, and this way to it is shorter than over a view.
                        name = storage[start:stop].decode("utf-8", "replace")
                        # No line end and no NUL is printable; an id that has other such characters takes the longer
                        # way.
                        if not name.isprintable():
                            break
                        start = stop + middle_size
                        stop = find(b"\n", start)
                        if not startswith(expected, stop):
                            break
                        event.id = name
                        event.data = view[start:stop]
                        start = stop + size
                        self._value = -start
                        self.events += 1.0
                        yield event
                        if self._reading is not find:
                            return
                elif self._inline_size and (self._run_stop or self._begin_run(-start)):
                    start = -start
                    expected, size = self._run_end, self._run_end_size
                    while True:
                        stop = find(b"\r", start)
                        if not startswith(expected, stop):
                            break
                        event.data = view[start:stop]
                        start = stop + size
                        self._value = -start
                        self.events += 1.0
                        yield event
                        if self._reading is not find:
                            return
                    if self._end_run(start, stop):
                        yield event
                        if self._reading is not find:
                            return
                        continue
            try:
                if not self._next():
                    return
            except LimitError:
                return
            yield event

    @property
    def begun(self) -> bool:
        """Whether an event like the last one has begun behind it: what an iteration is best at."""
        return self._value != 0

    def next_event(self) -> bool:
        """Read the next event into `event`, by the longer ways, and end what the last one lent; False: there is none.

        Raises:
            LimitError: code "event_too_large", the event exceeds max_event_bytes or MAX_SSE_FIELD_BYTES.
        """
        self._reading = None
        return self._next()

    def _next(self) -> bool:
        start = self._value
        if start:
            # An iteration that is over may have left a run.
            if self._run_stop and self._end_run(-start, self._storage.find(b"\r", -start)):
                return True
            start = abs(self._value)
            self._value = 0
            self._missed = self._patience = 0
            self._pos = self._event_start = start - self._prefix_size
            return self._read_alike(start) or self._read_lines()
        if self._failed:
            raise self._refusal()
        if self._guarded:
            self._spoil()
        if self._hungry or (self._at_start and not self._pass_mark()):
            return False
        pos, end = self._pos, self._end
        # Where no line has ended, nothing can be said yet.
        if pos == self._event_start and not self._after_cr and (self._lf < end or self._cr < end):
            storage = self._storage
            if storage.startswith(self._prefix, pos, end) or (storage[pos] == _LETTER_E and self._find_shape(pos)):
                return self._read_alike(pos + self._prefix_size) or self._read_lines()
        return self._read_lines()

    def _find_shape(self, pos: int) -> bool:
        """Take the remembered shape that the event at `pos` has; whether there is one."""
        stop = self._storage.find(b"\n", pos, self._end)
        if not 0 <= stop - pos <= MAX_SSE_SHAPE_BYTES:
            return False
        shape = self._shapes.get(bytes(self._view[pos:stop]))
        if shape is None or not self._storage.startswith(shape.prefix, pos, self._end):
            return False
        self._take_shape(shape, several=False)
        return True

    def _begin_run(self, start: int) -> bool:
        """Join the lines of the events from `start` on, as many as are whole within the stretch; False: there are none.

        A stretch is twice as long as the last run, or a little longer than one that broke, so what is joined in vain is
        not much more than what is read.
        """
        stop = self._storage.rfind(self._expected, start, min(start + self._run_bytes, self._end))
        if stop < 0:
            self._run_bytes = min(2 * self._run_bytes, SSE_JOIN_BYTES)
            return False
        text = joined(self._view[start:stop])
        text_stop = start + len(text)
        if text_stop == stop:
            # Each of them has one line.
            self._take_shape(self._shape, several=False)
            return False
        # Joining has left room for a search that needs no end, as there is behind the content.
        self._root[start:text_stop] = text
        self._root[text_stop : text_stop + len(_END_OF_RUN)] = _END_OF_RUN
        self._run_start, self._run_text_stop, self._run_stop = start, text_stop, stop
        return True

    def _end_run(self, start: int, stop: int) -> bool:
        """Read the last event of the run, with data from `start` to `stop`; False: it is none, and the run is over.

        What is left of a run is put back to what it was and where it was. No event that was read lies there: joined, it
        takes less room than it took.
        """
        behind = self._run_stop
        self._run_stop = 0
        if stop == self._run_text_stop:
            # Behind it the next one begins as expected.
            self.event.data = self._view[start:stop]
            self._value = -(behind + self._expected_size)
            self._run_bytes = min(2 * self._run_bytes, SSE_JOIN_BYTES)
            self.events += 1.0
            return True
        rest = self._prefix + parted(self._view[start : self._run_text_stop])
        begin = behind - len(rest)
        self._root[begin:behind] = rest
        self._value = -(begin + self._prefix_size)
        self._run_bytes = min((begin - self._run_start) * 5 // 4 + SSE_SHORT_LINE_BYTES, SSE_JOIN_BYTES)
        return False

    def _read_alike(self, start: int) -> bool:
        """Read the event of the present shape whose id, or data, begins at `start`.

        Returns:
            False: nothing was done, or the event was handed on to `_read_lines`, and has not ended.
        """
        shape = self._shape
        storage, end, crlf = self._storage, self._end, shape.crlf
        if self._cr != end and not crlf:
            return False
        line_end = b"\r" if crlf else b"\n"
        name = None
        middle = self._middle
        if middle:
            stop = storage.find(line_end, start, end)
            if not 0 <= stop - start <= MAX_SSE_SHAPE_BYTES or not storage.startswith(middle, stop, end):
                return False
            name = storage[start:stop].decode("utf-8", "replace")
            if not name.isprintable() or (shape.tight and name.startswith(" ")):
                return False
            self._id_size = stop - start
            start = stop + len(middle)
        if shape.tight and storage[start] == _SPACE:
            start += 1
        stop = storage.find(line_end, start, end)
        if stop < 0 or stop - start > self.max_event_bytes:
            return False
        if crlf:
            following = stop + 4
            if not storage.startswith(b"\r\n\r\n", stop, end) or storage.find(b"\n", start, stop) >= 0:
                return False
        elif storage[stop + 1] == _LINE_FEED:
            following = stop + 2
            if following > end:
                return False
            if self._expect_several:
                self._take_shape(shape, several=False)
        else:
            if stop - start > SSE_SHORT_LINE_BYTES or not storage.startswith(b"\ndata: ", stop, end):
                return False
            self._data_start, self._data_end = start, stop
            following = self._join(stop + 1)
            stop = self._data_end
            if following == end or storage[following] != _LINE_FEED:
                self._pos = following
                self._event_start = -1
                self._name, self._id = shape.name, name
                return self._read_lines()
            self._join_next(following - start)
            following += 1
            if not self._expect_several:
                self._take_shape(shape, several=True)
        event = self.event
        event.data = self._view[start:stop]
        event.event = shape.name
        event.retry = None
        if name is not None:
            event.id = name
        self._lent_start = start
        self.events += 1.0
        self._pos = self._event_start = following
        self._data_start = -1
        self._arm()
        return True

    def _arm(self) -> None:
        """Let the next event be read at once if it begins with the shape, whose type `event` has, without a retry."""
        pos, end = self._pos, self._end
        if end - pos <= self._arm_bytes and self._storage.startswith(self._prefix, pos, end):
            shape = self._shape
            value = pos + self._prefix_size
            self._value = -value if self._middle or shape.crlf or shape.tight or self._expect_several else value

    def _end_event(self, start: int, stop: int, blank: int) -> None:
        begin = self._event_start
        shape = None
        if self._regular and begin >= 0 and start - begin <= MAX_SSE_SHAPE_BYTES:
            # Where shapes alternate, learning each one would cost more than it saves.
            self._missed += 1
            if self._missed > self._patience:
                shape = self._learned(begin, start, blank)
        several = self._several
        super()._end_event(start, stop, blank)
        if shape is not None:
            self._take_shape(shape, several=several)
        event = self.event
        if event.event == self._shape.name and event.retry is None and (self._cr == self._end or self._shape.crlf):
            self._arm()

    def _learned(self, begin: int, start: int, blank: int) -> EventShape | None:
        """The shape of the event from `begin` to `blank` with data from `start` on, if it has one."""
        header = bytes(self._view[begin:start])
        id_start = id_stop = -1
        if self._id_start >= 0:
            id_start, id_stop = self._id_start - begin, self._id_stop - begin
        if not EventShape.is_one(header, id_start):
            return None
        self._missed = 0
        self._patience = min(2 * self._patience + 1, _MAX_PATIENCE)
        crlf = self._storage[blank] == _CARRIAGE_RETURN
        shape = EventShape(header, id_start, id_stop, crlf, self._name or MESSAGE)
        key, line_end, _ = shape.prefix.partition(b"\n")
        if line_end and (key in self._shapes or len(self._shapes) < MAX_SSE_NAMES):
            self._shapes[key] = shape
        return shape

    def _take_shape(self, shape: EventShape, *, several: bool) -> None:
        """Expect events of `shape`, with several lines of data or with one."""
        several = several and not shape.crlf and not shape.tight
        self._shape = shape
        self._prefix = shape.prefix
        self._prefix_size = len(shape.prefix)
        self._expected = shape.expected
        self._expected_size = len(shape.expected)
        self._middle = shape.middle
        # The same in a run.
        self._run_end = run_end = shape.expected.removesuffix(NEXT_DATA).replace(b"\n", b"\r") + b"\n"
        self._run_end_size = len(run_end)
        # What an iteration does where `value` is below 0: read an id and so many bytes; read several lines (-1).
        self._inline_size = -1 if several and not shape.middle else 0
        if not (shape.crlf or shape.tight or several):
            self._inline_size = len(shape.middle)
        self._expect_several = several

    def _begin(self) -> None:
        super()._begin()
        self._reading = None
        self._value = 0
        self._run_stop = 0
