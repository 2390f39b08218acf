"""One turn of a loop: wait, put what is ready in line, step it; timers, look-ups and wake-ups in between.

A `Handler` is whatever is registered for a descriptor: a transport, a dial, a listener. `collect()` waits and puts each
ready handler at the end of the line with what the poller said of it; `step()` takes the first one and calls its
`on_ready(mask)`. A handler that could do more than one step's worth goes to the back of the line with `requeue()`, so
that a flood on one connection cannot starve another. The line carries over from turn to turn: a caller out of time
leaves, and the rest is served first in the next turn. What a turn may do only so often, as the costly steps of TLS
handshakes, waits for the next turn with `defer()`, however much time this one has left.

Invariants: a handler stands in line at most once (`queued`); what it is told is what was found since it was last
served; one thread at a time runs a reactor, and only `waker.wake()` is for others. Budgets are the caller's.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from turbosock import limits
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock, virtual
from turbosock.reactor.poller import OUT, READABLE, WRITABLE, make_poller
from turbosock.reactor.resolver import Resolver
from turbosock.reactor.sockets import local_error
from turbosock.reactor.timers import TimerHeap
from turbosock.reactor.waker import Waker

# What makes a descriptor both readable and writable: an error or a hang-up, which flushing leaves to a turn.
_BROKEN: Final = WRITABLE & READABLE


class Handler(Protocol):
    """Something registered with a reactor.

    Attributes:
        mask: what was found and not delivered yet; the reactor's to write.
        queued: whether it stands in line; the reactor's to write.
    """

    mask: int
    queued: bool

    def on_ready(self, mask: int) -> None:
        """The descriptor is readable, writable or both (compare with READABLE and WRITABLE)."""


class _Awakened:
    """The waker's place in the poller: wake-ups need a drain and nothing else."""

    __slots__ = ("_waker", "mask", "queued")

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self.mask = 0
        self.queued = False

    def on_ready(self, mask: int) -> None:
        self._waker.drain()


