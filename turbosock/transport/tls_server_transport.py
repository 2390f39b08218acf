"""TlsServerTransport: an accepted TLS session, with what a server's side needs beside.

- A connection that waits for readiness while decrypted bytes are inside the engine, as a request may that came in one
  record with the one before, stands in the reactor's line: no poller sees those bytes.
- The end of an answer is told by a close_notify, which may have to wait for room as other bytes do.
- What a client still sends behind our end is thrown away as it is. To the engine it would be a breach of protocol,
  whose alert, and reset, would destroy the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from turbosock.errors import TurbosockError
from turbosock.reactor.poller import IN, WRITABLE
from turbosock.tls.provider import WANTS_WRITE, TlsSession
from turbosock.transport.tls_transport import TlsTransport

if TYPE_CHECKING:
    from turbosock.reactor.context import IOContext
    from turbosock.reactor.reactor import Reactor


class TlsServerTransport(TlsTransport):
    """A server's TLS session; see the module.

    Args:
        session: shaken hands; the transport's from here on.
        reactor: drives it.
    """

    __slots__ = ("_ended", "_parting")

    # The engine goes on with the rest of a long buffer from where it lies.
    keeps_unsent: ClassVar[bool] = True

    def __init__(self, session: TlsSession, reactor: Reactor) -> None:
        super().__init__(session, reactor)
        # Whether our close_notify waits for room in the socket, and whether our sending half is closed.
        self._parting = False
        self._ended = False

    def _pend(self, context: IOContext) -> None:
        super()._pend(context)
        if not context.count and not self._ended and self.reactor is not None and not self.is_drained():
            self.reactor.requeue(self, IN)

    def on_ready(self, mask: int) -> None:
        if self._parting and mask & WRITABLE:
            if self.say_goodbye():
                context = self.send_context
                context.bytes_transferred = 0
                if context.completed is not None:
                    context.completed(context)
            return
        super().on_ready(mask)

    def say_goodbye(self) -> bool:
        try:
            self._parting = self.session.close_notify() == WANTS_WRITE
        except TurbosockError:
            # Nobody is left to be told.
            self._parting = False
        if self._parting:
            self._watch_writing(True)
        return not self._parting

    def end_output(self) -> bool:
        self._ended = True
        return super().end_output()
