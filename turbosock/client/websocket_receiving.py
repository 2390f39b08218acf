"""WebSocketReceiving: messages from the peer, one at a time, and whatever else comes on the way.

A receive asks the parser first, because several messages may have come together, and waits for bytes only where it has
none left. While it waits it keeps watch: where nothing comes for `ping_interval_s` the peer is asked for a sign of
life, and where that brings nothing in `ping_timeout_s` it is dead. Any byte is a sign.

A message that came while another thing was waited for, by `ping()`, is kept for the next receive.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.client.websocket_base import FOREVER_NS, NO_RING
from turbosock.client.websocket_sending import WebSocketSending
from turbosock.errors import Origin, ReadTimeout, TurbosockError, WebSocketClosed
from turbosock.protocol.websocket.close import INTERNAL_ERROR
from turbosock.protocol.websocket.frame import BINARY, TEXT
from turbosock.protocol.websocket.outcomes import AGAIN, MESSAGE, NEED_BYTES, NEED_MEMORY
from turbosock.protocol.websocket.state import OPEN
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.connection.websocket import Ping

_get_ident = threading.get_ident

_LINGER_NS: Final = int(limits.WEBSOCKET_LINGER_S * NS_PER_S)
# For how long a ring is kept at hand for what may come.
_RING_WAIT_NS: Final = int(limits.WEBSOCKET_RING_WAIT_S * NS_PER_S)
# Beside a message, a ring holds headers and a control frame.
_LONG_MESSAGE_BYTES: Final = limits.WEBSOCKET_LONG_RING_BYTES - 1024
# By so much the kernel's limits may be off.
_SLACK_NS: Final = limits.TIMEOUT_SLACK_NS


class WebSocketReceiving(WebSocketSending):
    """See the module."""

    __slots__ = ()

    # One function, because a short message's whole cost is a few of these microseconds.
    def recv(self, timeout: float | None = None) -> bytes | str:
        """The next message: str for a text, bytes for a binary one.

        Args:
            timeout: seconds to wait for it to be there whole; None: as long as the peer lives, which pings find out.

        Raises:
            WebSocketClosed: it has ended.
            ReadTimeout: the time is over; the message may be received later.
            ClientClosed: its client was closed.
        """
        receiving = self._receiving
        me = _get_ident()
        if receiving:
            self._check_reentry(receiving, me, "recv()")
        try:
            if receiving.setdefault(0, me) != me:
                self._await_turn(receiving, me, self._end_ns(timeout), _too_late)
            if self._kept:
                return self._take_kept()
            if self._over or self._torn:
                raise self._unreadable()
            receiver = self._receiver
            code = receiver.next(self._ring)
            if code != MESSAGE:
                self._receive(code, 0 if timeout is None else self._end_ns(timeout))
            self._received += 1.0
            message = receiver.text if receiver.opcode == TEXT else receiver.data
            if message is None:
                message = receiver.totext() if receiver.opcode == TEXT else receiver.tobytes()
                # What was lent before is looked at no more.
                self._viewed = False
                if self._endpoint.memory is not None:
                    self._release_memory()
            ring = self._ring
            if not ring.length and ring is not NO_RING:
                # As _give_ring_back(), a call saved.
                self._ring = NO_RING
                self._rings.keep(ring)
            return message
        except TurbosockError:
            if receiving.get(0) == me:
                self._give_ring_back()
            raise
        except BaseException as error:
            self._torn = type(error).__name__
            raise
        finally:
            try:
                if receiving[0] == me:
                    del receiving[0]
            except KeyError:
                # It was never taken.
                pass
            if self._parked_receiving or self._over:
                self._left_receiving()

    def recv_view(self, timeout: float | None = None) -> memoryview:
        """The next message as a read-only view, a text as its UTF-8; `received_text` says which of the two it is.

        It is not copied out of the memory that it arrived in, which this WebSocket holds meanwhile, and is valid until
        the next call that receives or closes.

        Raises:
            WebSocketClosed, ReadTimeout, ClientClosed: as `recv`.
        """
        receiving = self._receiving
        me = _get_ident()
        if receiving:
            self._check_reentry(receiving, me, "recv_view()")
        try:
            if receiving.setdefault(0, me) != me:
                self._await_turn(receiving, me, self._end_ns(timeout), _too_late)
            if self._kept:
                message = self._take_kept()
                self._receiver.opcode = TEXT if isinstance(message, str) else BINARY
                return memoryview(message.encode() if isinstance(message, str) else message)
            if self._over or self._torn:
                raise self._unreadable()
            code = self._receiver.next(self._ring)
            if code != MESSAGE:
                self._receive(code, 0 if timeout is None else self._end_ns(timeout))
            self._received += 1.0
            self._viewed = True
            return self._receiver.view_to_read(self._ring)
        except TurbosockError:
            if receiving.get(0) == me:
                self._give_ring_back()
            raise
        except BaseException as error:
            self._torn = type(error).__name__
            raise
        finally:
            try:
                if receiving[0] == me:
                    del receiving[0]
            except KeyError:
                # As in recv().
                pass
            if self._parked_receiving or self._over:
                self._left_receiving()

    @property
    def received_text(self) -> bool:
        """Whether the last message that was received is a text."""
        return self._receiver.opcode == TEXT

    def _release_memory(self) -> None:
        """The message that memory was lent for is looked at no more; see to it that a ring holds the next such one."""
        memory = self._endpoint.memory
        self._endpoint.release()
        if memory is not None and memory.size <= _LONG_MESSAGE_BYTES and not self._ring.length:
            self._give_ring_back()
            self._rings = self._client.long_rings

    def _take_kept(self) -> bytes | str:
        message = self._kept.pop(0)
        self._kept_bytes -= len(message)
        self._received += 1.0
        return message

    def _unreadable(self) -> TurbosockError:
        """Why nothing can be received."""
        # Whoever looked at a view looks elsewhere now.
        self._viewed = False
        if self._over or not self._torn:
            self._endpoint.release()
            return self._ended()
        # What the receive that broke off has in its hand goes back with the connection.
        return WebSocketClosed(
            f"an earlier receive was broken off by {self._torn}, and what follows it with it: close() it",
            origin=Origin.LOCAL,
            code="broken_off",
        )

    # One loop, which every message goes through that has to be waited for.
    def _receive(self, code: int, end_ns: int, ping: Ping | None = None) -> bool:
        """Go on from what `next` returned last until a message is there; in one's turn.

        Args:
            end_ns: when to give up; 0: never.
            ping: come back also when this is answered.

        Returns:
            Whether a message is there.

        Raises:
            WebSocketClosed, ClientClosed: it has ended.
            ReadTimeout: at `end_ns`.
        """
        endpoint = self._endpoint
        receiver = self._receiver
        ring = self._ring
        duplex = self._duplex
        origin = self._origin
        ping_ns = self._ping_ns
        waited = False
        self._viewed = False
        if endpoint.memory is not None and receiver.lent is None:
            self._release_memory()
            ring = self._ring
        while code != MESSAGE:
            if code == NEED_BYTES:
                if ring is NO_RING:
                    # As _rent_ring(), two calls saved.
                    try:
                        ring = self._ring = self._rings.take()
                    except IndexError:
                        ring = self._rent_ring()
                    if ring.origin is not origin:
                        ring.belongs_to(origin)
                direct = None if receiver.lent is None else receiver.direct(ring)
                if direct is not None:
                    view = direct
                else:
                    view = receiver.room(ring) if ring.length else ring.root
                # How long to wait for bytes before the peer is asked for a sign of life, or is dead.
                budget_ns = ping_ns if endpoint.pinged is None or ping_ns == FOREVER_NS else self._pong_ns
                if end_ns:
                    left_ns = end_ns - self._client.now_ns()
                    if left_ns <= 0 and waited:
                        # However it drips.
                        raise _too_late()
                    budget_ns = max(1, min(budget_ns, left_ns))
                if self._close_by_ns:
                    budget_ns = min(budget_ns, self._left_to_close_ns())
                waited = True
                try:
                    count = duplex.receive(view, budget_ns if budget_ns < _RING_WAIT_NS else _RING_WAIT_NS)
                    if count < 0:
                        self._give_ring_back()
                        ring = self._ring
                        if budget_ns > _RING_WAIT_NS and duplex.await_readable(budget_ns - _RING_WAIT_NS):
                            continue
                except TurbosockError as error:
                    raise self._lost(error) from error
                if count < 0:
                    self._on_silence(budget_ns, end_ns)
                    continue
                if count == 0:
                    raise self._lost(None)
                if direct is not None:
                    receiver.took_direct(count)
                else:
                    # To nothing nothing is added: it would make another int.
                    ring.length = ring.length + count if ring.length else count
            elif code == NEED_MEMORY:
                endpoint.lend(self._client.buffers)
            elif code != AGAIN:
                self._take(code, end_ns)
                if ping is not None and ping.latency_ns >= 0:
                    return False
            elif end_ns and self._client.now_ns() >= end_ns:
                raise _too_late()
            code = receiver.next(ring)
        return True

    def _take(self, code: int, end_ns: int) -> None:
        """Take what came and is no message; raises at the end of the connection."""
        endpoint = self._endpoint
        with self._lock:
            goes_on = endpoint.take(code, self._client.now_ns())
        if endpoint.due:
            self._send_due(end_ns)
        if goes_on:
            for latch in tuple(self._parked_receiving):
                # One of them may wait for this.
                latch.set()
            return
        self._linger(end_ns)
        self._finish()
        raise self._ended()

    def _lost(self, error: TurbosockError | None) -> TurbosockError:
        """The connection has ended by itself; what to raise."""
        with self._lock:
            self._endpoint.lost(error)
        self._finish()
        return self._ended()

    def _finish(self) -> None:
        """It is over; whoever is still sending notices."""
        self._mute = True
        if not self._over:
            self._over = True
            if self._sending:
                self._duplex.abort()

    def _linger(self, end_ns: int) -> None:
        """Wait a while for the peer to end the connection, so that it hears our Close (RFC 6455 §7.1.1)."""
        now_ns = self._client.now_ns()
        stop_ns = min(now_ns + _LINGER_NS, end_ns) if end_ns else now_ns + _LINGER_NS
        ring = self._ring
        root = (self._rent_ring() if ring is NO_RING else ring).root
        left = limits.MAX_WEBSOCKET_LINGER_BYTES
        try:
            while left > 0 and now_ns < stop_ns:
                count = self._duplex.receive(root, stop_ns - now_ns)
                if count == 0:
                    return
                left -= max(count, 0)
                now_ns = self._client.now_ns()
        except TurbosockError:
            # It has ended, one way or the other.
            return

    def _left_to_close_ns(self) -> int:
        """How much time the peer has to answer our Close; raises when that is over."""
        left_ns = self._close_by_ns - self._client.now_ns()
        if left_ns <= 0:
            self._tear()
            raise self._ended()
        return left_ns

    # Keeping watch

    def _on_silence(self, waited_ns: int, end_ns: int) -> None:
        """Nothing came in so long: keep watch, and raise when the time is over."""
        now_ns = self._client.now_ns()
        endpoint = self._endpoint
        if self._quiet_bytes != self._duplex.bytes_in:
            self._quiet_bytes = self._duplex.bytes_in
            self._quiet_since_ns = now_ns - waited_ns
        if self._ping_ns != FOREVER_NS and self._state.state == OPEN and not self._mute:
            quiet_ns = now_ns - self._quiet_since_ns + _SLACK_NS
            ping = endpoint.pinged
            if ping is None:
                if quiet_ns >= self._ping_ns:
                    with self._lock:
                        endpoint.ping()
            elif ping.sent_ns and min(quiet_ns, now_ns - ping.sent_ns + _SLACK_NS) >= self._pong_ns:
                self._give_up(now_ns)
        if endpoint.due or self._unsent is not None:
            self._send_due(end_ns)
        if end_ns and now_ns >= end_ns:
            raise _too_late()

    def _give_up(self, now_ns: int) -> None:
        """The peer is dead: end it, with a word for the case that it is not."""
        words = f"nothing came for ping_timeout_s={self._pong_ns / NS_PER_S:g} s after a Ping"
        with self._lock:
            self._endpoint.fail(INTERNAL_ERROR, words, Origin.TIMEOUT)
        self._send_due(now_ns + _SLACK_NS)
        self._finish()
        raise self._ended()


def _too_late() -> ReadTimeout:
    return ReadTimeout("no message came whole in that time; it may be received later")
