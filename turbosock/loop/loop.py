"""Loop: the ticking face. One `poll()` a frame moves everything that is ready, within a budget.

    loop = turbosock.Loop()
    exchange = loop.request("GET", url, into=buffer)
    while running:
        loop.poll(max_time=0.003)
        for event in loop.events:
            ...

One turn: events of the last turn are recycled; cancelled exchanges end; look-ups are delivered and dials begun; what
is ready is collected and stepped until nothing is left or a budget is spent; timers that are due fire. However small
the budget, a turn begins one dial, takes one step and fires one timer, where they wait; each of these looks at the
time when it is done, and stops. What was not served waits in line, in order.

Invariants: one thread runs a Loop; `wakeup()` and `Exchange.cancel()` are the calls that another may make; a network
failure is an event, never an exception out of `poll()`; what is not ours to handle (no memory, an interrupt) is raised
by the call that met it, after the exchange concerned has ended.

A Loop belongs to the process that made it. In the child of a fork its copy is closed: descriptors are shared, an epoll
set among them, so the child closes its copies of them, says nothing to any peer and unlinks no path. The parent's Loop
goes on.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from turbosock import limits
from turbosock.client.loop_requests import here
from turbosock.config import check_seconds
from turbosock.errors import InvalidOption, StateError
from turbosock.loop.ending import close
from turbosock.loop.listening import LoopListening
from turbosock.loop.requesting import LoopRequesting
from turbosock.loop.snapshot import snapshot
from turbosock.loop.work import work
from turbosock.loop_stats import LoopStats
from turbosock.poll_result import PollResult, Stop
from turbosock.reactor.clock import NS_PER_S

# Bound once: before 3.12 each look-up of an enum's member makes an object.
_IDLE: Final = Stop.IDLE

NESTED = "{}() was called inside poll() or flush(), by a handler or another thread: call it between turns"


class Loop(LoopRequesting, LoopListening):
    """A ticking engine: requests, and listeners, driven by `poll()`.

    Args:
        config: as for Client; `transport` does not matter here, a Loop's sockets never block.
        middleware: links around every exchange, outermost first; see `turbosock.Middleware`.
        clock: tells the time; None: the connector's, or the system's.
        connector: makes the connections of requests instead of the network, or stands around them; None: the network.
        redirects, retries, auth, cookies: as for Client.

    Attributes:
        events: what happened; iterate it after each `poll()`.

    Raises:
        InvalidOption: an argument is not what it should be; it is named.
        NetworkError: the system has no descriptors to give; `code` is "exhausted".
    """

    # The turn

    def poll(
        self,
        timeout: float | None = 0.0,
        *,
        max_time: float | None = None,
        max_events: int | None = None,
        max_bytes: int | None = None,
    ) -> PollResult:
        """One turn: wait at most `timeout`, then work within the budgets.

        Args:
            timeout: seconds to wait when nothing is ready, and no event of an earlier turn was left in `events`; None
                waits for the next event or deadline.
            max_time: seconds of work, the wait not counted.
            max_events: events that this turn may deliver.
            max_bytes: bytes that this turn may receive.

        Returns:
            The result, valid until the next call. Also where a handler closes the loop: the turn ends there, with
            nothing delivered, and the next call raises.

        Raises:
            ClientClosed: after `close()`, or in the child of a fork.
            InvalidOption: a budget is not a positive number.
            NetworkError: the system cannot wait, for want of memory; `code` is "exhausted".
            StateError: called by a handler, inside a turn.
        """
        if self.closed:
            raise self._closed_error("poll() needs")
        if timeout is None:
            timeout = limits.MAX_POLL_WAIT_S
        elif timeout != 0.0:
            check_seconds("timeout", timeout, zero=True)
        if max_time is not None or max_events is not None or max_bytes is not None:
            _check_budgets(max_time, max_events, max_bytes)
        if self._turning:
            raise StateError(NESTED.format("poll"))
        self._turning = True
        try:
            requests = self.requests
            requests.thread = here.thread
            dials = self.dials
            dials.beginnings_left = limits.MAX_DIALS_PER_TURN
            dials.handshake_steps_left = limits.MAX_DIAL_HANDSHAKES_PER_TURN
            events = self.events
            events.recycle()
            before = len(events)
            reactor = self.reactor
            messages = self.messages
            end_ns = None if max_time is None else reactor.clock.now_ns() + int(max_time * NS_PER_S)
            if messages.dirty or messages.starving:
                # What the last tick has sent leaves before anything is received.
                messages.now_ns = now_ns = reactor.clock.now_ns()
                # In half of the time: what everybody is sent in each tick must not keep this turn from receiving.
                messages.flush(None if end_ns is None else (now_ns + end_ns) // 2)
                messages.resume_starving()
                if len(events) != before or messages.dirty:
                    timeout = 0.0
            if requests.called or dials.line or requests.starved:
                under_way = requests.under_way
                requests.attend()
                dials.begin(end_ns)
                if len(events) != before or requests.under_way != under_way or dials.line or requests.called:
                    # Something to tell, or to do, already.
                    timeout = 0.0
            if before:
                timeout = 0.0
            # A handler, or the iterable of a body, may have closed this loop: here and after each part of the turn.
            if not self.closed:
                if end_ns is None or not timeout:
                    reactor.collect(timeout)
                else:
                    # The wait is not counted.
                    left_ns = end_ns - reactor.clock.now_ns()
                    reactor.collect(timeout)
                    end_ns = reactor.clock.now_ns() + left_ns
            stop = _IDLE
            line = reactor.line
            messages.now_ns = reactor.clock.now_ns()
            if line:
                stop = work(reactor, events, end_ns, max_events, max_bytes)
            if messages.dirty and messages.flush(end_ns):
                stop = Stop.TIME
            if not self.closed and reactor.expire_timers(end_ns, messages.now_ns):
                stop = Stop.TIME
            if not self.closed and reactor.resolver.pending:
                reactor.resolver.deliver()
            if dials.line:
                if end_ns is None or reactor.clock.now_ns() < end_ns:
                    dials.begin(end_ns)
                if end_ns is not None and dials.line and reactor.clock.now_ns() >= end_ns:
                    stop = Stop.TIME
        except BaseException:
            self.mend()
            raise
        finally:
            self._turning = False
        if stop is _IDLE and self.pool.connections:
            # Whatever was readable in the beginning has been served; what stands in line came there by itself.
            self.pool.quiet_ns = reactor.clock.now_ns()
        result = self._result
        result.delivered = 0 if self.closed else len(events) - before
        result.backlog = reactor.backlog
        result.moved_in = reactor.bytes_in - self._bytes_in
        result.moved_out = reactor.bytes_out - self._bytes_out
        self._bytes_in = reactor.bytes_in
        self._bytes_out = reactor.bytes_out
        if (requests.starved or messages.starving) and stop is _IDLE:
            stop = Stop.EVENTS if events.is_full else Stop.POOL
        if end_ns is not None:
            overrun_ns = reactor.clock.now_ns() - end_ns
            if overrun_ns > 0:
                self.overruns += 1
                self.longest_overrun_ns = max(self.longest_overrun_ns, overrun_ns)
        result.stop = stop
        return result

    def flush(self, max_time: float = 0.0) -> int:
        """Send what this tick produced, without reading or delivering anything.

        Args:
            max_time: seconds to go on for while sockets take bytes.

        Returns:
            Bytes sent by this call; also where a callback closes the loop, which ends it.

        Raises:
            ClientClosed: after `close()`, or in the child of a fork.
            InvalidOption: `max_time` is not a number of seconds.
            StateError: called by a handler, inside a turn.
        """
        if self.closed:
            raise self._closed_error("flush() needs")
        if max_time != 0.0:
            check_seconds("max_time", max_time, zero=True)
        if self._turning:
            raise StateError(NESTED.format("flush"))
        self._turning = True
        try:
            reactor = self.reactor
            self.messages.now_ns = reactor.clock.now_ns()
            end_ns = self.messages.now_ns
            if max_time:
                end_ns += int(max_time * NS_PER_S)
            if self.dials.line:
                self.dials.begin(end_ns if max_time else None)
            before = reactor.bytes_out
            self.messages.flush(end_ns if max_time else None)
            while not self.closed:
                sent = reactor.bytes_out
                reactor.flush_writable()
                if reactor.bytes_out == sent or reactor.clock.now_ns() >= end_ns:
                    break
            return int(reactor.bytes_out - before)
        except BaseException:
            self.mend()
            raise
        finally:
            self._turning = False

    def next_deadline(self) -> float | None:
        """Seconds until `poll()` is due even if no socket is ready: 0.0 with work waiting, None for never.

        Raises:
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("next_deadline() needs")
        requests = self.requests
        messages = self.messages
        if self.dials.line or requests.starved or requests.called or len(self.events):
            return 0.0
        if messages.dirty or messages.starving:
            return 0.0
        due_ns = self.reactor.next_deadline_ns()
        if due_ns is None:
            return None
        return max(0, due_ns - self.reactor.clock.now_ns()) / NS_PER_S

    def wakeup(self) -> None:
        """End a wait inside `poll()`; the one call that another thread may make."""
        self.reactor.waker.wake()

    def stats(self) -> LoopStats:
        """One snapshot of connections, pools, queues and listeners; of a closed loop, too."""
        return snapshot(self)

    # The end

    def close(self) -> None:
        """Close every connection and fail what is under way with ClientClosed; idempotent.

        Events that were not taken are gone, and lent data with them; exchanges stay readable. A handler may call it:
        the `poll()` or `flush()` that called the handler returns, and the next one raises.

        What message connections have to send leaves as far as their sockets take it, and WebSockets say 1001, going
        away, behind it; nothing is waited for. Who is to have time to answer is closed before, and polled until then.
        """
        close(self)

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise StateError("a Loop holds sockets and cannot be pickled; pickle its Config and make a new Loop")

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Loop {state} exchanges={self.requests.under_way} events={len(self.events)}>"


def _check_budgets(max_time: float | None, max_events: int | None, max_bytes: int | None) -> None:
    check_seconds("max_time", max_time, optional=True)
    for name, value in (("max_events", max_events), ("max_bytes", max_bytes)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InvalidOption(f"{name}={value!r}: give a whole number above 0, or None")
