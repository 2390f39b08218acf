"""WebSocketConnection: one WebSocket whose messages are events of a Loop, at either end of it (RFC 6455).

A MessageConnection with a closing handshake: `close()` says Close behind what waits, and the connection is CLOSING
until the peer has answered, for at most `close_timeout_s`; what comes meanwhile is dropped. A peer's Close is answered
behind what waits. The server then ends the transport, and a client lets it, for a while (§7.1.1).

CLOSED comes without an error where both sides have said Close, and with a WebSocketClosed that says what happened where
they have not; `close_code` and `close_reason` tell it in either case.

Invariants: nothing is sent behind a Close; while a peer takes nothing, one answer to its Pings at a time waits in the
outbox, so that one that asks and does not read costs no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.config import NS_PER_S
from turbosock.connection.lingering import Lingering
from turbosock.connection.message_connection import MessageConnection
from turbosock.connection.send import Send
from turbosock.connection.sending_half import CLOSED, CLOSING, CONNECTING, LINGERING, OPEN
from turbosock.connection.websocket_reader import WebSocketReader
from turbosock.errors import DeadlineError, InvalidOption, PoolExhausted, TurbosockError, WebSocketClosed
from turbosock.protocol.websocket.close import GOING_AWAY, NORMAL

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.message_strategy import Data, MessageOwner, MessageWriter
    from turbosock.connection.websocket import WebSocketEndpoint
    from turbosock.connection.websocket_frames import DeflatedFrames, Frames
    from turbosock.connection.websocket_limits import WebSocketLimits
    from turbosock.transport.transport import SaeaTransport

# Bound once: before 3.12 each look-up of an enum's member makes an object.
_OK: Final = Send.OK
_SERVER_ENDS_NS: Final = int(limits.WEBSOCKET_LINGER_S * NS_PER_S)


class WebSocketConnection(MessageConnection):
    """One WebSocket; see the module, and MessageConnection for what all connections have.

    Args:
        services, owner: as for MessageConnection.
        address: the peer's, or the URL of one that was opened from here.
        bounds: what it may take.
        endpoint: the WebSocket's protocol, opened.
        frames: makes frames of what is sent.
        request: the request that opened it, where we are the server.

    Attributes:
        request: at a server, the request that opened it; set it to None to give its memory back.
    """

    __slots__ = (
        "_asked_bytes",
        "_ask_ns",
        "_close_ns",
        "_endpoint",
        "_frames",
        "_is_client",
        "_words",
        "request",
    )

    def __init__(
        self,
        services: MessageServices,
        owner: MessageOwner,
        bounds: WebSocketLimits,
        endpoint: WebSocketEndpoint,
        frames: Frames,
        address: object,
        request: object = None,
    ) -> None:
        self._words = WebSocketReader(endpoint, services.reactor.clock, self._after_control_frame)
        super().__init__(services, owner, bounds, self._words, frames, address)  # type: ignore[arg-type]  # each kind of Frames has the rest
        self._endpoint = endpoint
        self._frames = frames
        self._is_client = frames.masks
        self.request = request
        # When the next Ping is due or the present one is out of time, what had come by its beginning; and when the
        # peer must have said Close.
        self._ask_ns = 0
        self._asked_bytes = 0.0
        self._close_ns = 0

    def open_as(self, endpoint: WebSocketEndpoint, frames: Frames) -> None:
        """For the owner of a client's, before `begin()`: what was agreed on."""
        self._endpoint = endpoint
        self._words = words = WebSocketReader(endpoint, self._services.reactor.clock, self._after_control_frame)
        self._reader = words
        self._next = words.next
        self._frames = frames
        self._writer = frames  # type: ignore[assignment]  # as above

    def begin(self, transport: SaeaTransport) -> None:
        """As MessageConnection's."""
        super().begin(transport)
        ping_ns = self._limits.ping_ns
        timer = self._timer
        if ping_ns and timer is not None:
            self._ask_ns = self._last_ns + ping_ns
            if self._ask_ns < timer.deadline_ns:
                timer.move(self._ask_ns)

    def take(self, data: bytes) -> None:
        """For the owner, after `begin()`: take what came behind the handshake."""
        if not data or self.state != OPEN:
            return
        services = self._services
        ring = services.rings.rent(len(data), self, self._origin)
        if ring is None:
            services.pool_hits += 1
            self.finish(PoolExhausted("no memory for what came right behind the handshake: poll() and take events"))
            return
        ring.root[: len(data)] = data
        ring.length = len(data)
        self._ring = ring
        self._unread = True
        self._step_later()

    @property
    def _limits(self) -> WebSocketLimits:
        return self._bounds  # type: ignore[return-value]  # what it was made with

    # What the user calls

    if TYPE_CHECKING:

        def send(self, data: Data | str, key: object = None) -> Send: ...

    @property
    def subprotocol(self) -> str | None:
        """What was agreed on, or None."""
        return self._endpoint.subprotocol

    @property
    def close_code(self) -> int | None:
        """How it ended (RFC 6455 §7.1.5): the peer's code, or ours if it failed, or 1006; None before."""
        return self._endpoint.state.close_code if self.state == CLOSED else None

    @property
    def close_reason(self) -> str:
        """The peer's reason, or why it failed, or ""."""
        return self._endpoint.state.close_reason

    @property
    def failed(self) -> bool:
        """Whether it ended because the peer broke the rules, or a bound."""
        return self._endpoint.state.failed

    @property
    def latency_s(self) -> float | None:
        """The round trip of the last Ping that was answered, in seconds; None before."""
        latency_ns = self._endpoint.latency_ns
        return None if latency_ns < 0 else latency_ns / NS_PER_S

    def ping(self) -> None:
        """Ask for a sign of life, which leaves with what else is sent; `latency_s` is new when it has come."""
        if self.state == OPEN:
            try:
                self._endpoint.ping()
                self._say_what_is_due()
            except BaseException:
                self._give_up()
                raise

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Take nothing more, send what waits and a Close; CLOSED follows when the peer has answered, or was too slow.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999; 1005 says none.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidOption: the code may not be sent, or the reason is too long.
        """
        try:
            if self.state == CONNECTING:
                self.finish(None)
            if self.state == OPEN and self._endpoint.close(code, reason):
                self._begin_closing()
        except InvalidOption:
            raise
        except BaseException:
            self._give_up()
            raise

    def _begin_closing(self) -> None:
        """Close is due: say it, and wait for the peer's."""
        self._lose_reservation()
        self._say_what_is_due(last=True)
        self.state = CLOSING
        self._words.drops = True
        self.paused = False
        self._close_ns = self._services.reactor.clock.now_ns() + self._limits.close_ns
        timer = self._timer
        if timer is not None and timer.deadline_ns > self._close_ns:
            timer.move(self._close_ns)
        self._step_later()

    def drain(self) -> None:
        """For listeners that end: as `close()`, with 1001, going away."""
        self.close(GOING_AWAY)

    def say_last_words(self) -> None:
        """As MessageConnection's: 1001, going away, unless a Close was said already."""
        if self.state == OPEN:
            self.drain()

    def commit(self, size: int | None = None, key: object = None, *, text: bool = False) -> Send:
        """As MessageConnection's.

        Args:
            text: whether the message is text; it must be UTF-8 then.
        """
        frames = self._frames
        frames.text = text
        try:
            return super().commit(size, key)
        finally:
            # A server's are shared: what was not framed as text here must not be so elsewhere.
            frames.text = False

    # For the machinery around

    def _refuse(self) -> Send:
        self._frames.forget()
        return super()._refuse()

    def _too_long(self, size: int) -> InvalidOption:
        self._frames.forget()
        return super()._too_long(size)

    def _say_what_is_due(self, *, last: bool = False) -> None:
        """Send the frames that the endpoint owes, unless some wait and the peer takes nothing; `last`: in any case."""
        endpoint = self._endpoint
        if not endpoint.due or (self._mark and self._stalled_ns and not last):
            return
        scratch = self._services.scratch
        stop = endpoint.write_due(scratch, 0, self._services.reactor.clock.now_ns())
        if stop:
            self.push(bytes(scratch[:stop]))
            self._mark = self._outbox.mark()

    def _after_control_frame(self) -> None:
        if not self._endpoint.receiver.joining:
            # What had begun before it was itself: the next message has all of its time.
            self._partial_ns = 0
        self._say_what_is_due()

    def _left(self) -> None:
        self._endpoint.due_left()
        self._say_what_is_due()

    def _end_of_stream(self, transport: SaeaTransport) -> None:
        error = transport.end_error()
        if error is not None:
            self._endpoint.lost(error)
        super()._end_of_stream(transport)

    def _part(self) -> None:
        if not self._is_client or self._ended or not self._endpoint.state.clean:
            super()._part()
            return
        # Both have said Close: the end is the server's to make, for a while (§7.1.1).
        self._give_rings_back()
        self._lingering = Lingering()
        assert self._timer is not None, "it stood"
        self._timer.move(self._services.reactor.clock.now_ns() + _SERVER_ENDS_NS)
        self.state = LINGERING
        self._linger()

    def end(self, error: TurbosockError | None = None) -> None:
        """As MessageConnection's, behind the last words that are due."""
        if self._endpoint.due:
            self._say_what_is_due(last=True)
        super().end(error)

    def finish(self, error: TurbosockError | None) -> None:
        """As MessageConnection's; what the end means is said in the words of WebSockets."""
        if self.state == CLOSED:
            return
        if self.state != CONNECTING:
            endpoint = self._endpoint
            if error is None:
                endpoint.dropped()
            else:
                endpoint.lost(error)
            closed: WebSocketClosed | None = None
            if not endpoint.state.clean:
                closed = endpoint.closed_error()
                closed.__cause__ = error
            error = closed
        super().finish(error)

    # Time

    def on_timer(self, now_ns: int) -> None:
        """A wait may have taken too long: which one?"""
        if self.state == CLOSING:
            if now_ns < self._close_ns:
                assert self._timer is not None, "it stood"
                self._timer.move(self._close_ns)
                return
            self._count_timeout()
            self.finish(None)
            return
        if self.state == OPEN and self._limits.ping_ns:
            self._tend_pings(now_ns)
        # What a Ping could not be sent on has ended.
        if self.state == CLOSED:
            return
        super().on_timer(now_ns)
        timer = self._timer
        if self.state == OPEN and self._ask_ns and timer is not None and timer.deadline_ns > self._ask_ns:
            timer.move(self._ask_ns)

    def _tend_pings(self, now_ns: int) -> None:
        """Ask, or look whether what was asked has had its time."""
        if now_ns < self._ask_ns:
            return
        bounds = self._limits
        endpoint = self._endpoint
        transport = self.transport
        assert transport is not None, "it stands"
        if endpoint.pinged is None:
            endpoint.ping()
            self._asked_bytes = transport.bytes_in
            self._ask_ns = now_ns + bounds.pong_ns
            self._say_what_is_due()
            # At once: what waits for the next turn counts as a part of the round trip.
            self.flush()
            return
        reads = not (self.paused or self.held or self._starved)
        if reads and transport.bytes_in == self._asked_bytes:
            self._count_timeout()
            seconds = bounds.pong_ns / NS_PER_S
            self.finish(DeadlineError(f"the peer sent nothing for ping_timeout_s={seconds:g} after a Ping"))
            return
        # Something came, or would not have been seen: the answer may be on its way behind it.
        self._asked_bytes = transport.bytes_in
        self._ask_ns = now_ns + bounds.pong_ns


