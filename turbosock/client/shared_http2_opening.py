"""SharedHttp2OpeningStream: a stream of a Client's HTTP/2 session on which a WebSocket is to be opened (RFC 8441).

To its response it is a stream like any other, but that the request that was to change the protocol goes as an extended
CONNECT. When the server agrees, `StreamDuplex` is spoken through it: one thread receives while another sends, each with
a place of its own in the line for the baton. It serves one opening, and leaves its session with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turbosock.client.duplex import Duplex
from turbosock.client.shared_http2 import BatonWaiter, SharedHttp2Stream
from turbosock.errors import Origin, ReadError, WriteError
from turbosock.protocol.http2.request_fields import fields_of_upgrade
from turbosock.protocol.http2.stream_state import CLOSED, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE

if TYPE_CHECKING:
    from turbosock.client.shared_http2 import SharedHttp2Session
    from turbosock.connection.http1 import Expectation
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http2.engine import Engine

_NOTHING: Final = memoryview(b"")


class RoomWaiter(BatonWaiter):
    """What a thread waits with that sends while another one receives."""

    __slots__ = ("_gate", "news", "parked", "session")

    def __init__(self, session: SharedHttp2Session) -> None:
        self.session = session
        self.news = False
        self.parked = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self, budget_ns: int) -> None:
        """Wait for room, or for the end, at most so long."""
        self._await(budget_ns)


class SharedHttp2OpeningStream(SharedHttp2Stream):
    """See the module.

    Attributes:
        room: what its sender waits with.
    """

    __slots__ = ("room",)

    ends_at_head = False

    def __init__(self, session: SharedHttp2Session) -> None:
        super().__init__(session)
        self.room = RoomWaiter(session)

    def start(
        self,
        method: str,
        head: bytes,
        source: BodySource | None = None,
        expected: Expectation | None = None,
        *,
        wait_for_continue: bool = False,
    ) -> None:
        """As SharedHttp2Stream's, of a request that opens a WebSocket by HTTP/1.1."""
        super().start("CONNECT", head, source, expected, wait_for_continue=wait_for_continue)

    def _encode(self, engine: Engine, head: bytes) -> bytes:
        return engine.encoder.encode(fields_of_upgrade(head, self.session.scheme))

    def finish(self) -> bool:
        """As SharedHttp2Stream's; nobody else is to have it."""
        super().finish()
        return False

    def on_news(self) -> None:
        super().on_news()
        if self.failure is not None or self.state == CLOSED:
            self.room.tell()

    def on_room(self) -> None:
        super().on_room()
        self.room.tell()

    def abort(self) -> None:
        super().abort()
        session = self.session
        with session.lock:
            self.room.tell()
            if session.reader is self.room:
                session.waker.wake()

    # For the duplex

    def put(self, view: memoryview) -> int:
        """Put as much of `view` into the output as there is room for; how much that is.

        Raises:
            TurbosockError: the stream has ended.
        """
        session = self.session
        with session.lock:
            if self.state in (CLOSED, HALF_CLOSED_LOCAL):
                raise self.failure or WriteError("the peer has ended the stream: nothing more can be sent")
            try:
                session.lend_output()
                count = max(session.engine.send_data(self, view, False), 0)
                if not count:
                    session.engine.wait_for_room(self)
            except BaseException as error:
                session.break_off(error)
                raise
            self.bytes_out += count
            session.flush_soon()
            return count

    def has_left(self) -> bool:
        """Whether the output is empty; else `room` is told when it is."""
        session = self.session
        with session.lock:
            if session.closed or not session.engine.unsent:
                return True
            session.engine.wait_for_room(self)
            return False

    def forget_target(self) -> int:
        """The reader's memory is another's from here on; how many bytes came into it, or -1."""
        with self.session.lock:
            filled = self._filled
            self._target = None
            self._room = 0
            self._filled = 0
            if filled:
                self.take_note(filled)
            return filled or -1

    def end_our_half(self) -> None:
        """Where the peer has ended the stream in good order: end it, too."""
        session = self.session
        with session.lock:
            if self.state == HALF_CLOSED_REMOTE and not session.closed:
                session.lend_output()
                session.engine.send_data(self, _NOTHING, True)
                session.flush_soon()


class StreamDuplex(Duplex):
    """Over a stream.

    Args:
        stream: owned from here on.
        write_ns: for how long the peer may take nothing of what is sent.
        abandon: closes the stream later and elsewhere; for finalizers.
        now_ns: tells the time.
    """

    __slots__ = ("_abandon", "_stream")

    def __init__(
        self,
        stream: SharedHttp2OpeningStream,
        write_ns: int,
        abandon: Callable[[SharedHttp2OpeningStream], None],
        now_ns: Callable[[], int],
    ) -> None:
        # What a Duplex has a transport for, a stream does as well.
        super().__init__(stream, write_ns, now_ns)  # type: ignore[arg-type]
        self._stream = stream
        self._abandon = abandon

    def receive(self, view: memoryview, budget_ns: int) -> int:
        stream = self._stream
        end_ns = self._now_ns() + budget_ns
        while (count := stream.read_body(view)) < 0:
            if stream.state == CLOSED:
                # What came with its end is received first, and raised; or else this side gave it up.
                count = stream.read_body(view)
                if count >= 0:
                    break
                stream.forget_target()
                raise ReadError("the stream was given up", origin=Origin.LOCAL)
            left_ns = end_ns - self._now_ns()
            if left_ns <= 0:
                count = stream.forget_target()
                break
            stream.await_readable(left_ns)
        if count > 0:
            self.bytes_in += count
        return count

    def await_readable(self, budget_ns: int) -> bool:
        end_ns = self._now_ns() + budget_ns
        self._stream.await_readable(budget_ns)
        # For whatever came of the stream: a receive tells.
        return self._now_ns() < end_ns

    def send(self, view: memoryview | bytes, budget_ns: int) -> int:
        stream = self._stream
        room = stream.room
        size = len(view)
        sent = 0
        now_ns = self._now_ns()
        end_ns = now_ns + budget_ns
        quiet_ns = now_ns + self._write_ns
        while sent < size:
            room.news = False
            count = stream.put(memoryview(view)[sent:])
            now_ns = self._now_ns()
            if count:
                sent += count
                self.bytes_out += count
                quiet_ns = now_ns + self._write_ns
                continue
            left_ns = min(end_ns, quiet_ns) - now_ns
            if left_ns <= 0:
                return sent
            room.wait(left_ns)
        # What the socket has not taken would stay here until somebody waits for something.
        while not stream.has_left():
            left_ns = min(end_ns, quiet_ns) - self._now_ns()
            if left_ns <= 0:
                break
            room.wait(left_ns)
        return sent

    def close(self) -> None:
        self._stream.end_our_half()
        self._stream.close()

    def drop(self) -> None:
        # In a finalizer no lock can be waited for; in the child of a fork there is nothing to close.
        if not self._stream.session.closed:
            self._abandon(self._stream)
