"""BodyFraming: which of the bytes after a head are payload (RFC 9112 §6.3, §7.1).

A body is a series of *runs*: payload bytes that lie together on the wire. A Content-Length makes one run, each chunk
is one, and a body that ends with the connection is one without end. The owner of the connection moves the payload,
from its buffer or straight from the socket into the caller's memory, and tells how much; this class reads only what
lies between the runs.

The calling order:
1. `begin(framing, content_length)` after each head.
2. While `complete` is false: if `run` is above 0, take at most `run` bytes of payload and call `payload(n)`;
   otherwise call `advance(buffer, start, end)`, drop what it consumed, and receive more if `run` is still 0.
3. When the peer closes: `end_of_stream()`.

Invariants: `run > 0` and `complete` are never both true; `0 <= examined <= end - start` inside a call of `advance`; a
byte of a chunk's line is searched once, however it arrives, so that a body costs time linear in its bytes.
Strictness: sizes are hexadecimal digits alone; every line ends with CRLF; extensions follow their grammar and are
bounded, then ignored; the white space around ";" and "=", which RFC 9112 calls bad, is refused as llhttp and h11 refuse
it after a size. Trailers that would change framing or routing are refused (RFC 9110 §6.5.1); others are kept
apart in `trailers` and never join the head's fields.
"""

from __future__ import annotations

from typing import Final

from turbosock.errors import BodyTruncated, HeadTooLarge, LimitError, ProtocolError
from turbosock.limits import (
    MAX_CHUNK_EXTENSION_BYTES,
    MAX_CHUNK_LINE_BYTES,
    MAX_CHUNK_SIZE_DIGITS,
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
)
from turbosock.protocol.http1.fields import has_stray_control, parse_field_lines
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http1.grammar import HEX_DIGITS, TEXT, TOKEN, shown
from turbosock.protocol.http1.headers import HeaderList

# The run of a body that ends with its connection: no body reaches it.
ENDLESS_RUN = 2**63 - 1

