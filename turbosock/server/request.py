"""Request: what a client asked for, as a handler sees it. Read-only, and the handler's for as long as it keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from turbosock.protocol.http1.head import RequestHead
    from turbosock.protocol.http1.headers import HeaderList
    from turbosock.tls.provider import TlsInfo

# A client's address as the system tells it: (host, port) and more for IPv6, or the path of a Unix socket, often empty.
PeerAddress = tuple[object, ...] | str | bytes


class RequestTls(NamedTuple):
    """What a connection over TLS tells of itself to each of its requests; see the properties of `Request`."""

    info: TlsInfo
    peer_certificate_der: bytes | None
    server_name: str | None


class Request:
    """One request.

    Attributes:
        method: a token in its own case, as in "GET".
        headers: the fields.
        content: the body, owned bytes; empty where the listener streams bodies.
        peer: the client's address: (host, port), with more for IPv6; or the name of a Unix socket, often empty.
    """

    __slots__ = ("_path", "_query", "_tls", "content", "head", "headers", "method", "peer")

    def __init__(
        self, head: RequestHead, peer: PeerAddress, content: bytes = b"", tls: RequestTls | None = None
    ) -> None:
        self.head = head
        self.method = head.method
        self.headers: HeaderList = head.headers
        self.content = content
        self.peer = peer
        self._tls = tls
        self._path: str | None = None
        self._query = ""

    @property
    def target(self) -> str:
        """What stands in the request line, query included (RFC 9112 §3.2)."""
        return self.head.target.decode("ascii")

    @property
    def path(self) -> str:
        """The path, as it was sent: percent-encoded; "*" for an OPTIONS request about the server itself."""
        path = self._path
        return self._split_target() if path is None else path

    @property
    def query(self) -> str:
        """What stands after the first "?" of the target, as it was sent; empty without one."""
        if self._path is None:
            self._split_target()
        return self._query

    @property
    def host(self) -> str:
        """Host and port that were asked for, as in "example.org:8080"; may be empty."""
        return self.head.host

    @property
    def http_version(self) -> str:
        """ "HTTP/2", "HTTP/1.1" or "HTTP/1.0"."""
        version = self.head.version
        return "HTTP/1.1" if version == 11 else "HTTP/2" if version == 20 else "HTTP/1.0"

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed on with the client: version, cipher, ALPN; None over plain TCP."""
        return None if self._tls is None else self._tls.info

    @property
    def peer_certificate_der(self) -> bytes | None:
        """The client's own certificate, which was verified, as DER; None where it showed none."""
        return None if self._tls is None else self._tls.peer_certificate_der

    @property
    def server_name(self) -> str | None:
        """The host that the client named in its handshake (SNI); None where it named none."""
        return None if self._tls is None else self._tls.server_name

    def _split_target(self) -> str:
        path, _, self._query = self.target.partition("?")
        if path[:1] != "/" and path != "*":
            # The absolute form, whose authority is `host` already; it may have no path at all.
            path = "/" + path.partition("://")[2].partition("/")[2]
        self._path = path
        return path

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"
