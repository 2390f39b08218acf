"""Urllib3Response: an answer with the face of `urllib3.HTTPResponse`, over a response of turbosock.

What requests has in `Response.raw`, and what programs do with that: `read`, `stream`, `readinto`, io's wrappers. What
it raises is urllib3's. Content codings are undone by turbosock, within its bounds, where `decode_content` asks for it;
the first read decides.

Invariants: the connection is given back at the end of the body, and closed by `close()` before it; a read of `amt`
bytes gives fewer only at the end. What has no announced length is streamed as it comes, `amt` at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NoReturn

from urllib3 import exceptions
from urllib3._collections import HTTPHeaderDict
from urllib3.response import BaseHTTPResponse

from turbosock import limits
from turbosock.errors import TurbosockError
from turbosock.integrations.urllib3_errors import urllib3_error
from turbosock.protocol.http1.framing import Framing

if TYPE_CHECKING:
    from urllib3.util.retry import Retry

    from turbosock.client.response import Response
    from turbosock.integrations.urllib3_pool import TurbosockPool

_VERSIONS: Final = {"HTTP/1.0": 10, "HTTP/1.1": 11, "HTTP/2": 20}
_PIECE_BYTES: Final = limits.SEGMENT_BYTES


class OriginalResponse:
    """What `http.cookiejar` is shown of an answer by requests: `msg` has its fields."""

    __slots__ = ("msg",)

    def __init__(self, headers: HTTPHeaderDict) -> None:
        self.msg = headers


class Urllib3Response(BaseHTTPResponse):
    """See the module.

    Args:
        response: whose head came.
        pool: where it came from, for errors.
        url: of the request.
        decode_content: whether reads undo content codings unless told.
        retries: what is left of the request's.
    """

    def __init__(
        self,
        response: Response,
        pool: TurbosockPool,
        url: str,
        *,
        decode_content: bool = True,
        retries: Retry | None = None,
    ) -> None:
        head = response.head
        assert head is not None, "forward() ends with a head"
        version = response.http_version
        self._response = response
        self._pool = pool
        self.auto_close = True
        # Of a body that came with its head, or was gathered: what was not read yet.
        self._rest: bytes | None = None
        self._data: bytes | None = None
        self._ended = False
        self._raw_bytes = 0
        super().__init__(
            headers=HTTPHeaderDict(head.headers.items()),
            status=head.status_code,
            version=_VERSIONS[version],
            version_string=version,
            reason=head.reason,
            decode_content=decode_content,
            request_url=url,
            retries=retries,
        )
        self._has_length = head.framing is Framing.LENGTH
        self.length_remaining = head.content_length if self._has_length else None
        # requests looks for cookies wherever there is one.
        self._original_response = OriginalResponse(self.headers) if head.headers.count(b"set-cookie") else None

    # Reading

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        """The next `amt` bytes, fewer only at the end of the body; None or a negative number: all that is left."""
        if amt is None or amt < 0:
            data = self._read_all(decode_content)
            if cache_content:
                self._data = data
            return data
        rest = self._rest
        if rest is None:
            rest = self._begin(decode_content)
        if rest is not None:
            if amt >= len(rest):
                self._ended = self._ended or amt > 0
                self._rest = b""
                return rest
            self._rest = rest[amt:]
            return rest[:amt]
        if self._ended or not amt:
            return b""
        amt = min(amt, limits.MAX_WRITER_BYTES)
        try:
            data = self._response.read(amt)
        except TurbosockError as error:
            self._fail(error)
        self._note(len(data))
        if len(data) < amt:
            self._end()
        return data

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """What has arrived, `amt` bytes at most, waiting for the first one; b"" at the end."""
        if amt == 0:
            return b""
        size = _PIECE_BYTES if amt is None or amt < 0 else min(amt, _PIECE_BYTES)
        if self._rest is None and self._begin(decode_content) is None:
            buffer = bytearray(size)
            count = self._read_into(memoryview(buffer))
            del buffer[count:]
            return bytes(buffer)
        return self.read(size)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` with what has arrived, waiting for the first byte; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        if self._rest is None and self._begin(None) is None:
            return self._read_into(view)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def stream(self, amt: int | None = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        """The body in pieces of `amt` bytes, the last one shorter; without an announced length as it comes."""
        if amt == 0:
            return
        read = self.read if self._has_length else self.read1
        while data := read(amt, decode_content):
            yield data

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Iterator[bytes]:
        """As `stream`, of a body that comes in chunks alone."""
        if not self.chunked:
            raise exceptions.ResponseNotChunked("the response is not chunked; use stream()")
        return self.stream(amt, decode_content)

    def __iter__(self) -> Iterator[bytes]:
        """The lines of the decoded body, each with the newline that ends it."""
        # Of a line that goes on: joined once, however many pieces it comes in.
        begun: list[bytes] = []
        for piece in self.stream(decode_content=True):
            *lines, rest = piece.split(b"\n")
            for line in lines:
                yield b"".join((*begun, line, b"\n"))
                begun.clear()
            if rest:
                begun.append(rest)
        if begun:
            yield b"".join(begun)

    @property
    def data(self) -> bytes:
        """The body whole, kept."""
        if self._data is None:
            self._data = self.read(cache_content=True)
        return self._data

    def _begin(self, decode_content: bool | None) -> bytes | None:
        """Before each read of what is not in memory: look whether it can be, and decide on content codings.

        Returns:
            The body, where it came with its head.
        """
        response = self._response
        if response.ring is not None:
            # It came with its head, and is no more than a ring.
            self._rest = response.content
            response.close()
            self._pool.leave()
            self._raw_bytes = len(self._rest)
            if self.length_remaining is not None:
                self.length_remaining = 0
            return self._rest
        head = response.head
        assert head is not None, "as in the constructor"
        if head.coded:
            decode = self.decode_content if decode_content is None else decode_content
            if decode:
                self._has_decoded_content = True
            elif self._has_decoded_content:
                raise RuntimeError("decode_content=False after a read that decoded: what is left cannot be had raw")
            elif not response.nbytes and not self._ended:
                # Not iterated: it has the body read as it came.
                response.iter_raw()
        return None

    def _read_all(self, decode_content: bool | None) -> bytes:
        if self._rest is None and self._begin(decode_content) is None:
            response = self._response
            if self._ended:
                return b""
            try:
                if not response.nbytes:
                    data = response.content
                else:
                    data = b"".join(response.iter_bytes())
            except TurbosockError as error:
                self._fail(error)
            self._note(len(data))
            self._end()
            return data
        rest, self._rest, self._ended = self._rest, b"", True
        assert rest is not None, "begun above"
        return rest

    def _read_into(self, view: memoryview) -> int:
        if self._ended:
            return 0
        try:
            count = self._response.readinto(view)
        except TurbosockError as error:
            self._fail(error)
        self._note(count)
        if not count:
            self._end()
        return count

    def _note(self, count: int) -> None:
        connection = self._response.connection
        if connection is not None:
            self._raw_bytes = connection.body.received
        elif not self._has_decoded_content:
            self._raw_bytes += count
        if self.length_remaining is not None:
            self.length_remaining = max(0, self.length_remaining - count)

    def _end(self) -> None:
        self._ended = True
        self._response.close()
        self._pool.leave()

    def _fail(self, error: TurbosockError) -> NoReturn:
        self._end()
        raise urllib3_error(error, self._pool, self._request_url or "") from error  # type: ignore[arg-type]  # as urllib3's

    # The rest of the face

    @property
    def url(self) -> str | None:
        """The URL of the request."""
        return self._request_url

    @url.setter
    def url(self, url: str | None) -> None:
        self._request_url = url

    @property
    def connection(self) -> None:
        """None: connections are turbosock's own."""
        return None

    def drain_conn(self) -> None:
        """Read the rest of the body away."""
        try:
            while self.read1(_PIECE_BYTES, False if not self._has_decoded_content else None):
                pass
        except exceptions.HTTPError:
            pass

    def release_conn(self) -> None:
        """Let the connection go: kept for other requests at the end of the body, closed before it."""
        if not self._ended and self._rest is None:
            self._end()

    def close(self) -> None:
        """End the response; an unread body costs the connection."""
        if not self._ended:
            self._end()
            self._rest = b""
        if not self.auto_close:
            super(BaseHTTPResponse, self).close()

    @property
    def closed(self) -> bool:
        """Whether nothing is left to read; with auto_close=False only `close()` closes."""
        if not self.auto_close:
            return bool(super(BaseHTTPResponse, self).closed)
        return self.isclosed()

    def isclosed(self) -> bool:
        """Whether nothing is left to read."""
        return self._ended and not self._rest

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        """Bytes of the body as they came, coded ones included, that have been read."""
        return self._raw_bytes - len(self._rest or b"")

    def supports_chunked_reads(self) -> bool:
        """Whether `read_chunked` works."""
        return self.chunked

    def __del__(self) -> None:
        # io's own would close it, which takes locks: a finalizer may run inside anything, also while they are held.
        # An interrupt in its making leaves it without any attribute.
        response: Response | None = getattr(self, "_response", None)
        if response is not None and response.connection is not None:
            self._pool.abandon(response)

    def shutdown(self) -> None:
        """Wake up a thread that reads."""
        self._response.cancel()

    def fileno(self) -> int:
        connection = self._response.connection
        if connection is None:
            raise OSError("the response has no connection any more: its body was read")
        return connection.transport.fd