class Reactor:
    """Descriptors, deadlines and names of one loop.

    Args:
        poller: "epoll", "poll" or "select"; None takes the best one.
        clock: tells the time of timers; where it is virtual, waits let it pass, for what puts itself in line.
        custom: what names are asked of instead of the system; see `CustomResolver`.

    Attributes:
        line: handlers that are ready, in the order in which they will be served.
        timers, resolver, waker: what they are called.
        bytes_in, bytes_out: moved by all transports of this reactor.
        handshakes_left: steps of listeners' TLS handshakes that this turn may still take; who takes one counts it down.

    Raises:
        InvalidOption: there is no such poller.
        NetworkError: the system has no descriptors to give; `code` is "exhausted".
    """

    __slots__ = (
        "_deferred",
        "_poller",
        "_virtual",
        "_writers",
        "bytes_in",
        "bytes_out",
        "clock",
        "closed",
        "handshakes_left",
        "line",
        "resolver",
        "timers",
        "waker",
    )

    def __init__(self, poller: str | None = None, clock: Clock = SYSTEM_CLOCK, custom: object = None) -> None:
        self.clock = clock
        self._virtual = virtual(clock)
        self.closed = False
        self.line: deque[Handler] = deque()
        # Descriptors that are watched for writing.
        self._writers: set[int] = set()
        self._deferred: deque[Handler] = deque()
        self.handshakes_left = limits.MAX_HANDSHAKES_PER_TURN
        self.timers = TimerHeap()
        # As a transport's.
        self.bytes_in = 0.0
        self.bytes_out = 0.0
        try:
            with contextlib.ExitStack() as opened:
                self._poller = opened.enter_context(contextlib.closing(make_poller(poller)))
                self.waker = opened.enter_context(contextlib.closing(Waker()))
                self.resolver = Resolver(clock=clock, waker=self.waker, custom=custom)
                self._poller.register(self.waker.fileno(), True, False, _Awakened(self.waker))
                opened.pop_all()
        except OSError as error:
            raise local_error("make a loop", error) from error

    def register(self, fd: int, handler: Handler, *, read: bool, write: bool) -> None:
        """Watch a descriptor on behalf of `handler`.

        Raises:
            NetworkError: the system cannot watch another one; `code` is "exhausted".
            LimitError: the descriptor's number is beyond what select() takes.
        """
        try:
            self._poller.register(fd, read, write, handler)
        except OSError as error:
            raise local_error("watch a socket", error) from error
        if write:
            self._writers.add(fd)

    def set_interest(self, fd: int, *, read: bool, write: bool) -> None:
        """Change what is reported of a registered descriptor.

        Raises:
            NetworkError: the system cannot; `code` is "exhausted". What was reported is reported still.
        """
        try:
            self._poller.modify(fd, read, write)
        except OSError as error:
            raise local_error("watch a socket", error) from error
        if write:
            self._writers.add(fd)
        else:
            self._writers.discard(fd)

    def unregister(self, fd: int) -> None:
        """Forget a descriptor, before it is closed; its handler leaves the line when its turn comes."""
        handler = self._poller.tokens.get(fd)
        if handler is not None:
            handler.mask = 0
            self._writers.discard(fd)
            self._poller.unregister(fd)

    def collect(self, timeout_s: float) -> None:
        """Wait until something is ready, a timer is due or the time passed; put what is ready in line.

        Raises:
            LimitError: as look-ups and timers raise it.
            NetworkError: the system cannot wait, for want of memory; `code` is "exhausted".
        """
        self.handshakes_left = limits.MAX_HANDSHAKES_PER_TURN
        if self._deferred:
            self.line += self._deferred
            self._deferred.clear()
        if self.line:
            timeout_s = 0.0
        elif timeout_s > 0:
            due_ns = self.timers.next_deadline_ns()
            if due_ns is not None:
                left_ns = due_ns - self.clock.now_ns()
                if left_ns < timeout_s * NS_PER_S:
                    timeout_s = left_ns / NS_PER_S if left_ns > 0 else 0.0
        if self._virtual is not None:
            # Without time, too: what is due by now is to happen.
            self._virtual.wait(round(timeout_s * NS_PER_S), self._is_busy)
            timeout_s = 0.0
        poller = self._poller
        try:
            ready = poller.wait(timeout_s)
        except OSError as error:
            raise local_error("wait for sockets", error) from error
        line = self.line
        tokens = poller.tokens
        at = 0
        count = len(ready)
        # An iterator would be an object in each turn, and unpacking one for each pair where calls are traced.
        while at < count:
            pair = ready[at]
            at += 1
            handler = tokens.get(pair[0])
            if handler is None:
                # Unregistered since the kernel reported it.
                continue
            handler.mask |= pair[1]
            if not handler.queued:
                handler.queued = True
                line.append(handler)
        while len(ready) >= poller.batch:
            # More may be ready than one call reports. What repeats is in line already, so this ends when the
            # kernel's list has gone round.
            before = len(line)
            ready = poller.wait(0)
            for fd, mask in ready:
                handler = tokens.get(fd)
                if handler is not None:
                    handler.mask |= mask
                    if not handler.queued:
                        handler.queued = True
                        line.append(handler)
            if len(line) == before:
                break

    def _is_busy(self) -> bool:
        return bool(self.line)

    def handlers(self) -> list[Handler]:
        """Those of every registered descriptor."""
        return list(self._poller.tokens.values())

    def handler_of(self, fd: int) -> Handler | None:
        """That of a descriptor, or None: it is not registered."""
        return self._poller.tokens.get(fd)

    def step(self) -> None:
        """Serve the first handler in line."""
        handler = self.line.popleft()
        handler.queued = False
        mask = handler.mask
        if mask:
            handler.mask = 0
            handler.on_ready(mask)

    def requeue(self, handler: Handler, mask: int) -> None:
        """Put a handler at the back of the line: it has more to do, or holds bytes that no poller reports.

        `mask` is IN or OUT: what it will do when its turn comes. The bits of errors would keep a flush from it.
        """
        handler.mask |= mask
        if not handler.queued:
            handler.queued = True
            self.line.append(handler)

    def defer(self, handler: Handler, mask: int) -> None:
        """As `requeue`, but not before the next turn, even if this one has time left."""
        handler.mask |= mask
        if not handler.queued:
            handler.queued = True
            self._deferred.append(handler)

    def mend(self) -> None:
        """A turn broke off: a handler that fell out of the line, on the way to its step, stands in it again."""
        standing = {id(handler) for handler in (*self.line, *self._deferred)}
        for handler in self._poller.tokens.values():
            if handler.queued and id(handler) not in standing:
                self.line.append(handler)

    @property
    def backlog(self) -> int:
        """How many handlers wait to be served."""
        return len(self.line) + len(self._deferred)

    def flush_writable(self) -> None:
        """Serve what is waiting to write and can, without touching what is waiting to be read."""
        if not (self._writers or self.line or self._deferred):
            return
        self.collect(0.0)
        line = self.line
        for _ in range(len(line)):
            if not line:
                # A handler closed the reactor.
                break
            handler = line.popleft()
            mask = handler.mask
            if mask & OUT and not mask & _BROKEN:
                handler.mask = mask & ~OUT
                handler.on_ready(OUT)
            if handler.mask:
                line.append(handler)
            else:
                handler.queued = False

    def expire_timers(self, end_ns: int | None = None, begun_ns: int | None = None) -> bool:
        """Call the targets of the timers that are due; whether `end_ns` came before all were called.

        Without `end_ns` those that were due when the turn began, if `begun_ns` tells that.
        """
        timers = self.timers
        if end_ns is None:
            timers.expire(self.clock.now_ns() if begun_ns is None else begun_ns)
            return False
        now_ns = self.clock.now_ns()
        due_ns = timers.next_deadline_ns()
        while due_ns is not None and due_ns <= now_ns:
            timers.expire(now_ns, 1)
            due_ns = timers.next_deadline_ns()
            now_ns = self.clock.now_ns()
            if now_ns >= end_ns:
                return due_ns is not None and due_ns <= now_ns
        return False

    def next_deadline_ns(self) -> int | None:
        """When the reactor wants to run again without any descriptor being ready; None: never."""
        if self.line or self._deferred:
            return self.clock.now_ns()
        return self.timers.next_deadline_ns()

    def drop(self) -> list[Handler]:
        """In the child of a fork: close the copies of what is the parent's, who notices nothing.

        Nothing is taken out of an epoll set, which both processes share.

        Returns:
            What was registered, for the caller to drop.
        """
        self.closed = True
        handlers: list[Handler] = [
            handler for handler in self._poller.tokens.values() if not isinstance(handler, _Awakened)
        ]
        self._poller.close()
        self.waker.drop()
        self.resolver.close()
        self.line.clear()
        self._deferred.clear()
        return handlers

    def close(self, close_handler: Callable[[Handler], object]) -> None:
        """Stop the resolver, close what is registered through `close_handler`, and the poller; idempotent."""
        if self.closed:
            return
        self.closed = True
        self.resolver.close()
        self.line.clear()
        self._deferred.clear()
        for fd, handler in list(self._poller.tokens.items()):
            if isinstance(handler, _Awakened):
                self._poller.unregister(fd)
            else:
                close_handler(handler)
        self._poller.close()
        self.waker.close()