# Fields that no trailer may carry: they frame or route the message whose head is long past.
FORBIDDEN_TRAILERS = frozenset(
    (b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding")
)

_NONE = Framing.NONE
_LENGTH = Framing.LENGTH
_CHUNKED = Framing.CHUNKED
_CLOSE = Framing.CLOSE

# Where a chunked body stands between its runs.
_AT_SIZE: Final = 0
_AT_DATA_END: Final = 1
_AT_TRAILERS: Final = 2

_SEMICOLON = 0x3B
_QUOTE = 0x22
_BACKSLASH = 0x5C
_CARRIAGE_RETURN = 0x0D
_LINE_FEED = 0x0A

_HEX_VALUES = [-1] * 256
for _digit in HEX_DIGITS:
    _HEX_VALUES[_digit] = int(chr(_digit), 16)


class BodyFraming:
    """Reads the framing of one body after another on a connection.

    Attributes:
        framing: of the present body.
        run: payload bytes that come next on the wire without framing between them.
        complete: whether the whole body has been taken.
        received: payload bytes taken so far.
        trailers: fields after a chunked body, or None where it had none.
        examined: bytes after the last returned start that were searched already; bytes may move inside the buffer.
    """

    __slots__ = ("_at", "_extension_bytes", "complete", "examined", "framing", "received", "run", "trailers")

    def __init__(self) -> None:
        self.begin(_NONE, -1)

    def begin(self, framing: Framing, content_length: int = -1) -> None:
        """Start a body; `content_length` counts for LENGTH alone. Forgets the body before."""
        self.framing = framing
        self.received = 0
        self.trailers: HeaderList | None = None
        self.examined = 0
        self._at = _AT_SIZE
        self._extension_bytes = 0
        if framing is _LENGTH:
            assert content_length >= 0, "a body framed by its length has one"
            self.run = content_length
            self.complete = content_length == 0
        else:
            self.run = ENDLESS_RUN if framing is _CLOSE else 0
            self.complete = framing is _NONE

    def payload(self, n: int) -> None:
        """Tell that `n` payload bytes of the present run were taken; `0 <= n <= run`."""
        assert 0 <= n <= self.run, "more payload taken than the run has"
        self.received += n
        run = self.run - n
        self.run = run
        if run == 0 and n:
            if self.framing is _LENGTH:
                self.complete = True
            else:
                self._at = _AT_DATA_END

    def advance(self, buffer: bytearray, start: int, end: int) -> int:
        """Read framing from `buffer[start:end]` up to the next payload, the body's end, or the end of the bytes.

        Returns:
            The new start: the bytes before it are consumed. If `run` is 0 and `complete` false, more bytes are needed.

        Raises:
            ProtocolError: code "bad_chunk" or "bad_field", the framing breaks RFC 9112 §7.1.
            LimitError: a chunk line, the extensions of a body or the trailers exceed their bound.
        """
        if self.run or self.complete:
            return start
        if self._at == _AT_DATA_END:
            if end - start < 2:
                if start < end and buffer[start] != _CARRIAGE_RETURN:
                    self._refuse_data_end()
                return start
            if buffer[start] != _CARRIAGE_RETURN or buffer[start + 1] != _LINE_FEED:
                self._refuse_data_end()
            start += 2
            self._at = _AT_SIZE
        if self._at == _AT_SIZE:
            line_feed = buffer.find(b"\n", start + self.examined, end)
            if line_feed < 0:
                self._check_unfinished_line(buffer, start, end)
                self.examined = end - start
                return start
            self.examined = 0
            if line_feed - start >= MAX_CHUNK_LINE_BYTES:
                self._refuse_line_size()
            values = _HEX_VALUES
            size = 0
            i = start
            digit = values[buffer[i]]
            while digit >= 0:
                size = size << 4 | digit
                i += 1
                digit = values[buffer[i]]
            # The loop stops at the LF at the latest; a well-formed line without extensions stops it at the CR before.
            if i + 1 != line_feed or buffer[i] != _CARRIAGE_RETURN or i == start or i - start > MAX_CHUNK_SIZE_DIGITS:
                self._check_long_line(buffer, start, i, line_feed)
            start = line_feed + 1
            if size:
                self.run = size
                return start
            self._at = _AT_TRAILERS
        return self._advance_trailers(buffer, start, end)

    def end_of_stream(self) -> None:
        """Tell that the peer closed: the end of a CLOSE body, and too early for any other that is not complete.

        Raises:
            BodyTruncated: the body announced more than has come.
        """
        if self.framing is _CLOSE:
            self.run = 0
            self.complete = True
        elif not self.complete:
            if self.framing is _LENGTH:
                missing = f"{self.run} of {self.received + self.run} announced bytes are missing"
            else:
                missing = "the last chunk is missing"
            raise BodyTruncated(f"the peer closed inside a body after {self.received} bytes: {missing}")

    def _check_unfinished_line(self, buffer: bytearray, start: int, end: int) -> None:
        if end - start >= MAX_CHUNK_LINE_BYTES:
            self._refuse_line_size()
        if start < end and _HEX_VALUES[buffer[start]] < 0:
            self._refuse_size_line(bytes(memoryview(buffer)[start:end]))

    def _check_long_line(self, buffer: bytearray, start: int, size_end: int, line_feed: int) -> None:
        """Judge a size line that is not digits and CRLF alone: it may have extensions."""
        line = bytes(memoryview(buffer)[start:line_feed])
        if size_end == start or size_end - start > MAX_CHUNK_SIZE_DIGITS or not line.endswith(b"\r"):
            self._refuse_size_line(line)
        extensions = line[size_end - start : -1]
        if extensions:
            self._extension_bytes += len(extensions)
            if self._extension_bytes > MAX_CHUNK_EXTENSION_BYTES:
                raise LimitError(
                    f"chunk extensions of one body exceed {MAX_CHUNK_EXTENSION_BYTES} bytes, "
                    "the limit MAX_CHUNK_EXTENSION_BYTES",
                    code="chunk_extensions",
                )
            if not _are_extensions(extensions):
                self._refuse_size_line(line)

    def _advance_trailers(self, buffer: bytearray, start: int, end: int) -> int:
        if buffer.startswith(b"\r\n", start, end):
            self.complete = True
            return start + 2
        found = buffer.find(b"\r\n\r\n", start + self.examined - 3 if self.examined > 3 else start, end)
        size = (found + 4 if found >= 0 else end) - start
        if size > MAX_HEAD_BYTES or (found < 0 and size == MAX_HEAD_BYTES):
            raise HeadTooLarge(f"trailers are longer than {MAX_HEAD_BYTES} bytes, the limit MAX_HEAD_BYTES")
        if found < 0:
            self.examined = end - start
            return start
        block = bytes(memoryview(buffer)[start : found + 2])
        lines = block.split(b"\r\n", MAX_HEAD_FIELDS)
        if lines.pop():
            raise HeadTooLarge(f"trailers have more than {MAX_HEAD_FIELDS} fields, the limit MAX_HEAD_FIELDS")
        if has_stray_control(block, len(lines)):
            raise ProtocolError("a trailer holds a bare CR or LF or another control byte", code="bad_field")
        trailers = parse_field_lines(lines)
        for key in FORBIDDEN_TRAILERS:
            if trailers.count(key):
                raise ProtocolError(f"the field {key.decode('ascii')!r} stands in a trailer", code="bad_field")
        self.trailers = trailers
        self.complete = True
        return found + 4

    def _refuse_line_size(self) -> None:
        raise LimitError(
            f"the line of a chunk's size is longer than {MAX_CHUNK_LINE_BYTES} bytes, the limit MAX_CHUNK_LINE_BYTES",
            code="chunk_line",
        )

    def _refuse_size_line(self, line: bytes) -> None:
        raise ProtocolError(
            f"the chunk after {self.received} bytes of body has the malformed size line {shown(line)}", code="bad_chunk"
        )

    def _refuse_data_end(self) -> None:
        raise ProtocolError(
            f"the chunk that ends after {self.received} bytes of body is not followed by CRLF", code="bad_chunk"
        )


def _are_extensions(text: bytes) -> bool:
    """Whether `text` is `*( ";" name [ "=" ( token / quoted-string ) ] )` (RFC 9112 §7.1.1)."""
    i = 0
    end = len(text)
    while i < end:
        if text[i] != _SEMICOLON:
            return False
        name_end = _after_token(text, i + 1)
        if name_end == i + 1:
            return False
        i = name_end
        if text[i : i + 1] == b"=":
            i += 1
            value_end = _after_quoted(text, i) if text[i : i + 1] == b'"' else _after_token(text, i)
            if value_end <= i:
                return False
            i = value_end
    return True


def _after_token(text: bytes, i: int) -> int:
    """The index of the first byte from `i` on that no token holds."""
    while i < len(text) and text[i] in TOKEN:
        i += 1
    return i


def _after_quoted(text: bytes, i: int) -> int:
    """The index after the quoted-string that begins at `i`, or -1 (RFC 9110 §5.6.4)."""
    i += 1
    while i < len(text):
        byte = text[i]
        if byte == _QUOTE:
            return i + 1
        if byte == _BACKSLASH:
            i += 1
            if i == len(text):
                return -1
            byte = text[i]
        if byte not in TEXT:
            return -1
        i += 1
    return -1
