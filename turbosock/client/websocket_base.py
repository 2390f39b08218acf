"""WebSocketBase: what both directions of a blocking WebSocket share: turns, control frames, and the end.

Each direction has a turn, which one thread has at a time. A turn is an entry in a dictionary: `setdefault` takes it in
one step, and it is left by single instructions, so that an interrupt cannot leave it taken for ever, as it could a
lock. Who must wait for a turn parks, and looks by itself now and then, for the rare case that nobody woke him because
of an interrupt.

Control frames are due (see `connection/websocket.py`) from the moment in which somebody says so, and are sent by who
can take the turn to send; where a message is being sent, by its sender, behind it. Each looks again after he has left,
so that none is forgotten.

Memory is lent for as long as a call needs it, and no longer: an idle WebSocket holds none. The ring that is received
into goes back when it is empty, at the end of the call, or when nothing has come for a while (`_receive`); a message
is sent from a ring that is lent for that.

Invariants: the socket is closed by who has both turns, and only once it is over; a ring that is not NO_RING has bytes,
or is being received into, or somebody may look at it (`_viewed`); `_lock` guards what the endpoint owes, and nobody
waits while he has it; after `_over` nothing is received or sent.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.client.duplex import Duplex, make_duplex
from turbosock.config import check_seconds
from turbosock.connection.http2_stream import Http2Stream
from turbosock.connection.receive_ring import ReceiveRing, RingPool
from turbosock.connection.websocket import DUE_BYTES, WebSocketEndpoint
from turbosock.errors import ClientClosed, DeadlineError, StateError, TurbosockError
from turbosock.forks import renewed_in_child
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.latch import Latch

if TYPE_CHECKING:
    from turbosock.client.client_base import ClientBase
    from turbosock.client.shared_http2_opening import SharedHttp2OpeningStream
    from turbosock.config import Timeouts
    from turbosock.tls.provider import TlsInfo
    from turbosock.transport.transport import Transport

_get_ident = threading.get_ident

_LOOK_S: Final = limits.DIAL_LOOK_S
FOREVER_NS: Final = int(limits.MAX_TIMEOUT_S * NS_PER_S)
# What stands where a ring would: for all who hold none, and always empty.
NO_RING: Final = ReceiveRing(1)


class WebSocketBase:
    """See the module; the arguments are those of `Client.websocket`, and what it came to."""

    __slots__ = (
        "__weakref__",
        "_client",
        "_close_by_ns",
        "_close_ns",
        "_compresses",
        "_duplex",
        "_endpoint",
        "_kept",
        "_kept_bytes",
        "_lock",
        "_mute",
        "_origin",
        "_over",
        "_parked_receiving",
        "_parked_sending",
        "_ping_ns",
        "_pong_ns",
        "_quiet_bytes",
        "_quiet_since_ns",
        "_received",
        "_receiver",
        "_receiving",
        "_ring",
        "_rings",
        "_send_ns",
        "_sending",
        "_sent",
        "_state",
        "_torn",
        "_unsent",
        "_viewed",
        "_writer",
        "subprotocol",
        "tls",
        "url",
    )

    def __init__(
        self,
        client: ClientBase,
        url: str,
        endpoint: WebSocketEndpoint,
        transport: Transport | SharedHttp2OpeningStream,
        leftover: bytes,
        timeouts: Timeouts,
        origin: object,
        *,
        ping_interval_s: float | None,
        ping_timeout_s: float,
        close_timeout_s: float,
    ) -> None:
        # Until the last line a finalizer finds nothing to close.
        self._over = True
        # Nothing can be sent any more: it is over, or a send failed.
        self._mute = False
        self._client = client
        self.url = url
        self.subprotocol = endpoint.subprotocol
        self.tls: TlsInfo | None = transport.tls
        # Floats, whose freed ones CPython keeps for the next.
        self._received = 0.0
        self._sent = 0.0
        self._endpoint = endpoint
        self._receiver = endpoint.receiver
        self._writer = endpoint.writer
        self._state = endpoint.state
        self._compresses = endpoint.compresses
        self._send_ns = timeouts.total_ns
        self._ping_ns = FOREVER_NS if ping_interval_s is None else int(ping_interval_s * NS_PER_S)
        self._pong_ns = int(ping_timeout_s * NS_PER_S)
        self._close_ns = int(close_timeout_s * NS_PER_S)
        # When the closing handshake is given up; 0: it has not begun here.
        self._close_by_ns = 0
        self._lock = threading.RLock()
        # Under 0 the thread that has the turn.
        self._receiving: dict[int, int] = {}
        self._sending: dict[int, int] = {}
        # Lists: an empty deque has 600 bytes.
        self._parked_receiving: list[Latch] = []
        self._parked_sending: list[Latch] = []
        # Messages that came while something else was waited for.
        self._kept: list[bytes | str] = []
        self._kept_bytes = 0
        # What broke a receive off, or "".
        self._torn = ""
        # Whether a view of the ring or of lent memory may be looked at.
        self._viewed = False
        # What had come when it was last seen that nothing comes, and since when.
        self._quiet_bytes = -1.0
        self._quiet_since_ns = 0
        self._origin = origin
        # Where rings to receive into come from: the client's long ones, once a message came that needs one.
        self._rings: RingPool = client.rings
        self._ring: ReceiveRing = NO_RING
        if leftover:
            self._rent_ring().write(leftover)
        # What of the control frames was not taken yet: it leaves before anything else.
        self._unsent: memoryview | None = None
        self._duplex: Duplex
        if isinstance(transport, Http2Stream):
            # Not with the module: programs without HTTP/2 need not have it.
            from turbosock.client.shared_http2_opening import StreamDuplex

            self._duplex = StreamDuplex(transport, timeouts.write_ns, client.connections.abandon, client.now_ns)
        else:
            self._duplex = make_duplex(transport, timeouts.write_ns, client.now_ns)
        self._over = False
        _websockets.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url} {'closed' if self._over else 'open'}>"

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            self._over = True
            self._duplex.drop()
            warnings.warn(
                f"a WebSocket to {self.url} was dropped without close(); use a with block",
                ResourceWarning,
                stacklevel=2,
            )

    # Turns

    def _end_ns(self, timeout: float | None, default_ns: int = 0) -> int:
        """When a call with this timeout gives up; 0: never.

        Raises:
            InvalidOption: `timeout` is no number of seconds.
        """
        if timeout is None:
            return self._client.now_ns() + default_ns if default_ns else 0
        if timeout != 0 or isinstance(timeout, bool):
            check_seconds("timeout", timeout)
        return self._client.now_ns() + int(timeout * NS_PER_S)

    def _check_reentry(self, turn: dict[int, int], me: int, call: str) -> None:
        """Refuse what would move the bytes of the same direction in the middle of each other.

        Raises:
            StateError: a signal handler, or a finalizer, calls what it has interrupted.
        """
        if turn.get(0) == me:
            raise StateError(f"{call} inside such a call of the same thread, in a signal handler say: leave it to that")

    def _await_turn(self, turn: dict[int, int], me: int, end_ns: int, late: Callable[[], DeadlineError]) -> None:
        """Wait for another thread's turn to end, and take it.

        Raises:
            DeadlineError: of `late`, at `end_ns`; 0: never.
            WebSocketClosed, ClientClosed: it is over.
        """
        while turn.setdefault(0, me) != me:
            if self._over:
                raise self._ended()
            if not self._park(turn, end_ns):
                raise late()

    def _park(self, turn: dict[int, int], end_ns: int) -> bool:
        """Wait for news, or until it is time to look again; False: `end_ns` has come."""
        wait_s = _LOOK_S
        if end_ns:
            wait_s = min(wait_s, (end_ns - self._client.now_ns()) / NS_PER_S)
            if wait_s <= 0:
                return False
        parked = self._parked_receiving if turn is self._receiving else self._parked_sending
        latch = Latch()
        parked.append(latch)
        try:
            # It may have been left before anybody could see who waits.
            if turn and not self._over:
                latch.wait(wait_s)
        finally:
            parked.remove(latch)
        return True

    def _left_receiving(self) -> None:
        """The turn to receive was left: somebody waits for it, or it is over."""
        if self._over:
            self._dispose()
        else:
            _wake_first(self._parked_receiving)

    def _left_sending(self) -> None:
        """The turn to send was left: control frames are due, somebody waits for it, or it is over."""
        if not self._over and self._endpoint.due:
            self._send_due(0)
        if self._over:
            self._dispose()
        else:
            _wake_first(self._parked_sending)

    def _wake_all(self) -> None:
        for latch in (*self._parked_receiving, *self._parked_sending):
            latch.set()

    # Memory

    def _rent_ring(self) -> ReceiveRing:
        """A ring to receive into, for who has none; in one's turn."""
        ring = self._rings.rent()
        if ring.origin is not self._origin:
            ring.belongs_to(self._origin)
        self._ring = ring
        return ring

    def _give_ring_back(self) -> None:
        """Give the ring back unless something is in it, or looked at; in one's turn."""
        ring = self._ring
        if not ring.length and not self._viewed and ring is not NO_RING:
            self._ring = NO_RING
            self._rings.keep(ring)

    # Control frames

    def _send_due(self, end_ns: int) -> None:
        """Send the control frames that are due, as far as that can be done by `end_ns`; 0: within the usual times.

        Where a message is being sent, its sender sees to them.
        """
        endpoint = self._endpoint
        # Anybody's turn, this thread's own included: a signal handler may be in the middle of it.
        while (endpoint.due or self._unsent is not None) and not self._sending and not self._over:
            if not self._send_due_once(end_ns):
                return

    def _send_due_once(self, end_ns: int) -> bool:
        """Take the turn to send for what is due; False: more cannot be done now."""
        sending = self._sending
        me = _get_ident()
        try:
            if sending.setdefault(0, me) != me:
                return False
            end_ns = end_ns or self._client.now_ns() + self._send_ns
            while self._unsent is not None or self._endpoint.due:
                if self._unsent is None:
                    self._write_due()
                if not self._send_unsent(end_ns):
                    return False
            return True
        except TurbosockError as error:
            # Who receives finds out, and may still hear what the peer said before it went.
            self._mute = True
            self._endpoint.cause = self._endpoint.cause or error
            self._endpoint.due = False
            self._unsent = None
            return False
        except BaseException:
            self._tear()
            raise
        finally:
            try:
                if sending[0] == me:
                    del sending[0]
            except KeyError:
                # It was never taken.
                pass
            if self._over:
                self._dispose()
            elif self._parked_sending:
                _wake_first(self._parked_sending)

    def _write_due(self) -> None:
        memory = memoryview(bytearray(DUE_BYTES))
        with self._lock:
            end = self._endpoint.write_due(memory, 0, self._client.now_ns())
        self._unsent = memory[:end]

    def _send_unsent(self, end_ns: int) -> bool:
        """Send what is left of control frames, in one's turn; whether all of it has left."""
        unsent = self._unsent
        assert unsent is not None, "asked only where there is some"
        sent = self._duplex.send(unsent, max(1, end_ns - self._client.now_ns()))
        if sent < len(unsent):
            self._unsent = unsent[sent:]
            return False
        self._unsent = None
        with self._lock:
            self._endpoint.due_left()
        return True

    # The end

    def _ended(self) -> TurbosockError:
        """The error for who wants something of it now that it is over, or is being closed."""
        if self._client.closed:
            return ClientClosed("the client was closed, and its WebSockets with it")
        return self._endpoint.closed_error()

    def abort(self) -> None:
        """End it at once, without a word to the peer, from any thread: calls under way raise WebSocketClosed."""
        self._tear()
        self._dispose()

    def _tear(self) -> None:
        """End it in the middle of whatever is under way; `_dispose` is due when the turns are left."""
        self._mute = True
        with self._lock:
            self._endpoint.dropped()
        if not self._over:
            self._over = True
            self._duplex.abort()

    def _dispose(self) -> None:
        """Close the socket and give memory back, once it is over, if nobody is in the middle of a call.

        Otherwise that is for the last one who leaves his turn.
        """
        receiving = self._receiving
        sending = self._sending
        me = _get_ident()
        if receiving or sending:
            self._wake_all()
            return
        try:
            if receiving.setdefault(0, me) == me and sending.setdefault(0, me) == me:
                self._duplex.close()
                self._let_go()
        finally:
            try:
                if sending[0] == me:
                    del sending[0]
            except KeyError:
                # Another thread's, which disposes of it when it leaves.
                pass
            try:
                if receiving[0] == me:
                    del receiving[0]
            except KeyError:
                pass
        self._wake_all()

    def _let_go(self) -> None:
        """Give ring and lent memory back; what somebody may be looking at is let go instead."""
        ring = self._ring
        self._ring = NO_RING
        if not self._viewed:
            self._endpoint.release()
            if ring is not NO_RING:
                self._rings.give_back(ring)

    def drop_inherited(self) -> None:
        """In the child of a fork: it is the parent's."""
        self._lock = threading.RLock()
        self._receiving.clear()
        self._sending.clear()
        self._parked_receiving.clear()
        self._parked_sending.clear()
        if not self._over:
            self._over = self._mute = True
            self._duplex.drop()
            self._endpoint.dropped()


def _wake_first(parked: list[Latch]) -> None:
    try:
        parked[0].set()
    except IndexError:
        # It stopped waiting meanwhile.
        return


# A socket that both processes used would mix their frames.
_websockets: Final = renewed_in_child(WebSocketBase.drop_inherited)
