"""HTTP/2 under threads: a session that many threads share, each with a stream of its own.

There is no helper thread. Of the threads that wait for something, one holds the *baton*: it waits for the socket, reads
what came and hands each stream what is its own, waking the threads concerned. When it has what it wanted, or its time
is over, it passes the baton to another one that waits. Whoever sends does so itself, at once.

Invariants: engine, output and transport are touched under `lock` alone, which is never held while anything waits; the
baton has one holder at most, and where somebody waits somebody holds it; a thread that is woken finds out for itself
what for, so that no wake-up is lost and none does harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.connection.http2_session import Http2Session
from turbosock.connection.http2_stream import Http2Stream
from turbosock.errors import ConnectionClosed
from turbosock.protocol.http2.frames import HEADER_BYTES
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.poller import READABLE, WRITABLE
from turbosock.reactor.sockets import local_error
from turbosock.reactor.waker import Waker

if TYPE_CHECKING:
    from turbosock.client.shared_http2_opening import SharedHttp2OpeningStream
    from turbosock.config import Config
    from turbosock.connection.http1 import Expectation
    from turbosock.connection.receive_ring import RingPool
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.transport.transport import SaeaTransport

_PING_NS: Final = int(limits.HTTP2_PING_S * NS_PER_S)
# How often a thread that sleeps looks whether the baton was lost to an interrupt.
_LOOK_NS: Final = int(limits.HTTP2_BATON_LOOK_S * NS_PER_S)


class BatonWaiter:
    """What a thread waits with, for whatever the session brings; mixed into streams.

    Attributes:
        session: whose baton it may hold.
        news: whether something changed since the thread last looked.
        parked: whether its thread sleeps at the gate.
    """

    __slots__ = ()

    # Each kind has these as slots of its own. The gate is held, but for the moment in which its thread is woken.
    session: SharedHttp2Session
    news: bool
    parked: bool
    _gate: threading.Lock

    def tell(self) -> None:
        """Under the lock: there is news."""
        self.news = True  # type: ignore[misc]  # a slot of each kind
        if self.parked:
            self.wake()

    def wanted_bytes(self) -> int:
        """How much is worth being received before the thread, which reads, looks at what it has."""
        return 0 if self.news else limits.TURN_QUANTUM_BYTES

    def wake(self) -> None:
        """Let the thread see for itself what there is."""
        self.parked = False  # type: ignore[misc]  # a slot of each kind
        self._gate.release()

    def _await(self, budget_ns: int) -> None:
        session = self.session
        lock = session.lock
        end_ns = self.session.now_ns() + budget_ns
        try:
            while True:
                with lock:
                    if session.engine.unsent:
                        session.flush_soon()
                    left_ns = end_ns - self.session.now_ns()
                    if self.news or session.closed or left_ns <= 0:
                        self.news = False  # type: ignore[misc]  # a slot of each kind
                        session.pass_baton(self)
                        return
                    reads = session.reader is None or session.reader is self
                    if reads:
                        session.reader = self
                        wait_ns = session.prepare_wait(left_ns)
                        write = session.transport.wants_write
                        read = not session.pushes_back
                    else:
                        self.parked = True  # type: ignore[misc]  # a slot of each kind
                        session.parked[self] = None
                if not reads:
                    self._gate.acquire(timeout=min(left_ns, _LOOK_NS) / NS_PER_S)
                    with lock:
                        self._unpark()
                elif wait_ns:
                    mask = session.waiter.wait(wait_ns, write, read)
                    if mask:
                        with lock:
                            session.take_ready(mask, write)
        except BaseException:
            # First, and without a call: what nobody has, somebody takes.
            if session.reader is self:
                session.reader = None
            with lock:
                self._unpark()
                session.pass_baton(self)
            raise

    def _unpark(self) -> None:
        """Awake: the gate is closed behind it, whether it was opened in time or not."""
        self.session.parked.pop(self, None)
        self.parked = False  # type: ignore[misc]  # a slot of each kind
        self._gate.acquire(blocking=False)


class SharedHttp2Stream(BatonWaiter, Http2Stream):
    """A stream whose exchange a thread waits for."""

    __slots__ = ("_filled", "_gate", "_over", "_room", "_target", "news", "parked")

    session: SharedHttp2Session
    takes_runs = True

    def __init__(self, session: SharedHttp2Session) -> None:
        super().__init__(session)
        self.news = False
        self.parked = False
        self._gate = threading.Lock()
        self._gate.acquire()
        # Where the thread wants its payload, while it waits for it, what is there already, and what else has room.
        self._target: memoryview | None = None
        self._filled = 0
        self._room = 0
        # A source that nothing is taken from any more.
        self._over: BodySource | None = None

    # Steps. The session's lock is held for what concerns the engine, and never while code of the user runs.

    def start(
        self,
        method: str,
        head: bytes,
        source: BodySource | None = None,
        expected: Expectation | None = None,
        *,
        wait_for_continue: bool = False,
    ) -> None:
        self.news = False
        super().start(method, head, source, expected, wait_for_continue=wait_for_continue)

    def _open(self, head: bytes) -> bool:
        with self.session.lock:
            opened = super()._open(head)
        self._close_over()
        return opened

    def _put_block(self) -> bool:
        # The last block ends the request, which forgets it.
        progress = self._progress
        with self.session.lock:
            put = super()._put_block()
        if progress is not None:
            progress.look(len(self._block))
        self._close_over()
        return put

    def _note_sent(self) -> None:
        """Told of after the lock was given back."""

    def _put_end(self) -> bool:
        with self.session.lock:
            put = super()._put_end()
        self._close_over()
        return put

    def _close_source(self, source: BodySource) -> None:
        """Closed after the lock was given back, by `_close_over()`."""
        self._over = source

    def _close_over(self) -> None:
        source = self._over
        if source is not None:
            self._over = None
            source.close()

    def abandon_request(self) -> None:
        super().abandon_request()
        self._close_over()

    def read_head(self) -> ResponseHead | None:
        if self._interim_heads:
            self._pass_interims_on()
        with self.session.lock:
            if self._interim_heads:
                # It came at this very moment, and comes first: the thread does not sleep before it was looked at.
                self.news = True
                return None
            head = self._take_head()
            if head is not None and self.ended and self.decoded is None and self.trailers is None:
                ring = self.backlog.take_ring() if self.backlog.length else self.session.rings.rent()
                if ring is not None:
                    # All of the answer: the response takes the memory with it.
                    self.read += ring.length
                    self.ring = ring
                    self.whole = True
            return head

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        if count <= self._room:
            self._copy_run(root, start, count, 1)
            return
        taken = self._room
        if taken:
            self._copy_run(root, start, taken, 1)
        super().on_data(root, start + taken, count - taken)

    def wanted_bytes(self) -> int:
        return super().wanted_bytes() if self._target is None else self._room

    def on_run(self, root: memoryview, start: int, count: int, times: int) -> None:
        if count * times <= self._room:
            self._copy_run(root, start, count, times)
        else:
            super().on_run(root, start, count, times)

    def _copy_run(self, root: memoryview, start: int, count: int, times: int) -> None:
        """Copy payload to where it is wanted, where there is room for it."""
        before = filled = self._filled
        for at in range(start, start + times * (count + HEADER_BYTES), count + HEADER_BYTES):
            # By no name of its own: the frames of an interrupt would hold memory that another thread reads into.
            self._target[filled : filled + count] = root[at : at + count]  # type: ignore[index]  # there is room in it
            filled += count
        self.bytes_in += filled - before
        self._room -= filled - before
        self._filled = filled

    def read_body(self, view: memoryview) -> int:
        with self.session.lock:
            filled = self._filled
            self._target = None
            self._room = 0
            if filled:
                # Into the same memory, which was asked for before.
                self._filled = 0
                self.take_note(filled)
                return filled
            count = super().read_body(view)
            if count < 0:
                self._target = view
                self._room = len(view)
            return count

    @property
    def complete(self) -> bool:
        return self.ended and not self._filled and not self.backlog.length

    def finish(self) -> bool:
        with self.session.lock:
            free = super().finish()
            self.session.take_rest()
        self._close_over()
        return free

    def drain(self) -> bool:
        with self.session.lock:
            return super().drain()

    def close(self) -> None:
        with self.session.lock:
            super().close()
            self.session.take_rest()
        self._close_over()

    def abort(self) -> None:
        session = self.session
        with session.lock:
            super().abort()
            self.on_news()
            if session.reader is self:
                session.waker.wake()

    def is_quiet(self) -> bool:
        with self.session.lock:
            self.session.look()
            quiet = super().is_quiet()
            if not quiet:
                # Whoever waits next has something to see, told of already or not.
                self.news = True
            return quiet

    def _let_go(self) -> None:
        self._target = None
        self._room = 0
        self._filled = 0
        ring = self.ring
        if ring is not None:
            self.ring = None
            self.session.rings.give_back(ring)
        super()._let_go()

    # News, told under the lock

    def on_news(self) -> None:
        self.news = True
        if self.parked:
            self.wake()

    def on_room(self) -> None:
        self.on_news()

    # Waiting

    def await_readable(self, budget_ns: int) -> None:
        """Let the next step find news, waiting at most so long."""
        self._await(budget_ns)

    def await_writable(self, budget_ns: int) -> None:
        """As await_readable: room is news, too."""
        self._await(budget_ns)


class SharedHttp2Session(Http2Session):
    """A session of a Client.

    Attributes:
        now_ns: tells the time.
        lock: guards everything here, and the streams.
        reader: who has the baton.
        parked: streams whose threads sleep, in the order in which they began to.
        waiter: what the reader waits with.
        waker: ends the reader's wait.
    """

    __slots__ = ("_heard_ns", "_pinged", "lock", "now_ns", "parked", "reader", "waiter", "waker")

    def __init__(
        self,
        transport: SaeaTransport,
        rings: RingPool,
        scheme: str,
        config: Config,
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.lock = threading.RLock()
        self.reader: BatonWaiter | None = None
        self.parked: dict[BatonWaiter, None] = {}
        self.now_ns = now_ns
        # When something came last, and whether a sign of life was asked for since.
        self._heard_ns = self.now_ns()
        self._pinged = False
        super().__init__(
            transport,
            rings,
            scheme,
            max_head_bytes=config.max_head_bytes,
            max_head_fields=config.max_head_fields,
            decodes=config.decode,
            initial_window=config.http2.initial_window_bytes,
            max_streams=config.http2.max_streams,
        )
        try:
            self.waker = Waker()
        except OSError as error:
            raise local_error("share a connection between threads", error) from error
        self.waiter = transport.make_wakeable_waiter(self.waker)

    def make_stream(self) -> SharedHttp2Stream:
        return SharedHttp2Stream(self)

    def vacate(self) -> Http2Stream | None:
        with self.lock:
            return super().vacate()

    def vacate_for_websocket(self) -> SharedHttp2OpeningStream | None:
        """A stream on which a WebSocket is to be opened; None: the peer takes none, or no further one."""
        with self.lock:
            self.look()
            if self.closed or not self.engine.remote.enable_connect_protocol or len(self.streams) >= self.places:
                return None
            # Not with the module: few programs open WebSockets.
            from turbosock.client.shared_http2_opening import SharedHttp2OpeningStream

            stream = SharedHttp2OpeningStream(self)
            self.streams.add(stream)
            return stream

    def begin(self) -> None:
        with self.lock:
            super().begin()

    def close(self) -> None:
        with self.lock:
            super().close()

    def flush_soon(self) -> None:
        self.flush()
        if self.reader is not None and self.transport.wants_write:
            # It waits for bytes alone.
            self.waker.wake()

    def flush_request(self) -> None:
        """Leave it to the wait that follows: of threads that come at once, the first there sends for all of them."""

    # The baton

    def wanted_bytes(self) -> int:
        reader = self.reader
        if reader is None or len(self.engine.streams) != 1:
            # It reads for others, too, or for none.
            return limits.TURN_QUANTUM_BYTES
        return reader.wanted_bytes()

    def prepare_wait(self, budget_ns: int) -> int:
        """For the reader, under the lock: how long it may wait for the socket without it, on behalf of all.

        0: it need not wait, something was done already.
        """
        if self.transport.readable and not self.pushes_back:
            self._take_all()
            return 0
        now_ns = self.now_ns()
        ping_ns = self._heard_ns + _PING_NS - now_ns
        if ping_ns <= 0:
            try:
                self._ask_for_life(now_ns)
            except BaseException as error:
                self.break_off(error)
                raise
            return 0
        return min(budget_ns, ping_ns)

    @property
    def pushes_back(self) -> bool:
        """Whether nothing more is received until the peer has read the replies to what it sent."""
        ring = self.ring
        return ring is not None and ring.length == ring.capacity and self.transport.wants_write

    def take_ready(self, mask: int, write: bool) -> None:
        """For the reader, under the lock: the socket is ready."""
        transport = self.transport
        if mask & WRITABLE and write and not self.closed:
            try:
                transport.on_ready(WRITABLE)
            except BaseException as error:
                self.break_off(error)
                raise
        if mask & READABLE and not self.closed:
            transport.readable = True
            self._take_all()

    def look(self) -> None:
        """Take what has come, without a wait, unless another thread does so anyway."""
        if not self.closed and self.reader is None:
            self.look_at_socket()

    def look_at_socket(self) -> None:
        """As `look()`, for whoever reads."""
        if self.transport.readable or self.waiter.wait(0, False) & READABLE:
            self.transport.readable = True
            self._take_all()

    def _take_all(self) -> None:
        """Receive until the socket is drained, or a quantum has come: the thread has a deadline to look at."""
        if self.receive():
            self._heard_ns = self.now_ns()
            self._pinged = False

    def take_rest(self) -> None:
        """An exchange is over: after the last one take what its reader left unread, or the ring is kept for it."""
        if self.ring is None or self.engine.streams or self.reader is not None or self.closed:
            return
        if self.transport.readable:
            self._take_all()
        self.rest()

    def _ask_for_life(self, now_ns: int) -> None:
        self.look_at_socket()
        if self.closed or self._heard_ns >= now_ns:
            # It has spoken while nobody read.
            return
        if self._pinged:
            self.fail(
                ConnectionClosed(
                    f"the peer answered no PING for {limits.HTTP2_PING_S:.0f} s: the connection is dead; try again",
                    code="no_pong",
                )
            )
            return
        self._pinged = True
        self._heard_ns = now_ns
        self.lend_output()
        self.engine.ping(b"alive?\0\0")
        self.flush_soon()

    def pass_baton(self, stream: BatonWaiter) -> None:
        """The thread of `stream` waits no more: somebody else reads, where somebody waits."""
        if self.reader is stream:
            self.reader = None
        if self.reader is None:
            if self.closed:
                self.waker.close()
            for other in self.parked:
                if other.parked:
                    other.wake()
                    return

    def drop(self) -> None:
        # Threads that are not here may have held it.
        self.lock = threading.RLock()
        self.reader = None
        self.parked.clear()
        super().drop()
        self.waker.drop()

    def _end(self) -> None:
        super()._end()
        for stream in tuple(self.parked):
            if stream.parked:
                stream.wake()
        if self.reader is None:
            self.waker.close()
        else:
            # It closes the waker when it has looked.
            self.waker.wake()
