"""BlockingExchange: an exchange whose every wait is the thread's own, bounded by its deadline and ended by cancel().

Waiting is one loop: step the connection, and when the step could do nothing, let the transport wait until the nearer
of the read limit and the total deadline. On a kernel-blocking socket the step itself waits.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from turbosock.client.exchange import ClientExchange
from turbosock.errors import Cancelled, ClientClosed, ReadTimeout, TotalTimeout, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.blocking_dial import Interruptible
    from turbosock.client.client_base import ClientBase
    from turbosock.pool.origin_pool import PooledConnection


class BlockingExchange(ClientExchange):
    """One request of a Client, as far as it waits.

    Attributes:
        closed: whether nothing of it can be read any more, but for what was gathered.
        waiter: what the exchange waits for before it has a connection, so that cancel() can wake it.
    """

    __slots__ = ("_bytes_seen", "_client", "_lock", "_quiet_since_ns", "closed", "waiter")

    # As of ClientExchange, `Response.forget()` sets every slot.
    _bytes_seen: float
    _client: ClientBase
    _lock: threading.Lock | None
    _quiet_since_ns: int
    closed: bool
    waiter: Interruptible | None

    def check_deadline(self) -> None:
        """Raise Cancelled, ClientClosed or TotalTimeout where it is time."""
        if self.cancelled:
            raise Cancelled("the exchange was cancelled")
        if self._client.closed:
            raise ClientClosed("the client was closed while the request was under way")
        if self._now_ns() >= self.deadline_ns:
            raise TotalTimeout(f"the total deadline of {self.timeouts.total_s} s passed; raise it or ask for less")

    def _within_deadline(self, limit_ns: int, now_ns: int) -> int:
        """`limit_ns`, or what is left until the deadline where that is less; raises as check_deadline."""
        left_ns = self.deadline_ns - now_ns
        if left_ns <= 0 or self.cancelled:
            self.check_deadline()
        return limit_ns if limit_ns < left_ns else left_ns

    def explained(self, error: TurbosockError) -> TurbosockError:
        # Client.close() shuts the sockets of calls under way down: what they meet then is its doing.
        if self._client.closed and not self.cancelled and not isinstance(error, ClientClosed):
            error = ClientClosed("the client was closed while the request was under way")
        return super().explained(error)

    def make_cancellable(self) -> None:
        """Another thread will be able to reach the response before its request is done; for Client."""
        if self._lock is None:
            self._lock = threading.Lock()
        self._guard = self._lock

    def cancel(self) -> None:
        """End the exchange from any thread: a blocked call wakes up at once and raises Cancelled."""
        if self.closed:
            # Over; the object may be another request's next.
            return
        super().cancel()
        waiter = self.waiter
        if waiter is not None:
            waiter.interrupt()

    def _wait(self, connection: PooledConnection) -> None:
        """Let the transport wait for bytes, no longer than the read limit and the total deadline allow."""
        transport = connection.transport
        timeouts = self.timeouts
        now_ns = self._now_ns()
        if transport.bytes_in != self._bytes_seen:
            self._bytes_seen = transport.bytes_in
            self._quiet_since_ns = now_ns
        if self.cancelled or now_ns >= self.deadline_ns:
            self.check_deadline()
        left_ns = min(self._quiet_since_ns + timeouts.read_ns, self.deadline_ns) - now_ns
        if left_ns <= 0:
            raise ReadTimeout(f"the peer sent nothing for {timeouts.read_s} s; raise read_s or try later")
        transport.await_readable(left_ns)
