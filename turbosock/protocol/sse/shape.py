"""EventShape: how an event began, to recognise the next one that begins so.

Events of a stream are mostly alike: the same fields in the same order, with the same type, spacing and line ends, and
new in each only the data and perhaps the id. An event that begins with the very same bytes up to its id or data has the
very same type, and needs no reading of its lines.

Invariant: no part holds a NUL, which stands behind the content of a buffer: what is compared with bytes beyond the
content never equals them.
"""

from __future__ import annotations


class EventShape:
    """The beginning of an event up to its data, without its id.

    Args:
        header: the bytes from its first line to its data.
        id_start, id_stop: where in them its id lies; -1 where it has none.
        crlf: whether its lines end with CRLF instead of LF.
        name: its type.

    Attributes:
        prefix: what comes before its id, or before its data.
        middle: what comes between its id and its data; empty where it has no id.
        expected: the end of an event of one line, and the beginning of another of this shape.
        tight: whether a space might stand in front of its id or data, and be none of it.
        crlf, name: as given.
    """

    __slots__ = ("crlf", "expected", "middle", "name", "prefix", "tight")

    def __init__(self, header: bytes, id_start: int, id_stop: int, crlf: bool, name: str) -> None:
        self.prefix = header if id_start < 0 else header[:id_start]
        self.middle = b"" if id_start < 0 else header[id_stop:]
        self.expected = (b"\r\n\r\n" if crlf else b"\n\n") + self.prefix
        self.tight = not header.endswith(b" ") or not self.prefix.endswith(b" ")
        self.crlf = crlf
        self.name = name

    @staticmethod
    def is_one(header: bytes, id_start: int) -> bool:
        """Whether `header` can be recognised: its last line, and that of its id, have a colon, and it has no NUL."""
        ends = (b" ", b":")
        return b"\0" not in header and header.endswith(ends) and (id_start < 0 or header[:id_start].endswith(ends))
