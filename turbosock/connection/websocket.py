"""WebSocketEndpoint: what one side of a WebSocket owes its peer, and how the connection ends (RFC 6455 §5.5, §7).

It knows no transport, no memory to receive into and no time but what it is told, so that a thread that blocks and a
Loop that ticks share it. What is here once: a Ping is answered, a Pong measured, a Close answered with a Close, a
broken rule with the Close that says so; and what is said to the user about the end.

The calling order, for the owner of transport and ring:

1. Receive as `joining_receiver.py` says, and call `receiver.next(ring)`. MESSAGE, NEED_BYTES and AGAIN are the owner's.
   On NEED_MEMORY call `lend(buffers)`. Give every other code to `take(code, now_ns)`, which says whether anything may
   follow: False is the end.
2. Whenever `due` is set, call `write_due(memory, at, now_ns)` with DUE_BYTES of free memory: the frames that are due
   are written there, to be sent behind what was sent before. When they have left, call `due_left()`.
3. Send messages with `writer` while `may_send`. `ping()` and `close()` make a frame due.
4. When the transport has ended, `lost(error)`; when its owner ends it, `dropped()`, in whatever thread. Last,
   `release()`, and the receiver is asked no more.

`done` says that nothing is read any more: when no frame is due either, a server ends the transport, and a client waits
a while for the server to do so (§7.1.1).

Invariants: nothing is due behind a Close; one Ping at a time is on its way, and one Pong is due, which answers all
Pings before it (§5.5.3). Where threads share an endpoint, its owner lets one at a time call what is here; `receiver`,
`writer` and `may_send` are as safe as they are by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.errors import Origin, TurbosockError, WebSocketClosed
from turbosock.limits import MAX_WEBSOCKET_MESSAGE_BYTES
from turbosock.protocol.websocket import outcomes, state
from turbosock.protocol.websocket.close import (
    CLOSE_CODE_NAMES,
    NORMAL,
    POLICY_VIOLATION,
    TOO_BIG,
    close_payload,
    shortened,
)
from turbosock.protocol.websocket.frame import CLOSE, FIN, MAX_CONTROL_BYTES, PING, PONG, header_size
from turbosock.protocol.websocket.inflating_receiver import InflatingReceiver
from turbosock.protocol.websocket.receiver import MessageReceiver
from turbosock.protocol.websocket.state import ConnectionState
from turbosock.protocol.websocket.writer import MessageWriter

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool, PooledBuffer
    from turbosock.protocol.websocket.deflate import DeflateOptions
    from turbosock.protocol.websocket.handshake import Agreement
    from turbosock.protocol.websocket.mask_keys import MaskKeys

# A Pong, a Ping and a Close, each at its longest.
DUE_BYTES: Final = 3 * (MAX_CONTROL_BYTES + header_size(MAX_CONTROL_BYTES, True))

_OPEN: Final = state.OPEN
_PAYLOAD_BYTES: Final = 8


class Ping:
    """A Ping of ours.

    Attributes:
        sent_ns: when it was written; 0 before.
        latency_ns: how long its answer took; -1 before it came.
    """

    __slots__ = ("latency_ns", "payload", "sent_ns")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.sent_ns = 0
        self.latency_ns = -1


class WebSocketEndpoint:
    """See the module.

    Args:
        is_client: whether the peer is a server.
        agreement: what the opening handshake came to.
        keys: a client's masking keys; None for a server.
        deflate: how messages are compressed, where the agreement says that they are.
        max_message: bytes that a message may have.

    Attributes:
        receiver, writer: for messages.
        state: who has said Close.
        subprotocol: what was agreed on, or None.
        compresses: whether messages are to be encoded by `writer.encode`.
        due: whether frames are to be written and sent.
        memory: what was lent for a long message, which may be the last one's; or None.
        pinged: our Ping that was not answered yet, or None.
        latency_ns: of the last one that was; -1 before.
        cause: the error that ended the connection, or None.

    Raises:
        InvalidOption: `max_message` is no number of bytes.
    """

    __slots__ = (
        "_close",
        "_fault",
        "_pings",
        "_pong",
        "_pong_leaves",
        "cause",
        "compresses",
        "due",
        "latency_ns",
        "memory",
        "pinged",
        "receiver",
        "state",
        "subprotocol",
        "writer",
    )

    def __init__(
        self,
        is_client: bool,
        agreement: Agreement,
        keys: MaskKeys | None = None,
        deflate: DeflateOptions | None = None,
        *,
        max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES,
    ) -> None:
        agreed = agreement.deflate
        self.compresses = agreed is not None and deflate is not None
        if agreed is None or deflate is None:
            self.receiver = MessageReceiver(is_client, max_message=max_message)
            self.writer = MessageWriter(keys)
        else:
            self.receiver = InflatingReceiver(
                is_client, agreed.inflater(is_client), max_message=max_message, max_ratio=deflate.max_ratio
            )
            self.writer = MessageWriter(keys, agreed.deflater(is_client, deflate))
        self.subprotocol = agreement.subprotocol
        self.state = ConnectionState()
        self.due = False
        self.memory: PooledBuffer | None = None
        self.pinged: Ping | None = None
        self.latency_ns = -1
        self.cause: TurbosockError | None = None
        # Payloads of the frames that are due, or None; and whether a Pong is among those that are leaving.
        self._pong: bytes | None = None
        self._close: bytes | None = None
        self._pong_leaves = False
        self._pings = 0
        # Whose doing the end is, once that is known; else the peer's.
        self._fault: Origin | None = None

    def __repr__(self) -> str:
        return f"<WebSocketEndpoint {state.STATE_NAMES[self.state.state]}{' due' if self.due else ''}>"

    @property
    def may_send(self) -> bool:
        """Whether messages and Pings may be sent."""
        return self.state.state == _OPEN

    @property
    def done(self) -> bool:
        """Whether both sides have said Close, the connection failed, or it has ended."""
        return self.state.state >= state.FINISHED

    # What came

    def take(self, code: int, now_ns: int) -> bool:
        """Take what `receiver.next` came to, other than MESSAGE, NEED_BYTES, NEED_MEMORY and AGAIN.

        Returns:
            Whether anything may follow.
        """
        receiver = self.receiver
        if code == outcomes.PING:
            if self.may_send:
                self._pong = receiver.data
                self.due = True
            return True
        if code == outcomes.PONG:
            ping = self.pinged
            # Any other is of no meaning (§5.5.3), but a sign of life.
            if ping is not None and ping.sent_ns and ping.payload == receiver.data:
                self.pinged = None
                self.latency_ns = ping.latency_ns = max(0, now_ns - ping.sent_ns)
            return True
        if code == outcomes.CLOSE:
            if self.state.receive_close(receiver.close_code, receiver.close_reason) == state.CLOSE_RECEIVED:
                # §5.5.1: with the code that came.
                self.state.send_close(receiver.close_code)
                self._say_close(close_payload(receiver.close_code))
        elif code == outcomes.FAILED:
            self.fail(receiver.close_code, receiver.close_reason)
        return False

    def lend(self, buffers: BufferPool) -> None:
        """Lend the receiver, which said NEED_MEMORY, as much as it wants.

        Raises:
            PoolExhausted: the pool has no more; the receiver wants it still.
        """
        memory = buffers.rent(self.receiver.wanted)
        try:
            self.receiver.lend(memory.view)
        except BaseException:
            memory.release()
            raise
        # What was lent before: the receiver has moved what was there.
        self.release()
        self.memory = memory

    def release(self) -> None:
        """Give lent memory back, and with it the view of a message that lies there; at the end, or after `lend`."""
        memory = self.memory
        if memory is not None:
            self.memory = None
            memory.release()

    # What is due

    def ping(self) -> Ping:
        """The Ping that is on its way, or is due from now on; only while `may_send`."""
        ping = self.pinged
        if ping is None:
            self._pings += 1
            ping = self.pinged = Ping(self._pings.to_bytes(_PAYLOAD_BYTES, "big"))
            self.due = True
        return ping

    def close(self, code: int = NORMAL, reason: str = "") -> bool:
        """Begin the closing handshake; False: it has begun already, or the connection has ended.

        Raises:
            InvalidOption: the code may not be sent, or the reason is too long.
        """
        payload = close_payload(code, reason)
        if not self.may_send:
            return False
        self._fault = Origin.LOCAL
        self.state.send_close(code)
        self._say_close(payload)
        return True

    def fail(self, code: int, reason: str, fault: Origin | None = None) -> None:
        """Fail the connection (§7.1.7): a Close is due where the peer may still hear it; nothing more is received.

        Args:
            fault: whose, if the code does not say.
        """
        if self.done:
            return
        if fault is None:
            fault = Origin.LIMIT if code in (TOO_BIG, POLICY_VIOLATION) else Origin.PROTOCOL
        self._fault = fault
        self.receiver.abandon()
        if self.state.fail(code, reason):
            self._say_close(close_payload(code, shortened(reason)))

    def _say_close(self, payload: bytes) -> None:
        self._close = payload
        self.due = True

    def write_due(self, memory: memoryview, at: int, now_ns: int) -> int:
        """Write the frames that are due into `memory` from `at` on, DUE_BYTES at most; returns where they end."""
        writer = self.writer
        self.due = False
        pong = self._pong
        if pong is not None:
            self._pong = None
            self._pong_leaves = True
            at = writer.write(memory, at, FIN | PONG, pong)
        ping = self.pinged
        if ping is not None and not ping.sent_ns and self.may_send:
            ping.sent_ns = now_ns
            at = writer.write(memory, at, FIN | PING, ping.payload)
        close = self._close
        if close is not None:
            self._close = None
            at = writer.write(memory, at, FIN | CLOSE, close)
        return at

    def due_left(self) -> None:
        """What `write_due` wrote has left."""
        if self._pong_leaves:
            self._pong_leaves = False
            self.receiver.pong_sent()

    # The end

    def lost(self, error: TurbosockError | None = None) -> None:
        """The transport has ended by itself, with an error or without."""
        if self.state.state == state.CLOSED:
            return
        if not self.done:
            self.cause = error
        self.state.on(state.PEER_CLOSED)
        self._end()

    def dropped(self) -> None:
        """We have ended the transport, or do so now."""
        if self.state.state != state.CLOSED:
            if not self.done and self._fault is None:
                self._fault = Origin.LOCAL
            self.state.on(state.CLOSE)
            self._end()

    def _end(self) -> None:
        self.due = False
        self._pong = self._close = None

    def closed_error(self) -> WebSocketClosed:
        """The error for who wants something of a WebSocket that has ended, or wants to send while it ends."""
        ended = self.state
        code = ended.close_code
        reason = ended.close_reason
        origin = self._fault or Origin.REMOTE
        if ended.failed:
            words = f"the WebSocket failed: {reason}"
            if origin is Origin.LIMIT:
                words += "; raise that limit, or have the peer send less"
        elif ended.received_code:
            whose = "we" if origin is Origin.LOCAL else "the peer"
            words = f"{whose} closed the WebSocket: {code}"
            if code in CLOSE_CODE_NAMES:
                words += f" ({CLOSE_CODE_NAMES[code]})"
            if reason:
                words += f", {reason!r}"
        elif ended.sent_code and ended.state == state.CLOSE_SENT:
            code = ended.sent_code
            words = "we have closed the WebSocket"
        elif ended.sent_code:
            words = "we closed the WebSocket, and the peer did not answer"
        elif origin is Origin.LOCAL:
            words = "the WebSocket was ended here, without a word to the peer"
        elif self.cause is not None:
            words = f"the connection of the WebSocket broke: {self.cause}"
        else:
            words = "the peer ended the connection of the WebSocket without a word; try again"
        return WebSocketClosed(words, code, reason, clean=ended.clean, origin=origin)
