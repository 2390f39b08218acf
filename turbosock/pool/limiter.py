"""ConcurrencyLimiter: at most so many at once for each host, in the order in which they came.

::

    FREE ──enter──▶ GRANTED ──leave──▶ FREE
       └──enter──▶ WAITING ──a permit is free──▶ GRANTED
                      ├──leave──▶ FREE
                      └──close()──▶ CLOSED ──leave──▶ FREE

The core never waits: `enter()` says at once whether a ticket has its permit, and whoever frees one tells the next in
line. A ticking Loop drives it so; for threads `permit()` waits on top of it. Tickets of both may stand in one line.

A host's tickets are one list, linked through the tickets themselves: first those that hold a permit, then those that
wait (between them, after close(), those that were sent away and have not left), each part in the order of coming. To
enter is to append, to leave is to unlink, wherever the ticket stands, and granting moves the border by one. The limiter
allocates nothing for a ticket, so a line is bounded by the tickets that its users have.

Invariants, under the lock: 0 <= held <= max_per_host; until close() nobody waits while a permit is free; a host is
known as long as a ticket stands in its list, so len(hosts) <= max_hosts. Nothing changes between a first and a last
assignment that make one step: no call stands between them, and an interrupt (KeyboardInterrupt) only comes at a call.
Every enter() that was answered is counted once: as granted, timed out, cancelled or refused, or it waits still.

How fast a host may be asked is `rate_limiter.py`; how many connections it gets is the connection pool's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable
from threading import get_ident
from typing import TYPE_CHECKING, Final, NamedTuple

from turbosock import limits
from turbosock.config import check_count, check_seconds
from turbosock.errors import ClientClosed, InvalidOption, LimitError, PoolTimeout, StateError
from turbosock.forks import renewed_in_child
from turbosock.pool.origin_pool import OriginKey
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock
from turbosock.reactor.latch import Latch

if TYPE_CHECKING:
    from types import TracebackType

FREE: Final = 0
WAITING: Final = 1
GRANTED: Final = 2
CLOSED: Final = 3
STATE_NAMES: Final = ("FREE", "WAITING", "GRANTED", "CLOSED")


class Ticket:
    """A place in a ConcurrencyLimiter, of one user at a time; used again as often as its owner likes.

    A subclass says what happens when something comes of it. Its three methods are called without any lock, on the
    thread that caused them, and must not raise. By then the ticket's owner may have left, and even entered again, so
    what counts is the `state` that they find; a grant may be told twice.

    Attributes:
        state: FREE, WAITING, GRANTED or CLOSED; see the module's picture.
        asked_ns: when it entered.
        granted_ns: when it got its permit; 0 until then.
    """

    __slots__ = ("_after", "_before", "_line", "asked_ns", "granted_ns", "state")

    def __init__(self) -> None:
        self.state = FREE
        self.asked_ns = 0
        self.granted_ns = 0
        self._line: _Line | None = None
        self._before: Ticket | None = None
        self._after: Ticket | None = None

    @property
    def waited_ns(self) -> int:
        """For how long it stood in line until it got its permit; 0 before that."""
        return self.granted_ns - self.asked_ns if self.granted_ns else 0

    def on_granted(self) -> None:
        """The permit has come, after a wait."""

    def on_closed(self) -> None:
        """The limiter was closed while the ticket stood in line: no permit will come."""

    def cancel(self) -> None:
        """The limiter was closed, and what the permit is held for shall end soon; leave() follows when it has."""


class _Line:
    """The tickets of one host.

    Attributes:
        first, last: the ends of the list.
        waiting: the first ticket without a permit.
        held: how many have one.
        spare: the next unused line, while this is one.
    """

    __slots__ = ("first", "held", "host", "last", "spare", "waiting")

    def __init__(self) -> None:
        self.host: Hashable = None
        self.first: Ticket | None = None
        self.last: Ticket | None = None
        self.waiting: Ticket | None = None
        self.held = 0
        self.spare: _Line | None = None


class LimiterStats(NamedTuple):
    """Hosts in use, permits held and tickets in line now; the others are counts since the limiter was made.

    `waited` of all tickets had to stand in line. `timed_out` and `cancelled` left it without a permit; `refused` came
    after close() or to a host too many, or were sent away by close().
    """

    hosts: int
    in_flight: int
    waiting: int
    granted: int
    waited: int
    timed_out: int
    cancelled: int
    refused: int


class ConcurrencyLimiter:
    """At most `max_per_host` at once for each host, first come first served; safe to share between threads and Loops.

    The order for a caller: `enter()` with a ticket; on False wait for its `on_granted()` or `on_closed()`; at the end,
    whatever happened, `leave()`. Threads say `with limiter.permit(host):`.

    Args:
        max_per_host: permits of one host.
        max_hosts: hosts in use at once; one is in use while somebody holds a permit of it, or waits for one.
        clock: where the times of tickets come from. How long a thread waits is real time.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_closed",
        "_drained",
        "_granted",
        "_lines",
        "_lock",
        "_max_hosts",
        "_max_per_host",
        "_now_ns",
        "_refused",
        "_spare",
        "_telling",
        "_timed_out",
        "_waited",
        "_waiting",
    )

    def __init__(
        self,
        max_per_host: int = limits.MAX_PERMITS_PER_HOST,
        *,
        max_hosts: int = limits.MAX_LIMITED_HOSTS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_count("max_per_host", max_per_host, 1, limits.MAX_LIMITER_COUNT)
        check_count("max_hosts", max_hosts, 1, limits.MAX_LIMITER_COUNT)
        self._max_per_host = max_per_host
        self._max_hosts = max_hosts
        self._now_ns = clock.now_ns
        self._closed = False
        # Counted in floats, which CPython makes without allocating; they are exact up to 2**53.
        self._granted = 0.0
        self._waited = 0
        self._timed_out = 0
        self._cancelled = 0
        self._refused = 0
        self._start()
        _limiters.add(self)

    def _start(self) -> None:
        """Begin without hosts, and with locks that nobody holds."""
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._lines: dict[Hashable, _Line] = {}
        self._spare: _Line | None = None
        self._waiting = 0
        # By thread: the grants that it has yet to tell of, while it tells of one.
        self._telling: dict[int, deque[Ticket]] = {}

    def enter(self, host: Hashable, ticket: Ticket) -> bool:
        """Ask for a permit of `host`: True, the ticket has it; False, it stands in line and will be told.

        It may be told before this returns. Either way leave() is the caller's next duty.

        Raises:
            ClientClosed: the limiter is closed.
            LimitError: `max_hosts` others are in use.
            StateError: the ticket is in use already; it stays so.
        """
        now_ns = self._now_ns()
        with self._lock:
            if ticket.state != FREE:
                raise StateError(f"enter(): the ticket is {STATE_NAMES[ticket.state]}: leave() first, or take another")
            if self._closed:
                raise self._refusal("enter()", host)
            lines = self._lines
            line = lines.get(host)
            if line is None:
                if len(lines) >= self._max_hosts:
                    raise self._refusal("enter()", host)
                line = self._spare or _Line()
                line.host = host
                lines[host] = line
                self._spare = line.spare
                line.spare = None
            last = line.last
            if last is None:
                line.first = ticket
            else:
                last._after = ticket
            line.last = ticket
            ticket._before = last
            ticket._line = line
            ticket.asked_ns = now_ns
            if line.held < self._max_per_host:
                line.held += 1
                self._granted += 1.0
                ticket.granted_ns = now_ns
                ticket.state = GRANTED
                return True
            if line.waiting is None:
                line.waiting = ticket
            self._waiting += 1
            self._waited += 1
            ticket.granted_ns = 0
            ticket.state = WAITING
            return False

    def leave(self, ticket: Ticket, *, timed_out: bool = False) -> None:
        """Give the ticket's permit to the next in line, or leave the line; a second call does nothing.

        Args:
            ticket: where it entered; FREE afterwards.
            timed_out: whether it leaves because its time passed, for the counts.
        """
        successor: Ticket | None = None
        try:
            with self._lock:
                line = ticket._line
                if line is None:
                    ticket.state = FREE
                    return
                # Known before anything changes, because it takes a call.
                now_ns = 0 if line.waiting is None else self._now_ns()
                after = ticket._after
                before = ticket._before
                if before is None:
                    line.first = after
                else:
                    before._after = after
                if after is None:
                    line.last = before
                else:
                    after._before = before
                ticket._after = ticket._before = ticket._line = None
                if ticket.state == GRANTED:
                    successor = line.waiting
                    if successor is None:
                        line.held -= 1
                    else:
                        line.waiting = successor._after
                        self._waiting -= 1
                        self._granted += 1.0
                        successor.granted_ns = now_ns
                        successor.state = GRANTED
                elif ticket.state == WAITING:
                    self._waiting -= 1
                    if line.waiting is ticket:
                        line.waiting = after
                    if timed_out:
                        self._timed_out += 1
                    else:
                        self._cancelled += 1
                ticket.state = FREE
                if line.first is None:
                    # Nobody uses this host any more.
                    del self._lines[line.host]
                    line.host = None
                    line.spare = self._spare
                    self._spare = line
                if self._closed and not line.held:
                    self._drained.notify_all()
        finally:
            if successor is not None:
                try:
                    self._tell(successor)
                except BaseException:
                    # An interrupt may have come before its first line, and the successor waits.
                    successor.on_granted()
                    raise

    def _tell(self, ticket: Ticket) -> None:
        """Tell a ticket that it has its permit.

        One that gives its permit back at once, inside on_granted(), leads here again: its successor is told after it
        and not inside, or a long line would be a deep recursion.
        """
        thread = get_ident()
        untold = self._telling.get(thread)
        if untold is not None:
            untold.append(ticket)
            return
        untold = self._telling[thread] = deque((ticket,))
        try:
            while untold:
                untold[0].on_granted()
                untold.popleft()
        finally:
            del self._telling[thread]
            # After an error or an interrupt only, which may have come before the first one's first line.
            for left in untold:
                left.on_granted()

    def _refusal(self, method: str, host: Hashable) -> ClientClosed | LimitError:
        """Count and say why `host` cannot be entered; under the lock."""
        self._refused += 1
        if self._closed:
            return ClientClosed(f"{method}: the concurrency limiter is closed: what it belongs to was closed")
        return LimitError(
            f"{method}: no permit for {shown_host(host)}, because max_hosts={self._max_hosts} others are in use: raise "
            "max_hosts, or ask fewer hosts at once"
        )

    def permit(self, host: Hashable, timeout_s: float | None = None) -> Permit:
        """A permit of `host` for a `with` block, which waits for it at its beginning and gives it back at its end.

        Args:
            host: whom to ask.
            timeout_s: how long to wait at most; None means limits.POOL_TIMEOUT_S.

        Raises:
            ClientClosed: the limiter is closed. The block raises it as well, and PoolTimeout and LimitError.
            InvalidOption: an argument has a wrong type or value.
        """
        check_seconds("timeout_s", timeout_s, optional=True)
        try:
            hash(host)
        except TypeError as error:
            raise InvalidOption(f"host={type(host).__name__}: give something hashable, such as a str") from error
        if self._closed:
            with self._lock:
                raise self._refusal("permit()", host)
        return Permit(self, host, limits.POOL_TIMEOUT_S if timeout_s is None else timeout_s)

    def close(self, *, wait_s: float = 0.0, cancel: bool = False) -> int:
        """Refuse new work, send those in line away, and wait for what is in flight; may be called again.

        Args:
            wait_s: how long to wait at most; 0 does not wait.
            cancel: call cancel() of every ticket with a permit first.

        Returns:
            How many permits were still held at the end.

        Raises:
            InvalidOption: an argument has a wrong type or value.
        """
        # 0 is a time here: not to wait.
        if wait_s != 0 or isinstance(wait_s, bool):
            check_seconds("wait_s", wait_s)
        if not isinstance(cancel, bool):
            raise InvalidOption(f"cancel={cancel!r}: give True or False")
        with self._lock:
            self._closed = True
            for line in self._lines.values():
                self._send_away(line)
        # Those who have not left since: after an interrupt a second close() finds them, and tells them again.
        for ticket in self._tickets(CLOSED):
            if ticket.state == CLOSED:
                ticket.on_closed()
        if cancel:
            for ticket in self._tickets(GRANTED):
                if ticket.state == GRANTED:
                    ticket.cancel()
        with self._lock:
            if wait_s:
                self._drained.wait_for(self._is_drained, min(wait_s, threading.TIMEOUT_MAX))
        return self.in_flight

    def _send_away(self, line: _Line) -> None:
        """Mark those who wait as closed, so that none of them is granted a permit any more; under the lock."""
        ticket = line.waiting
        while ticket is not None:
            ticket.state = CLOSED
            ticket = line.waiting = ticket._after
            self._waiting -= 1
            self._refused += 1

    def _tickets(self, state: int) -> list[Ticket]:
        """Every ticket in this state."""
        found: list[Ticket] = []
        with self._lock:
            for line in self._lines.values():
                # A function: some interpreters leave a jump back at the end of a nested loop out of its `with` block,
                # and an interrupt there would leave the lock taken.
                self._collect(line, state, found)
        return found

    def _collect(self, line: _Line, state: int, found: list[Ticket]) -> None:
        ticket = line.first
        while ticket is not None:
            if ticket.state == state:
                found.append(ticket)
            ticket = ticket._after

    def drop_inherited(self) -> None:
        """In the child of a fork: forget the parent's tickets, whose threads are not here; called by itself."""
        lines = tuple(self._lines.values())
        self._start()
        for line in lines:
            ticket = line.first
            while ticket is not None:
                after = ticket._after
                ticket._after = ticket._before = ticket._line = None
                ticket.state = FREE
                ticket = after

    def _is_drained(self) -> bool:
        return self.in_flight == 0

    @property
    def in_flight(self) -> int:
        """Permits held now."""
        return sum(line.held for line in tuple(self._lines.values()))

    @property
    def waiting(self) -> int:
        """Tickets in line now."""
        return self._waiting

    def stats(self) -> LimiterStats:
        """Counts at this moment."""
        with self._lock:
            return LimiterStats(
                hosts=len(self._lines),
                in_flight=self.in_flight,
                waiting=self._waiting,
                granted=int(self._granted),
                waited=self._waited,
                timed_out=self._timed_out,
                cancelled=self._cancelled,
                refused=self._refused,
            )

    def _timeout_error(self, host: Hashable, timeout_s: float) -> PoolTimeout:
        return PoolTimeout(
            f"permit(): none for {shown_host(host)} within {timeout_s:g} s, because all {self._max_per_host} are in "
            "use: raise max_per_host or timeout_s, or ask this host less at once"
        )


_limiters: Final = renewed_in_child(ConcurrencyLimiter.drop_inherited)


class Permit(Ticket):
    """A permit for one `with` block of one thread; made by ConcurrencyLimiter.permit().

    close() cannot cancel such a block: it runs to its end.
    """

    __slots__ = ("_entered", "_host", "_limiter", "_timeout_s", "_wake")

    def __init__(self, limiter: ConcurrencyLimiter, host: Hashable, timeout_s: float) -> None:
        super().__init__()
        self._limiter = limiter
        self._host = host
        self._timeout_s = timeout_s
        self._entered = False
        # What its thread waits on, made when it must.
        self._wake: Latch | None = None

    def __enter__(self) -> Permit:
        """Wait for the permit.

        Raises:
            ClientClosed: the limiter is closed, or was closed meanwhile.
            LimitError: too many hosts are in use.
            PoolTimeout: `timeout_s` passed.
            StateError: this object was used before.
        """
        if self._entered:
            raise StateError("a permit is for one `with` block: ask permit() for another")
        self._entered = True
        try:
            if not self._limiter.enter(self._host, self):
                self._stand_in_line()
        except BaseException:
            # KeyboardInterrupt too, wherever it came: nobody else would ever give the permit back.
            self._limiter.leave(self)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the permit back."""
        try:
            self._limiter.leave(self)
        except BaseException:
            # An interrupt may have come before anything was given back.
            self._limiter.leave(self)
            raise

    def _stand_in_line(self) -> None:
        """Wait for the permit, for the limiter's end, or for the time to pass."""
        self._wake = wake = Latch()
        # Who grants sets the state and then looks for the latch; whoever comes second sees the other.
        if self.state == WAITING:
            wake.wait(self._timeout_s)
        state = self.state
        if state == CLOSED:
            raise ClientClosed("permit(): the concurrency limiter was closed while this call stood in line")
        if state == WAITING:
            # The permit may come between the look and this: then it goes to the next in line.
            self._limiter.leave(self, timed_out=True)
            raise self._limiter._timeout_error(self._host, self._timeout_s)

    def on_granted(self) -> None:
        """Wake the thread."""
        wake = self._wake
        if wake is not None:
            wake.set()

    def on_closed(self) -> None:
        """Wake the thread."""
        self.on_granted()


def shown_host(host: Hashable) -> str:
    """A host as a message may name it: of a key only its name, and neither user information nor a query."""
    if isinstance(host, OriginKey):
        host = host.host
    if not isinstance(host, str):
        return f"a {type(host).__name__}"
    # A query first: it may hold an @ of its own.
    return repr(host.partition("?")[0].partition("#")[0].rpartition("@")[2])