class DeflatingConnection(WebSocketConnection):
    """A WebSocket on which permessage-deflate was agreed (RFC 7692).

    Messages are compressed when they are taken. With context takeover later ones refer to them, so a message with a
    key, which may be replaced, is not compressed there; nor is one that was built in place, or a broadcast's.
    """

    __slots__ = ("_takeover",)

    def __init__(
        self,
        services: MessageServices,
        owner: MessageOwner,
        bounds: WebSocketLimits,
        endpoint: WebSocketEndpoint,
        frames: DeflatedFrames,
        address: object,
        request: object = None,
        *,
        takeover: bool,
    ) -> None:
        super().__init__(services, owner, bounds, endpoint, frames, address, request)
        self._takeover = takeover

    @property
    def writer(self) -> MessageWriter:
        """For broadcasts, whose one frame is not compressed: a server's is the same for all, compressing or not."""
        frames = self._services.plain_frames
        return self._writer if frames is None or self._is_client else frames

    def send(self, data: Data | str, key: object = None) -> Send:
        """As WebSocketConnection's."""
        frames: DeflatedFrames = self._frames  # type: ignore[assignment]  # as it was made
        plain = frames.plain = self._takeover and key is not None
        sent = super().send(data, key)
        if sent is _OK and not plain:
            frames.untaken = False
        return sent

    def _put_long(self, payload: Data, size: int, key: object) -> bool:
        self._put(self._writer.frame(payload), key, None)
        return True
