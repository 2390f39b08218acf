"""WebSocketReader: the receiving half of a WebSocket in a Loop, a strategy as `message_connection.py` describes them.

Messages are its connection's. Control frames are the endpoint's (`websocket.py`); the connection is told of each that
makes something due. A text is delivered as str, anything else as bytes where they were made on the way,
which is so for small messages, and as a view where the message lies otherwise.

After the end of what may come, by a Close, by a broken rule or by the end of the stream, the endpoint knows why, so
that `error` and `end()` have nothing to add.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from turbosock import limits
from turbosock.protocol.websocket.frame import TEXT
from turbosock.protocol.websocket.outcomes import AGAIN, FAILED, MESSAGE, NEED_BYTES, NEED_MEMORY

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer
    from turbosock.connection.websocket import WebSocketEndpoint
    from turbosock.errors import TurbosockError
    from turbosock.reactor.clock import Clock

_NOTHING: Final = b""
# Outcomes that are the connection's as they are.
_AS_THEY_ARE: Final = (NEED_BYTES, AGAIN)


class WebSocketReader:
    """Finds the messages of one WebSocket; see the module.

    Args:
        endpoint: the WebSocket.
        clock: measures round trips.
        after_control: called behind each control frame; sends what is due.

    Attributes:
        data: after MESSAGE, the message.
        lent: the memory in which a long message is put together, or None.
        wanted: after NEED_MEMORY, how much of it.
        drops: whether messages that come are not wanted any more.
    """

    __slots__ = ("_after_control", "_clock", "_endpoint", "_next", "_receiver", "data", "drops", "lent", "wanted")

    borrows: ClassVar[bool] = True
    error: ClassVar[TurbosockError | None] = None

    def __init__(self, endpoint: WebSocketEndpoint, clock: Clock, after_control: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._after_control: Callable[[], None] = after_control
        self._receiver = endpoint.receiver
        self._next = endpoint.receiver.next
        self.data: memoryview | bytes | str = _NOTHING
        self.drops = False
        self.lent: memoryview | None = None
        self.wanted = 0

    def next(self, ring: RingBuffer) -> int:
        """Find the next message in `ring`; one of the codes that `message_connection.py` lists."""
        receiver = self._receiver
        code = self._next(ring)
        if code != MESSAGE or self.drops:
            code = self._take_others(ring, code)
            if code != MESSAGE:
                self.lent = None if code == FAILED else receiver.lent
                return code
        self.lent = None
        text = receiver.text
        if text is not None:
            self.data = text
            return MESSAGE
        data = receiver.data
        if receiver.opcode == TEXT:
            self.data = receiver.totext()
        elif data is not None:
            self.data = data
        else:
            self.data = receiver.view()
        return MESSAGE

    def _take_others(self, ring: RingBuffer, code: int) -> int:
        """Take what came beside messages, until one comes that is wanted, or something else to be told."""
        endpoint = self._endpoint
        frames_left = limits.WEBSOCKET_STEP_FRAMES
        while code != MESSAGE or self.drops:
            if code in _AS_THEY_ARE:
                break
            if code == NEED_MEMORY:
                self.wanted = self._receiver.wanted
                break
            if code != MESSAGE and not endpoint.take(code, self._clock.now_ns()):
                return FAILED
            self._after_control()
            frames_left -= 1
            if not frames_left:
                # Others have their turn, and what is due for those that came leaves.
                code = AGAIN
                break
            code = self._next(ring)
        return code

    def stop(self) -> None:
        """Its connection ends: nothing is said any more, and nobody is held."""
        self._after_control = _say_nothing

    def room(self, ring: RingBuffer) -> memoryview:
        """The memory to receive into."""
        receiver = self._receiver
        if self.lent is not None:
            direct = receiver.direct(ring)
            if direct is not None:
                return direct
        return receiver.room(ring)

    def received(self, ring: RingBuffer, count: int) -> None:
        """Take that `count` bytes came into `room()`, while something is lent."""
        if not ring.length and self._receiver.direct(ring) is not None:
            self._receiver.took_direct(count)
        else:
            ring.length += count

    def lend(self, memory: memoryview) -> None:
        """Take memory for the present message."""
        self._receiver.lend(memory)
        self.lent = memory

    def end(self, ring: RingBuffer | None) -> TurbosockError | None:
        """The stream has ended; the endpoint says what that means."""
        self._endpoint.lost()
        return None


def _say_nothing() -> None:
    """For after the end."""
