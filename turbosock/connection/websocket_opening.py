"""OpeningConnection: an HTTP/1.1 connection on which a WebSocket is to be opened (RFC 6455 §4.1).

A request may be sent several times, after a redirect, a challenge or a failure, and each time it needs a key that was
never sent before. So the key is drawn here, at the last moment, and put where the prepared request has another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.connection.http1 import Http1Connection
from turbosock.protocol.websocket.handshake import new_key

if TYPE_CHECKING:
    from turbosock.connection.http1 import Expectation
    from turbosock.connection.source import BodySource

_BEFORE_KEY: Final = b"\r\nSec-WebSocket-Key: "


class OpeningConnection(Http1Connection):
    """See the module; all else is Http1Connection's.

    Attributes:
        key: the Sec-WebSocket-Key of the last request, or b"".
    """

    __slots__ = ("key",)

    key: bytes

    def start(
        self,
        method: str,
        head: bytes,
        source: BodySource | None = None,
        expected: Expectation | None = None,
        *,
        wait_for_continue: bool = False,
    ) -> None:
        """As Http1Connection's, with a new key."""
        head, self.key = with_new_key(head)
        # An answer is made for its key: it never comes again.
        super().start(method, head, source, None, wait_for_continue=wait_for_continue)


def with_new_key(head: bytes) -> tuple[bytes, bytes]:
    """The head of a request with a new Sec-WebSocket-Key, and the key; b"" where there was none."""
    before, name, rest = head.partition(_BEFORE_KEY)
    if not name:
        return head, b""
    key = new_key()
    return b"".join((before, name, key, rest[len(key) :])), key
