"""EventLines: the algorithm of the standard, line by line (WHATWG HTML, section 9.2.6).

It reads anything that is an event stream, and all that is not, by itself; `parser.py` only adds shorter ways.

Lines of data are joined by moving bytes down inside the buffer: an event's data is one view however many lines it has.
Lines that are short and lie together are joined at once, because a step of Python for each costs more than a search.
Comments, and lines of fields that the standard does not know, are not kept, however long they are.

Invariants, beside those of `buffer.py`: `event_start` is where the present event's first line begins, while all of it
lies there in one piece, else -1. `regular` is False once the event has anything but ids, types and data after
them; `several` is True once its data has several lines.
Bounds: more data than `max_event_bytes` and fields longer than MAX_SSE_FIELD_BYTES are errors, after which only
`reset()` and `close()` can be called; whether a stream is refused does not depend on how it arrived. Nor does the work,
which is linear in its bytes.

Left to others: what is lent and for how long (`buffer.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.errors import LimitError
from turbosock.limits import (
    MAX_SSE_FIELD_BYTES,
    MAX_SSE_NAMES,
    MAX_SSE_RETRY_MS,
    MAX_SSE_SHAPE_BYTES,
    SSE_BUFFER_BYTES,
    SSE_EVENT_BYTES,
    SSE_JOIN_BYTES,
    SSE_SHORT_LINE_BYTES,
)
from turbosock.protocol.sse.buffer import EventBuffer
from turbosock.protocol.sse.event import MESSAGE
from turbosock.protocol.sse.joining import NEXT_DATA, joined

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool

_LINE_FEED: Final = 0x0A
_SPACE: Final = 0x20
_COLON: Final = 0x3A
_LETTER_D: Final = 0x64
_LETTER_E: Final = 0x65
_LETTER_I: Final = 0x69

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# How every line begins that has a name and is not ignored, and the length from which that can be told.
_KNOWN: Final = (b"data:", b"event:", b"id:", b"retry:")
_KNOWN_BYTES: Final = 6
# What joining takes out of the beginning of a line of data: all but the line end before it.
_JOINED_BYTES: Final = len(NEXT_DATA) - 1
# Digits of a retry that are read; more are MAX_SSE_RETRY_MS.
_RETRY_DIGITS: Final = 15


class EventLines(EventBuffer):
    """Reads events line by line; belongs to one thread at a time.

    Args:
        pool, max_event_bytes, buffer_bytes: as in EventBuffer.

    Attributes:
        retry_ms: the last reconnection time that the stream named, or None.
        events: events told.
        comments: comments met.
        And those of EventBuffer.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_failed",
        "_id",
        "_id_start",
        "_id_stop",
        "_join_bytes",
        "_name",
        "_names",
        "_regular",
        "_retry",
        "_several",
        "_skipping",
        "comments",
        "events",
        "retry_ms",
    )

    _after_cr: bool
    _at_start: bool
    _failed: str
    _id: str | None
    _id_start: int
    _id_stop: int
    _name: str
    _regular: bool
    _retry: int | None
    _several: bool
    _skipping: bool

    def __init__(
        self,
        pool: BufferPool,
        *,
        max_event_bytes: int = SSE_EVENT_BYTES,
        buffer_bytes: int = SSE_BUFFER_BYTES,
    ) -> None:
        super().__init__(pool, max_event_bytes=max_event_bytes, buffer_bytes=buffer_bytes)
        self.retry_ms: int | None = None
        self.events = 0.0
        self.comments = 0.0
        self._names: dict[bytes, str] = {}
        self._join_bytes = SSE_SHORT_LINE_BYTES
        self._begin()

    @property
    def last_event_id(self) -> str:
        """The id of the last event that had one, also of one without data: what Last-Event-ID sends; or ""."""
        return self.event.id

    def check(self) -> None:
        """Look whether the stream was refused, after the last event that was told.

        Raises:
            LimitError: code "event_too_large", it was.
        """
        if self._failed:
            raise self._refusal()

    def reset(self, last_event_id: str | None = None) -> None:
        """Drop what is unfinished and expect the beginning of a stream.

        Args:
            last_event_id: what `event.id` is until the stream says otherwise; None leaves it as it is, as browsers do.
        """
        self._forget_content()
        self._begin()
        if last_event_id is not None:
            self.event.id = last_event_id

    def close(self) -> None:
        """Give the buffer back and drop what is unfinished; a second call does nothing."""
        super().close()
        self._begin()

    # The whole of the algorithm's loop in one place, with its state in local variables.
    def _read_lines(self) -> bool:
        """Read line by line up to the end of an event; False: the bytes came to their end before."""
        storage, root = self._storage, self._root
        find, startswith = storage.find, storage.startswith
        pos, end, lf, cr = self._pos, self._end, self._lf, self._cr
        if self._after_cr and pos < end:
            self._after_cr = False
            if storage[pos] == _LINE_FEED:
                pos += 1
        while True:
            if lf < pos:
                lf = find(b"\n", pos, end)
                if lf < 0:
                    lf = end
            if cr < pos:
                cr = find(b"\r", pos, end)
                if cr < 0:
                    cr = end
            stop = lf if lf < cr else cr
            if stop == end:
                break
            following = stop + 1
            if stop == cr:
                if following == end:
                    self._after_cr = True
                elif storage[following] == _LINE_FEED:
                    following += 1
            if self._skipping:
                self._skipping = False
            elif stop == pos:
                start = self._data_start
                self._pos, self._lf, self._cr = following, lf, cr
                if self._id is not None:
                    self.event.id = self._id
                    self._id = None
                if start >= 0:
                    self._end_event(start, self._data_end, stop)
                    return True
                self._forget_event(following)
            elif storage[pos] == _LETTER_D:
                if startswith(b"data: ", pos):
                    start = pos + 6
                elif startswith(b"data:", pos):
                    start = pos + 5
                else:
                    start = stop if stop - pos == 4 and startswith(b"data", pos) else -1
                if start < 0:
                    self._regular = False
                elif self._data_start < 0:
                    self._data_start, self._data_end = start, stop
                    if stop - start > self.max_event_bytes:
                        raise self._fail("data")
                else:
                    self._several = True
                    target = self._data_end
                    storage[target] = _LINE_FEED
                    target += 1
                    self._data_end = target + stop - start
                    if start < stop:
                        root[target : self._data_end] = root[start:stop]
                    if self._data_end - self._data_start > self.max_event_bytes:
                        raise self._fail("data")
                    if stop - pos < SSE_SHORT_LINE_BYTES and cr == end and startswith(b"data: ", following, end):
                        following = self._join(following)
            elif storage[pos] == _COLON:
                self.comments += 1.0
                self._regular = False
            else:
                self._take_field(pos, stop)
            pos = following
        self._pos, self._lf, self._cr = pos, end, end
        self._run_out()
        return False

    def _join(self, pos: int) -> int:
        """Join the lines from `pos` on that begin with "data: ", the first of which does, to the data before them.

        There is no CR in front of `end`. What is copied aside is not much more than what is joined, in the long run: a
        stretch is a little longer than the last one, or than the last event, or twice as long where that did not do.

        Returns:
            Where the next line begins: `pos` where none has ended within the stretch.
        """
        view, end = self._view, self._end
        window = pos + self._join_bytes
        if window > end:
            window = end
        stop = self._storage.rfind(b"\n", pos, window)
        if stop < 0:
            return pos
        text = joined(view[pos - 1 : stop])
        # Any other line end ends the last of these lines.
        left = text.find(b"\r")
        if left >= 0:
            text = text[:left]
            stop = pos - 1 + left + _JOINED_BYTES * text.count(b"\n")
            self._join_next(stop - pos)
        else:
            self._join_bytes = min(2 * self._join_bytes, SSE_JOIN_BYTES)
        target = self._data_end
        self._data_end = target + len(text)
        if self._data_end - self._data_start > self.max_event_bytes:
            raise self._fail("data")
        self._root[target : self._data_end] = text
        return stop + 1

    def _join_next(self, size: int) -> None:
        """Let the next stretch of lines that are joined be a little longer than `size`."""
        self._join_bytes = min(size * 5 // 4 + SSE_SHORT_LINE_BYTES, SSE_JOIN_BYTES)

    def _run_out(self) -> None:
        """Judge the line that has not ended, of which the bytes up to the end are there."""
        pos, end = self._pos, self._end
        storage = self._storage
        self._hungry = True
        if not self._skipping and pos < end:
            size = end - pos
            if storage[pos] == _COLON:
                self.comments += 1.0
                self._skipping = True
            elif size >= _KNOWN_BYTES and not storage.startswith(_KNOWN, pos):
                self._skipping = True
            elif storage.startswith(b"data", pos):
                joined = 0 if self._data_start < 0 else self._data_end - self._data_start + 1
                if joined + size - len("data: ") > self.max_event_bytes:
                    raise self._fail("data")
            elif size - len("event: ") > MAX_SSE_FIELD_BYTES:
                raise self._fail("field")
        if self._skipping:
            self._regular = False
            self._pos = end

    def _take_field(self, pos: int, stop: int) -> None:
        """Take the line of an id, a type or a retry; others are ignored."""
        storage = self._storage
        letter = storage[pos]
        if self._data_start >= 0:
            self._regular = False
        if letter == _LETTER_I and storage.startswith(b"id", pos):
            start = pos + 2
        elif storage.startswith((b"event", b"retry"), pos):
            start = pos + 5
        else:
            self._regular = False
            return
        if start < stop:
            if storage[start] != _COLON:
                self._regular = False
                return
            start += 1
            if storage[start] == _SPACE and start < stop:
                start += 1
        if stop - start > MAX_SSE_FIELD_BYTES:
            raise self._fail("field")
        if letter == _LETTER_I:
            if storage.find(b"\0", start, stop) >= 0:
                self._regular = False
                return
            self._id = storage[start:stop].decode("utf-8", "replace")
            self._id_start, self._id_stop = start, stop
        elif letter == _LETTER_E:
            self._name = self._name_of(self._view[start:stop])
        else:
            self._regular = False
            digits = bytes(self._view[start:stop])
            if digits.isdigit():
                digits = digits.lstrip(b"0")
                time_ms = int(digits or b"0") if len(digits) <= _RETRY_DIGITS else MAX_SSE_RETRY_MS
                self._retry = self.retry_ms = min(time_ms, MAX_SSE_RETRY_MS)

    def _name_of(self, value: memoryview) -> str:
        """The type of an event as text, one object for each that repeats."""
        if len(value) > MAX_SSE_SHAPE_BYTES:
            return str(value, "utf-8", "replace")
        names, key = self._names, bytes(value)
        name = names.get(key)
        if name is None:
            name = key.decode("utf-8", "replace")
            if len(names) < MAX_SSE_NAMES:
                names[key] = name
        return name

    def _end_event(self, start: int, stop: int, blank: int) -> None:
        """Tell the event with the data from `start` to `stop`, which the line end at `blank` ends."""
        event = self.event
        event.data = self._view[start:stop]
        event.event = self._name or MESSAGE
        event.retry = self._retry
        self._lent_start = start
        self.events += 1.0
        if self._several:
            self._join_next(blank - start)
        self._forget_event(self._pos)

    def _pass_mark(self) -> bool:
        """Pass over a byte order mark (HTML 9.2.6); whether it could be told that there is one or none."""
        pos, end = self._pos, self._end
        if self._storage.startswith(_BYTE_ORDER_MARK, pos, end):
            self._pos = self._event_start = pos + len(_BYTE_ORDER_MARK)
        elif end - pos < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(bytes(self._view[pos:end])):
            self._hungry = True
            return False
        self._at_start = False
        return True

    def _begin(self) -> None:
        self._at_start = True
        self._after_cr = False
        self._skipping = False
        self._failed = ""
        self._id = None
        self._forget_event(0)

    def _forget_event(self, following: int) -> None:
        """Be ready for an event that begins at `following`."""
        self._event_start = following
        self._data_start = self._data_end = -1
        self._name = ""
        self._retry = None
        self._regular = True
        self._several = False
        self._id_start = -1

    def _fail(self, what: str) -> LimitError:
        """Refuse the stream from here on; returns the error to raise."""
        self._failed = what
        self._hungry = False
        return self._refusal()

    def _refusal(self) -> LimitError:
        if self._failed == "data":
            message = f"an event has more data than max_event_bytes={self.max_event_bytes}: raise it, or end the stream"
        else:
            message = f"an event's id, type or retry is longer than {MAX_SSE_FIELD_BYTES} bytes: end the stream"
        return LimitError(message, code="event_too_large")
