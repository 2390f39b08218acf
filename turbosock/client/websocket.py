"""WebSocket: one open WebSocket as a blocking program uses it (RFC 6455).

    with client.websocket("wss://host/path") as ws:
        ws.send("a text")
        for message in ws:                                  # str for a text, bytes for a binary message
            ...

One thread may send while another receives, and any number may do either: each call has its turn, and a message is
never mixed with another. There is no helper thread: pings are answered, and the end of the connection is noticed,
while somebody receives. `ping()` and `close()` receive themselves where nobody does, and wait for who does otherwise.

What is where: `websocket_base.py` has turns, control frames and the end, `websocket_sending.py` and
`websocket_receiving.py` the two directions, `duplex.py` the bytes, `connection/websocket.py` the rules.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from turbosock import limits
from turbosock.client.websocket_receiving import WebSocketReceiving
from turbosock.connection.websocket import Ping
from turbosock.errors import LimitError, ReadTimeout, TurbosockError, WebSocketClosed
from turbosock.protocol.websocket.close import GOING_AWAY, INTERNAL_ERROR, NO_STATUS, NORMAL
from turbosock.protocol.websocket.frame import TEXT
from turbosock.protocol.websocket.outcomes import MESSAGE
from turbosock.reactor.clock import NS_PER_S

_get_ident = threading.get_ident

# Ends of which an iteration says nothing.
QUIET_ENDS = frozenset((NORMAL, GOING_AWAY, NO_STATUS))


class WebSocket(WebSocketReceiving):
    """An open WebSocket; `Client.websocket` makes it.

    Attributes:
        url: where it leads, without credentials.
        subprotocol: what was agreed on, or None.
        tls: what was agreed on, for wss: version, cipher, provider; else None.
    """

    __slots__ = ()

    @property
    def closed(self) -> bool:
        """Whether it has ended: nothing can be sent or received any more."""
        return self._over

    @property
    def close_code(self) -> int | None:
        """The code of the end, once it has ended: the peer's; 1005 without one; 1006 without a Close."""
        return self._endpoint.closed_error().close_code if self._over or self._endpoint.done else None

    @property
    def close_reason(self) -> str | None:
        """The reason beside it, possibly empty, once it has ended."""
        return self._endpoint.closed_error().close_reason if self._over or self._endpoint.done else None

    @property
    def latency(self) -> float | None:
        """Seconds that the last Ping and its answer took, there and back; None before there was one."""
        latency_ns = self._endpoint.latency_ns
        return None if latency_ns < 0 else latency_ns / NS_PER_S

    @property
    def messages_received(self) -> int:
        """Messages so far."""
        return int(self._received)

    @property
    def messages_sent(self) -> int:
        """As `messages_received`."""
        return int(self._sent)

    @property
    def bytes_received(self) -> int:
        """Bytes of the connection so far, its opening included, decrypted."""
        return int(self._duplex.bytes_in)

    @property
    def bytes_sent(self) -> int:
        """As `bytes_received`."""
        return int(self._duplex.bytes_out)

    def __iter__(self) -> WebSocket:
        return self

    def __next__(self) -> bytes | str:
        """The next message; the iteration ends when both sides have closed in good order, and raises otherwise."""
        try:
            return self.recv()
        except WebSocketClosed as error:
            if error.clean and error.close_code in QUIET_ENDS:
                raise StopIteration from None
            raise

    def ping(self, timeout: float | None = None) -> float:
        """Ask the peer for a sign of life, and wait for it.

        Args:
            timeout: seconds to wait; None: `ping_timeout_s`.

        Returns:
            Seconds there and back. Two calls at once share one Ping.

        Raises:
            WebSocketClosed: it has ended, or is being closed.
            ReadTimeout: no answer came in that time.
            LimitError: too many messages came before it: receive them first.
            ClientClosed: its client was closed.
        """
        end_ns = self._end_ns(timeout, self._pong_ns)
        with self._lock:
            if not self._endpoint.may_send or self._mute:
                raise self._ended()
            ping = self._endpoint.ping()
        self._send_due(end_ns)
        while ping.latency_ns < 0:
            if self._over:
                raise self._ended()
            if not self._while_waiting(self._await_pong, ping, end_ns) and ping.latency_ns < 0:
                raise _no_pong()
        return ping.latency_ns / NS_PER_S

    def _await_pong(self, ping: Ping | None, end_ns: int) -> None:
        """Receive until `ping` is answered, and keep what else comes; in one's turn."""
        receiver = self._receiver
        assert ping is not None, "it is waited for"
        try:
            while ping.latency_ns < 0:
                if self._over or self._torn:
                    raise self._unreadable()
                if len(self._kept) >= limits.MAX_KEPT_MESSAGES or self._kept_bytes >= limits.MAX_KEPT_BYTES:
                    raise LimitError(
                        f"{len(self._kept)} messages came before the answer to a Ping: receive them, then ping again"
                    )
                code = receiver.next(self._ring)
                if code == MESSAGE or self._receive(code, end_ns, ping):
                    message: bytes | str = receiver.totext() if receiver.opcode == TEXT else receiver.tobytes()
                    self._kept.append(message)
                    self._kept_bytes += len(message)
        except ReadTimeout:
            raise _no_pong() from None

    # The end

    def close(self, code: int = NORMAL, reason: str = "", timeout: float | None = None, *, wait: bool = True) -> None:
        """Close it: tell the peer, wait for its answer, and end the connection, whatever comes. Idempotent.

        Messages that come meanwhile are for who receives in another thread; without one they are dropped.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: up to 123 bytes in UTF-8, for the peer's log.
            timeout: seconds for all of it; None: `close_timeout_s`.
            wait: False only tells the peer. What it sends before it answers can still be received, up to the end that
                WebSocketClosed tells of, which comes at the timeout at the latest for a receive that begins after this.

        Raises:
            InvalidOption: code, reason or timeout cannot be used.
        """
        end_ns = self._end_ns(timeout, self._close_ns)
        with self._lock:
            self._endpoint.close(code, reason)
        self._close_by_ns = end_ns
        me = _get_ident()
        if not wait or self._receiving.get(0) == me or self._sending.get(0) == me:
            # Or in a signal handler, in the middle of a call of this very thread, which goes on afterwards.
            self._send_due(end_ns)
            return
        try:
            if not self._over:
                self._send_due(end_ns)
            while not self._over and not self._torn:
                if not self._while_waiting(self._await_close, None, end_ns):
                    break
        finally:
            self._viewed = False
            self._tear()
            self._dispose()

    def _await_close(self, ping: Ping | None, end_ns: int) -> None:
        """Receive until the end, and drop what else comes; in one's turn."""
        receiver = self._receiver
        try:
            while not self._over and not self._torn:
                code = receiver.next(self._ring)
                if code != MESSAGE:
                    self._receive(code, end_ns)
        except TurbosockError:
            # The end, or that of the time.
            return

    def _while_waiting(self, receive: Callable[[Ping | None, int], None], ping: Ping | None, end_ns: int) -> bool:
        """Receive, where nobody else does, or wait for news of who does; False: `end_ns` has come."""
        receiving = self._receiving
        me = _get_ident()
        if receiving:
            self._check_reentry(receiving, me, "ping()")
        try:
            if receiving.setdefault(0, me) == me:
                receive(ping, end_ns)
                self._give_ring_back()
                return self._client.now_ns() < end_ns
            return self._park(receiving, end_ns)
        except TurbosockError:
            if receiving.get(0) == me:
                self._give_ring_back()
            raise
        except BaseException as error:
            if receiving.get(0) == me:
                self._torn = type(error).__name__
            raise
        finally:
            try:
                if receiving[0] == me:
                    del receiving[0]
            except KeyError:
                # Another thread has it, or had it.
                pass
            if self._parked_receiving or self._over:
                self._left_receiving()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            # 1011 says that the program failed, 1001 that it was told to stop.
            self.close(INTERNAL_ERROR if isinstance(error, Exception) else GOING_AWAY)


def _no_pong() -> ReadTimeout:
    return ReadTimeout("no Pong came in that time")
