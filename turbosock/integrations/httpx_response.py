"""ForwardedResponse and NetworkStream: what httpx's users may ask about the connection of an answer, also later."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Final

from turbosock.client.response import Response, StreamedResponse
from turbosock.connection.http2_stream import Http2Stream

if TYPE_CHECKING:
    from turbosock.client.client import Client
    from turbosock.transport.transport import Transport


class ForwardedResponse(StreamedResponse):
    """A streamed response that is its user's for good, and remembers what it came over.

    Attributes:
        transport: of its connection, once that was let go; or None.
        stream_id: of its HTTP/2 stream, then; or 0.
    """

    __slots__ = ("_stream_id", "_transport")

    def __init__(self, client: Client) -> None:
        self.taken_at = ""
        self._transport: Transport | Http2Stream | None = None
        self._stream_id = 0
        # Not by way of the base class, which has it come back to a pool.
        Response.__init__(self, client)

    def release_connection(self, now_ns: int) -> None:
        self._remember()
        super().release_connection(now_ns)

    def _remember(self) -> None:
        connection = self.connection
        if connection is not None:
            self._transport = connection.transport
            if isinstance(connection, Http2Stream):
                self._stream_id = connection.id

    @property
    def transport(self) -> Transport | Http2Stream | None:
        """What the answer comes over, or came."""
        self._remember()
        return self._transport

    @property
    def stream_id(self) -> int:
        """The number of its HTTP/2 stream; 0 in HTTP/1."""
        self._remember()
        return self._stream_id


class NetworkStream:
    """What is known of a connection; its bytes are turbosock's alone."""

    __slots__ = ("_response",)

    NAMES: Final = ("client_addr", "is_readable", "server_addr", "socket", "ssl_object")

    def __init__(self, response: ForwardedResponse) -> None:
        self._response = response

    def get_extra_info(self, info: str) -> object:
        """What `info` names: "client_addr", "server_addr", "socket", "ssl_object" or "is_readable"; None: not known."""
        transport = self._response.transport
        if transport is None or transport.fd < 0:
            return None
        sock = transport.socket
        with contextlib.suppress(OSError):
            if info == "client_addr":
                return sock.getsockname()
            if info == "server_addr":
                return sock.getpeername()
        if info == "socket":
            return sock
        if info == "ssl_object":
            return sock if isinstance(sock, ssl.SSLSocket) else None
        if info == "is_readable":
            return not transport.is_quiet()
        return None
