"""HTTP CONNECT (RFC 9110 §9.3.6, RFC 9112 §3.2.3), with Basic credentials given up front (RFC 7617).

The answer's head is read to its empty line and not beyond: each read is as short as what can still be missing of it.
A 2xx opens the way, whatever its fields say of a body; interim answers are passed over, and anything else refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import HeadTooLarge, ProtocolError
from turbosock.protocol.http1.head import parse_response_head
from turbosock.protocol.http1.serialize import request_head
from turbosock.protocol.proxy.tunnel import Tunnel, TunnelTarget

if TYPE_CHECKING:
    from turbosock.errors import ProxyError
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.proxy_config import Proxy

# The shortest head: "HTTP/1.1 200" and two line ends.
_SHORTEST_HEAD: Final = 16
_HEAD_END: Final = b"\r\n\r\n"

# 401 is an origin's word; tinyproxy says it to wrong credentials.
_AUTH: Final = frozenset((401, 407))
_UNREACHABLE: Final = frozenset((502, 503, 504))
_UNSUPPORTED: Final = frozenset((400, 405, 501))


class ConnectTunnel(Tunnel):
    """CONNECT through an HTTP proxy."""

    __slots__ = ("_examined", "_head", "_interim")

    def __init__(self, proxy: Proxy, target: TunnelTarget) -> None:
        super().__init__(proxy, target)
        self._head = bytearray()
        self._examined = 0
        self._interim = 0

    def start(self) -> bytes:
        authority = self.target.authority.encode("ascii")
        fields = [(b"Host", authority)]
        authorization = self.proxy.authorization
        if authorization is not None:
            fields.append((b"Proxy-Authorization", authorization))
        self.wanted = _SHORTEST_HEAD
        return request_head("CONNECT", authority, fields)

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        assert 0 < len(data) <= self.wanted, "a tunnel is fed what it wants"
        buffer = self._head
        buffer += data
        end = len(buffer)
        try:
            head = parse_response_head(
                buffer, 0, end, "CONNECT", self._examined, limits.MAX_PROXY_HEAD_BYTES, limits.MAX_HEAD_FIELDS
            )
        except (ProtocolError, HeadTooLarge) as error:
            raise self.nonsense(f"answered CONNECT with what is no answer: {error}") from error
        if head is not None:
            return self._judge(head)
        self._examined = end
        self.wanted = min(max(_missing(buffer), _SHORTEST_HEAD - end), limits.MAX_PROXY_HEAD_BYTES - end)
        return b""

    def _judge(self, head: ResponseHead) -> bytes:
        if head.interim:
            self._interim += 1
            if self._interim > limits.MAX_INTERIM_RESPONSES:
                raise self.nonsense(f"sent more than {limits.MAX_INTERIM_RESPONSES} interim answers")
            self._head = bytearray()
            self._examined = 0
            self.wanted = _SHORTEST_HEAD
            return b""
        if 200 <= head.status_code < 300:
            return self._finish()
        raise self._refusal(head.status_code)

    def _refusal(self, status: int) -> ProxyError:
        if status in _AUTH:
            if self.proxy.username is None:
                return self.error("proxy_auth", f"wants a user and a password ({status}): give them in its URL", status)
            return self.error("proxy_auth", f"does not take our user and password for Basic ({status})", status)
        if status in _UNREACHABLE:
            return self.error("proxy_unreachable", f"got no connection to there ({status})", status)
        if status in _UNSUPPORTED:
            return self.error("proxy_unsupported", f"does not do CONNECT, or not to there ({status})", status)
        if status >= 500:
            return self.error("proxy_failed", f"failed ({status})", status)
        return self.error("proxy_refused", f"does not let us go there ({status})", status)


def _missing(head: bytearray) -> int:
    """How many bytes are missing until the head's empty line, at least."""
    for length in (3, 2, 1):
        if head.endswith(_HEAD_END[:length]):
            return 4 - length
    return 4
