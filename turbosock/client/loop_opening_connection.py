"""LoopOpeningConnection: a LoopConnection on which a WebSocket is to be opened; see `websocket_opening.py` below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.loop_connection import LoopConnection
from turbosock.connection.websocket_opening import with_new_key

if TYPE_CHECKING:
    from turbosock.connection.http1 import Expectation
    from turbosock.connection.source import BodySource


class LoopOpeningConnection(LoopConnection):
    """See the module.

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
        """As LoopConnection's, with a new key."""
        head, self.key = with_new_key(head)
        # An answer is made for its key: it never comes again.
        super().start(method, head, source, None, wait_for_continue=wait_for_continue)
