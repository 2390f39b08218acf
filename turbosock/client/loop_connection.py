"""LoopConnection: a client's connection whose steps a Loop takes.

Its contexts complete inside `Loop.poll()` and pass on to the exchange that owns it. Idle, it watches for the peer's
close, and closes itself once it was idle for too long. What the steps do is the exchange's business.

Invariant: one timer, for the deadline of the present exchange or the end of idleness; disarmed with the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.pooled_steps import PooledSteps
from turbosock.connection.http1 import Http1Connection
from turbosock.errors import Origin, TurbosockError, WriteError
from turbosock.reactor.context import PENDING
from turbosock.reactor.poller import IN

if TYPE_CHECKING:
    from turbosock.client.loop_services import LoopServices
    from turbosock.reactor.context import IOContext
    from turbosock.transport.transport import SaeaTransport


class LoopConnection(PooledSteps, Http1Connection):
    """A connection whose contexts complete inside `Loop.poll()`, with the one timer of its exchanges."""

    __slots__ = ("timer",)

    def __init__(self, transport: SaeaTransport, services: LoopServices) -> None:
        super().__init__(
            transport,
            services.rings,
            max_head_bytes=services.config.max_head_bytes,
            max_head_fields=services.config.max_head_fields,
            decodes=services.config.decode,
        )
        transport.receive_context.completed = self._on_received
        transport.send_context.completed = self._on_sent
        self.timer = services.reactor.timers.idle(self)

    def _on_received(self, context: IOContext) -> None:
        exchange = self.owner
        if exchange is None:
            # An idle connection has nothing to receive: the peer has closed it, or breaks the protocol. Over TLS it may
            # also have sent a ticket, which is the engine's alone.
            try:
                if self.transport.tls is not None and self.transport.is_quiet():
                    self.transport.readable = False
                    self.transport.arm()
                    return
            except TurbosockError:
                # It cannot be watched any more.
                pass
            except BaseException:
                self.discard()
                raise
            self.origin.count_unfit()
            self.discard()
        else:
            exchange.on_readable()

    def _on_sent(self, context: IOContext) -> None:
        exchange = self.owner
        if exchange is not None:
            exchange.on_writable()

    @property
    def unread(self) -> bool:
        """Whether bytes wait here for memory, for room or for their turn."""
        transport: SaeaTransport = self.transport
        return transport.receive_context.state != PENDING or transport.queued

    def requeue(self) -> None:
        """Step the exchange again when the line has come round."""
        self.arm_ready()
        self.transport.reactor.requeue(self.transport, IN)

    def release_ring(self) -> None:
        """Hold no ring while a body is waited for and nothing of it is here; the next receive takes one."""
        ring = self.ring
        if ring is not None and not ring.length and not self.whole:
            self.ring = None
            self.rings.give_back(ring)

    def _append_block(self) -> bool:
        try:
            return super()._append_block()
        except TurbosockError:
            raise
        except Exception as error:
            # It is the caller's iterable or file that failed: an event like any other end, not an exception out of
            # `poll()`, which would leave the exchange without an end.
            raise WriteError(
                f"the body of the request raised {type(error).__name__}: {error}", origin=Origin.LOCAL
            ) from error

    def close(self) -> None:
        self.timer.disarm()
        super().close()
