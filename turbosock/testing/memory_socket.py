"""MemorySocket: one connection in memory: the client's end, which behaves as a connected socket, and its peer's means.

Time: a peer may answer later. Under a Loop that is a timer on the Loop's own clock. For a Client it is the clock that
the socket was made with: the system's, or a ManualClock, which a wait moves on to what comes within its limit, so that
nobody sleeps; waits that nothing ends take their real time.

As on Linux: bytes that came before an end or a reset are received before it; the first send to a peer that has left is
taken and lost.

Invariants: what is delivered arrives once, in order; `delay_s` never lets later bytes overtake earlier ones; a peer is
told once that its client has gone. What a peer of a Loop's connection puts off, it puts off on the Loop's thread;
without a delay it may act on any thread.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket as socket_module
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock, ManualClock
from turbosock.reactor.context import Buffer
from turbosock.testing.memory_peer import MemoryPeer

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.timers import Timer
    from turbosock.transport.connector import Target

_monotonic_ns = time.monotonic_ns
_get_ident = threading.get_ident

# What stands where a real socket's descriptor does: no process has so many, so that a stray system call fails.
_FIRST_NUMBER: Final = 1 << 30

# As good as no limit, which is what a socket has at first.
_FOREVER_NS: Final = int(limits.MAX_TIMEOUT_S) * NS_PER_S

# Guards the bytes that a peer holds, which one thread may send while another reads them.
_held_lock = threading.Lock()

# What happens at the peer's end other than bytes, in the order of deliveries.
_END: Final = object()
_LEAVE: Final = object()
_RESET: Final = object()


class MemorySocket:
    """One connection: the client's end, as a socket, and the means of its peer.

    Args:
        peer: who answers.
        target: what was asked for.
        clock: tells when delayed bytes arrive.

    Attributes:
        target: what was asked for: scheme, host, port, path.
        user: the peer's, for what it remembers of this connection.
        closed: whether the client has closed it.
        receive_timeout_ns, send_timeout_ns: for how long a blocking call waits.
    """

    __slots__ = (
        "__weakref__",
        "_blocking",
        "_broken",
        "_clock",
        "_condition",
        "_ended",
        "_held",
        "_incoming",
        "_later",
        "_left",
        "_notice",
        "_number",
        "_offset",
        "_on_close",
        "_peer",
        "_reactor",
        "_shut",
        "_timer",
        "_told",
        "_waiters",
        "_window",
        "closed",
        "receive_timeout_ns",
        "send_timeout_ns",
        "target",
        "user",
    )

    _numbers = itertools.count(_FIRST_NUMBER)

    def __init__(
        self,
        peer: MemoryPeer,
        target: Target | None = None,
        clock: Clock = SYSTEM_CLOCK,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self._peer = peer
        self.target = target
        self.user: object = None
        self.closed = False
        self.receive_timeout_ns = _FOREVER_NS
        self.send_timeout_ns = _FOREVER_NS
        self._clock = clock
        self._on_close = on_close
        self._number = next(self._numbers)
        self._blocking = True
        # To the client: pieces, and how much of the first one was received.
        self._incoming: deque[bytes] = deque()
        self._offset = 0
        self._ended = False
        self._broken = 0
        # From the client: whether it will send no more, and whether anybody is there to take it.
        self._shut = False
        self._left = False
        self._told = False
        # Bytes that a peer which does not read leaves standing, and how many may.
        self._held: bytearray | None = None
        self._window = 0
        # What happens later: (not before when, what), in the order in which it will.
        self._later: deque[tuple[int, object]] | None = None
        self._timer: Timer | None = None
        self._reactor: Reactor | None = None
        self._notice: Callable[[], object] | None = None
        self._condition: threading.Condition | None = None
        self._waiters = 0

    # What the peer calls

    def deliver(self, data: bytes, delay_s: float = 0.0) -> None:
        """Let these bytes arrive, now or later; after the end of the stream they are lost."""
        if data:
            self._happen(data, delay_s)

    def end(self, delay_s: float = 0.0) -> None:
        """End the peer's stream in good order; it goes on reading."""
        self._happen(_END, delay_s)

    def leave(self, delay_s: float = 0.0) -> None:
        """Close the peer's side: its stream ends in good order, and what the client sends meets nobody."""
        self._happen(_LEAVE, delay_s)

    def reset(self, delay_s: float = 0.0) -> None:
        """Break the connection."""
        self._happen(_RESET, delay_s)

    def hold(self, window: int = limits.SEGMENT_BYTES) -> None:
        """Read nothing more until `let_go()`: `window` bytes are taken from the client, then it has to wait."""
        self._window = window
        if self._held is None:
            self._held = bytearray()

    def let_go(self, max_bytes: int | None = None, *, go_on: bool = True) -> None:
        """Read what was held: it comes by `on_bytes`.

        Args:
            max_bytes: at most so many of it; None: all.
            go_on: whether to go on reading. The rest stays held where there is any.
        """
        with _held_lock:
            held = self._held
            if held is None:
                return
            count = len(held) if max_bytes is None else min(max_bytes, len(held))
            data = bytes(held[:count])
            del held[:count]
            if go_on and not held:
                self._held = None
        if data:
            self._peer.on_bytes(self, data)
        self._tell_client()

    @property
    def held(self) -> int:
        """Bytes that the client has sent and the peer not read."""
        return 0 if self._held is None else len(self._held)

    def _happen(self, what: object, delay_s: float) -> None:
        if self.closed:
            return
        if delay_s > 0 or self._later:
            self._put_off(what, delay_s)
            return
        if type(what) is bytes:
            if self._ended or self._broken:
                return
            self._incoming.append(what)
        else:
            self._change(what)
        self._tell_client()

    def _change(self, what: object) -> None:
        if what is _RESET:
            self._broken = errno.ECONNRESET
            self._left = True
        else:
            self._ended = True
            if what is _LEAVE:
                self._left = True

    def _put_off(self, what: object, delay_s: float) -> None:
        later = self._later
        if later is None:
            later = self._later = deque()
        later.append((self._clock.now_ns() + int(delay_s * NS_PER_S), what))
        if self._reactor is None:
            self._tell_client()
        else:
            if self._timer is None:
                self._timer = self._reactor.timers.idle(self)
            self._timer.move(later[0][0])

    def on_timer(self, now_ns: int) -> None:
        """For the reactor: something put off is due."""
        self._catch_up(now_ns)
        if self._later and self._timer is not None and not self.closed:
            self._timer.move(self._later[0][0])

    def _catch_up(self, now_ns: int) -> None:
        """Let happen what is due."""
        later = self._later
        while later and later[0][0] <= now_ns and not self.closed:
            what = later.popleft()[1]
            if type(what) is not bytes:
                self._change(what)
            elif not (self._ended or self._broken):
                self._incoming.append(what)
            self._tell_client()

    def _tell_client(self) -> None:
        notice = self._notice
        if notice is not None:
            notice()
        elif self._waiters:
            assert self._condition is not None, "made by the first who waits"
            with self._condition:
                self._condition.notify_all()

    # What the transport needs beside a socket's own calls

    def drive(self, reactor: Reactor, notice: Callable[[], object]) -> None:
        """From now on a reactor keeps the time, and `notice` is called when the socket may have become ready."""
        self._reactor = reactor
        self._clock = reactor.clock
        self._notice = notice
        if self._later:
            # The peer spoke, or was about to, as soon as the connection stood.
            self._timer = reactor.timers.idle(self)
            self._timer.move(self._later[0][0])

    @property
    def readable(self) -> bool:
        """Whether a receive brings anything: bytes, the end, or what is wrong."""
        return bool(self._incoming) or self._ended or self._broken != 0

    @property
    def writable(self) -> bool:
        """Whether a send does anything, and be it fail."""
        return self._held is None or len(self._held) < self._window or self._left or self._shut

    def wait(self, budget_ns: int, write: bool = False) -> bool:
        """Whether the socket becomes ready within so much time; see the module on whose time."""
        if self._later and self._reactor is None:
            self._catch_up(self._clock.now_ns())
        if self.writable if write else self.readable:
            return True
        if budget_ns <= 0:
            return False
        condition = self._condition
        if condition is None:
            condition = self._condition = threading.Condition()
        end_ns = _monotonic_ns() + budget_ns
        with condition:
            self._waiters += 1
            try:
                return self._wait(condition, end_ns, write)
            finally:
                self._waiters -= 1

    def _wait(self, condition: threading.Condition, end_ns: int, write: bool) -> bool:
        clock = self._clock
        while True:
            if self.writable if write else self.readable:
                return True
            left_ns = end_ns - _monotonic_ns()
            if left_ns <= 0:
                return False
            if self._later and self._reactor is None:
                due_ns = self._later[0][0] - clock.now_ns()
                if due_ns <= 0:
                    self._catch_up(clock.now_ns())
                    continue
                if not isinstance(clock, ManualClock):
                    left_ns = min(left_ns, due_ns)
                elif due_ns <= left_ns:
                    # Time that nobody has to wait for really.
                    end_ns -= due_ns
                    clock.advance(ns=due_ns)
                    continue
            condition.wait(left_ns / NS_PER_S)

    # What a socket has

    def fileno(self) -> int:
        """A number that is no descriptor; -1 once it is closed."""
        return -1 if self.closed else self._number

    def setblocking(self, flag: bool) -> None:
        """Whether calls wait."""
        self._blocking = flag

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        """As a socket's."""
        incoming = self._incoming
        if not incoming:
            if self._later and self._reactor is None:
                self._catch_up(self._clock.now_ns())
            if not incoming:
                if self._blocking and not self.readable:
                    self.wait(self.receive_timeout_ns, False)
                if not incoming:
                    return self._receive_nothing()
        piece = incoming[0]
        room = nbytes or len(buffer)
        offset = self._offset
        size = len(piece) - offset
        if size <= room and len(incoming) == 1:
            # One piece that fits: every small answer.
            buffer[:size] = piece[offset:] if offset else piece
            incoming.popleft()
            self._offset = 0
            return size
        return self._receive_pieces(buffer, room)

    def _receive_nothing(self) -> int:
        self._check_open()
        if self._ended:
            return 0
        if self._broken:
            raise OSError(self._broken, os.strerror(self._broken))
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def _receive_pieces(self, buffer: bytearray | memoryview, room: int) -> int:
        incoming = self._incoming
        filled = 0
        with memoryview(buffer) as view:
            while incoming and filled < room:
                piece = incoming[0]
                offset = self._offset
                count = min(len(piece) - offset, room - filled)
                view[filled : filled + count] = memoryview(piece)[offset : offset + count]
                filled += count
                if offset + count == len(piece):
                    incoming.popleft()
                    self._offset = 0
                else:
                    self._offset = offset + count
        return filled

    def send(self, data: Buffer) -> int:
        """As a socket's; the peer is told at once, and may have answered when this returns."""
        if self._broken or self._shut or self._left or self.closed:
            return self._send_in_vain(len(data))
        if self._held is not None:
            return self._send_held(data)
        self._peer.on_bytes(self, data if type(data) is bytes else bytes(data))
        return len(data)

    def _send_in_vain(self, count: int) -> int:
        self._check_open()
        if self._shut or self._broken:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        # A peer that has left answers the first send with a reset.
        self._broken = errno.ECONNRESET
        return count

    def _send_held(self, data: Buffer) -> int:
        end_ns = _monotonic_ns() + self.send_timeout_ns
        sent = 0
        while sent < len(data):
            held = self._held
            if held is None or self._left or self._shut:
                return sent + self.send(memoryview(data)[sent:])
            room = self._window - len(held)
            if room > 0:
                part = memoryview(data)[sent : sent + room]
                with _held_lock:
                    if self._held is not held:
                        # Read meanwhile, and no longer held.
                        continue
                    held += part
                sent += len(part)
                self._peer.on_held(self)
            elif not (self._blocking and self.wait(end_ns - _monotonic_ns(), True)):
                break
        if not sent:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return sent

    def sendmsg(self, buffers: list[Buffer]) -> int:
        """As a socket's."""
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        """As a socket's; who waits for it wakes up."""
        self._check_open()
        if how != socket_module.SHUT_WR:
            self._ended = True
        if how != socket_module.SHUT_RD:
            self._shut = True
            self._tell_peer()
        self._tell_client()

    def close(self) -> None:
        """As a socket's."""
        if self.closed:
            return
        self.closed = True
        self._later = None
        if self._timer is not None and self._reactor is not None:
            self._reactor.timers.cancel(self._timer)
            self._timer = None
        self._notice = None
        self._reactor = None
        self._incoming.clear()
        self._tell_peer()
        if self._on_close is not None:
            self._on_close()

    def forget(self) -> None:
        """This copy belongs to a process that does not use it: closing it tells nobody."""
        self._told = True
        self._on_close = None

    def _tell_peer(self) -> None:
        if not self._told:
            self._told = True
            self._peer.on_closed(self)

    def _check_open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
