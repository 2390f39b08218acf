"""ResponseHeads: serialised heads of answers, with their Date, and remembered for as long as that date is true.

A server answers with the same few heads again and again. What is remembered is forgotten with each second, when the
Date field (RFC 9110 §6.6.1) changes, so that the memory is bounded by one second's variety and by two limits.

Added to what a handler gives: Date, the framing of the body, and Connection where the version's default does not hold.
Refused: framing that contradicts the body that will be sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import InvalidHeader
from turbosock.protocol.http1.framing import has_member
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.protocol.http1.serialize import response_head
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.reactor.clock import Clock

# How a body is framed where it is not by a length of 0 or more: there is none and nothing is said; in chunks; by the
# end of the connection.
NO_BODY: Final = -1
CHUNKED: Final = -2
UNTIL_CLOSE: Final = -3

# What Connection says: nothing, as HTTP/1.1 connections persist; that this one ends; that one of HTTP/1.0 persists.
UNSAID: Final = 0
CLOSES: Final = 1
PERSISTS: Final = 2

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> bytes:
    """The moment `seconds` after 1970 as an IMF-fixdate (RFC 9110 §5.6.7)."""
    when = time.gmtime(seconds)
    return (
        f"{_DAYS[when.tm_wday]}, {when.tm_mday:02d} {_MONTHS[when.tm_mon - 1]} {when.tm_year:04d} "
        f"{when.tm_hour:02d}:{when.tm_min:02d}:{when.tm_sec:02d} GMT"
    ).encode("ascii")


class ResponseHeads:
    """Makes and remembers heads; see the module.

    Args:
        clock: says when a second has passed.
        wall_s: tells seconds since 1970.
    """

    __slots__ = ("_date", "_now_ns", "_remembered", "_valid_until_ns", "_wall_s")

    def __init__(self, clock: Clock, wall_s: Callable[[], float] = time.time) -> None:
        self._now_ns = clock.now_ns
        self._wall_s = wall_s
        self._date = b""
        self._valid_until_ns = -1
        self._remembered: dict[tuple[object, ...], tuple[bytes, bool]] = {}

    def head(self, status_code: int, headers: HeaderItems | None, length: int, persistence: int) -> tuple[bytes, bool]:
        """The serialised head, and whether it says that the connection ends.

        Args:
            status_code: 200 to 999.
            headers: the handler's fields.
            length: of the body in bytes, or NO_BODY, CHUNKED, UNTIL_CLOSE.
            persistence: UNSAID, CLOSES or PERSISTS; a `Connection: close` among `headers` wins.

        Raises:
            InvalidHeader: a field is not valid, or contradicts the body.
        """
        if self._now_ns() >= self._valid_until_ns:
            self._begin_second()
        key: tuple[object, ...]
        if headers is None or type(headers) is tuple:
            key = (status_code, headers, length, persistence)
        elif isinstance(headers, Mapping):
            key = (status_code, tuple(headers.items()), length, persistence)
        elif not isinstance(headers, Iterable):
            raise InvalidHeader("headers: must be a mapping or pairs of a name and a value")
        else:
            headers = HeaderList(headers)
            key = (status_code, headers, length, persistence)
        try:
            found = self._remembered.get(key)
        except TypeError:
            # Something in it has no hash, such as a list that holds a pair.
            return self._make(status_code, headers, length, persistence)
        if found is None:
            found = self._make(status_code, headers, length, persistence)
            remembered = self._remembered
            if (
                len(remembered) < limits.MAX_REMEMBERED_RESPONSE_HEADS
                and len(found[0]) <= limits.MAX_REMEMBERED_RESPONSE_HEAD_BYTES
            ):
                remembered[key] = found
        return found

    def _begin_second(self) -> None:
        wall_s = self._wall_s()
        whole_s = int(wall_s)
        self._valid_until_ns = self._now_ns() + int((1 - (wall_s - whole_s)) * NS_PER_S)
        self._date = http_date(whole_s)
        self._remembered.clear()

    def _make(self, status_code: int, headers: HeaderItems | None, length: int, persistence: int) -> tuple[bytes, bool]:
        given = HeaderList(() if headers is None else headers)
        if given.count(b"transfer-encoding"):
            raise InvalidHeader("headers: 'Transfer-Encoding' is the listener's to say; leave it out")
        fields = list(given.raw)
        if not given.count(b"date"):
            fields.append((b"Date", self._date))
        said = given.joined(b"content-length")
        if said is None:
            if length >= 0:
                fields.append((b"Content-Length", b"%d" % length))
        elif length != NO_BODY and said != b"%d" % length:
            raise InvalidHeader("headers: 'Content-Length' is not what the body has; leave it out")
        if length == CHUNKED:
            fields.append((b"Transfer-Encoding", b"chunked"))
        connection = given.joined(b"connection")
        closes = persistence == CLOSES or (connection is not None and has_member(connection, b"close"))
        if closes:
            if connection is None or not has_member(connection, b"close"):
                fields.append((b"Connection", b"close"))
        elif persistence == PERSISTS and connection is None:
            fields.append((b"Connection", b"keep-alive"))
        return response_head(status_code, None, fields), closes
